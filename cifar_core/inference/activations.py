"""Activations inside a network: block outputs for a picture, and the training images that activate each channel most.

    <cache>/inside/<key>.npz    the highest activations of a network's channels on training images; rebuilt if missing

Block outputs have no activation function, so values may be negative. Each channel counts with its largest value over
the map, standardized by mean and standard deviation over the training images.
"""

import functools
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cifar_core import machine, untrusted
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.inference.classifier import Classifier
from cifar_core.inference.pictures import SIDE
from cifar_core.network import architecture, litert_format
from cifar_core.network.litert import Network

STEM, TOP = "Conv1", "Conv_1"
IMAGES = 2_000
"""Number of training images."""
NEAREST, CHANNELS = 9, 8
_CHUNK = 16  # one LiteRT batch; its maps fit into the CPU cache
_LEAST = 1e-6  # smallest standard deviation of a channel


@dataclass(frozen=True, eq=False)
class TopImages:
    """The training images that activate the c channels of each block most.

    rows: their positions, int32 (c, NEAREST). means, spreads: mean and standard deviation of each channel's largest
    value over the training images, float32 (c,).
    """

    rows: list[np.ndarray]
    means: list[np.ndarray]
    spreads: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class BlockView:
    """The output of a block for a picture.

    `channels`, int (8,), are the strongest of `count` channels. `strengths`, float (8,), are their largest values
    in standard deviations above the mean. `maps`, float32 (8, side, side), are in the same unit. `field` is the
    side of the receptive field of one position, in pixels of the 32×32 input.
    """

    count: int
    side: int
    channels: np.ndarray
    strengths: np.ndarray
    maps: np.ndarray
    field: float

    def place(self, number: int) -> tuple[float, float, float]:
        """Return the receptive field of the strongest position of map `number`: left, top and side, as fractions."""
        row, column = np.unravel_index(int(self.maps[number].argmax()), (self.side, self.side))
        half = self.field / 2
        left, top = ((at + 0.5) * SIDE / self.side for at in (column, row))
        return (left - half) / SIDE, (top - half) / SIDE, self.field / SIDE


def layer_names(alpha: float) -> list[str]:
    """Return the names of the tapped layers in order: stem, blocks, top convolution."""
    return [STEM, *(block.name for block in architecture.blocks(alpha)), TOP]


def with_layer_outputs(content: bytes, alpha: float) -> bytes:
    """Return the LiteRT file `content` with the feature map of each tapped layer as an additional output.

    Raises RunError if it is not a network of width `alpha`.
    """
    model = litert_format.unpack(content)
    graph = model.subgraphs[0]
    tensors = {tensor.name.decode(): number for number, tensor in enumerate(graph.tensors)}
    ends = {STEM: "bn_Conv1", TOP: "Conv_1_bn"} | {b.name: b.output_layer for b in architecture.blocks(alpha)}
    if not set(ends.values()) <= set(tensors):
        raise RunError(f"This model is not MobileNetV2 of width {alpha:g} as this program writes it; train it again.")
    for name, layer in ends.items():
        graph.outputs = [*graph.outputs, tensors[layer]]
        model.signatureDefs[0].outputs.append(schema.TensorMapT(name, tensors[layer]))
    return litert_format.pack(model)


def top_images(model: Classifier, report: machine.Progress = lambda done, total: None) -> TopImages:
    """Return the images that activate the channels of `model`. Cached; takes 2 s of processor time at width 0.5.

    Raises DataError if there are no training images, and RunError if another program wrote the model.
    """
    images, _ = cifar10.samples(IMAGES)
    key = hashlib.sha256(model.content + images.tobytes()).hexdigest()[:24]
    path = cifar10.cache_dir() / "inside" / f"{key}.npz"
    blocks = architecture.blocks(model.alpha)
    bounds = np.cumsum([block.out_channels for block in blocks])
    with suppress(OSError, ValueError, KeyError):
        arrays = untrusted.load_arrays(path)
        known = [arrays[name] for name in ("rows", "means", "spreads")]
        shapes = [(bounds[-1], NEAREST), (bounds[-1],), (bounds[-1],)]
        if [values.shape for values in known] == shapes and known[0].max() < IMAGES:
            return TopImages(*(np.split(values, bounds[:-1]) for values in known))
    parts = []
    for start in range(0, len(images), _CHUNK):
        report(start, len(images))
        maps = _taps(model.content, model.alpha).run(images[start : start + _CHUNK])
        parts.append(np.concatenate([maps[block.name].max(axis=(1, 2)) for block in blocks], axis=1))
    highest = np.concatenate(parts)  # (IMAGES, c) of all blocks
    rows = np.argsort(-highest, axis=0, kind="stable")[:NEAREST].T.astype(np.int32)
    made = {"rows": rows, "means": highest.mean(axis=0), "spreads": highest.std(axis=0)}
    with suppress(OSError):  # without a cache it is computed each time
        path.parent.mkdir(parents=True, exist_ok=True)
        machine.save_arrays(path, **made)
    return TopImages(*(np.split(values, bounds[:-1]) for values in made.values()))


def views(model: Classifier, image: np.ndarray, known: TopImages) -> list[BlockView]:
    """Return the output of each block for an image, uint8 (32, 32, 3)."""
    maps = _taps(model.content, model.alpha).run(image[None])
    fields = receptive_fields(model)
    blocks = []
    for number, name in enumerate(layer_names(model.alpha)[1:-1]):
        values = (maps[name][0] - known.means[number]) / np.maximum(known.spreads[number], _LEAST)  # (h, w, c)
        strengths = values.max(axis=(0, 1))
        chosen = np.argsort(-strengths, kind="stable")[:CHANNELS]
        strongest = values[..., chosen].transpose(2, 0, 1).copy()
        side, _, count = values.shape
        blocks.append(BlockView(count, side, chosen, strengths[chosen], strongest, fields[number]))
    return blocks


def similarities(models: Sequence[Classifier], image: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of two models' outputs at each block for an image, float (17,).

    Raises RunError if their widths or input sizes differ.
    """
    first, second = (_taps(one.content, one.alpha).run(image[None]) for one in models)
    names = layer_names(models[0].alpha)[1:-1]
    if any(first[name].shape != second.get(name, image).shape for name in names):
        raise RunError("The blocks of models with different widths or input sizes cannot be compared; choose another.")
    pairs = ((first[name].ravel(), second[name].ravel()) for name in names)
    return np.array([float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), _LEAST) for a, b in pairs])


def receptive_fields(model: Classifier) -> list[float]:
    """Return the receptive field of each block: its side in pixels of the 32×32 input, which it may exceed."""
    image_size = 2 * _taps(model.content, model.alpha).output_shapes[STEM][0]
    field, step, fields = 3, 2, []  # the stem: 3×3, stride 2
    for block in architecture.blocks(model.alpha):
        field += 2 * step
        step *= block.stride
        fields.append(field * SIDE / image_size)
    return fields


@functools.lru_cache(maxsize=2)
def _taps(content: bytes, alpha: float) -> Network:
    return Network(with_layer_outputs(content, alpha))
