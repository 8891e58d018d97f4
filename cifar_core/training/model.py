"""MobileNetV2 with this project's head as one flat Keras model, its parts, and a faster form of its backbone.

A batch norm in inference mode scales and shifts each channel. `FoldedBackbone` shares the variables of the network and
computes the same outputs: it folds the scale into the kernel of the convolution before and the shift into a bias, and
computes a 1×1 convolution as a matrix product. No image of a batch then depends on another before the head, so each
CPU core computes a piece of the batch.

Works with each Keras backend.
"""

import functools
import importlib
import inspect
import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.litert import SCALINGS
from cifar_core.network.pretrained import Named
from cifar_core.training import hardware
from cifar_core.training.keras_import import keras

HEAD_LAYERS = ("head_norm", "head_dropout", "head_dense", "head_output")
_ADAPTING_MOMENTUM = 0.95  # Keras's MobileNetV2 has 0.999, too slow for a short fine-tuning

_Kernel = tuple[Any, Any]
"""A kernel and a bias."""


def build(config: TrainConfig, base: Named) -> keras.Model:
    """Return the network of `config` with the backbone weights `base` and a new head.

    Pixels in 0..255, float32 (n, 32, 32, 3) -> probabilities, float32 (n, 10). Includes resizing and scaling.
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
    """Return the head of `config`: pooled features, float32 (n, c) -> probabilities, float32 (n, 10)."""
    pooled = keras.Input((architecture.top_channels(config.alpha),), name="pooled")
    return keras.Model(pooled, _head(config, pooled), name="head")


class RateDropout(keras.layers.Layer):
    """Dropout with its rate in a variable, so that a graph works for each rate."""

    def __init__(self, dropout: keras.layers.Dropout) -> None:
        super().__init__(name="rate_dropout")
        self.rate = keras.Variable(dropout.rate, trainable=False, name="rate")
        self.seed_generator = dropout.seed_generator

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop `rate` of the `inputs` (n, c) in training and scale up the others."""
        if not training:
            return inputs
        chances = keras.random.uniform(keras.ops.shape(inputs), seed=self.seed_generator)
        return keras.ops.where(chances >= self.rate, inputs / (1 - self.rate), 0.0)


def connect_head(
    network: keras.Model, pooled: keras.KerasTensor
) -> tuple[keras.KerasTensor, dict[str, keras.Variable]]:
    """Connect the head's layers of `network` to `pooled` (n, c); return the probabilities.

    Also returns the dropout rate as {"dropout": variable}, or {} if the network was built without dropout.
    """
    x, rates = network.get_layer("head_norm")(pooled), {}
    if network.get_layer("head_dropout").rate > 0:
        dropout = RateDropout(network.get_layer("head_dropout"))
        x, rates = dropout(x), {"dropout": dropout.rate}
    return network.get_layer("head_output")(network.get_layer("head_dense")(x)), rates


def _head(config: TrainConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name="head_norm")(x)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    penalty = keras.regularizers.L2(config.l2)
    x = keras.layers.Dense(config.dense_units, "relu", kernel_regularizer=penalty, name="head_dense")(x)
    return keras.layers.Dense(architecture.CLASS_COUNT, "softmax", name="head_output")(x)


def named_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of `network` as NumPy arrays: "<layer>/<variable>" -> array."""
    return {f"{layer.name}/{v.name}": v.numpy() for layer in network.layers for v in layer.weights}


def weight_changes(network: keras.Model, first: Named) -> list[float]:
    """Return the relative change of each block's kernels since `first`: norm of the change / norm of `first`."""
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
    """Set the weights of `network` that `named` contains."""
    for layer in network.layers:
        for variable in layer.weights:
            value = named.get(f"{layer.name}/{variable.name}")
            if value is not None:
                variable.assign(value)


def first_trained_layer(config: TrainConfig, phase: str) -> str:
    """Return the name of the last frozen layer; `phase` trains the layers after it."""
    if phase == "head":
        return "pooled"
    cut = architecture.cut_block(config.fine_tune_blocks)
    return "images" if cut is None else architecture.blocks(config.alpha)[cut].output_layer


def freeze(network: keras.Model, config: TrainConfig, phase: str) -> None:
    """Make the layers trainable that `phase` ("head", "fine_tune") trains, and freeze the others.

    In Keras, a frozen batch norm runs in inference mode.
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
    """Save `network` to the .keras file `path` without the optimizer, which would triple the file size.

    Keras 3.4 and later can load it: default-valued settings are left out of the configuration, since an older Keras
    rejects settings that it does not know.
    """
    keras.Model(network.inputs, network.outputs, name=network.name).save(path)
    path.write_bytes(portable(path.read_bytes()))


def portable(content: bytes) -> bytes:
    """Return the .keras file `content` without default-valued settings in its configuration."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for info in old.infolist():
            member = old.read(info)
            if info.filename == "config.json":
                member = json.dumps(_without_defaults(json.loads(member))).encode()
            new.writestr(info, member)
    return packed.getvalue()


def _without_defaults(value: Any) -> Any:
    """Return a Keras configuration without default-valued settings."""
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
    """Return Keras's table of layers. Cached, since it takes a tenth of the time of a sweep trial."""
    lines: list[str] = []
    network.summary(print_fn=lambda line, **_: lines.append(line), line_length=80)  # Keras cuts a wider one
    return "\n".join(lines)


class FoldedBackbone(keras.layers.Layer):
    """The layers of `network` after the layer `last` up to the head, with shared variables and folded batch norms.

    `last` is "images" or the last layer of a block. The batch norms must be in inference mode.
    float32 (n, h, w, c) -> float32 (n, 1280). With TensorFlow on a CPU, a batch is computed in `hardware.pieces()`
    independent pieces, otherwise in one.
    """

    def __init__(self, network: keras.Model, alpha: float, last: str) -> None:
        super().__init__(name="folded_backbone")
        is_on_processors = keras.backend.backend() == "tensorflow" and not hardware.has_gpu()
        self._pieces = hardware.pieces() if is_on_processors else 1
        blocks = architecture.blocks(alpha)
        first = ["images", *(block.output_layer for block in blocks)].index(last)
        self._blocks = blocks[first:]
        # the names do not depend on the size, and the first convolution counts to block 0
        names = [one.name for one in architecture.convolutions(alpha, image_size=32) if one.block >= first]
        self.preprocessing = [one for one in network.layers if last == "images" and one.name in ("scaling", "resizing")]
        self.convolutions = [network.get_layer(name) for name in names]
        self.norms = [network.get_layer(architecture.batch_norm_name(name)) for name in names]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Do nothing: the layers are already built."""

    def call(self, x: Any) -> Any:
        """Return the pooled features, float32 (n, channels)."""
        kernels = {layer.name: _folded(layer, norm) for layer, norm in zip(self.convolutions, self.norms, strict=True)}
        if self._pieces == 1:
            return self._piece(x, kernels)
        given = keras.ops.shape(x)[0]
        missing = keras.ops.maximum(self._pieces - given, 0)  # in a small last batch; no piece may be empty
        x = keras.ops.pad(x, [[0, missing], *([0, 0] for _ in x.shape[1:])])
        ends = [(given + missing) * number // self._pieces for number in range(self._pieces + 1)]
        parts = [self._piece(x[start:end], kernels) for start, end in itertools.pairwise(ends)]
        return keras.ops.concatenate(parts)[:given]

    def _piece(self, x: Any, kernels: dict[str, _Kernel]) -> Any:
        for layer in self.preprocessing:
            x = layer(x)
        if "Conv1" in kernels:
            kernel, bias = kernels["Conv1"]
            x = keras.ops.relu6(keras.ops.conv(x, kernel, 2, "same") + bias)
        for block in self._blocks:
            start, name = x, block.name
            if block.expansion > 1:
                x = keras.ops.relu6(_pointwise(x, *kernels[f"{name}_expand"]))
            x = keras.ops.relu6(_depthwise(x, *kernels[f"{name}_depthwise"], block.stride))
            x = _pointwise(x, *kernels[f"{name}_project"])
            x = start + x if block.residual else x
        return keras.ops.mean(keras.ops.relu6(_pointwise(x, *kernels["Conv_1"])), axis=(1, 2))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, channels)."""
        return input_shape[0], self.convolutions[-1].filters


def _folded(convolution: keras.layers.Layer, norm: keras.layers.Layer) -> _Kernel:
    """Fold `norm` into `convolution`; return the kernel, (c, c') if 1×1, otherwise of the same shape, and the bias."""
    scale = norm.gamma * keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
    shift = norm.beta - norm.moving_mean * scale
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        return convolution.kernel * scale[:, None], shift
    kernel = convolution.kernel * scale
    return keras.ops.reshape(kernel, kernel.shape[2:]) if convolution.kernel_size == (1, 1) else kernel, shift


def _pointwise(x: Any, kernel: Any, bias: Any) -> Any:
    height, width, channels = x.shape[1:]
    y = keras.ops.matmul(keras.ops.reshape(x, (-1, channels)), kernel) + bias
    return keras.ops.reshape(y, (-1, height, width, kernel.shape[1]))


def _depthwise(x: Any, kernel: Any, bias: Any, stride: int) -> Any:
    if stride == 1:
        return keras.ops.depthwise_conv(x, kernel, 1, "same") + bias
    odd = [side % 2 for side in x.shape[1:3]]  # pads as Keras's correct_pad does before a stride of 2
    x = keras.ops.pad(x, [[0, 0], [odd[0], 1], [odd[1], 1], [0, 0]])
    return keras.ops.depthwise_conv(x, kernel, stride, "valid") + bias
