"""The model files in older and other programs, each in a Python environment of its own.

    CIFAR_RUNTIMES=FOLDER python -m tests.export.test_other_runtimes    # makes them, with python3.10 and python3.11
    CIFAR_RUNTIMES=FOLDER python -m pytest -n 0 -m slow tests/export/test_other_runtimes.py

A missing environment is skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_core.export.exports import MODELS
from cifar_core.inference import pictures
from cifar_core.network import litert, litert_format, onnx_writer, pretrained

OPENCV = (
    'import cv2\nmodel = cv2.dnn.readNetFromONNX("{file}")\n'
    "model.setInput(np.asarray(image)[None])\nprobabilities = model.forward()"
)
OPENVINO = (
    'import openvino\nmodel = openvino.Core().compile_model("{file}", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})\n'
    "probabilities = model(np.asarray(image)[None])[0]"
)
REFERENCE = (
    "from ai_edge_litert.interpreter import OpResolverType\n"
    'model = Interpreter("{file}", experimental_op_resolver_type=OpResolverType.BUILTIN_REF)\n'
    'model = model.get_signature_runner()\nprobabilities = model(images=np.asarray(image)[None])["probabilities"]'
)
PACKAGES = {
    "keras-3.4": ("3.10", "keras==3.4.1 jax[cpu]==0.4.30 numpy<2"),
    "keras-3.8": ("3.10", "keras==3.8.0 jax[cpu]==0.4.38 numpy<2"),
    "keras-3.12": ("3.11", "keras==3.12.0 jax[cpu]==0.4.38"),
    "keras-3.15": ("3.11", "keras==3.15.1 jax[cpu]"),
    "tflite-2.14": ("3.10", "tflite-runtime==2.14.0 numpy<2"),
    "ai-edge-litert-1.0": ("3.10", "ai-edge-litert==1.0.1 numpy<2"),
    "ai-edge-litert-1.2": ("3.10", "ai-edge-litert==1.2.0"),
    "onnxruntime-1.14": ("3.10", "onnxruntime==1.14.1 numpy<2"),
    "opencv-4.12": ("3.10", "opencv-python-headless==4.12.0.88"),
    "openvino": ("3.11", "openvino==2026.4.1"),
}
"""The Python and the packages of each environment; all of them have Pillow."""
RUNTIMES = [
    *[(f"keras-{version}", "keras", "") for version in ("3.4", "3.8", "3.12", "3.15")],
    *[
        (runtime, name, last)
        for runtime in ("tflite-2.14", "ai-edge-litert-1.0", "ai-edge-litert-1.2", "this")
        for name in ("litert", "litert-int8")
        for last in ("", REFERENCE)
    ],
    *[(runtime, "onnx", "") for runtime in ("onnxruntime-1.14", "this")],
    ("opencv-4.12", "onnx", OPENCV),
    ("openvino", "onnx", OPENVINO),
]
"""Environment, format, and the last lines in place of those of the format."""


def make_environments() -> None:
    """Make the environments of PACKAGES that are missing in CIFAR_RUNTIMES."""
    for runtime, (version, packages) in PACKAGES.items():
        folder = Path(os.environ["CIFAR_RUNTIMES"]) / runtime
        if not folder.exists():
            subprocess.run([f"python{version}", "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "-q", "pillow", *packages.split()], check=True)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the bundled network in every format and a photo of 300 x 224 pixels."""
    bundled = pretrained.bundled_path(0.5)
    content = litert_format.probabilities_only(bundled.with_suffix(".tflite").read_bytes())
    (tmp_path / "model.keras").write_bytes(bundled.with_suffix(".keras").read_bytes())
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "model-int8.tflite").write_bytes(litert_format.quantized(content))
    (tmp_path / "model.onnx").write_bytes(onnx_writer.converted(content))
    coarse = np.random.default_rng(1).integers(0, 256, (8, 10, 3), np.uint8)
    Image.fromarray(coarse).resize((300, 224)).save(tmp_path / "photo.jpg", "PNG")
    return tmp_path


@pytest.mark.slow
@pytest.mark.bundled
@pytest.mark.parametrize(("runtime", "name", "last"), RUNTIMES)
def test_the_code_beside_a_download_says_what_the_app_says(runtime: str, name: str, last: str, files: Path) -> None:
    python = Path(os.environ.get("CIFAR_RUNTIMES", "runtimes")) / runtime / "bin" / "python"
    if runtime == "this":
        python = Path(sys.executable)
    elif not python.exists():
        pytest.skip(f"no environment of this runtime: {python}")
    code = MODELS[name].usage
    if last:
        lines = code.splitlines()
        code = "\n".join([*lines[: next(i for i, line in enumerate(lines) if line.startswith("image =")) + 1], last])
        code = code.replace("import onnxruntime\n", "")
    if runtime.startswith("tflite"):
        code = code.replace("ai_edge_litert", "tflite_runtime")
    code = code.replace("{file}", f"model{MODELS[name].suffix}")
    code += "\nimport json; print(json.dumps(np.asarray(probabilities).tolist()))"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([python, "-c", code], cwd=files, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    with Image.open(files / "photo.jpg") as photo:
        image = pictures.prepare(photo.convert("RGB"))[None]
    network = litert.Network((files / "model.tflite").read_bytes())
    expected = network.run(image)["probabilities"]
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert np.abs(found - expected).max() < (0.1 if "int8" in name else 1e-4)


if __name__ == "__main__":
    make_environments()
