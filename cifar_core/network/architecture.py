"""MobileNetV2 as a table: shapes, parameters and multiply-adds of a configuration, without TensorFlow.

The network is `keras.applications.MobileNetV2` (Sandler et al. 2018, arXiv:1801.04381), followed by global
average pooling and this project's head: head_norm, dropout, head_dense, head_output. Rows of the table, named
weights and layers of the saved model share Keras's layer names.

    for row in convolutions(alpha=0.5, image_size=96): print(row)
    cost(alpha=0.5, image_size=96, dense_units=128, fine_tune_blocks=4).multiply_adds   # 17.9 million
"""

import functools
import math
from dataclasses import dataclass

BLOCK_COUNT = 17
CLASS_COUNT = 10
IMAGE_CHANNELS = 3
BATCH_NORM_VECTORS = 4  # gamma, beta, moving mean, moving variance
BYTES_PER_WEIGHT = 4  # float32

# Sandler et al. 2018, table 2: (expansion, channels at alpha 1, repeats, stride of the first repeat).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Block:
    """One inverted residual block: expand 1x1 (unless `expansion` is 1), depthwise 3x3, project 1x1.

    `index` counts from 0 at the input. `name` is Keras's prefix: "expanded_conv" or "block_5". If `residual`, the
    input is added to the output.
    """

    index: int
    name: str
    expansion: int
    in_channels: int
    out_channels: int
    stride: int
    residual: bool

    @property
    def output_layer(self) -> str:
        """Name of the Keras layer that outputs the block's result."""
        return f"{self.name}_add" if self.residual else f"{self.name}_project_BN"


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, and the batch norm and activation after it.

    `kernel` is the shape in Keras: (height, width, in, out), depthwise (height, width, channels, 1). `side` is height
    and width of the output. `block` is the index of its block; 0 for the first convolution, BLOCK_COUNT for the last.
    """

    name: str
    kernel: tuple[int, int, int, int]
    side: int
    block: int

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.kernel[2] if self.name.endswith("_depthwise") else self.kernel[3]

    @property
    def parameters(self) -> int:
        """Number of weights, including all four vectors of the batch norm."""
        return math.prod(self.kernel) + BATCH_NORM_VECTORS * self.channels

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image; the batch norm has none, since it folds into the kernel."""
        return math.prod(self.kernel) * self.side**2


@dataclass(frozen=True)
class Cost:
    """The cost of a configuration, computed without running it.

    `parameters` equals Keras's `count_params()`. `fine_tuned_parameters` counts the head and the unfrozen blocks,
    including batch norm statistics. `multiply_adds` is per image; `frozen_multiply_adds` is the part that phase 2
    does not repeat. `model_bytes` is the size of the float32 LiteRT file, accurate to a few kB.
    """

    parameters: int
    head_parameters: int
    fine_tuned_parameters: int
    multiply_adds: int
    frozen_multiply_adds: int
    model_bytes: int


def batch_norm_name(layer: str) -> str:
    """Return Keras's name of the batch norm after the convolution `layer`."""
    return {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(layer, f"{layer}_BN")


def make_divisible(value: float) -> int:
    """Round `value` to a multiple of 8, never down by more than a tenth, as keras.applications does."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def stem_channels(alpha: float) -> int:
    """Return the channels of Conv1 at width multiplier `alpha`."""
    return make_divisible(32 * alpha)


def top_channels(alpha: float) -> int:
    """Return the channels of Conv_1, the number of pooled features: 1280, or more if `alpha` is above 1."""
    return make_divisible(1280 * alpha) if alpha > 1 else 1280


def blocks(alpha: float) -> tuple[Block, ...]:
    """Return the 17 inverted residual blocks at width multiplier `alpha`, from the input up."""
    table: list[Block] = []
    in_channels = stem_channels(alpha)
    for expansion, channels, repeats, first_stride in _STAGES:
        out_channels = make_divisible(int(channels * alpha))
        for repeat in range(repeats):
            index = len(table)
            name = f"block_{index}" if index else "expanded_conv"
            stride = first_stride if repeat == 0 else 1
            residual = stride == 1 and in_channels == out_channels
            table.append(Block(index, name, expansion, in_channels, out_channels, stride, residual))
            in_channels = out_channels
    return tuple(table)


def cut_block(fine_tune_blocks: int) -> int | None:
    """Return the index of the last frozen block below the top `fine_tune_blocks` (0 to 17), or None for 0 and 17."""
    return None if fine_tune_blocks in (0, BLOCK_COUNT) else BLOCK_COUNT - 1 - fine_tune_blocks


def cut_shape(alpha: float, image_size: int, fine_tune_blocks: int) -> tuple[int, int, int] | None:
    """Return height, width and channels of the output at the cut, or None if there is no cut."""
    cut = cut_block(fine_tune_blocks)
    if cut is None:
        return None
    channels, side = block_shapes(alpha, image_size)[cut]
    return side, side, channels


def block_shapes(alpha: float, image_size: int) -> list[tuple[int, int]]:
    """Return channels and side of the output of each block."""
    return [(one.channels, one.side) for one in convolutions(alpha, image_size) if one.name.endswith("_project")]


def halved(size: int) -> int:
    """Return height or width after a 3x3 convolution of stride 2 with Keras's padding: half, rounded up."""
    return (size + 1) // 2


def convolutions(alpha: float, image_size: int) -> list[Convolution]:
    """Return the convolutions from the resized RGB image (`image_size` squared) to the features, in order."""
    side, channels = halved(image_size), stem_channels(alpha)
    found = [Convolution("Conv1", (3, 3, IMAGE_CHANNELS, channels), side, 0)]
    for block in blocks(alpha):
        name, index, channels = block.name, block.index, block.out_channels
        wide = block.expansion * block.in_channels
        if block.expansion > 1:
            found.append(Convolution(f"{name}_expand", (1, 1, block.in_channels, wide), side, index))
        side = halved(side) if block.stride == 2 else side
        found.append(Convolution(f"{name}_depthwise", (3, 3, wide, 1), side, index))
        found.append(Convolution(f"{name}_project", (1, 1, wide, channels), side, index))
    return [*found, Convolution("Conv_1", (1, 1, channels, top_channels(alpha)), side, BLOCK_COUNT)]


@functools.lru_cache(maxsize=1024)
def cost(alpha: float, image_size: int, dense_units: int, fine_tune_blocks: int) -> Cost:
    """Return the cost of a configuration; `fine_tune_blocks` (0 to 17) are counted from the top."""
    table, features = convolutions(alpha, image_size), top_channels(alpha)
    frozen = [one for one in table if not fine_tune_blocks or one.block < BLOCK_COUNT - fine_tune_blocks]
    dense = features * dense_units + dense_units * CLASS_COUNT
    biases = dense_units + CLASS_COUNT
    head = BATCH_NORM_VECTORS * features + dense + biases
    backbone = sum(one.parameters for one in table)
    folded = (BATCH_NORM_VECTORS - 1) * sum(one.channels for one in table)  # a bias remains of each batch norm
    return Cost(
        parameters=backbone + head,
        head_parameters=head,
        fine_tuned_parameters=backbone + head - sum(one.parameters for one in frozen),
        multiply_adds=sum(one.multiply_adds for one in table) + features + dense,
        frozen_multiply_adds=sum(one.multiply_adds for one in frozen),
        model_bytes=BYTES_PER_WEIGHT * (backbone - folded + dense + biases),
    )
