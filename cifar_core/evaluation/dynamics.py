"""Predictions for the validation images after each epoch.

    runs/<id>/epochs.f16    probabilities, float16 (epochs, images, 10), one epoch after the other, both phases

Each epoch has a fixed position in the file, so a resumed run overwrites incomplete epochs. Incomplete epochs and zeros
(epochs trained by an older version) are skipped. Confidence and variability are from Swayamdipta et al. 2020 (Dataset
Cartography), forgetting is from Toneva et al. 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import predictions, story
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, curves

FILE = "epochs.f16"
_DTYPE = np.dtype("<f2")
_LIMIT_BYTES = 256 * 1024 * 1024
_ROUNDED = 0.01  # tolerance for the sum of ten float16 probabilities


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Labels, uint8 (n,), and probabilities after e epochs, float32 (e, n, 10), with the epochs' `names`."""

    labels: np.ndarray
    probabilities: np.ndarray
    names: Sequence[str]

    @property
    def confidence(self) -> np.ndarray:
        """The mean probability of the label over the epochs, float (n,), 0..1."""
        return self._likely.mean(axis=0)

    @property
    def variability(self) -> np.ndarray:
        """The standard deviation of the label's probability over the epochs, float (n,), 0..0.5."""
        return self._likely.std(axis=0)

    @property
    def right(self) -> np.ndarray:
        """Whether the most probable class is the label, bool (e, n)."""
        return self.probabilities.argmax(axis=2) == self.labels

    @property
    def forgotten(self) -> np.ndarray:
        """How often a prediction was right after one epoch and wrong after the next, int (n,)."""
        right = self.right
        return (right[:-1] & ~right[1:]).sum(axis=0)

    def after(self, epoch: int) -> Predictions:
        """Return the predictions after epoch number `epoch`, counted from 0."""
        return Predictions(self.labels, self.probabilities[epoch])

    @property
    def _likely(self) -> np.ndarray:
        return self.probabilities[:, np.arange(len(self.labels)), self.labels]


def write(folder: Path, epoch: int, probabilities: np.ndarray) -> None:
    """Write the probabilities (n, 10) after `epoch`, counted from 0 over both phases. Raises OSError."""
    content = probabilities.astype(_DTYPE).tobytes()
    (folder / FILE).touch()
    with (folder / FILE).open("r+b") as file:
        file.seek(epoch * len(content))
        file.write(content)


def load(run: Run) -> Dynamics | None:
    """Return the dynamics of `run`, or None if fewer than two epochs are complete (older versions, imported runs).

    Raises RunError if the run is not finished or its predictions are damaged.
    """
    labels = predictions.load(run).validation.labels
    rows = story.epoch_rows(run.metrics())
    names = [f"{curves.PHASE_NAMES[row['phase']]}, epoch {row['epoch']}" for row in rows]
    shape = (-1, len(labels), len(CLASSES))
    try:
        if (run.path / FILE).stat().st_size > _LIMIT_BYTES:
            return None
        values = np.fromfile(run.path / FILE, _DTYPE)
    except OSError:
        return None
    one = len(labels) * len(CLASSES)
    probabilities = values[: len(values) // one * one].reshape(shape)[: len(names)].astype(np.float32)
    with np.errstate(invalid="ignore"):  # an untrusted file may contain NaN
        sound = ((probabilities >= 0).all(axis=2) & (np.abs(probabilities.sum(axis=2) - 1) < _ROUNDED)).all(axis=1)
    if sound.sum() < 2:
        return None
    return Dynamics(labels, probabilities[sound], [name for name, good in zip(names, sound, strict=False) if good])
