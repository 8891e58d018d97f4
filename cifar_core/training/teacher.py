"""The teacher of a distillation: a finished run, or the bundled model, that answers what the student learns from.

Beyer et al. 2022 (arXiv:2106.05237): teacher and student see the same augmented image. LiteRT computes the answers.
"""

from __future__ import annotations

import hashlib

import numpy as np

from cifar_core.data import feature_cache
from cifar_core.data.augmentation import View
from cifar_core.data.cifar10 import CLASSES, Dataset
from cifar_core.inference.classifier import open_classifier
from cifar_core.training.run_writer import Reporter

_CHUNK = 512  # images between two writes to the cache


class Teacher:
    """The classifier called `name`, a run's id or "bundled". Raises RunError if it is not there.

    `reporter.progress` is called while answers for a view are computed, and may end that by raising.
    """

    def __init__(self, name: str, dataset: Dataset, reporter: Reporter) -> None:
        self._classifier, self._dataset, self._reporter = open_classifier(name), dataset, reporter
        self.label, self.fingerprint = name, hashlib.sha256(self._classifier.content).hexdigest()[:24]
        self._answers: dict[tuple[View, int], np.ndarray] = {}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the answers for uint8 (n, 32, 32, 3), float32 (n, 10)."""
        return self._classifier.probabilities(images)

    def stored(self, view: View, positions: np.ndarray) -> np.ndarray:
        """Return the answers for a view of all images, float16 (m, 10), from the feature cache.

        What the rows `positions`, int (n,), lack is computed and stored; other rows hold anything. Raises StoreError.
        """
        key = view, id(positions)
        if key not in self._answers:
            self._answers[key] = self._filled(view, positions)
        return self._answers[key]

    def _filled(self, view: View, positions: np.ndarray) -> np.ndarray:
        images, since = self._dataset.train_images, self._reporter.seconds
        about = {"data": self._dataset.fingerprint, "teacher": self.fingerprint, **view.about()}
        entry = feature_cache.entry(about, len(images), (len(CLASSES),))
        with feature_cache.filling(entry):
            missing = entry.missing(positions)
            for start in range(0, len(missing), _CHUNK):
                self._reporter.progress("teacher", start, len(missing), since)
                part = missing[start : start + _CHUNK]
                entry.write(part, self.probabilities(view.of(images, part)))
        return entry.open()
