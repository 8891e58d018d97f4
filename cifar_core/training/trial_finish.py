"""The end of a sweep's trial: what `finish` leaves, from stored features, so that it takes half a second.

The predictions of validation and test images come from the features that the last phase learned from, not from the
pixels anew. The index of training images, and with it the out-of-distribution rule, is left out.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import calibration, latency
from cifar_core.network import litert
from cifar_core.network.pretrained import Named
from cifar_core.runs import Run
from cifar_core.training import model, results
from cifar_core.training.checkpoint import Progress
from cifar_core.training.finish import export_litert
from cifar_core.training.inputs import Inputs
from cifar_core.training.journal import Journal

_CHUNK = 500


def finish(run: Run, inputs: Inputs, network: keras.Model, progress: Progress, journal: Journal) -> dict[str, Any]:
    """Save `network`, which holds the best weights, and its predictions; return the run's figures."""
    journal.say("running", stage="export")
    model.save(network, run.path / "best.keras")
    classifier = export_litert(run, inputs, network)
    journal.say("running", stage="evaluate")
    dataset, rows = inputs.dataset, inputs.validation_rows
    said = _said(inputs, network, classifier, progress.phase, journal)
    validation = Predictions(dataset.train_labels[rows], said[: len(rows)])
    test = Predictions(dataset.test_labels, said[len(rows) :])
    sure = calibration.fit(validation.probabilities, validation.labels)
    sure.save(run.path / calibration.FILE)
    figures = results.write(run, inputs, network, progress, journal, validation, test, sure)
    return figures | {"pruned": progress.pruned, "latency_ms": latency.load(run)}


def _said(inputs: Inputs, network: keras.Model, classifier: litert.Network, phase: str, journal: Journal) -> np.ndarray:
    """Return the probabilities of the validation and then the test images, float32 (n, 10)."""
    dataset, rows = inputs.dataset, inputs.validation_rows
    stored = inputs.test_features(phase)
    if stored is None:
        images, since, parts = np.concatenate([dataset.train_images[rows], dataset.test_images]), journal.seconds, []
        for start in range(0, len(images), _CHUNK):
            journal.progress("test", start, len(images), since)
            parts.append(classifier.run(images[start : start + _CHUNK])["probabilities"])
        return np.concatenate(parts)
    return _said_of_features(inputs, model.named_weights(network), phase, stored, journal)


def _said_of_features(inputs: Inputs, named: Named, phase: str, stored: np.ndarray, journal: Journal) -> np.ndarray:
    """Return the same from the stored features of `phase`, those of the test images being `stored`."""
    config, validation, count = inputs.config, inputs.sources(phase)[1], len(inputs.validation_rows)
    blocks = config.fine_tune_blocks if phase == "fine_tune" else 0
    top = litert.Network(litert.build_after(named, config.alpha, config.image_size, blocks), features=stored.shape[1:])
    validation.begin(0)
    parts = [top.run(validation.take(np.arange(count)))["probabilities"]]
    for start in range(0, len(stored), _CHUNK):
        journal.check_stop()
        parts.append(top.run(stored[start : start + _CHUNK].astype(np.float32))["probabilities"])
    return np.concatenate(parts)
