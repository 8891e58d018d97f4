"""MobileNetV2 as a table: shapes, parameters and multiply-adds of a configuration, without TensorFlow.

The network is `keras.applications.MobileNetV2` (Sandler et al. 2018, arXiv:1801.04381), followed by global
average pooling and this project's head: head_norm, dropout, head_dense, head_output. Rows of the table, named
weights and layers of the saved model share Keras's layer names.

    for row in layers(alpha=0.5, image_size=96, dense_units=128): print(row)
    cost(alpha=0.5, image_size=96, dense_units=128, fine_tune_blocks=4).multiply_adds   # 17.9 million
"""

from collections.abc import Iterator
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
    def expanded_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.expansion * self.in_channels

    @property
    def output_layer(self) -> str:
        """Name of the Keras layer that outputs the block's result."""
        return f"{self.name}_add" if self.residual else f"{self.name}_project_BN"


@dataclass(frozen=True)
class LayerRow:
    """One layer, including the batch norm and activation after it.

    `kind` is "conv", "depthwise", "add", "pool", "norm" or "dense". `output_shape` excludes the batch axis.
    `parameters` include all four vectors of a batch norm. `multiply_adds` are for one image; a batch norm after a
    convolution has none, since it folds into the weights. `block` is the index of the layer's block, or None.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    block: int | None = None


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
    side, shapes = halved(image_size), []
    for block in blocks(alpha):
        side = halved(side) if block.stride == 2 else side
        shapes.append((block.out_channels, side))
    return shapes


def halved(size: int) -> int:
    """Return height or width after a 3x3 convolution of stride 2 with Keras's padding: half, rounded up."""
    return (size + 1) // 2


def layers(alpha: float, image_size: int, dense_units: int) -> tuple[LayerRow, ...]:
    """Return the layers from the resized RGB image (`image_size` squared) to the ten probabilities, in order."""
    size = halved(image_size)
    table = blocks(alpha)
    features = top_channels(alpha)
    rows = [_conv("Conv1", size, IMAGE_CHANNELS, stem_channels(alpha), kernel=3)]
    for block in table:
        rows.extend(_block_rows(block, size))
        size = rows[-1].output_shape[0]
    rows.append(_conv("Conv_1", size, table[-1].out_channels, features))
    rows.append(LayerRow("pooled", "pool", (features,), 0, 0))
    rows.append(LayerRow("head_norm", "norm", (features,), BATCH_NORM_VECTORS * features, features))
    rows.append(_dense("head_dense", features, dense_units))
    rows.append(_dense("head_output", dense_units, CLASS_COUNT))
    return tuple(rows)


def cost(alpha: float, image_size: int, dense_units: int, fine_tune_blocks: int) -> Cost:
    """Return the cost of a configuration; `fine_tune_blocks` (0 to 17) are counted from the top."""
    rows = layers(alpha, image_size, dense_units)
    head_start = [row.kind for row in rows].index("norm")
    head = rows[head_start:]
    if fine_tune_blocks in (0, BLOCK_COUNT):
        frozen = () if fine_tune_blocks else rows[:head_start]
    else:
        frozen = rows[: [row.block for row in rows].index(BLOCK_COUNT - fine_tune_blocks)]
    parameters = sum(row.parameters for row in rows)
    return Cost(
        parameters=parameters,
        head_parameters=sum(row.parameters for row in head),
        fine_tuned_parameters=parameters - sum(row.parameters for row in frozen),
        multiply_adds=sum(row.multiply_adds for row in rows),
        frozen_multiply_adds=sum(row.multiply_adds for row in frozen),
        model_bytes=BYTES_PER_WEIGHT * _folded_parameters(rows),
    )


def _block_rows(block: Block, size: int) -> Iterator[LayerRow]:
    """Yield the rows of one block with an input of `size` squared."""
    wide = block.expanded_channels
    if block.expansion > 1:
        yield _conv(f"{block.name}_expand", size, block.in_channels, wide, block=block.index)
    size = halved(size) if block.stride == 2 else size
    shape, parameters, multiply_adds = (size, size, wide), (9 + BATCH_NORM_VECTORS) * wide, 9 * wide * size**2
    yield LayerRow(f"{block.name}_depthwise", "depthwise", shape, parameters, multiply_adds, block.index)
    yield _conv(f"{block.name}_project", size, wide, block.out_channels, block=block.index)
    if block.residual:
        yield LayerRow(f"{block.name}_add", "add", (size, size, block.out_channels), 0, 0, block.index)


def _conv(name: str, size: int, inputs: int, outputs: int, kernel: int = 1, block: int | None = None) -> LayerRow:
    """Return the row of a convolution without bias and its batch norm; `size` is the output's height and width."""
    weights = kernel**2 * inputs * outputs
    parameters = weights + BATCH_NORM_VECTORS * outputs
    return LayerRow(name, "conv", (size, size, outputs), parameters, weights * size**2, block)


def _dense(name: str, inputs: int, outputs: int) -> LayerRow:
    """Return the row of a dense layer with bias."""
    return LayerRow(name, "dense", (outputs,), (inputs + 1) * outputs, inputs * outputs)


def _folded_parameters(rows: tuple[LayerRow, ...]) -> int:
    """Return the number of weights after folding: one bias vector per convolution's batch norm, none for head_norm."""
    convolutions = sum(r.output_shape[-1] for r in rows if r.kind in ("conv", "depthwise"))
    norms = sum(r.parameters for r in rows if r.kind == "norm")
    return sum(r.parameters for r in rows) - (BATCH_NORM_VECTORS - 1) * convolutions - norms
