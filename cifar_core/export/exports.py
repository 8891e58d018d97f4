"""Export formats of a finished run. A separate process writes each model file and tests it.

    runs/<id>/exports/<format>.json    its state; then agreement, size and latency
    runs/<id>/exports/<format>.lock    held by the running process
    runs/<id>/exports/model.keras  model.tflite  model-int8.tflite  model.onnx

Model files are converted from the run's best.keras and model.tflite for other programs. "probabilities" is the only
output. The Keras file opens in Keras 3.4 and later.
"""

import pkgutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core import machine, runs
from cifar_core.data import cifar10
from cifar_core.errors import ConfigError, DataError, RunError, os_errors_as
from cifar_core.evaluation import predictions
from cifar_core.inference import model_file
from cifar_core.jobs import Job
from cifar_core.network import litert_format
from cifar_core.runs import Run, labels, records

IMAGES = 200
"""Number of test images to test a model file with."""
_BATCH = 20
_ONNX_PACKAGES = ("ONNX", "onnx onnxruntime")
_NUMBERS = ("bytes", "agreement", "images", "latency_ms")


@dataclass(frozen=True)
class Format:
    """An export format. `suffix` ends the file name; `least_agreement` is None if it is not a model.

    `maker` is the function "module:function" in this package that returns the file, if it is not a model. `tried` names
    the oldest programs that the model file was tested with. `usage` is Python code that classifies a photo.
    """

    name: str
    label: str
    suffix: str
    help: str
    maker: str = ""
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
"""The preprocessing of `inference.pictures.prepare`; a bilinear resize would lower the accuracy."""
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


FORMATS: Mapping[str, Format] = {item.name: item for item in (
    Format("keras", "Keras", ".keras", "For further training; needs Keras. Pixels 0 to 255, float32 (n, 32, 32, 3).",
           "", 0.99, "Keras 3.4, 3.8, 3.12 and 3.15", _KERAS),
    Format("litert", "LiteRT", ".tflite", "For phones and small machines. Pixels uint8 (n, 32, 32, 3).",
           "", 0.99, _TRIED_LITERT, _LITERT),
    Format("litert-int8", "LiteRT int8", "-int8.tflite", "The same with 8-bit weights, a third of the size.",
           "", 0.95, _TRIED_LITERT, _LITERT),
    Format("onnx", "ONNX", ".onnx", "For ONNX Runtime and browsers. Pixels uint8 (n, 32, 32, 3).",
           "", 0.99, "ONNX Runtime 1.14 and 1.32, OpenCV 4.12, OpenVINO 2026.4 (INFERENCE_PRECISION_HINT f32)", _ONNX),
    Format("html", "Web page", ".html",
           "One file that classifies photos in any browser, also offline, within 0.002 of the run's probabilities.",
           "webpage:page"),
    Format("notebook", "Notebook", ".ipynb", "The recipe with this run's settings, for Colab or Jupyter.",
           "script:notebook"),
    Format("script", "Keras script", ".py", "The recipe with this run's settings, as one Keras script.",
           "script:script"),
    Format("zip", "Whole run", ".zip", "Settings, environment, metrics, figures and model; can be imported elsewhere.",
           "archive:pack"),
    Format("report", "Report", "-report.html",
           "Figures, tables and some of the images as one page that works offline.", "report:build"),
    Format("card", "Picture to share", ".png", "Accuracy, settings, curve, and six pictures with predictions.",
           "report:card"),
    Format("animation", "Animation to share", ".webp", "Predictions for the watched pictures while the run learned.",
           "report:animation"),
    Format("csv", "Metrics, CSV", "-metrics.csv", "A line for each step and epoch.", "metrics:to_csv"),
    Format("json", "Metrics, JSON", "-metrics.json", "The same, with settings, results and environment.",
           "metrics:to_json"),
    Format("tensorboard", "TensorBoard", "-tensorboard.zip", "Event files; unpack and point `--logdir` to the folder.",
           "metrics:to_tensorboard"),
)}  # fmt: skip
MODELS: Mapping[str, Format] = {name: item for name, item in FORMATS.items() if item.least_agreement is not None}


def check(run: Run, name: str) -> None:
    """Raise RunError unless `run` is finished, and ConfigError unless `name` is a format."""
    if name not in FORMATS:
        raise ConfigError(f"Format: received {name[:60]!r}, expected one of {', '.join(FORMATS)}.")
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be exported.")


def content(run: Run, name: str) -> bytes:
    """Return the file of `run` in the format `name`. A model file must already exist (see `make`).

    Raises RunError if the run is not finished or damaged, ConfigError for an unknown format.
    """
    check(run, name)
    if name in MODELS:
        with os_errors_as(RunError, f"{path(run, name)} cannot be read", "make it again"):
            return path(run, name).read_bytes()
    made = pkgutil.resolve_name(f"{__package__}.{FORMATS[name].maker}")(run)  # imported here: figures need Plotly
    return made.encode() if isinstance(made, str) else made


def file_name(run: Run, name: str) -> str:
    """Return the name of the downloaded file."""
    return f"{labels.file_stem(run)}{FORMATS[name].suffix}"


def usage(run: Run, name: str) -> str:
    """Return Python code that classifies a photo with the model file `name` of `run`."""
    return MODELS[name].usage.replace("{file}", file_name(run, name))


def path(run: Run, name: str) -> Path:
    """Return the path of the model file of `run` in the format `name`, whether it exists or not."""
    return run.path / "exports" / f"model{MODELS[name].suffix}"


def job(run: Run, name: str) -> Job:
    """Return the job that writes the model file `name` of `run`."""
    command = ("cifar_core.training.export_worker", run.id, name)
    return Job(run.path / "exports", name, command, f"The export {name} of run {run.id}", record=".json")


def start(run: Run, name: str) -> None:
    """Write the model file `name` of a finished run in a separate process.

    Raises RunError if the run is not finished, the disk is full or the run's folder is not writable.
    """
    check(run, name)
    runs.check_disk()
    job(run, name).start()


def state(run: Run, name: str) -> dict[str, Any]:
    """Return the state of the model file `name`, ready for JSON.

    "state" is none, working, done or failed. While working: "done" and "total" test images. If done: "bytes",
    "agreement" (0..1), "images", "latency_ms", "against", "poor" (whether the agreement is too low), "made" (Unix
    time). If failed: "error". A damaged record counts as none.
    """
    status = job(run, name).read()
    if status["state"] in ("working", "failed"):
        return {"done": 0, "total": 0} | status
    sound = all(isinstance(status.get(key), int | float) for key in _NUMBERS) and path(run, name).is_file()
    if status["state"] != "done" or not sound:
        return {"state": "none"}
    return status | {"poor": status["agreement"] < (MODELS[name].least_agreement or 0)}


def make(
    run: Run,
    name: str,
    written: Callable[[Run], bytes] | None = None,
    opened: Callable[[Path], model_file.Classify] | None = None,
) -> None:
    """Write the model file `name` of `run`, test it on images, and record the result.

    `written` and `opened` write and read the format that requires Keras. Raises RunError if the run is not finished
    or its model is damaged; the record also contains the reason.
    """
    task = job(run, name)
    with task.working():
        task.write("working", done=0, total=IMAGES)
        images, classes, source = reference(run)
        made = written(run) if written else converted(litert_format.probabilities_only(model_file.read(run)), name)
        with machine.replacing(path(run, name)) as temporary:
            temporary.write_bytes(made)
        answers = (opened or _opened)(path(run, name))
        right = 0
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            right += int((answers(images[part]).argmax(axis=1) == classes[part]).sum())
            task.write("working", done=min(part.stop, len(images)), total=len(images))
        measured = {"agreement": right / len(images), "latency_ms": model_file.latency_ms(answers, images)}
        about = {"images": len(images), "against": source, "made": time.time()}
        task.write("done", bytes=path(run, name).stat().st_size, **measured, **about)


def reference(run: Run) -> tuple[np.ndarray, np.ndarray, str]:
    """Return test images, uint8 (n, 32, 32, 3), the run's predicted class of each, (n,), and the source of these.

    They are the first test images of the run with its stored predictions. If they are not on this machine (an imported
    run, or synthetic images of an older version), the run's model.tflite classifies the test images on this machine.
    Raises RunError if the run is damaged.
    """
    test = predictions.load(run).test
    environment = records.environment(run.path)
    name = environment.data.name if environment else None
    try:
        images, labels = cifar10.samples(IMAGES, name if name in cifar10.LABELS else "auto", test=True)
    except DataError:
        images, labels = cifar10.samples(IMAGES, "generated", test=True)
    stored, same = test.probabilities[:IMAGES], np.array_equal(labels, test.labels[:IMAGES])
    if not same or name == "generated":
        again = model_file.opened(model_file.read(run))(images)
        if not same or not np.allclose(again, stored, atol=1e-3):
            return images, again.argmax(axis=1), "the run's model.tflite, as its test images are not here"
    return images, stored.argmax(axis=1), "the run's own test predictions"


def _opened(file: Path) -> model_file.Classify:
    """Return a LiteRT or ONNX file as a function from images to probabilities."""
    if file.suffix == ".tflite":
        return model_file.opened(file.read_bytes())
    with machine.extra(*_ONNX_PACKAGES):
        import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def converted(content: bytes, name: str) -> bytes:
    """Convert a LiteRT file with the only output "probabilities" to the format "litert", "litert-int8" or "onnx".

    Raises CifarError if the package onnx is missing.
    """
    if name == "litert-int8":
        return litert_format.quantized(content)
    if name == "onnx":
        with machine.extra(*_ONNX_PACKAGES):
            from cifar_core.network import onnx_writer  # onnx takes 0.2 s to import
        return onnx_writer.converted(content)
    return content
