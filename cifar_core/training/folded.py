"""The trained part of the network rewritten so that a step costs less: the same variables, the same numbers.

A batch norm that stays in inference mode multiplies each channel by a number and adds another. Here the first goes
into the kernel before it, the second into a bias, and a 1×1 convolution is the matrix product that it is. Since no
image of a batch then depends on another before the head, each processor computes a piece of the batch.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.training import gpu, model, processors


class Folded(keras.layers.Layer):
    """A convolution (1×1 or depthwise) and the frozen batch norm behind it in one, with or without ReLU6.

    float32 (n, h, w, c) -> float32 (n, h', w', c'). The variables are those of the two layers.
    """

    def __init__(self, convolution: keras.layers.Layer, norm: keras.layers.Layer, is_linear: bool = False) -> None:
        super().__init__(name=f"{convolution.name}_folded")
        self.convolution, self.norm, self.is_linear = convolution, norm, is_linear

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Do nothing: both layers are built."""

    def call(self, x: Any) -> Any:
        """Return the activations behind norm and ReLU6."""
        layer, norm = self.convolution, self.norm
        scale = norm.gamma * ops.rsqrt(norm.moving_variance + norm.epsilon)
        shift = norm.beta - norm.moving_mean * scale
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = layer.kernel * scale[:, None]  # (3, 3, c, 1)
            y = ops.depthwise_conv(x, kernel, layer.strides, layer.padding) + shift
            return ops.relu6(y)
        height, width, channels = x.shape[1:]
        y = ops.matmul(ops.reshape(x, (-1, channels)), layer.kernel[0, 0] * scale) + shift  # (n h w, c')
        return ops.reshape(y if self.is_linear else ops.relu6(y), (-1, height, width, layer.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the convolution's."""
        shape: tuple[int | None, ...] = self.convolution.compute_output_shape(input_shape)
        return shape


class InPieces(keras.layers.Layer):
    """A model that computes a batch in `pieces`, which need not wait for each other.

    float32 (n, ...) -> float32 (n, c), for any n.
    """

    def __init__(self, part: keras.Model, pieces: int) -> None:
        super().__init__(name="in_pieces")
        self.part, self.pieces = part, pieces

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Do nothing: the model is built."""

    def call(self, x: Any) -> Any:
        """Return the model's outputs."""
        if self.pieces == 1:
            return self.part(x)
        given = ops.shape(x)[0]
        missing = ops.maximum(self.pieces - given, 0)  # a last batch may be smaller; TensorFlow fails on an empty piece
        x = ops.pad(x, [[0, missing], *([0, 0] for _ in x.shape[1:])])
        ends = [(given + missing) * number // self.pieces for number in range(self.pieces + 1)]
        return ops.concatenate([self.part(x[start:end]) for start, end in itertools.pairwise(ends)])[:given]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the model's."""
        return input_shape[0], *self.part.output_shape[1:]


def part_after(network: keras.Model, config: TrainConfig, cut: int) -> keras.Model:
    """Return the part of `network` behind block number `cut`, sharing its variables; its batch norms must be frozen."""
    base = _base_after(network, config, cut)
    is_on_processors = keras.backend.backend() == "tensorflow" and not gpu.is_visible()
    features = keras.Input(base.input_shape[1:])
    x = InPieces(base, processors.pieces() if is_on_processors else 1)(features)
    for name in model.HEAD_LAYERS:
        x = network.get_layer(name)(x)
    return keras.Model(features, x, name=base.name)


def _base_after(network: keras.Model, config: TrainConfig, cut: int) -> keras.Model:
    """Return what lies between block number `cut` and the head: float32 (n, h, w, c) -> float32 (n, 1280)."""

    def folded(name: str, norm: str, x: Any, is_linear: bool = False) -> Any:
        return Folded(network.get_layer(name), network.get_layer(norm), is_linear)(x)

    table = architecture.blocks(config.alpha)
    layer = table[cut].output_layer
    features = x = keras.Input(network.get_layer(layer).output.shape[1:])
    for block in table[cut + 1 :]:
        start, name = x, block.name
        x = folded(f"{name}_expand", f"{name}_expand_BN", x)
        x = network.get_layer(f"{name}_pad")(x) if block.stride == 2 else x
        x = folded(f"{name}_depthwise", f"{name}_depthwise_BN", x)
        x = folded(f"{name}_project", f"{name}_project_BN", x, is_linear=True)
        x = network.get_layer(block.output_layer)([start, x]) if block.residual else x
    x = folded("Conv_1", "Conv_1_bn", x)
    x = network.get_layer("pooled")(x)
    return keras.Model(features, x, name=f"after_{layer}")
