"""Measure internals of a trained network: input histogram, activation norms, last feature map, latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cifar_core.data import augmentation, cifar10, synthetic
from cifar_core.inference import model_file
from cifar_core.inference.inside import layer_names, with_layer_outputs
from cifar_core.network import litert
from cifar_core.network.litert import Network
from cifar_core.runs import Run, records

HISTOGRAM_BINS = 40
"""Number of equal bins of the network input, from -1 to 1."""
_PIXEL_IMAGES, _MAP_IMAGES = 500, 64
_DRAWING_SEED, _DRAWING = 5, 8  # a horse in a field, from the side


@dataclass(frozen=True)
class Internals:
    """Internals of a network.

    histogram: share of the training pixels in each of HISTOGRAM_BINS; sums to 1.

    norms: root mean square of the feature maps after the stem, the 17 blocks and the top convolution.

    last_map: the last block's map of a drawing, root mean square over the channels at each position (h rows of w).

    latency_ms: median milliseconds per image.
    """

    histogram: list[float]
    norms: list[float]
    last_map: list[list[float]]
    latency_ms: float


def measure(run: Run) -> Internals:
    """Return the internals of the finished `run`; takes about a second.

    Raises RunError if its model or environment.json is missing or damaged, DataError if its images are not on this
    machine.
    """
    config = run.config
    environment = records.environment(run.path)
    name = environment.data.name if environment else config.dataset
    images, _ = cifar10.samples(_PIXEL_IMAGES, name if name in cifar10.LABELS else config.dataset)
    seen = augmentation.augment(images, np.arange(len(images)), config.augmentation, config.seed, 0)
    network = Network(with_layer_outputs(model_file.read(run), config.alpha))
    maps = network.run(seen[:_MAP_IMAGES])
    layers = layer_names(config.alpha)
    last = network.run(drawing()[None])[layers[-2]][0]
    return Internals(
        histogram=histogram(seen, config.scaling),
        norms=[float(np.sqrt((maps[layer] ** 2).mean())) for layer in layers],
        last_map=np.sqrt((last**2).mean(axis=-1)).tolist(),
        latency_ms=model_file.load_latency(run) or model_file.measure_latency(run),
    )


def histogram(images: np.ndarray, scaling: str) -> list[float]:
    """Return the share of the scaled values of `images`, uint8, in each bin."""
    factor, offset = litert.SCALINGS[scaling]
    counts, _ = np.histogram(images * factor + offset, HISTOGRAM_BINS, (-1, 1))
    return (counts / counts.sum()).tolist()


def drawing() -> np.ndarray:
    """Return the drawing for the last map, uint8 (32, 32, 3)."""
    return synthetic.images(_DRAWING + 1, _DRAWING_SEED)[0][_DRAWING]
