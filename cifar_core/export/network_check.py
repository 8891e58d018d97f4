"""Whether a stranger's model files are what a run of that configuration would have made."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from cifar_core import architecture, litert, weights
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError

_KERAS_FILES = {"metadata.json", "config.json", "model.weights.h5"}
_KERAS_LIMIT = 64 * 2**20  # bytes unpacked
_KERAS_CLASSES = {
    "Adam", "AdamW", "Add", "BatchNormalization", "CategoricalCrossentropy", "Conv2D", "CosineDecay", "Dense",
    "DepthwiseConv2D", "Dropout", "DTypePolicy", "Functional", "GlobalAveragePooling2D", "GlorotUniform",
    "InputLayer", "L2", "Ones", "ReLU", "Rescaling", "Resizing", "ZeroPadding2D", "Zeros", "__keras_tensor__",
}  # fmt: skip
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError, EOFError, ArithmeticError)


def check_network(content: bytes, config: TrainConfig) -> None:
    """Raise RunError unless `content` is a LiteRT file with exactly the operators and shapes that `config` gives."""
    outputs = litert.Network(content).output_shapes  # the interpreter verifies the file before it is read here
    try:
        same = _structure(content) == _structure(_pattern(config))
    except (*_MALFORMED, struct.error, RecursionError):
        same = False
    if not same or outputs != {"pooled": (architecture.top_channels(config.alpha),), "probabilities": (10,)}:
        raise _refused("model.tflite", "it is not the network of its configuration")
    answers = litert.Network(content).run(np.zeros((1, *litert.IMAGE_SHAPE), np.uint8))["probabilities"]
    if not abs(answers.sum() - 1) < 1e-3:  # NaN fails too
        raise _refused("model.tflite", "its answers are not probabilities")


def check_keras_file(content: bytes) -> None:
    """Raise RunError unless `content` looks like a Keras file of ours: three files, and Keras's own classes only."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if {info.filename for info in infos} != _KERAS_FILES or len(infos) != len(_KERAS_FILES):
                raise _refused("best.keras", "it holds other files than Keras's three")
            if sum(info.file_size for info in infos) > _KERAS_LIMIT:
                raise _refused("best.keras", f"it unpacks to more than {_KERAS_LIMIT // 2**20} MiB")
            classes = set(_classes(json.loads(archive.read("config.json"))))
    except (*_MALFORMED, zipfile.BadZipFile, zlib.error, RecursionError) as error:
        raise _refused("best.keras", f"it is damaged ({type(error).__name__})") from None
    for module, name in classes:
        known = name in _KERAS_CLASSES and (module is None or str(module).split(".")[0] == "keras")
        if not known:
            raise _refused("best.keras", f"it asks for {str(module)[:60]}.{str(name)[:60]}, which no run needs")


def _pattern(config: TrainConfig) -> bytes:
    """Return the file of an untrained network of `config`."""
    channels, units = architecture.top_channels(config.alpha), config.dense_units
    named = dict(weights.load("random", config.alpha, config.image_size, seed=1).named)
    named |= {f"head_norm/{name}": np.ones(channels) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    for layer, shape in (("head_dense", (channels, units)), ("head_output", (units, architecture.CLASS_COUNT))):
        named |= {f"{layer}/kernel": np.ones(shape), f"{layer}/bias": np.ones(shape[1])}
    return litert.build(named, config.alpha, config.image_size, config.scaling, ("pooled", "probabilities"))


def _structure(content: bytes) -> list[tuple[Any, ...]]:
    """Return the operators of a LiteRT file with shapes, types and options of all that they touch."""
    model = litert.unpack(content)
    if len(model.subgraphs) != 1:
        raise ValueError("more than one graph")
    tensors = model.subgraphs[0].tensors
    return [
        (
            model.operatorCodes[operator.opcodeIndex].builtinCode,
            sorted((key, str(value)) for key, value in vars(operator.builtinOptions).items()),
            [
                (int(index), tuple(map(int, tensors[index].shape)), tensors[index].type)
                for index in (*operator.inputs, *operator.outputs)
            ],
        )
        for operator in model.subgraphs[0].operators
    ]


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
