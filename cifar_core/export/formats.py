"""What a finished run can be exported as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """One format. `suffix` ends the file's name; `least_agreement` is None for what is not a model.

    `tried` names the oldest programs that a model file was tried with, `usage` is Python code that classifies a photo.
    """

    name: str
    label: str
    suffix: str
    help: str
    least_agreement: float | None = None
    tried: str = ""
    usage: str = ""


_PHOTO = """import numpy as np
from PIL import Image, ImageOps
{imports}
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
side = min(photo.size); left, top = (photo.width - side) // 2, (photo.height - side) // 2
image = photo.crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling.BICUBIC)
{calls}
"""
"""The preprocessing of `inference.pictures.prepare`: a bilinear resize costs accuracy."""
_KERAS = _PHOTO.format(
    imports="import keras\n",
    calls="""model = keras.models.load_model("{file}", compile=False)
probabilities = model.predict(np.asarray(image, "float32")[None])  # (1, 10)""",
)
_LITERT = _PHOTO.format(
    imports="from ai_edge_litert.interpreter import Interpreter\n",
    calls="""model = Interpreter("{file}").get_signature_runner()
probabilities = model(images=np.asarray(image)[None])["probabilities"]  # (1, 10)""",
)
_ONNX = _PHOTO.format(
    imports="import onnxruntime\n",
    calls="""model = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
probabilities = model.run(["probabilities"], {"images": np.asarray(image)[None]})[0]  # (1, 10)""",
)
_TRIED_LITERT = "tflite-runtime 2.14, ai-edge-litert 1.0 and 2.3; optimized and reference kernels"


_ALL = (
    Format(
        "keras",
        "Keras",
        ".keras",
        "For further training; needs Keras. Pixels 0 to 255, float32 (n, 32, 32, 3).",
        0.99,
        "Keras 3.4, 3.8, 3.12 and 3.15",
        _KERAS,
    ),
    Format(
        "litert",
        "LiteRT",
        ".tflite",
        "For phones and small machines. Pixels uint8 (n, 32, 32, 3).",
        0.99,
        _TRIED_LITERT,
        _LITERT,
    ),
    Format(
        "litert-int8",
        "LiteRT int8",
        "-int8.tflite",
        "The same with 8-bit weights, a third of the size.",
        0.95,
        _TRIED_LITERT,
        _LITERT,
    ),
    Format(
        "onnx",
        "ONNX",
        ".onnx",
        "For ONNX Runtime and browsers. Pixels uint8 (n, 32, 32, 3).",
        0.99,
        "ONNX Runtime 1.14 and 1.32, OpenCV 4.12, OpenVINO 2026.4",
        _ONNX,
    ),
    Format("notebook", "Notebook", ".ipynb", "The recipe with this run's settings, for Colab or Jupyter."),
    Format("script", "Keras script", ".py", "The recipe with this run's settings, as one Keras script."),
    Format("zip", "Whole run", ".zip", "Settings, environment, metrics, figures and model; can be imported elsewhere."),
    Format("html", "Web page", ".html", "One file that classifies photos in any browser, also without a network."),
    Format("report", "Report", ".html", "Figures, tables and some of the images as one page that needs no network."),
    Format("card", "Picture to share", ".png", "Accuracy, settings, curve, and six pictures with the run's answers."),
    Format("animation", "Animation to share", ".webp", "The watched pictures and their answers while the run learned."),
    Format("csv", "Metrics, CSV", "-metrics.csv", "A line for each step and epoch."),
    Format("json", "Metrics, JSON", "-metrics.json", "The same, with settings, results and environment."),
    Format("tensorboard", "TensorBoard", "-tensorboard.zip", "Event files; unpack and point `--logdir` to the folder."),
)
FORMATS: Mapping[str, Format] = {item.name: item for item in _ALL}
MODELS: Mapping[str, Format] = {item.name: item for item in _ALL if item.least_agreement is not None}
