"""A linear probe of the frozen backbone: the accuracy of a linear classifier on its pooled features.

Ridge regression on the one-hot labels, in closed form, on square roots of the features, which are averages of ReLU6.
The square root reduces their skew. The probe runs while the network is built; 45,000 images take 1 s on a CPU core.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cifar_core.errors import StoreError
from cifar_core.jobs import Stopped
from cifar_core.network import architecture
from cifar_core.runs import curves
from cifar_core.training.inputs import Inputs, View, views
from cifar_core.training.run_writer import RunWriter

PENALTY = 500.0
"""Ridge penalty (scikit-learn's `alpha`). From 200 to 1,000, accuracies differ by at most one percentage point."""
_CHUNK = 2_048


class Ridge:
    """Ridge regression from sums over the training images, added chunk by chunk."""

    def __init__(self, features: int, classes: int) -> None:
        self._gram = np.zeros((features, features))
        self._sum = np.zeros(features)
        self._cross = np.zeros((features, classes))
        self._counts = np.zeros(classes)

    def add(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Add images: features, at least 0, any float type (n, f); labels, int (n,)."""
        rows = _rooted(features)
        one_hot = np.eye(len(self._counts), dtype=np.float32)[labels]
        self._gram += rows.T @ rows
        self._sum += rows.sum(axis=0, dtype=float)
        self._cross += rows.T @ one_hot
        self._counts += one_hot.sum(axis=0)

    def solve(self, penalty: float = PENALTY) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel (f, k) and bias (k,), float64, for the square roots of the features."""
        count = self._counts.sum()
        mean, shares = self._sum / count, self._counts / count
        covariance = self._gram / count - np.outer(mean, mean)  # (f, f)
        spread = np.sqrt(np.maximum(covariance.diagonal(), 1e-8))
        correlation = covariance / np.outer(spread, spread)
        target = (self._cross / count - np.outer(mean, shares)) / spread[:, None]  # (f, k)
        kernel = np.linalg.solve(correlation + penalty / count * np.eye(len(mean)), target) / spread[:, None]
        return kernel, shares - mean @ kernel

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Return the accuracy on images, 0..1; arguments as in `add`."""
        kernel, bias = self.solve()
        return float(((_rooted(features) @ kernel + bias).argmax(axis=1) == labels).mean())


def _rooted(features: np.ndarray) -> np.ndarray:
    return np.sqrt(features.astype(np.float32))


def measure(inputs: Inputs, writer: RunWriter) -> dict[str, Any]:
    """Measure the validation accuracy of the probe, write its row, and return the accuracy for the run's result.

    Returns {} if no pooled features are stored or the run stops meanwhile. A resumed run keeps its row.
    """
    known = curves.linear_probe(writer.rows)
    if known is None and inputs.stored_layer("head"):
        with suppress(Stopped, StoreError, OSError), threadpool_limits(1):  # the other cores build the network
            accuracy = _accuracy(inputs, writer)
            writer.add_row(curves.PROBE, weights=inputs.weights.kind, validation_accuracy=accuracy)
            return {"linear_probe_accuracy": accuracy}
    return {"linear_probe_accuracy": known.accuracy} if known else {}


def _accuracy(inputs: Inputs, writer: RunWriter) -> float:
    labels, train, validation = inputs.dataset.train_labels, inputs.train_rows, inputs.validation_rows
    rows = inputs.features(views(inputs.config)[0], train)["pooled"].open()
    ridge = Ridge(rows.shape[1], architecture.CLASS_COUNT)
    for start in range(0, len(train), _CHUNK):
        writer.check_stop()
        part = train[start : start + _CHUNK]
        ridge.add(rows[part], labels[part])
    return ridge.accuracy(inputs.features(View(), validation)["pooled"].open()[validation], labels[validation])
