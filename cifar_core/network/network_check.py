"""Whether a stranger's model files are what a run of that configuration would have made.

LiteRT runs in the page's process, and a file can be made so that it crashes there (found by mutation: operators that
read each other's inputs). So a file counts if all but its weights is, byte for byte, what this program writes for the
configuration. One of another version of this program is first tried in a process of its own:

    python -m cifar_core.network.network_check FILE
"""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cifar_core import untrusted
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.network import architecture, litert, pretrained
from cifar_core.runs import Run

FILE = "model.tflite"
MOST_BYTES = 64 * 2**20
_TRIAL_SECONDS = 60.0
_KERAS_FILES = {"metadata.json", "config.json", "model.weights.h5"}
_KERAS_LIMIT = 64 * 2**20  # bytes unpacked
_KERAS_CLASSES = {
    "Adam", "AdamW", "Add", "BatchNormalization", "CategoricalCrossentropy", "Conv2D", "CosineDecay", "Dense",
    "DepthwiseConv2D", "Dropout", "DTypePolicy", "Functional", "GlobalAveragePooling2D", "GlorotUniform",
    "InputLayer", "L2", "Ones", "ReLU", "Rescaling", "Resizing", "ZeroPadding2D", "Zeros", "__keras_tensor__",
}  # fmt: skip
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError, EOFError, ArithmeticError)


def network_of(run: Run) -> bytes:
    """Return the model of `run`, once it is sure that it can be run. Raises RunError if there is none, or it is not."""
    path = run.path / FILE
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RunError(
            f"Run {run.id} has no model ({error.strerror}); only finished runs have; train it anew."
        ) from None
    if len(content) > MOST_BYTES or not (is_ours(content, run.config) or _survives(content)):
        raise RunError(
            f"{path} is not a usable LiteRT model of this run, expected the one that its training made; copy the run "
            "again, or train it anew."
        )
    return content


def is_ours(content: bytes, config: TrainConfig) -> bool:
    """Return whether a LiteRT file is what this program writes for `config`, with whatever weights."""
    pattern = _pattern(config)
    if len(content) != len(pattern):
        return False
    own, theirs = np.frombuffer(bytearray(pattern), np.uint8), np.frombuffer(content, np.uint8)
    for place in _places_of_weights(own):
        own[place] = theirs[place]
    return bool((own == theirs).all())


def check_network(content: bytes, config: TrainConfig) -> None:
    """Raise RunError unless `content` is the LiteRT file of a network of `config`, and answers with probabilities."""
    if not is_ours(content, config):
        raise _refused(FILE, "it is not the network of its configuration, as this version writes it")
    answers = litert.Network(content).run(np.zeros((1, *litert.IMAGE_SHAPE), np.uint8))["probabilities"]
    if not abs(answers.sum() - 1) < 1e-3:  # NaN fails too
        raise _refused(FILE, "its answers are not probabilities")


def check_keras_file(content: bytes) -> None:
    """Raise RunError unless `content` looks like a Keras file of ours: three files, and Keras's own classes only."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if {info.filename for info in infos} != _KERAS_FILES or len(infos) != len(_KERAS_FILES):
                raise _refused("best.keras", "it holds other files than Keras's three")
            if sum(info.file_size for info in infos) > _KERAS_LIMIT:
                raise _refused("best.keras", f"it unpacks to more than {_KERAS_LIMIT // 2**20} MiB")
            if not all(map(untrusted.is_ordinary, infos)):
                raise _refused("best.keras", "it is encrypted, or packed by a rare method")
            classes = set(_classes(json.loads(archive.read("config.json"))))
    except (*_MALFORMED, *untrusted.MALFORMED_ZIP) as error:
        raise _refused("best.keras", f"it is damaged ({type(error).__name__})") from None
    for module, name in classes:
        known = name in _KERAS_CLASSES and (module is None or str(module).split(".")[0] == "keras")
        if not known:
            raise _refused("best.keras", f"it asks for {str(module)[:60]}.{str(name)[:60]}, which no run needs")


def _pattern(config: TrainConfig) -> bytes:
    """Return the file of an untrained network of `config`."""
    channels, units = architecture.top_channels(config.alpha), config.dense_units
    named = dict(pretrained.load("random", config.alpha, config.image_size, seed=1).named)
    named |= {f"head_norm/{name}": np.ones(channels) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    for layer, shape in (("head_dense", (channels, units)), ("head_output", (units, architecture.CLASS_COUNT))):
        named |= {f"{layer}/kernel": np.ones(shape), f"{layer}/bias": np.ones(shape[1])}
    return litert.build(named, config.alpha, config.image_size, config.scaling, ("pooled", "probabilities"))


def _places_of_weights(content: np.ndarray) -> list[slice]:
    """Return where in a LiteRT file of ours, uint8 (n,), the weights lie."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    kept = [one.Buffer() for one in tensors if one.Type() == schema.TensorType.FLOAT32 and not _is_fixed(one.Name())]
    found = [model.Buffers(number).DataAsNumpy() for number in kept if model.Buffers(number).DataLength()]
    starts = [data.ctypes.data - content.ctypes.data for data in found]
    return [slice(start, start + data.nbytes) for start, data in zip(starts, found, strict=True)]


def _is_fixed(name: bytes) -> bool:
    return name.startswith(b"scaling/")  # the range of the pixels is the configuration's


@functools.lru_cache(maxsize=32)
def _survives(content: bytes) -> bool:
    """Return whether a process of its own can run the file; kept for as long as this process lives."""
    with tempfile.NamedTemporaryFile(suffix=".tflite", delete=False) as file:
        file.write(content)
    try:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "cifar_core.network.network_check", file.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL_SECONDS,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        Path(file.name).unlink(missing_ok=True)
    return done.returncode == 0


def _try(file: str) -> int:
    """Run the file on as many images at once as a page does; return 0 if its answers are probabilities."""
    network = litert.Network(Path(file))
    if (
        network.output_shapes.get("probabilities") != (architecture.CLASS_COUNT,)
        or "pooled" not in network.output_shapes
    ):
        return 1
    rng = np.random.default_rng(0)
    for count in (1, 2, 4, 8, litert.BATCH_SIZE):
        said = network.run(rng.integers(0, 256, (count, *litert.IMAGE_SHAPE), np.uint8))["probabilities"]
        if not np.abs(said.sum(axis=1) - 1).max() < 1e-3:
            return 1
    return 0


def _classes(value: Any) -> list[tuple[Any, Any]]:
    """Return module and name of every class that a Keras configuration asks for."""
    if isinstance(value, list):
        return [found for item in value for found in _classes(item)]
    if not isinstance(value, dict):
        return []
    own = [(value.get("module"), value["class_name"])] if "class_name" in value else []
    if "registered_name" in value and value["registered_name"] not in (None, value.get("class_name")):
        own.append((None, value["registered_name"]))
    return own + [found for item in value.values() for found in _classes(item)]


def _refused(name: str, reason: str) -> RunError:
    return RunError(
        f"The archive's {name} is refused: {reason}. Expected the unchanged file of a run; export the run again."
    )


if __name__ == "__main__":
    sys.exit(_try(sys.argv[1]))
