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

from cifar_core.network import architecture
from cifar_core.training import hardware

_Kernel = tuple[Any, Any]
"""A kernel and a bias."""


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
