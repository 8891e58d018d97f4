"""The end of a sweep's trial: what `finish` leaves, from stored features, so that it takes half a second.

The predictions of validation and test images come from the features that the last phase learned from, not from the
pixels anew. The index of training images, and with it the rule for "none of the ten", is left out.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from cifar_core.classify import calibration, latency
from cifar_core.evaluate.evaluation import Predictions
from cifar_core.network import litert
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
    model.uncompiled(network).save(run.path / "best.keras")
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
    validation = inputs.sources(phase)[1]
    validation.begin(0)
    known = validation.take(np.arange(len(rows)))
    part = model.part_after(network, model.first_trained_layer(inputs.config, phase))
    if phase != "head":
        journal.check_stop()
        said = part.predict(np.concatenate([known, stored.astype(np.float32)]), batch_size=_CHUNK, verbose=0)
        return np.asarray(said, np.float32)
    parts = []  # tracing a graph for `predict` would take longer than the head's four layers do
    for features in (known, stored):
        for start in range(0, len(features), _CHUNK):
            chunk = features[start : start + _CHUNK].astype(np.float32)
            parts.append(keras.ops.convert_to_numpy(part(chunk, training=False)))
    return np.concatenate(parts)
