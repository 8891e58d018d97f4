"""Keras callbacks of a run: metrics, stop, checkpoint, pinned pictures."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.errors import TrainingError
from cifar_core.inference import pins
from cifar_core.training import model, run_writer
from cifar_core.training.inputs import litert_network
from cifar_core.training.keras_import import keras
from cifar_core.training.run_writer import Progress, RunWriter

MONITOR = "val_accuracy"
_METRICS = ("loss", "cross_entropy", "accuracy")


@dataclass(frozen=True)
class Phase:
    """One of the two phases of a configuration."""

    name: str
    epochs: int
    batch_size: int
    learning_rate: float


class StopCallback(keras.callbacks.Callback):
    """Raises Stopped after the call of TensorFlow, one to eight batches, in which a stop was requested.

    `model.stop_training` would record the incomplete epoch as a full one.
    """

    def __init__(self, writer: RunWriter) -> None:
        super().__init__()
        self.writer = writer

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check for a stop."""
        self.writer.check_stop()

    on_test_batch_end = on_train_batch_end  # also in validation


class MetricsCallback(keras.callbacks.Callback):
    """Writes metric rows: for steps (at most ten per second) and for each epoch.

    Loss, cross-entropy, accuracy and speed of a step row are means over the images since the previous row of the epoch.
    The loss is the minimized objective: the cross-entropy with smoothed labels plus the L2 penalty. Accuracies are
    clipped to 0..1: Keras's running means are float32 and may exceed 1 by 5e-7. `changes` returns the weight changes
    for the epoch row, as `model.weight_changes` does. Raises TrainingError after the first step with a loss that is not
    finite: one bad step makes the epoch's mean infinite or NaN.
    """

    def __init__(self, writer: RunWriter, phase: Phase, images: int, changes: Callable[[], list[float]] = list) -> None:
        super().__init__()
        self.writer, self.phase, self.images, self.changes = writer, phase, images, changes
        self.steps = -(-images // phase.batch_size)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reset the sums of the epoch."""
        self._epoch = epoch
        self._before, self._count, self._seconds = dict.fromkeys(_METRICS, 0.0), 0, 0.0
        self._epoch_start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the loss; write a row if the last one is at least 0.1 s old."""
        logs = logs or {}
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"Training failed: in epoch {self._epoch + 1} of phase {self.phase.name} the loss became {loss}, "
                f"expected a number; start again with a lower {self.phase.name}_learning_rate."
            )
        self._training_seconds = max(time.monotonic() - self._epoch_start, 1e-6)
        if not self.writer.is_time_for_a_row():
            return
        count, then = min(batch + 1, self.steps), self._count  # the last call of an epoch may have fewer steps
        seconds = self._training_seconds - self._seconds
        sums = {name: float(logs[name]) * count for name in _METRICS}
        means = {name: (sums[name] - self._before[name]) / (count - then) for name in sums}
        self._before, self._count, self._seconds = sums, count, self._training_seconds
        self._add_row(
            "step",
            count,
            step=count,
            steps=self.steps,
            loss=means["loss"],
            cross_entropy=max(0.0, means["cross_entropy"]),
            accuracy=clipped(means["accuracy"]),
            images_per_second=(count - then) * self.phase.batch_size / max(seconds, 1e-6),
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's row."""
        figures = {
            name.replace("val_", "validation_"): clipped(value) if name.endswith("accuracy") else float(value)
            for name, value in (logs or {}).items()
            if name.removeprefix("val_") in _METRICS
        }
        self._add_row(
            "epoch",
            self.steps,
            epochs=self.phase.epochs,
            **figures,
            images=self.images,
            epoch_seconds=time.monotonic() - self._epoch_start,
            images_per_second=self.images / self._training_seconds,
            weight_changes=self.changes(),
        )

    def _add_row(self, kind: str, steps_done: int, **values: Any) -> None:
        """Add a row; the remaining seconds are of this phase at the speed of this epoch, without early stopping."""
        seconds_a_step = (time.monotonic() - self._epoch_start) / steps_done
        steps_left = (self.phase.epochs - self._epoch) * self.steps - steps_done
        rate = float(keras.ops.convert_to_tensor(self.model.optimizer.learning_rate))
        place: dict[str, Any] = {"phase": self.phase.name, "epoch": self._epoch + 1, "learning_rate": rate}
        self.writer.add_row(kind, **place, **values, seconds_left=seconds_a_step * steps_left)


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
        progress, accuracy = self.progress, clipped((logs or {})[MONITOR])
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


class ProbeCallback(keras.callbacks.Callback):
    """Writes the probabilities of the pinned pictures after each epoch, and several times in a phase's first epoch.

    Pins are read each time, so they can be added during the training. LiteRT classifies them in about 50 ms and uses
    no random numbers. `network` is the whole network; `fit` may train a part of it.
    """

    _WITHIN_FIRST = (1 / 16, 1 / 8, 1 / 4, 1 / 2)

    def __init__(self, writer: RunWriter, config: TrainConfig, network: keras.Model, phase: str, steps: int) -> None:
        super().__init__()
        self.writer, self.config, self.network, self.phase, self.steps = writer, config, network, phase, steps
        self._moments = {max(1, round(share * steps)) for share in self._WITHIN_FIRST}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the network before the first epoch."""
        self._is_first = epoch == 0
        if self._is_first:
            self._record(0.0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record some steps of the first epoch."""
        passed = {moment for moment in self._moments if moment <= batch + 1 < self.steps}
        if self._is_first and passed:
            self._moments -= passed
            self._record((batch + 1) / self.steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch."""
        self._record(epoch + 1.0)

    def _record(self, epoch: float) -> None:
        pinned = pins.load(self.writer.run.path)
        if not pinned:
            return
        network = litert_network(self.config, model.named_weights(self.network), ("probabilities",))
        rows = network.run(np.stack([pin.image for pin in pinned]))["probabilities"]
        probabilities = {pin.key: [round(float(p), 5) for p in row] for pin, row in zip(pinned, rows, strict=True)}
        self.writer.add_probe(phase=self.phase, epoch=round(epoch, 4), pins=probabilities)


def clipped(accuracy: float) -> float:
    """Return `accuracy` within 0..1."""
    return min(max(float(accuracy), 0.0), 1.0)


def _state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the state of an EarlyStopping or ReduceLROnPlateau callback."""
    keys = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")
    values = {key: getattr(callback, key) for key in keys if getattr(callback, key, None) is not None}
    return {key: int(value) if isinstance(value, int) else float(value) for key, value in values.items()}
