"""The very images that a run was trained and tried on, where they are on this machine."""

from __future__ import annotations

import numpy as np

from cifar_core import runs
from cifar_core.data import cifar10, synthetic
from cifar_core.data.cifar10 import Dataset
from cifar_core.errors import CifarError
from cifar_core.evaluation.predictions import Evaluation
from cifar_core.runs import Run


def dataset_of(run: Run) -> Dataset | None:
    """Return the data set of `run`, pixel by pixel; None where it is not on this machine."""
    known = runs.read_json(run.path / "environment.json").get("data")
    return with_fingerprint(str(known.get("fingerprint"))) if isinstance(known, dict) else None


def with_fingerprint(fingerprint: str) -> Dataset | None:
    """Return the data set with this fingerprint; None where it is not here, or would have to be drawn first."""
    for name in ("cifar10", "generated"):
        if name == "generated" and not _is_drawn(fingerprint):
            continue  # drawing them takes a while, and nobody asked for it
        try:
            found = cifar10.load(name)
        except CifarError:
            continue
        if found.fingerprint == fingerprint:
            return found
    return None


def images_of(dataset: Dataset, evaluation: Evaluation, split: str) -> np.ndarray | None:
    """Return the images of the "validation" or "test" predictions, uint8 (n, 32, 32, 3), in their order.

    None where the labels of those images are not the ones that the predictions have.
    """
    if split == "test":
        images, labels, own = dataset.test_images, dataset.test_labels, evaluation.test.labels
    else:
        rows, own = evaluation.validation_rows, evaluation.validation.labels
        if rows is None or rows.max() >= len(dataset.train_labels):
            return None
        images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    return images if np.array_equal(labels, own) else None


def _is_drawn(fingerprint: str) -> bool:
    path = cifar10.cache_dir() / f"generated-{synthetic.VERSION}" / "fingerprint"
    try:
        return path.read_text(encoding="utf-8") == fingerprint
    except (OSError, ValueError):
        return False
