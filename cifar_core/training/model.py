"""MobileNetV2 with this project's head as one flat Keras model, its parts, and a cheaper form of what phase 2 trains.

A batch norm that stays in inference mode multiplies each channel by a number and adds another. `BackboneTop` has the
same variables and gives the same numbers: the first goes into the kernel before it, the second into a bias, and a 1×1
convolution is the matrix product that it is. Since no image of a batch then depends on another before the head, each
processor computes a piece of the batch.

Uses Keras alone, on any of its backends.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.litert import SCALINGS
from cifar_core.network.pretrained import Named
from cifar_core.training import hardware

HEAD_LAYERS = ("head_norm", "head_dropout", "head_dense", "head_output")
_ADAPTING_MOMENTUM = 0.95  # Keras's MobileNetV2 has 0.999, too slow for a short fine-tuning

_Kernel = tuple[Any, Any]
"""A kernel and a bias."""


def build(config: TrainConfig, base: Named) -> keras.Model:
    """Return the network of `config` with the named weights `base` below a new head.

    float32 (n, 32, 32, 3), pixels in 0..255 -> probabilities float32 (n, 10). Resizing and scaling are inside.
    """
    images = keras.Input((32, 32, 3), name="images")
    factor, offset = SCALINGS[config.scaling]
    x = keras.layers.Rescaling(factor, offset, name="scaling")(images)
    if config.image_size != 32:
        x = keras.layers.Resizing(config.image_size, config.image_size, name="resizing")(x)  # (n, size, size, 3)
    backbone = keras.applications.MobileNetV2(
        input_shape=(config.image_size, config.image_size, 3),
        input_tensor=x,
        alpha=config.alpha,
        include_top=False,
        weights=None,
    )
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(backbone.output)  # (n, 1280)
    network = keras.Model(images, _head(config, x), name="mobilenet_v2_cifar10")
    assign(network, base)
    return network


def build_head(config: TrainConfig) -> keras.Model:
    """Return the head of `config` alone: pooled features float32 (n, c) -> probabilities float32 (n, 10)."""
    pooled = keras.Input((architecture.top_channels(config.alpha),), name="pooled")
    return keras.Model(pooled, _head(config, pooled), name="head")


class RateDropout(keras.layers.Layer):
    """The layer `dropout` with its rate in a variable, so that another rate needs no other graph."""

    def __init__(self, dropout: keras.layers.Dropout) -> None:
        super().__init__(name="rate_dropout")
        self.rate = keras.Variable(dropout.rate, trainable=False, name="rate")
        self.seed_generator = dropout.seed_generator

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop that share of `inputs` (n, c) in training and scale the others up."""
        if not training:
            return inputs
        chances = keras.random.uniform(keras.ops.shape(inputs), seed=self.seed_generator)
        return keras.ops.where(chances >= self.rate, inputs / (1 - self.rate), 0.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the inputs."""
        return input_shape


def connect_head(
    network: keras.Model, pooled: keras.KerasTensor, drops: bool
) -> tuple[keras.KerasTensor, keras.Variable | None]:
    """Connect the head's layers of `network` to `pooled` (n, c); return the probabilities and the rate of dropout.

    Without `drops` there is no dropout, and None in the place of its rate.
    """
    dropout = RateDropout(network.get_layer("head_dropout")) if drops else None
    x = pooled
    for name in HEAD_LAYERS:
        if name != "head_dropout":
            x = network.get_layer(name)(x)
        elif dropout is not None:
            x = dropout(x)
    return x, dropout.rate if dropout is not None else None


def _head(config: TrainConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name="head_norm")(x)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    penalty = keras.regularizers.L2(config.l2)
    x = keras.layers.Dense(config.dense_units, "relu", kernel_regularizer=penalty, name="head_dense")(x)
    return keras.layers.Dense(architecture.CLASS_COUNT, "softmax", name="head_output")(x)


def named_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """Return every weight of `network` as a NumPy array, named "<layer>/<variable>"."""
    return {f"{layer.name}/{v.name}": v.numpy() for layer in network.layers for v in layer.weights}


def weight_changes(network: keras.Model, first: Named) -> list[float]:
    """Return how far the kernels of each block have moved from those of `first`: the norm of the change by theirs."""
    named, changes = named_weights(network), []
    for block in architecture.blocks(1.0):  # the names are the same at every width
        names = [name for name in named if name.startswith(f"{block.name}_") and name.endswith("kernel")]
        change, size = (
            np.sqrt(sum(float(np.square(values[name]).sum()) for name in names))
            for values in ({name: named[name] - first[name] for name in names}, first)
        )
        changes.append(round(float(change / max(size, 1e-12)), 6))
    return changes


def assign(network: keras.Model, named: Named) -> None:
    """Set those weights of `network` that `named` holds."""
    for layer in network.layers:
        for variable in layer.weights:
            value = named.get(f"{layer.name}/{variable.name}")
            if value is not None:
                variable.assign(value)


def first_trained_layer(config: TrainConfig, phase: str) -> str:
    """Return the name of the layer whose output is the last frozen thing: what `phase` trains comes after it."""
    if phase == "head":
        return "pooled"
    cut = architecture.cut_block(config.fine_tune_blocks)
    return "images" if cut is None else architecture.blocks(config.alpha)[cut].output_layer


def freeze(network: keras.Model, config: TrainConfig, phase: str) -> None:
    """Make trainable what `phase` ("head", "fine_tune") trains, and nothing else.

    In Keras a batch norm that is not trainable runs in inference mode.
    """
    trained = False
    cut = first_trained_layer(config, phase)
    for layer in network.layers:
        is_base_norm = isinstance(layer, keras.layers.BatchNormalization) and layer.name not in HEAD_LAYERS
        layer.trainable = trained and not (is_base_norm and config.batch_norm == "inference")
        if is_base_norm and trained and config.batch_norm == "adapt":
            layer.momentum = _ADAPTING_MOMENTUM
        trained = trained or layer.name == cut


def save(network: keras.Model, path: Path) -> None:
    """Write `network` to the .keras file `path`, without an optimizer, whose state would triple the file.

    Keras 3.4 and later read it: settings that have their default value are left out of its configuration, since an
    older Keras refuses those that it does not know.
    """
    keras.Model(network.inputs, network.outputs, name=network.name).save(path)
    path.write_bytes(portable(path.read_bytes()))


def portable(content: bytes) -> bytes:
    """Return the .keras file `content` with the same weights and no default-valued settings in its configuration."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for info in old.infolist():
            member = old.read(info)
            if info.filename == "config.json":
                member = json.dumps(_without_defaults(json.loads(member))).encode()
            new.writestr(info, member)
    return packed.getvalue()


def _without_defaults(value: Any) -> Any:
    """Return a Keras configuration without the settings that its classes have by default."""
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: _without_defaults(item) for key, item in value.items()}
    if value.get("module") in ("keras.layers", "keras.initializers", "keras.regularizers") and "config" in value:
        layer = getattr(importlib.import_module(value["module"]), value["class_name"])
        known = inspect.signature(layer).parameters
        value["config"] = {
            key: item
            for key, item in value["config"].items()
            if key not in known or not _is_default(item, known[key].default)
        }
    return value


def _is_default(value: Any, default: Any) -> bool:
    return (type(value), value) == (type(default), default) or (value is False and default is None)


@functools.lru_cache(maxsize=4)
def summary(network: keras.Model) -> str:
    """Return Keras's table of the layers. Cached, since it takes a tenth of the time of a sweep's trial."""
    lines: list[str] = []
    network.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    return "\n".join(lines)


class BackboneTop(keras.layers.Layer):
    """What lies between block number `cut` of `network` and the head, its batch norms frozen, its variables shared.

    float32 (n, h, w, c) -> float32 (n, 1280). A batch is computed in `pieces`, which need not wait for each other.
    """

    def __init__(self, network: keras.Model, alpha: float, cut: int, pieces: int) -> None:
        super().__init__(name="backbone_top")
        self._blocks, self._pieces = architecture.blocks(alpha)[cut + 1 :], pieces
        self.convolutions: list[keras.layers.Layer] = []
        self.norms: list[keras.layers.Layer] = []
        for block in self._blocks:
            for part in ("expand", "depthwise", "project"):
                self._take(network, f"{block.name}_{part}", f"{block.name}_{part}_BN")
        self._take(network, "Conv_1", "Conv_1_bn")

    def _take(self, network: keras.Model, convolution: str, norm: str) -> None:
        self.convolutions.append(network.get_layer(convolution))
        self.norms.append(network.get_layer(norm))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Do nothing: the layers are built."""

    def call(self, x: Any) -> Any:
        """Return the pooled features."""
        kernels = {layer.name: _folded(layer, norm) for layer, norm in zip(self.convolutions, self.norms, strict=True)}
        if self._pieces == 1:
            return self._piece(x, kernels)
        given = ops.shape(x)[0]
        missing = ops.maximum(
            self._pieces - given, 0
        )  # a last batch may be smaller; TensorFlow fails on an empty piece
        x = ops.pad(x, [[0, missing], *([0, 0] for _ in x.shape[1:])])
        ends = [(given + missing) * number // self._pieces for number in range(self._pieces + 1)]
        return ops.concatenate([self._piece(x[start:end], kernels) for start, end in itertools.pairwise(ends)])[:given]

    def _piece(self, x: Any, kernels: dict[str, _Kernel]) -> Any:
        for block in self._blocks:
            start, name = x, block.name
            x = ops.relu6(_pointwise(x, *kernels[f"{name}_expand"]))
            x = ops.relu6(_depthwise(x, *kernels[f"{name}_depthwise"], block.stride))
            x = _pointwise(x, *kernels[f"{name}_project"])
            x = start + x if block.residual else x
        return ops.mean(ops.relu6(_pointwise(x, *kernels["Conv_1"])), axis=(1, 2))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, channels)."""
        return input_shape[0], self.convolutions[-1].filters


def _folded(convolution: keras.layers.Layer, norm: keras.layers.Layer) -> _Kernel:
    """Return a convolution and the norm behind it in one: (c, c') of a 1×1 convolution or (3, 3, c, 1), and a bias."""
    scale = norm.gamma * ops.rsqrt(norm.moving_variance + norm.epsilon)
    shift = norm.beta - norm.moving_mean * scale
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        return convolution.kernel * scale[:, None], shift
    return ops.reshape(convolution.kernel, convolution.kernel.shape[2:]) * scale, shift


def _pointwise(x: Any, kernel: Any, bias: Any) -> Any:
    height, width, channels = x.shape[1:]
    y = ops.matmul(ops.reshape(x, (-1, channels)), kernel) + bias
    return ops.reshape(y, (-1, height, width, kernel.shape[1]))


def _depthwise(x: Any, kernel: Any, bias: Any, stride: int) -> Any:
    if stride == 1:
        return ops.depthwise_conv(x, kernel, 1, "same") + bias
    odd = [side % 2 for side in x.shape[1:3]]  # where Keras's correct_pad puts zeros before a stride of 2
    x = ops.pad(x, [[0, 0], [odd[0], 1], [odd[1], 1], [0, 0]])
    return ops.depthwise_conv(x, kernel, stride, "valid") + bias


def backbone_top(network: keras.Model, alpha: float, cut: int) -> BackboneTop:
    """Return what lies between block number `cut` of `network` and its head; its batch norms must be frozen.

    A batch is computed in as many pieces as there are processors, on a graphics card in one.
    """
    is_on_processors = keras.backend.backend() == "tensorflow" and not hardware.has_gpu()
    return BackboneTop(network, alpha, cut, hardware.pieces() if is_on_processors else 1)
