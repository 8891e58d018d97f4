"""A finished run taken elsewhere: as a model file, a script, a notebook, figures, or whole. No TensorFlow here.

formats.py     what there is, and below which agreement a file is shown in red
exports.py     the model files of a run: made by a process, kept in RUN_DIR/exports
trial.py       a model file run on 200 test images: agreement, latency
int8.py        LiteRT -> LiteRT with 8-bit weights
onnx_file.py   LiteRT -> ONNX
script.py      the run as a plain Keras script or notebook
metrics.py     the metrics as CSV, JSON or TensorBoard event files
archive.py     a run -> zip;  intake.py: a stranger's zip -> a run
"""
