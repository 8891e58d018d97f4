"""What is known of a network at its end, written down: the predictions as a file, the figures for the run's status."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import latency
from cifar_core.inference.calibration import Calibration
from cifar_core.runs import Run
from cifar_core.training.checkpoint import Progress
from cifar_core.training.inputs import Inputs
from cifar_core.training.journal import Journal


def write(
    run: Run,
    inputs: Inputs,
    network: keras.Model,
    progress: Progress,
    journal: Journal,
    validation: Predictions,
    test: Predictions,
    sure: Calibration,
) -> dict[str, Any]:
    """Write evaluation.npz and latency.json beside the run's model.tflite; return the run's figures."""
    np.savez_compressed(
        run.path / "evaluation.npz",
        validation_rows=inputs.validation_rows,
        validation_labels=validation.labels,
        validation_probabilities=validation.probabilities,
        test_labels=test.labels,
        test_probabilities=test.probabilities,
    )
    latency.measure(run)
    return {
        "validation_accuracy": validation.accuracy,
        "validation_loss": validation.loss,
        "validation_images": len(validation.labels),
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "test_images": len(test.labels),
        "temperature": sure.temperature,
        "best_phase": progress.best_phase,
        "best_epoch": progress.best_epoch,
        "parameters": network.count_params(),
        "model_bytes": (run.path / "model.tflite").stat().st_size,
        "dataset": inputs.dataset.label,
        "weights": inputs.weights.label,
        "elapsed_seconds": journal.seconds,
    }
