"""What a finished run can be exported as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """One format. `suffix` ends the file's name; `least_agreement` is None for what is not a model."""

    name: str
    label: str
    suffix: str
    help: str
    least_agreement: float | None = None


_ALL = (
    Format("keras", "Keras", ".keras", "Goes on training; needs Keras. Pixels 0 to 255, float32 (n, 32, 32, 3).", 0.99),
    Format("litert", "LiteRT", ".tflite", "For phones and small machines. Pixels uint8 (n, 32, 32, 3).", 0.99),
    Format("litert-int8", "LiteRT int8", "-int8.tflite", "The same with 8-bit weights, a third of the size.", 0.95),
    Format("onnx", "ONNX", ".onnx", "For ONNX Runtime and browsers. Pixels uint8 (n, 32, 32, 3).", 0.99),
    Format("notebook", "Notebook", ".ipynb", "Repeats the run on Colab or Jupyter, with TensorFlow alone."),
    Format("script", "Keras script", ".py", "Repeats the run, with TensorFlow alone."),
    Format("zip", "Whole run", ".zip", "Settings, environment, metrics, figures and model; can be imported elsewhere."),
    Format("csv", "Metrics, CSV", "-metrics.csv", "A line for each step and epoch."),
    Format("json", "Metrics, JSON", "-metrics.json", "The same, with settings, results and environment."),
    Format("tensorboard", "TensorBoard", "-tensorboard.zip", "Event files; unpack and point `--logdir` to the folder."),
)
FORMATS: Mapping[str, Format] = {item.name: item for item in _ALL}
MODELS: Mapping[str, Format] = {item.name: item for item in _ALL if item.least_agreement is not None}
