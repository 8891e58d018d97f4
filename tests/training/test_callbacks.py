import math
from typing import Any

import keras
import numpy as np
import pytest

from cifar_core.errors import TrainingError
from cifar_core.jobs import Stopped
from cifar_core.runs import Run, curves
from cifar_core.training import model, run_writer
from cifar_core.training.callbacks import CheckpointCallback, MetricsCallback, Phase, StopCallback
from cifar_core.training.run_writer import ROWS_A_SECOND, Progress, RunWriter


@pytest.fixture
def writer(run: Run) -> RunWriter:
    return RunWriter(run)


@pytest.fixture
def network() -> keras.Model:
    """As small as a network can be, ready to be trained."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(10, "softmax", name="dense")])
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    network.optimizer.build(network.trainable_variables)
    return network


def logs(accuracy: float, loss: float = 1.0) -> dict[str, float]:
    values = {"loss": loss, "cross_entropy": loss, "accuracy": accuracy}
    return values | {f"val_{name}": value for name, value in values.items()}


class TestCheckpointCallback:
    @pytest.fixture
    def saver(self, run: Run, writer: RunWriter, network: keras.Model) -> CheckpointCallback:
        best = model.named_weights(network)
        saver = CheckpointCallback(writer, network, Progress("head"), best, {})
        saver.set_model(network)
        saver.set_params({"epochs": 4})
        return saver

    def end_epoch(self, saver: CheckpointCallback, epoch: int, accuracy: float) -> run_writer.Checkpoint:
        """End it with weights that tell its number."""
        saver.network.get_layer("dense").bias.assign(np.full(10, epoch))
        saver.on_epoch_end(epoch, logs(accuracy))
        saved = run_writer.load_checkpoint(saver.writer.run.path / "checkpoint.npz")
        assert saved is not None
        return saved

    def test_the_best_weights_are_those_of_the_first_best_epoch(self, saver: CheckpointCallback) -> None:
        for epoch, accuracy in enumerate((0.3, 0.6, 0.6, 0.5)):
            saved = self.end_epoch(saver, epoch, accuracy)
        assert (saved.progress.best_epoch, saved.progress.best_accuracy) == (2, 0.6)
        assert (saved.best["dense/bias"] == 1).all()
        assert (saver.best["dense/bias"] == 1).all()
        assert (saved.model[1] == 3).all()  # to go on from

    def test_a_later_phase_keeps_the_best_of_the_one_before_unless_it_beats_it(self, saver: CheckpointCallback) -> None:
        self.end_epoch(saver, 0, 0.6)
        saver.progress = saver.progress.at_start_of("fine_tune")
        saved = self.end_epoch(saver, 5, 0.6)
        assert (saved.progress.phase, saved.progress.best_phase) == ("fine_tune", "head")
        assert (saved.best["dense/bias"] == 0).all()
        saved = self.end_epoch(saver, 6, 0.7)
        assert (saved.progress.best_phase, saved.progress.best_epoch) == ("fine_tune", 7)
        assert (saved.best["dense/bias"] == 6).all()

    def test_a_phase_is_done_after_its_last_epoch_or_when_it_stopped_early(self, saver: CheckpointCallback) -> None:
        assert [self.end_epoch(saver, epoch, 0.5).progress.phase_done for epoch in (0, 2, 3)] == [False, False, True]
        saver.model.stop_training = True
        assert self.end_epoch(saver, 1, 0.5).progress.phase_done

    def test_a_disk_that_fills_up_leaves_the_checkpoint_before(
        self, saver: CheckpointCallback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.end_epoch(saver, 0, 0.5)

        def full(file: Any, **_: Any) -> None:
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            self.end_epoch(saver, 1, 0.9)
        saved = run_writer.load_checkpoint(saver.writer.run.path / "checkpoint.npz")
        assert saved is not None
        assert saved.progress.epoch == 1


def test_early_stopping_and_rate_reduction_are_given_back_what_they_knew(
    run: Run, writer: RunWriter, network: keras.Model
) -> None:
    def callbacks() -> dict[str, keras.callbacks.Callback]:
        watched: dict[str, keras.callbacks.Callback] = {
            "early_stopping": keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=4),
            "reduce": keras.callbacks.ReduceLROnPlateau("val_accuracy", mode="max", factor=0.5, patience=2),
        }
        for callback in watched.values():
            callback.set_model(network)
        return watched

    def saver(progress: Progress, watched: dict[str, keras.callbacks.Callback]) -> CheckpointCallback:
        saver = CheckpointCallback(writer, network, progress, {}, watched)
        saver.set_model(network)
        saver.set_params({"epochs": 100})
        return saver

    first = callbacks()
    all_of_them = [*first.values(), saver(Progress("head"), first)]
    for callback in all_of_them:
        callback.on_train_begin()
    for epoch, accuracy in enumerate((0.5, 0.7, 0.6, 0.6)):
        for callback in all_of_them:
            callback.on_epoch_end(epoch, logs(accuracy))
    saved = run_writer.load_checkpoint(run.path / "checkpoint.npz")
    assert saved is not None

    second = callbacks()
    for callback in (*second.values(), saver(saved.progress, second)):
        callback.on_train_begin()
    for name, callback in second.items():
        for key in ("wait", "best", "cooldown_counter", "stopped_epoch"):
            if hasattr(callback, key):
                assert getattr(callback, key) == pytest.approx(getattr(first[name], key)), (name, key)
    assert second["early_stopping"].wait == 2  # type: ignore[attr-defined]
    for epoch in (4, 5):
        assert not network.stop_training
        second["early_stopping"].on_epoch_end(epoch, logs(0.6))
    assert network.stop_training


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_training_with_a_sentence(
    writer: RunWriter, network: keras.Model, loss: float
) -> None:
    watch = MetricsCallback(writer, Phase("fine_tune", 2, 16, 1e-3), 40)
    watch.set_model(network)
    watch.on_epoch_begin(1)
    watch.on_train_batch_end(0, logs(0.1, loss=80.0))
    with pytest.raises(TrainingError, match=r"in epoch 2 of phase fine_tune .* lower fine_tune_learning_rate"):
        watch.on_train_batch_end(1, logs(0.1, loss=loss))


def test_a_stop_is_seen_after_a_training_and_after_a_validation_step(run: Run, writer: RunWriter) -> None:
    watch = StopCallback(writer)
    watch.on_train_batch_end(0)
    (run.path / "stop").touch()
    for look in (watch.on_train_batch_end, watch.on_test_batch_end):
        with pytest.raises(Stopped):
            look(0)


def test_rows_of_steps_tell_of_the_images_since_the_row_before(
    run: Run, writer: RunWriter, network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = iter([True, False, True])
    monkeypatch.setattr(writer, "is_time_for_a_row", lambda: next(due))
    recorder = MetricsCallback(writer, Phase("head", 2, 16, 1e-3), 40)
    recorder.set_model(network)
    recorder.on_epoch_begin(0)
    losses, accuracies = [4.0, 1.0, 3.0], [0.0, 0.5, 1.0]
    for batch in range(3):  # Keras gives the mean since the epoch's start
        done = batch + 1
        recorder.on_train_batch_end(batch, logs(sum(accuracies[:done]) / done, sum(losses[:done]) / done))
    first, second = run.metrics()
    assert (first["step"], first["steps"], first["epoch"], first["phase"]) == (1, 3, 1, "head")
    assert (first["loss"], first["accuracy"]) == (4.0, 0.0)
    assert second["step"] == 3
    assert (second["loss"], second["accuracy"]) == (pytest.approx(2.0), pytest.approx(0.75))
    assert second["learning_rate"] == pytest.approx(1e-3)


def test_rounding_of_the_running_mean_leaves_accuracies_within_0_and_1(
    run: Run, writer: RunWriter, network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "is_time_for_a_row", lambda: True)
    recorder = MetricsCallback(writer, Phase("head", 2, 16, 1e-3), 32)
    recorder.set_model(network)
    recorder.on_epoch_begin(0)
    recorder.on_train_batch_end(0, logs(0.9999997, loss=1e-7))
    recorder.on_train_batch_end(1, logs(1.0000003, loss=0.0))
    recorder.on_epoch_end(0, logs(1.0000003))
    rows = run.metrics()
    assert curves.sound_rows(rows) == rows
    assert [row["accuracy"] for row in rows] == [0.9999997, 1.0, 1.0]
    assert rows[2]["validation_accuracy"] == 1.0


def test_no_more_than_ten_rows_a_second(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(1000, 1002, 0.01))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert sum(writer.is_time_for_a_row() for _ in range(200)) in range(2 * ROWS_A_SECOND - 2, 2 * ROWS_A_SECOND + 1)
