"""The end of a run: export the best weights, classify the validation and test images, and write the metrics.

`finish` completes an ordinary run. `finish_trial` completes a trial of a sweep and takes half a second: it classifies
the stored features of the last phase and writes no index of training images and no out-of-distribution threshold.
"""

from typing import Any

import numpy as np

from cifar_core import machine
from cifar_core.data import synthetic
from cifar_core.errors import RunError
from cifar_core.evaluation import phase_summary
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import calibration, model_file, neighbors
from cifar_core.inference.neighbors import Index
from cifar_core.network import litert
from cifar_core.network.pretrained import Named
from cifar_core.runs import Run, write_json
from cifar_core.training import model, run_writer
from cifar_core.training.inputs import Inputs, litert_network
from cifar_core.training.keras_import import keras
from cifar_core.training.run_writer import Progress, RunWriter

_PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "pillow", "streamlit")
_CHECKED_IMAGES = 25  # less memory than a training step needs
_CHUNK = 500  # images per check for a stop
_SCORED_IMAGES = 2_000  # enough for percentiles; comparing all 20,000 with the index takes as long as classifying them
_DRAWINGS = 200  # per kind
TOLERANCE = 1e-4
"""Largest allowed difference between a probability of best.keras and of model.tflite."""


def write_descriptions(inputs: Inputs, network: keras.Model, writer: RunWriter) -> None:
    """Write environment.json and summary.txt."""
    dataset, weights = inputs.dataset, inputs.weights
    about = {
        "backend": keras.backend.backend(),
        "data": {"name": dataset.name, "label": dataset.label, "fingerprint": dataset.fingerprint},
        "weights": {"kind": weights.kind, "label": weights.label, "fingerprint": weights.fingerprint},
        "end_to_end_reason": inputs.end_to_end_reason,
    }
    if teacher := inputs.teacher:
        about["teacher"] = {"label": teacher.label, "fingerprint": teacher.fingerprint}
    write_json(writer.run.path / "environment.json", machine.describe(_PACKAGES) | about)
    (writer.run.path / "summary.txt").write_text(model.summary(network), encoding="utf-8")


def save_head_checkpoint(run: Run) -> None:
    """Copy the checkpoint of the end of phase 1 before the first epoch of phase 2 replaces it."""
    run_writer.write_whole(run.path / phase_summary.HEAD_FILE, (run.path / "checkpoint.npz").read_bytes())


def finish(inputs: Inputs, network: keras.Model, progress: Progress, writer: RunWriter) -> dict[str, Any]:
    """Save and evaluate `network`, which has the best weights; return the run's metrics."""
    writer.update_status("running", stage="export")
    classifier = export(inputs, network, writer.run)
    difference = _difference(network, classifier, inputs)
    writer.update_status("running", stage="evaluate")
    dataset, rows = inputs.dataset, inputs.validation_rows
    index = write_index(inputs, classifier, writer)
    images = dataset.train_images[rows]
    validated = _outputs(classifier, images, writer, "validation")
    if progress.best_phase == "fine_tune":
        _write_head_predictions(inputs, images, writer)
    tested = _outputs(classifier, dataset.test_images, writer, "test")
    rule = _out_of_distribution(classifier, index, validated["pooled"], tested["pooled"])
    validation = Predictions(dataset.train_labels[rows], validated["probabilities"])
    test = Predictions(dataset.test_labels, tested["probabilities"])
    figures = write_figures(inputs, network, progress, writer, validation, test, rule)
    return figures | {"litert_max_difference": difference}


def finish_trial(inputs: Inputs, network: keras.Model, progress: Progress, writer: RunWriter) -> dict[str, Any]:
    """Save `network`, which has the best weights, and its predictions; return the run's metrics."""
    writer.update_status("running", stage="export")
    export(inputs, network, writer.run)
    writer.update_status("running", stage="evaluate")
    dataset, phase = inputs.dataset, progress.phase
    top = _trained_part(inputs, model.named_weights(network), phase)
    tested = _outputs(top, inputs.test_inputs(phase), writer, "test")
    expected = dataset.train_labels[inputs.validation_rows]
    validation = Predictions(expected, validation_probabilities(inputs, network, phase))
    test = Predictions(dataset.test_labels, tested["probabilities"])
    figures = write_figures(inputs, network, progress, writer, validation, test)
    return figures | {"pruned": progress.pruned, "latency_ms": model_file.load_latency(writer.run)}


def export(inputs: Inputs, network: keras.Model, run: Run) -> litert.Network:
    """Write best.keras and model.tflite; return the loaded LiteRT model."""
    model.save(network, run.path / "best.keras")
    classifier = litert_network(inputs.config, model.named_weights(network), ("pooled", "probabilities"))
    run_writer.write_whole(run.path / "model.tflite", classifier.content)
    return classifier


def _difference(network: keras.Model, classifier: litert.Network, inputs: Inputs) -> float:
    """Return the largest difference between the models' probabilities. Raises RunError if it exceeds TOLERANCE."""
    images = inputs.dataset.train_images[inputs.train_rows[:_CHECKED_IMAGES]]
    expected = keras.ops.convert_to_numpy(network(images.astype(np.float32), training=False))  # `predict` would compile
    difference = float(np.abs(expected - classifier.run(images)["probabilities"]).max())
    if not difference <= TOLERANCE:
        raise RunError(f"model.tflite differs from best.keras by {difference:.1e}, expected at most {TOLERANCE:.0e}.")
    return difference


def _outputs(network: litert.Network, images: np.ndarray, writer: RunWriter, stage: str) -> dict[str, np.ndarray]:
    """Return the outputs of `images` (or stored features), float32 (n, ...); write progress rows. Raises Stopped."""
    outputs = {name: np.empty((len(images), *shape), np.float32) for name, shape in network.output_shapes.items()}
    for start in range(0, len(images), _CHUNK):
        writer.progress(stage, start, len(images))
        part = slice(start, start + _CHUNK)
        for name, values in network.run(images[part].astype(network.dtype, copy=False)).items():
            outputs[name][part] = values
    writer.progress(stage, len(images), len(images))
    return outputs


def write_index(inputs: Inputs, network: litert.Network, writer: RunWriter) -> Index:
    """Build, write and return the index of training images in the features of `network`. Raises Stopped."""
    dataset, rows = inputs.dataset, neighbors.index_rows(inputs.train_rows)
    pooled = _outputs(network, dataset.train_images[rows], writer, "neighbours")["pooled"]
    index = neighbors.build(pooled, dataset.train_labels[rows], rows, dataset.fingerprint)
    index.save(writer.run.path / neighbors.FILE)
    return index


def validation_probabilities(inputs: Inputs, network: keras.Model, phase: str) -> np.ndarray:
    """Return the probabilities of the validation images with the current weights of `network`, float32 (n, 10)."""
    top, source = _trained_part(inputs, model.named_weights(network), phase), inputs.sources(phase)[1]
    source.begin(0)
    rows = np.arange(len(inputs.validation_rows))
    parts = (source.take(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK))
    return np.concatenate([top.run(part.astype(top.dtype, copy=False))["probabilities"] for part in parts])


def _trained_part(inputs: Inputs, named: Named, phase: str) -> litert.Network:
    """Return the network from the inputs of `phase`, stored features or pixels, to the probabilities."""
    config, layer = inputs.config, inputs.stored_layer(phase)
    if layer is None:
        return litert_network(config, named, ("probabilities",))
    blocks = config.fine_tune_blocks if layer == "cut" else 0
    return litert.Network(litert.build_after(named, config.alpha, config.image_size, blocks))


def _write_head_predictions(inputs: Inputs, images: np.ndarray, writer: RunWriter) -> None:
    """Write the validation predictions of phase 1's best weights, if there was a phase 1."""
    saved = run_writer.load_checkpoint(writer.run.path / phase_summary.HEAD_FILE)
    if saved is not None:
        network = litert_network(inputs.config, saved.best, ("probabilities",))
        outputs = _outputs(network, images, writer, "phase 1")["probabilities"]
        np.savez_compressed(writer.run.path / phase_summary.PHASES_FILE, head_validation_probabilities=outputs)


def _out_of_distribution(
    network: litert.Network, index: Index, validation: np.ndarray, test: np.ndarray
) -> calibration.OutOfDistribution:
    """Set the threshold on the validation images; return it with its rates on test images and drawings.

    `validation` and `test` are pooled features, float32 (n, f), of which an even sample is compared with the index.
    """
    validation_scores, test_scores = (
        index.scores(features[:: max(1, len(features) // _SCORED_IMAGES)]) for features in (validation, test)
    )
    limit = calibration.threshold(validation_scores)
    caught = {}
    for kind in synthetic.OTHER_KINDS:
        scores = index.scores(network.run(synthetic.other_images(kind, _DRAWINGS))["pooled"])
        caught[kind] = float((scores > limit).mean())
    accepted, highest = float((test_scores <= limit).mean()), float(validation_scores.max())
    return calibration.OutOfDistribution(limit, accepted, caught, _DRAWINGS, calibration.LEVEL, highest)


def write_figures(
    inputs: Inputs,
    network: keras.Model,
    progress: Progress,
    writer: RunWriter,
    validation: Predictions,
    test: Predictions,
    rule: calibration.OutOfDistribution | None = None,
) -> dict[str, Any]:
    """Write evaluation.npz, calibration.json and latency.json; return the run's metrics."""
    run, calibrated = writer.run, calibration.fit(validation.probabilities, validation.labels, rule)
    calibrated.save(run.path / calibration.FILE)
    arrays: dict[str, Any] = {"validation_rows": inputs.validation_rows}
    figures: dict[str, Any] = {}
    for name, part in (("validation", validation), ("test", test)):
        arrays |= {f"{name}_labels": part.labels, f"{name}_probabilities": part.probabilities}
        figures |= {
            f"{name}_accuracy": part.accuracy,
            f"{name}_loss": part.loss,
            f"{name}_images": len(part.labels),
        }
    np.savez_compressed(run.path / "evaluation.npz", **arrays)
    model_file.measure_latency(run)
    return figures | {
        "temperature": calibrated.temperature,
        "best_phase": progress.best_phase,
        "best_epoch": progress.best_epoch,
        "parameters": network.count_params(),
        "model_bytes": (run.path / "model.tflite").stat().st_size,
        "dataset": inputs.dataset.label,
        "weights": inputs.weights.label,
        "elapsed_seconds": writer.seconds,
    }
