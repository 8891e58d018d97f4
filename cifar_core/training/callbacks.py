"""Keras callbacks of a run: metrics, stop, pruning, checkpoint, pinned pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.errors import TrainingError
from cifar_core.evaluation import data_map
from cifar_core.inference import pins
from cifar_core.network import litert
from cifar_core.training import model, run_writer
from cifar_core.training.keras_import import keras
from cifar_core.training.run_writer import Progress, RunWriter

MONITOR = "val_accuracy"
_STEP_METRICS = ("loss", "cross_entropy", "accuracy")


class StopCallback(keras.callbacks.Callback):
    """Raises Stopped after the batch in which a stop was requested.

    `model.stop_training` would record the incomplete epoch as a full one.
    """

    def __init__(self, writer: RunWriter) -> None:
        super().__init__()
        self.writer = writer

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check for a stop after a training step."""
        self.writer.check_stop()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check for a stop after a validation step."""
        self.writer.check_stop()


class NonFiniteLossCallback(keras.callbacks.Callback):
    """Raises TrainingError after the first step with a loss that is not finite."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase = phase

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Store the epoch for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the epoch's mean loss, which one bad step makes infinite or NaN."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"Training failed: in epoch {self._epoch + 1} of phase {self.phase} the loss became {loss}, "
                f"expected a number; start again with a lower {self.phase}_learning_rate."
            )


class MetricsCallback(keras.callbacks.Callback):
    """Writes metric rows: for steps (at most ten per second) and for each epoch.

    Loss, cross-entropy, accuracy and speed of a step row are means over the images since the previous row of the epoch.
    The loss is the minimized objective: the cross-entropy with smoothed labels plus the L2 penalty. Accuracies are
    clipped to 0..1: Keras's running means are float32 and may exceed 1 by 5e-7. `changes` returns the weight changes
    for the epoch row, as `model.weight_changes` does.
    """

    def __init__(
        self,
        writer: RunWriter,
        phase: str,
        epochs: int,
        images: int,
        batch_size: int,
        changes: Callable[[], list[float]] = list,
    ) -> None:
        super().__init__()
        self.changes = changes
        self.writer, self.phase, self.epochs = writer, phase, epochs
        self.images, self.batch_size = images, batch_size
        self.steps = -(-images // batch_size)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reset the sums of the epoch."""
        self._epoch = epoch
        self._before, self._count, self._seconds = dict.fromkeys(_STEP_METRICS, 0.0), 0, 0.0
        self._epoch_start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write a row if the last one is at least 0.1 s old."""
        self._training_seconds = max(time.monotonic() - self._epoch_start, 1e-6)
        if not self.writer.is_time_for_a_row() or logs is None:
            return
        count, then, seconds = batch + 1, self._count, self._training_seconds - self._seconds
        sums = {name: float(logs[name]) * count for name in _STEP_METRICS}
        means = {name: (sums[name] - self._before[name]) / (count - then) for name in sums}
        self._before, self._count, self._seconds = sums, count, self._training_seconds
        self.writer.add_row(
            "step",
            phase=self.phase,
            epoch=self._epoch + 1,
            step=count,
            steps=self.steps,
            loss=means["loss"],
            cross_entropy=max(0.0, means["cross_entropy"]),
            accuracy=_clipped(means["accuracy"]),
            learning_rate=_learning_rate(self.model),
            images_per_second=(count - then) * self.batch_size / max(seconds, 1e-6),
            seconds_left=self._seconds_left(count),
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's row."""
        logs = logs or {}
        self.writer.add_row(
            "epoch",
            phase=self.phase,
            epoch=epoch + 1,
            epochs=self.epochs,
            loss=float(logs["loss"]),
            cross_entropy=float(logs["cross_entropy"]),
            accuracy=_clipped(logs["accuracy"]),
            validation_loss=float(logs["val_loss"]),
            validation_cross_entropy=float(logs["val_cross_entropy"]),
            validation_accuracy=_clipped(logs[MONITOR]),
            learning_rate=_learning_rate(self.model),
            images=self.images,
            epoch_seconds=time.monotonic() - self._epoch_start,
            images_per_second=self.images / self._training_seconds,
            seconds_left=self._seconds_left(self.steps),
            weight_changes=self.changes(),
        )

    def _seconds_left(self, steps_done: int) -> float:
        """Return the remaining seconds of this phase at the speed of this epoch, without early stopping."""
        spent = time.monotonic() - self._epoch_start
        left = (self.epochs - self._epoch) * self.steps - steps_done
        return spent / steps_done * left


class Pruned(Exception):  # noqa: N818 - not an error
    """Raised if the pruner of a sweep ends a trial early."""


class PruningCallback(keras.callbacks.Callback):
    """Raises Pruned after an epoch if `should_prune(epoch, validation accuracy)` is true.

    Epochs count from 1 over both phases. Must come after CheckpointCallback, so that the epoch is saved.
    """

    def __init__(self, should_prune: Callable[[int, float], bool], epochs_before: int) -> None:
        super().__init__()
        self.should_prune, self.epochs_before = should_prune, epochs_before

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise Pruned if `should_prune` returns True."""
        if self.should_prune(self.epochs_before + epoch + 1, _clipped((logs or {})[MONITOR])):
            raise Pruned


class CheckpointCallback(keras.callbacks.Callback):
    """Updates the best weights and saves the checkpoint after each epoch.

    The checkpoint includes the state of the callbacks `watched`, which must come before this one. `fit` resets their
    state when training begins, so `on_train_begin` restores it. A checkpoint younger than `pause_seconds` is kept.
    """

    def __init__(
        self,
        writer: RunWriter,
        network: keras.Model,
        progress: Progress,
        best: dict[str, np.ndarray],
        watched: dict[str, keras.callbacks.Callback],
        pause_seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.writer, self.network = writer, network
        self.progress, self.best, self.watched = progress, best, watched
        self.pause_seconds, self._saved = pause_seconds, time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the state of the watched callbacks."""
        for name, state in self.progress.callbacks.items():
            for key, value in state.items():
                setattr(self.watched[name], key, value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Update the best weights and save the checkpoint."""
        progress, accuracy = self.progress, _clipped((logs or {})[MONITOR])
        if accuracy > progress.best_accuracy:
            progress.best_accuracy, progress.best_phase, progress.best_epoch = accuracy, progress.phase, epoch + 1
            self.best.update(model.named_weights(self.network))
        progress.epoch = epoch + 1
        progress.phase_done = bool(self.model.stop_training) or progress.epoch == self.params["epochs"]
        progress.callbacks = {name: _state(callback) for name, callback in self.watched.items()}
        progress.elapsed_seconds = self.writer.seconds
        progress.rows, progress.probes = self.writer.rows, self.writer.probes
        if time.monotonic() - self._saved >= self.pause_seconds:
            run_writer.save_checkpoint(
                self.writer.run.path / "checkpoint.npz", progress, self.network, self.model.optimizer, self.best
            )
            self._saved = time.monotonic()


class AveragedWeightsCallback(keras.callbacks.SwapEMAWeights):
    """Swaps the averaged weights into the model for validation and until the next epoch begins.

    A checkpoint thus holds the averaged weights in the model and the trained weights in the optimizer. After a resume,
    the next epoch begins by swapping them.
    """

    def __init__(self, is_resumed: bool) -> None:
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = is_resumed


class EpochCallback(keras.callbacks.Callback):
    """Writes the validation probabilities that `classify` returns after each epoch.

    Must come after MetricsCallback, which writes the epoch's row, and before CheckpointCallback.
    """

    def __init__(self, writer: RunWriter, classify: Callable[[], np.ndarray]) -> None:
        super().__init__()
        self.writer, self.classify = writer, classify

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the probabilities of the epoch."""
        before = sum(row["kind"] == "epoch" for row in self.writer.rows) - 1
        data_map.write_epoch(self.writer.run.path, before, self.classify())


class ProbeCallback(keras.callbacks.Callback):
    """Writes the probabilities of the pinned pictures after each epoch, and several times in a phase's first epoch.

    Pins are read each time, so they can be added during the training. LiteRT classifies them in about 50 ms and uses
    no random numbers. `network` is the whole network; `fit` may train a part of it.
    """

    _WITHIN_FIRST = (1 / 16, 1 / 8, 1 / 4, 1 / 2)

    def __init__(self, writer: RunWriter, config: TrainConfig, network: keras.Model, phase: str, steps: int) -> None:
        super().__init__()
        self.writer, self.config, self.network, self.phase, self.steps = writer, config, network, phase, steps
        self._moments = {max(1, round(share * steps)) for share in self._WITHIN_FIRST} - {steps}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the network before the first epoch."""
        self._is_first = epoch == 0
        if self._is_first:
            self._record(0.0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record some steps of the first epoch."""
        if self._is_first and batch + 1 in self._moments:
            self._record((batch + 1) / self.steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch."""
        self._record(epoch + 1.0)

    def _record(self, epoch: float) -> None:
        pinned = pins.load(self.writer.run.path)
        if not pinned:
            return
        config, named = self.config, model.named_weights(self.network)
        content = litert.build(named, config.alpha, config.image_size, config.scaling, ("probabilities",))
        rows = litert.Network(content).run(np.stack([pin.image for pin in pinned]))["probabilities"]
        probabilities = {pin.key: [round(float(p), 5) for p in row] for pin, row in zip(pinned, rows, strict=True)}
        self.writer.add_probe(phase=self.phase, epoch=round(epoch, 4), pins=probabilities)


def _clipped(accuracy: float) -> float:
    """Return `accuracy` within 0..1."""
    return min(max(float(accuracy), 0.0), 1.0)


def _learning_rate(trained: keras.Model) -> float:
    return float(keras.ops.convert_to_tensor(trained.optimizer.learning_rate))


def _state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the state of an EarlyStopping or ReduceLROnPlateau callback."""
    keys = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")
    values = {key: getattr(callback, key) for key in keys if getattr(callback, key, None) is not None}
    return {key: int(value) if isinstance(value, int) else float(value) for key, value in values.items()}
