"""A finished run as other things: model files, script, notebook, figures, archive, report. No TensorFlow here."""
