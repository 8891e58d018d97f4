"""The head alone, trained anew from stored features: the same layers, batches and loss as in a run's first phase."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

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
    head = _as_new(config)
    training, validation = inputs.sources("head")
    labels = inputs.dataset.train_labels
    batches = Batches(training, labels[inputs.train_rows], config.head_batch_size, config.seed)
    validation.begin(0)
    steps = len(inputs.train_rows) // config.head_batch_size  # the last, smaller batch would be traced for itself
    features, truth = validation.take(np.arange(len(inputs.validation_rows))), labels[inputs.validation_rows]
    smoothing = config.label_smoothing
    for epoch in range(config.head_epochs):
        batches.begin(epoch)
        total = np.zeros(2)  # loss and accuracy, summed over steps
        for step in range(steps):
            if is_cancelled():
                return False
            images, one_hot = batches[step]
            wanted = one_hot * (1 - smoothing) + smoothing / one_hot.shape[1]
            logs = head.train_on_batch(images, wanted, return_dict=True)  # of this batch alone
            total += np.array([float(logs["loss"]), float(logs["accuracy"])])
        probabilities = keras.ops.convert_to_numpy(head(features, training=False))  # (n, 10)
        loss, accuracy = (total / steps).tolist()
        report(_figures(epoch + 1, loss, accuracy, probabilities, truth), probabilities.argmax(axis=1))
    return True


class _Dropout(keras.layers.Layer):
    """Keras's dropout but for its rate, which is a variable: another rate needs no other graph."""

    def __init__(self, rate: float, name: str) -> None:
        super().__init__(name=name)
        self.share = keras.Variable(rate, trainable=False, name="share")
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop that share of `inputs` and let the others make up for it, in training."""
        if not training:
            return inputs
        chances = keras.random.uniform(keras.ops.shape(inputs), seed=self.seed_generator)
        return keras.ops.where(chances >= self.share, inputs / (1 - self.share), 0.0)


def _as_new(config: TrainConfig) -> keras.Model:
    """Return the head of `config` before its first step.

    Tracing the graph of a step takes longer than all the steps: a head of as many units is taken again with its graph.
    """
    head, first = _compiled(replace(config, dropout=0.5, l2=0.0, label_smoothing=0.0, head_learning_rate=1e-3))
    for variable, value in zip([*head.variables, *head.optimizer.variables], first, strict=True):
        variable.assign(value)
    head.get_layer("head_dropout").share.assign(config.dropout)
    head.get_layer("head_dense").kernel_regularizer.l2.assign(config.l2)
    head.optimizer.learning_rate = config.head_learning_rate
    return head


@functools.lru_cache(maxsize=8)
def _compiled(config: TrainConfig) -> tuple[keras.Model, list[np.ndarray]]:
    """Return a head ready to train, and what its variables and then its optimizer's hold."""
    keras.utils.set_random_seed(config.seed)
    head = model.build_head(config, _Dropout)
    head.get_layer("head_dense").kernel_regularizer.l2 = keras.Variable(config.l2, trainable=False)
    head.compile(keras.optimizers.Adam(), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.make_variables(head)
    return head, [variable.numpy() for variable in [*head.variables, *head.optimizer.variables]]


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
