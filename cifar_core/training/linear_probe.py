"""A linear probe of the frozen backbone: the accuracy of a linear classifier on its pooled features.

Ridge regression on the one-hot labels, in closed form, on square roots of the features, which are averages of ReLU6.
The square root reduces their skew. The probe runs while the network is built; 45,000 images take 1 s on a CPU core.
"""

from collections.abc import Iterable, Iterator
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


def ridge(chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Fit `chunks` of features, at least 0, any float type (n, f), and labels, int (n,).

    Returns kernel (f, k) and bias (k,), float64, for the square roots of the features.
    """
    products = sums = np.zeros(1)  # of the features and the one-hot labels: (f + k, f + k) and (f + k,)
    count = 0
    for features, labels in chunks:
        rows = np.hstack([_rooted(features), np.eye(architecture.CLASS_COUNT, dtype=np.float32)[labels]])
        products, sums, count = products + rows.T @ rows, sums + rows.sum(axis=0, dtype=float), count + len(rows)
    means, size = sums / count, len(sums) - architecture.CLASS_COUNT
    covariance = products / count - np.outer(means, means)
    variances = np.maximum(covariance.diagonal()[:size], 1e-8)  # the penalty is that of standardized features
    penalized = covariance[:size, :size] + PENALTY / count * np.diag(variances)
    kernel = np.linalg.solve(penalized, covariance[:size, size:])
    return kernel, means[size:] - means[:size] @ kernel


def accuracy(kernel: np.ndarray, bias: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of `ridge` on images, 0..1."""
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
            found = _accuracy(inputs, writer)
            writer.add_row(curves.PROBE, weights=inputs.weights.kind, validation_accuracy=found)
            return {"linear_probe_accuracy": found}
    return {"linear_probe_accuracy": known.accuracy} if known else {}


def _accuracy(inputs: Inputs, writer: RunWriter) -> float:
    labels, train, validation = inputs.dataset.train_labels, inputs.train_rows, inputs.validation_rows
    rows = inputs.features(views(inputs.config)[0], train)["pooled"].open()

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(train), _CHUNK):
            writer.check_stop()
            part = train[start : start + _CHUNK]
            yield rows[part], labels[part]

    held_out = inputs.features(View(), validation)["pooled"].open()[validation]
    return accuracy(*ridge(chunks()), held_out, labels[validation])
