"""What lets a finished model say how sure it is: the index of training images and the calibration."""

from __future__ import annotations

import numpy as np

from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import calibration, neighbors, out_of_distribution
from cifar_core.inference.calibration import Calibration
from cifar_core.inference.neighbors import Index
from cifar_core.network import litert
from cifar_core.runs import Run
from cifar_core.training.inputs import Inputs
from cifar_core.training.journal import Journal

_CHUNK = 500
_DRAWINGS = 200  # of each kind


def write_index(run: Run, inputs: Inputs, network: litert.Network, journal: Journal) -> Index:
    """Write and return the index of training images, as the finished network sees them. Raises Stopped."""
    dataset, rows = inputs.dataset, neighbors.chosen(inputs.train_rows)
    since, parts = journal.seconds, []
    for start in range(0, len(rows), _CHUNK):
        journal.progress("neighbours", start, len(rows), since)
        parts.append(network.run(dataset.train_images[rows[start : start + _CHUNK]])["pooled"])
    index = neighbors.build(np.concatenate(parts), dataset.train_labels[rows], rows, dataset.fingerprint)
    index.save(run.path / neighbors.FILE)
    return index


def write_calibration(
    run: Run,
    network: litert.Network,
    index: Index,
    validation: Predictions,
    validation_scores: np.ndarray,
    test_scores: np.ndarray,
) -> Calibration:
    """Write and return temperature and out-of-distribution rule.

    Both are set by validation images alone; on test images and drawings the rule is only measured.
    """
    limit = calibration.threshold(validation_scores)
    caught = {}
    for kind in out_of_distribution.KINDS:
        scores = index.scores(network.run(out_of_distribution.images(kind, _DRAWINGS))["pooled"])
        caught[kind] = float((scores > limit).mean())
    rule = calibration.OutOfDistribution(
        limit,
        float((test_scores <= limit).mean()),
        caught,
        _DRAWINGS,
        calibration.LEVEL,
        float(validation_scores.max()),
    )
    found = calibration.fit(validation.probabilities, validation.labels, rule)
    found.save(run.path / calibration.FILE)
    return found
