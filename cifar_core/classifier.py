"""A finished run as something that classifies, without TensorFlow."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from cifar_core import runs, weights
from cifar_core.data import CLASSES
from cifar_core.errors import RunError
from cifar_core.litert import Network

BUNDLED = "bundled"
_BUNDLED_ALPHA = 0.5


def open_classifier(name: str | None = None) -> Classifier:
    """Return the classifier of the run with id `name`, of the bundled model, or (None) of the newest finished run.

    With None and no finished run it is the bundled model. Raises RunError if there is no such model.
    """
    if name is None:
        finished = runs.finished_runs()
        name = finished[0].id if finished else BUNDLED
    path = _bundled_model() if name == BUNDLED else runs.get(name).path / "model.tflite"
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise RunError(_why_not(name)) from None
    return Classifier(name, _network(path.resolve(), changed))


def has_bundled() -> bool:
    """Return whether a bundled model ships with this version."""
    return _bundled_model().exists()


class Classifier:
    """Classifies images. `name` is a run's id or "bundled"."""

    def __init__(self, name: str, network: Network) -> None:
        self.name, self._network = name, network

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, 10), rows summing to 1, for uint8 (n, 32, 32, 3) RGB, in the order of data.CLASSES."""
        return self._network.run(images)["probabilities"]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the pooled features, float32 (n, 1280) or wider, for uint8 (n, 32, 32, 3)."""
        return self._network.run(images)["pooled"]


@functools.lru_cache(maxsize=8)
def _network(path: Path, changed: int) -> Network:
    """Load a model once for each state of its file (`changed` is its time)."""
    network = Network(path)
    if network.output_shapes.get("probabilities") != (len(CLASSES),) or "pooled" not in network.output_shapes:
        raise RunError(f"{path} is no model of this app: it lacks the outputs pooled and probabilities of ten classes.")
    return network


def _bundled_model() -> Path:
    return weights.bundled_path(_BUNDLED_ALPHA).with_suffix(".tflite")


def _why_not(name: str) -> str:
    if name == BUNDLED:
        return "There is no finished run yet and no bundled model ships with this version; train a model first."
    return f"Run {name} is {runs.get(name).state} and has no model yet; only finished runs can classify."
