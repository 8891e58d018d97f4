"""What the layers know: a linear classifier on the pooled output of every block, from the pixels to the last layer.

Alain & Bengio 2016 (arXiv:1610.01644). The network is as it came, nothing of it is trained: on the features behind
each block, averaged over the map, a logistic regression (scikit-learn) learns the ten classes. Twice: with the first
weights that a training would get, and with random numbers in the same places.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.lessons.conditions import RIGHT
from cifar_core.lessons.internals import layer_names, tapped
from cifar_core.lessons.outcome import Made
from cifar_core.network import litert, pretrained
from cifar_core.network.pretrained import Weights

LESSON = "layers"
COMMAND = f"python -m cifar_core learn {LESSON}"
CONFIG = RIGHT
"""Whose images, split, width and size are used."""
PIXELS = "pixels"
_CHUNK = 250
_INVERSE_PENALTY = 0.01  # C of the logistic regression, the same for all; not tuned
_MOST_STEPS, _TOLERANCE = 500, 1e-3
Progress = Callable[[int, int], None]
"""Called with the probes done and all of them; what it raises ends the work."""


@dataclass(frozen=True)
class Probed:
    """One network: `weights` says which, `accuracies` (0..1, validation) and `features` (numbers an image) by layer."""

    weights: str
    layers: list[str]
    accuracies: list[float]
    features: list[int]


@dataclass(frozen=True)
class Layers:
    """What came of the lesson, for the first weights and for random ones."""

    networks: list[Probed]
    training_images: int
    validation_images: int
    seconds: float
    made: Made

    def to_dict(self) -> dict[str, Any]:
        """Return the saved form."""
        return {"lesson": LESSON, **asdict(self)}

    @classmethod
    def from_dict(cls, found: Any) -> Layers:
        """Return the results saved as `found`. Raises RunError if they are none."""
        try:
            networks = [Probed(**network) for network in found["networks"]]
            made = Made(**found["made"])
            numbers = [float(found[name]) for name in ("training_images", "validation_images", "seconds")]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"These results of a lesson are damaged ({error}); run the lesson here.") from None
        sizes = {len(values) for n in networks for values in (n.layers, n.accuracies, n.features)}
        if len(networks) != 2 or sizes != {len(layer_names(CONFIG.alpha)) + 1}:
            raise RunError("These results of a lesson are of another version; run the lesson here.")
        return cls(networks, int(numbers[0]), int(numbers[1]), numbers[2], made)


def run(progress: Progress, config: TrainConfig = CONFIG) -> Layers:
    """Probe every layer of both networks; takes less than a minute with 5,000 images.

    Raises DataError, WeightsError as their loaders do, and what `progress` raises.
    """
    start = time.monotonic()
    dataset = cifar10.load(config.dataset)
    train, validation = cifar10.split(
        dataset.train_labels, config.train_images, config.validation_fraction, config.seed
    )
    rows = np.concatenate([train, validation])
    images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    names = [PIXELS, *layer_names(config.alpha)]
    kinds = (config.weights, "random")
    networks: list[Probed] = []
    for kind in kinds:
        first = pretrained.load(kind, config.alpha, config.image_size, config.seed)
        known = _features(config, first, images)
        accuracies: list[float] = []
        for name in names:
            progress(len(networks) * len(names) + len(accuracies), len(kinds) * len(names))
            accuracies.append(_accuracy(known[name], labels, len(train)))
        networks.append(Probed(first.label, names, accuracies, [known[name].shape[1] for name in names]))
    progress(len(kinds) * len(names), len(kinds) * len(names))
    made = _made(config, dataset.label, networks[0].weights)
    return Layers(networks, len(train), len(validation), round(time.monotonic() - start, 2), made)


def _features(config: TrainConfig, first: Weights, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pixels, and every layer's output averaged over its map: layer -> float32 (n, channels)."""
    content = litert.build(first.named, config.alpha, config.image_size, config.scaling, ("pooled",))
    network = litert.Network(tapped(content, config.alpha))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in layer_names(config.alpha)}
    for begin in range(0, len(images), _CHUNK):  # in chunks, as the maps of all images would fill the memory
        maps = network.run(images[begin : begin + _CHUNK])
        for name, found in parts.items():
            found.append(maps[name].mean(axis=(1, 2)))
    pixels = images.reshape(len(images), -1).astype(np.float32)
    return {PIXELS: pixels, **{name: np.concatenate(found) for name, found in parts.items()}}


def _accuracy(features: np.ndarray, labels: np.ndarray, training: int) -> float:
    """Return the share of images after the first `training` that a linear classifier of those before gets right."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    classifier = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MOST_STEPS, tol=_TOLERANCE)
    probe = make_pipeline(StandardScaler(), classifier)
    with threadpool_limits(1):  # the steps are so small that threads wait for each other longer than they work
        probe.fit(features[:training], labels[:training])
        return float(probe.score(features[training:], labels[training:]))


def _made(config: TrainConfig, dataset: str, first: str) -> Made:
    found = machine.describe(("scikit-learn", "ai-edge-litert", "numpy"))
    return Made(
        command=COMMAND,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=found["processor"],
        cores=found["cores"],
        python=found["python"],
        packages=found["packages"],
        seed=config.seed,
        data=dataset,
        weights=first,
    )
