"""The end of a run: the best weights become files, the test set is read once, the figures are written down."""

from __future__ import annotations

import shutil
from typing import Any

import keras
import numpy as np

from cifar_core import machine
from cifar_core.errors import RunError
from cifar_core.evaluation import story
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference.neighbors import Index
from cifar_core.network import litert
from cifar_core.runs import Run, write_json
from cifar_core.training import checkpoint, model, results, sureness
from cifar_core.training.checkpoint import Progress
from cifar_core.training.inputs import Inputs
from cifar_core.training.journal import Journal

_PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "pillow", "streamlit")
_CHECKED_IMAGES, _CHECKED_PARTS = 100, 4
_CHUNK = 500
_SCORED_IMAGES = 2_000  # shares of a hundred and more; comparing all 20,000 with the index takes as long as classifying
TOLERANCE = 1e-4
"""Largest difference between a probability of best.keras and of model.tflite."""


def write_descriptions(run: Run, inputs: Inputs, network: keras.Model) -> None:
    """Write environment.json and summary.txt."""
    write_json(
        run.path / "environment.json",
        {
            **machine.describe(_PACKAGES),
            "backend": keras.backend.backend(),
            "data": {
                "name": inputs.dataset.name,
                "label": inputs.dataset.label,
                "fingerprint": inputs.dataset.fingerprint,
            },
            "weights": {
                "kind": inputs.weights.kind,
                "label": inputs.weights.label,
                "fingerprint": inputs.weights.fingerprint,
            },
            "end_to_end_reason": inputs.end_to_end_reason,
        },
    )
    (run.path / "summary.txt").write_text(model.summary(network), encoding="utf-8")


def keep_head(run: Run) -> None:
    """Keep the checkpoint of the end of phase 1, which the first epoch of phase 2 would replace."""
    temporary = run.path / f".{story.HEAD_FILE}"
    shutil.copyfile(run.path / "checkpoint.npz", temporary)
    machine.replace(temporary, run.path / story.HEAD_FILE)


def finish(run: Run, inputs: Inputs, network: keras.Model, progress: Progress, journal: Journal) -> dict[str, Any]:
    """Save `network`, which holds the best weights, evaluate it, and return the run's figures."""
    journal.say("running", stage="export")
    model.save(network, run.path / "best.keras")
    classifier = export_litert(run, inputs, network)
    difference = _difference(network, classifier, inputs)
    journal.say("running", stage="evaluate")
    dataset, rows = inputs.dataset, inputs.validation_rows
    index = sureness.write_index(run, inputs, classifier, journal)
    images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    validation, validation_scores = _classify(classifier, index, images, labels, journal, "validation")
    if progress.best_phase == "fine_tune":
        _write_head_answers(run, inputs, images, journal)
    test, test_scores = _classify(classifier, index, dataset.test_images, dataset.test_labels, journal, "test")
    sure = sureness.write_calibration(run, classifier, index, validation, validation_scores, test_scores)
    figures = results.write(run, inputs, network, progress, journal, validation, test, sure)
    return figures | {"litert_max_difference": difference}


def _write_head_answers(run: Run, inputs: Inputs, images: np.ndarray, journal: Journal) -> None:
    """Write what phase 1's best weights say of the validation images; nothing where there was no phase 1."""
    saved = checkpoint.load(run.path / story.HEAD_FILE)
    if saved is None:
        return
    config, since, parts = inputs.config, journal.seconds, []
    network = litert.Network(
        litert.build(saved.best, config.alpha, config.image_size, config.scaling, ("probabilities",))
    )
    for start in range(0, len(images), _CHUNK):
        journal.progress("phase 1", start, len(images), since)
        parts.append(network.run(images[start : start + _CHUNK])["probabilities"])
    np.savez_compressed(run.path / story.PHASES_FILE, head_validation_probabilities=np.concatenate(parts))


def export_litert(run: Run, inputs: Inputs, network: keras.Model) -> litert.Network:
    """Write model.tflite and return it, loaded."""
    config = inputs.config
    content = litert.build(
        model.named_weights(network), config.alpha, config.image_size, config.scaling, ("pooled", "probabilities")
    )
    temporary = run.path / ".model.tflite"
    temporary.write_bytes(content)
    temporary.replace(run.path / "model.tflite")
    return litert.Network(content)


def _difference(network: keras.Model, classifier: litert.Network, inputs: Inputs) -> float:
    """Return by how much the two models' probabilities differ at most. Raises RunError if that is too much."""
    images = inputs.dataset.train_images[inputs.train_rows[:_CHECKED_IMAGES]]
    # `predict` would first take a second to compile; all at once need more memory than a step had, seconds to fetch
    parts = [network(part.astype(np.float32), training=False) for part in np.array_split(images, _CHECKED_PARTS)]
    expected = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    difference = float(np.abs(expected - classifier.run(images)["probabilities"]).max())
    if not difference <= TOLERANCE:
        raise RunError(f"model.tflite differs from best.keras by {difference:.1e}, expected at most {TOLERANCE:.0e}.")
    return difference


def _classify(
    network: litert.Network, index: Index, images: np.ndarray, labels: np.ndarray, journal: Journal, name: str
) -> tuple[Predictions, np.ndarray]:
    """Return what the network says, and out-of-distribution scores of an even sample of the images, float32."""
    since, said, scores = journal.seconds, [], []
    every = max(1, len(images) // _SCORED_IMAGES)
    for start in range(0, len(images), _CHUNK):
        journal.progress(name, start, len(images), since)
        outputs = network.run(images[start : start + _CHUNK])
        said.append(outputs["probabilities"])
        if start // _CHUNK % every == 0:
            scores.append(index.scores(outputs["pooled"]))
    journal.progress(name, len(images), len(images), since)
    return Predictions(labels, np.concatenate(said)), np.concatenate(scores)
