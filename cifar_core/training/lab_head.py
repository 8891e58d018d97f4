"""The head alone, trained anew from stored features: the same layers, batches and loss as in a run's first phase."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import keras
import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.errors import TrainingError
from cifar_core.training import model
from cifar_core.training.batches import Batches
from cifar_core.training.inputs import Inputs

Report = Callable[[Mapping[str, float], np.ndarray], None]
"""Called after each epoch with its figures and the class of each validation image, int (n,)."""


def learn(config: TrainConfig, inputs: Inputs, report: Report, is_cancelled: Callable[[], bool]) -> bool:
    """Train the head of `config`; return whether it came to its end, looking at `is_cancelled` before each step.

    The loop is Keras's `fit` without what that needs a second for at its start; a last, smaller batch of an epoch is
    left out, and its images come in others. Raises TrainingError where the loss
    stops being a number.
    """
    keras.utils.set_random_seed(config.seed)
    head = model.build_head(config)
    head.compile(
        optimizer=keras.optimizers.Adam(config.head_learning_rate),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,
    )
    head.optimizer.build(head.trainable_variables)  # or the first step would be traced twice
    training, validation = inputs.sources("head")
    labels = inputs.dataset.train_labels
    batches = Batches(training, labels[inputs.train_rows], config.head_batch_size, config.seed)
    validation.begin(0)
    steps = len(inputs.train_rows) // config.head_batch_size  # the last, smaller batch would be traced for itself
    features, truth = validation.take(np.arange(len(inputs.validation_rows))), labels[inputs.validation_rows]
    for epoch in range(config.head_epochs):
        batches.begin(epoch)
        total = np.zeros(2)  # loss and accuracy, summed over steps
        for step in range(steps):
            if is_cancelled():
                return False
            logs = head.train_on_batch(*batches[step], return_dict=True)  # of this batch alone
            total += np.array([float(logs["loss"]), float(logs["accuracy"])])
        probabilities = np.asarray(head.predict_on_batch(features))  # (n, 10)
        loss, accuracy = (total / steps).tolist()
        report(_figures(epoch + 1, loss, accuracy, probabilities, truth), probabilities.argmax(axis=1))
    return True


def _figures(epoch: int, loss: float, accuracy: float, said: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    if not math.isfinite(loss) or not np.isfinite(said).all():
        raise TrainingError(
            f"The training broke down: in epoch {epoch} the loss became {loss}, expected a number; lower the rate."
        )
    return {
        "epoch": epoch,
        "accuracy": accuracy,
        "loss": loss,
        "validation_accuracy": float((said.argmax(axis=1) == truth).mean()),
        "validation_loss": float(-np.log(np.maximum(said[np.arange(len(truth)), truth], 1e-12)).mean()),
    }
