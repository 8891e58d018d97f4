"""MobileNetV2 without Keras: its layer table, its weights, and its LiteRT and ONNX files."""
