"""The teacher of a distillation: a finished run or the bundled model; the student learns its probabilities.

As in Beyer et al. 2022 (arXiv:2106.05237), teacher and student see the same augmented image. Predicts with LiteRT.
"""

from __future__ import annotations

import hashlib

import numpy as np

from cifar_core.data import feature_cache
from cifar_core.data.augmentation import View
from cifar_core.data.cifar10 import CLASSES, Dataset
from cifar_core.inference.classifier import open_classifier
from cifar_core.training.run_writer import Reporter

_CHUNK = 512  # images per write to the cache


class Teacher:
    """Classifier of a run (`name` is its ID) or of the bundled model ("bundled"). Raises RunError if it does not exist.

    `reporter.progress` is called while the probabilities of a view are computed; an exception in it ends that.
    """

    def __init__(self, name: str, dataset: Dataset, reporter: Reporter) -> None:
        self._classifier, self._dataset, self._reporter = open_classifier(name), dataset, reporter
        self.label, self.fingerprint = name, hashlib.sha256(self._classifier.content).hexdigest()[:24]
        self._probabilities: dict[tuple[View, int], np.ndarray] = {}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of uint8 images (n, 32, 32, 3), float32 (n, 10)."""
        return self._classifier.probabilities(images)

    def stored(self, view: View, positions: np.ndarray) -> np.ndarray:
        """Return the probabilities of a view of all images, float16 (m, 10), from the feature cache.

        Missing rows among `positions`, int (n,), are computed and stored; other rows are undefined. Raises StoreError.
        """
        key = view, id(positions)
        if key not in self._probabilities:
            self._probabilities[key] = self._filled(view, positions)
        return self._probabilities[key]

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
