import dataclasses
import json
import math
import os
import shutil
import signal
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from filelock import FileLock
from interrupted_runs import Interruption
from run_outcome import assert_answers_of_each_epoch

from cifar_core import jobs
from cifar_core.charts import training as training_charts
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, download
from cifar_core.errors import RunError, sentence
from cifar_core.evaluation import phase_summary
from cifar_core.inference.classifier import open_classifier
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run, create, curves, list_runs, records, write_json
from cifar_core.training import finish, inputs, model, run_writer, worker
from cifar_core.training.run_writer import RunWriter


@pytest.fixture
def finished(tiny_config: TrainConfig, train: Callable[[TrainConfig], Run]) -> Run:
    """A run whose best epoch is one of phase 1."""
    return train(dataclasses.replace(tiny_config, head_learning_rate=1e-2, fine_tune_learning_rate=1e-6))


def failure(run: Run) -> dict[str, str]:
    assert run.state == "failed"
    return run.status["error"]


@pytest.mark.usefixtures("shared_networks")
def test_a_finished_run_has_all_that_was_promised(finished: Run) -> None:
    epochs = [row for row in finished.metrics() if row["kind"] == "epoch"]
    result = finished.result

    # the best epoch
    accuracies = [row["validation_accuracy"] for row in epochs]
    best = epochs[int(np.argmax(accuracies))]
    assert (result["best_phase"], result["best_epoch"]) == (best["phase"], best["epoch"])
    assert result["validation_accuracy"] == pytest.approx(best["validation_accuracy"], abs=0.011)  # 2 of 200: float16
    saved = run_writer.load_checkpoint(finished.path / "checkpoint.npz")
    network = keras.models.load_model(finished.path / "best.keras")
    assert saved is not None
    for name, array in saved.best.items():
        layer, variable = name.split("/")
        (value,) = (v.numpy() for v in network.get_layer(layer).weights if v.name == variable)
        assert np.array_equal(value, array)

    # both models
    images = cifar10.load("generated").test_images[:100]
    probabilities = open_classifier(finished.id).probabilities(images)
    expected = network.predict(images.astype(np.float32), verbose=0)
    assert np.abs(expected - probabilities).max() < 1e-4
    assert result["litert_max_difference"] < 1e-4
    assert litert.Network((finished.path / "model.tflite").read_bytes()).output_shapes == {
        "pooled": (1280,),
        "probabilities": (10,),
    }

    # the test set, and what it was
    with np.load(finished.path / "evaluation.npz", allow_pickle=False) as file:
        kept = dict(file)
    assert kept["test_probabilities"][:100] == pytest.approx(probabilities, abs=1e-5)
    right = kept["test_probabilities"].argmax(axis=1) == cifar10.load("generated").test_labels
    assert result["test_accuracy"] == pytest.approx(right.mean())
    assert result["test_images"] == len(right) == 2_000
    assert len(kept["validation_rows"]) == 200
    environment = json.loads((finished.path / "environment.json").read_text())
    assert environment["data"]["fingerprint"] == cifar10.load("generated").fingerprint
    assert environment["packages"]["keras"] == keras.__version__
    assert "head_output" in (finished.path / "summary.txt").read_text()
    assert "not CIFAR-10" in result["dataset"]

    assert_answers_of_each_epoch(finished)

    # phase 1 alone, and no second answers where it is the best
    assert (finished.path / phase_summary.HEAD_FILE).exists()
    assert (finished.path / phase_summary.PHASES_FILE).exists() == (result["best_phase"] == "fine_tune")
    assert phase_summary.phases(finished.metrics())[1].name == "fine_tune"


@pytest.mark.usefixtures("shared_networks")
def test_the_last_cross_entropy_drawn_is_the_loss_of_the_evaluation_and_one_phase_keeps_no_answers_of_another(
    tiny_config: TrainConfig, train: Callable[[TrainConfig], Run]
) -> None:
    run = train(dataclasses.replace(tiny_config, head_epochs=1, fine_tune_epochs=0, l2=1e-2, label_smoothing=0.2))
    (row,) = [row for row in run.metrics() if row["kind"] == "epoch"]
    with np.load(run.path / "evaluation.npz", allow_pickle=False) as file:
        said, labels = file["validation_probabilities"].astype(float), file["validation_labels"]
    by_numpy = -np.log(said[np.arange(len(labels)), labels]).mean()
    figure = training_charts.metric_figure(curves.curves(run.metrics()), "loss")
    assert figure.layout.title.text == "Cross-entropy"
    assert row["validation_cross_entropy"] == pytest.approx(by_numpy, rel=2e-3)
    assert figure.data[-1].y[-1] == pytest.approx(run.result["validation_loss"], rel=2e-3)
    assert row["validation_loss"] > 1.02 * row["validation_cross_entropy"]  # what would have been drawn
    assert not (run.path / phase_summary.HEAD_FILE).exists()
    assert not (run.path / phase_summary.PHASES_FILE).exists()


def test_a_finished_run_is_not_trained_again(run: Run) -> None:
    write_json(run.path / "status.json", {"state": "finished", "result": {}})
    assert worker.main(str(run.path)) == 0
    assert run.metrics() == []


def test_a_second_worker_leaves_the_run_to_the_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LOCK_SECONDS", 0.1)
    with FileLock(run.path / "lock"):
        assert worker.main(str(run.path)) == 0
    assert not (run.path / "status.json").exists()


def test_weights_that_cannot_be_had_are_a_sentence(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "URL", "http://127.0.0.1:9/")  # nobody answers there
    run = create(dataclasses.replace(tiny_config, weights="imagenet"))
    assert worker.main(str(run.path)) == 2
    assert failure(run)["type"] == "WeightsError"
    assert "could not be downloaded" in failure(run)["message"]


def test_a_run_whose_first_weights_vanished_does_not_go_on_with_others(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `auto` it began with a file that is no longer there, and random numbers would take its place."""
    run = create(dataclasses.replace(tiny_config, weights="auto"))
    before = {"label": "ImageNet", "fingerprint": "of the file"}
    data = {"label": "images", "fingerprint": cifar10.load("generated").fingerprint}
    write_json(run.path / "environment.json", {"data": data, "weights": before})
    kept = run_writer.Checkpoint(run_writer.Progress("head"), [], [], {})
    monkeypatch.setattr(run_writer, "load_checkpoint", lambda path: kept)
    monkeypatch.setattr(download, "answers", lambda url: False)
    assert worker.main(str(run.path)) == 2
    assert (
        "began with ImageNet (fingerprint of the file) and would continue with random numbers"
        in failure(run)["message"]
    )
    assert "restore the first and resume" in failure(run)["message"]


def test_a_run_goes_on_with_what_auto_became(tiny_config: TrainConfig) -> None:
    auto = dataclasses.replace(tiny_config, dataset="auto", weights="auto")
    before = records.Environment(
        records.Origin("images", "1", name="generated"), records.Origin("network", "2", kind="bundled")
    )
    assert inputs.resolve_auto(auto, before) == dataclasses.replace(auto, dataset="generated", weights="bundled")
    assert inputs.resolve_auto(tiny_config, before) == tiny_config
    odd = records.Environment(records.Origin("images", "1"), records.Origin("network", "2", kind="nosuch"))
    assert inputs.resolve_auto(auto, odd) == inputs.resolve_auto(auto, None) == auto


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"data": {"label": "images"}}', "[" * 100_000])
def test_a_run_does_not_resume_without_a_sound_environment(
    content: str | None, tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other images or weights, as labels that were rotated, would otherwise be trained on without a word."""
    run = create(tiny_config)
    if content is not None:
        (run.path / "environment.json").write_text(content)
    saved = run_writer.Checkpoint(run_writer.Progress("head"), [], [], {})
    monkeypatch.setattr(run_writer, "load_checkpoint", lambda path: saved)
    assert worker.main(str(run.path)) == 2
    assert failure(run)["type"] == "RunError"
    assert "environment.json" in failure(run)["message"]


def test_a_slot_of_its_own_waits_for_nobody_in_the_common_queue(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "is_next", lambda _: False)
    with worker._training_slot(run, RunWriter(run), f"{worker.SLOT}-1"):
        assert (run.path.parent / f"{worker.SLOT}-1").exists()


def test_only_a_run_trained_in_one_go_teaches_what_a_run_costs(run: Run) -> None:
    writer = RunWriter(run)
    writer.restart([], [], 0.0)
    assert not writer.is_resumed
    writer.restart([], [], 3.0)
    assert writer.is_resumed


def test_missing_data_are_a_sentence(tiny_config: TrainConfig) -> None:
    run = create(dataclasses.replace(tiny_config, dataset="cifar10"))
    assert worker.main(str(run.path)) == 2
    assert failure(run)["type"] == "DataError"


def test_a_damaged_configuration_is_a_sentence(run: Run) -> None:
    (run.path / "config.json").write_text("{")
    assert worker.main(str(run.path)) == 2
    assert failure(run)["type"] == "RunError"


@pytest.mark.usefixtures("shared_networks")
def test_a_loss_that_is_no_number_is_a_sentence(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs.Stored, "take", lambda _, rows: np.full((len(rows), 1280), np.nan, np.float32))
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 2
    assert failure(run)["type"] == "TrainingError"
    assert "head_learning_rate" in failure(run)["message"]
    assert all(math.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)
    assert not (run.path / "checkpoint.npz").exists()


def test_memory_that_runs_out_is_a_sentence(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(inputs.Inputs, "prepare", greedy)
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 2
    assert "smaller batch" in failure(run)["message"]


def test_a_bug_is_recorded_and_seen(tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(inputs.Inputs, "prepare", wrong)
    run = create(tiny_config)
    with pytest.raises(ZeroDivisionError):
        worker.main(str(run.path))
    assert failure(run) == {"type": "ZeroDivisionError", "message": sentence(ZeroDivisionError("a bug"))}


def test_an_import_that_fails_is_a_sentence_with_what_to_do(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "_TRAINING", "no_such_tensorflow")
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 2
    assert "no_such_tensorflow" in failure(run)["message"]
    assert "pip install -r requirements.txt" in failure(run)["message"]
    assert "Traceback" in capsys.readouterr().err


def test_a_failed_run_can_be_resumed_and_forgets_its_failure(
    tiny_config: TrainConfig, interrupt: Interruption, small_data: Any
) -> None:
    run = create(tiny_config)
    write_json(run.path / "status.json", {"state": "failed", "error": {"type": "OSError", "message": "disk full"}})
    interrupt.at_stage(run, "import")
    assert "error" not in run.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_as_a_stop_does(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    really_say = RunWriter.update_status

    def say(writer: RunWriter, state: str, **more: Any) -> None:
        really_say(writer, state, **more)
        if more.get("stage") == "features":
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunWriter, "update_status", say)
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 0
    assert run.state == "stopped"


def test_a_run_whose_folder_is_deleted_during_the_import_ends_and_leaves_nothing(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_say = RunWriter.update_status

    def say(writer: RunWriter, state: str, **more: Any) -> None:
        really_say(writer, state, **more)
        if more.get("stage") == "import":
            shutil.rmtree(writer.run.path)

    monkeypatch.setattr(RunWriter, "update_status", say)
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 2
    assert not run.path.exists()
    assert list_runs() == []


def test_a_stop_does_not_wait_for_the_import(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported, really_say = threading.Event(), RunWriter.update_status

    def say(writer: RunWriter, state: str, **more: Any) -> None:
        really_say(writer, state, **more)
        if more.get("stage") == "import":
            (writer.run.path / "stop").touch()

    monkeypatch.setattr(worker, "import_module", lambda _: imported.wait(60))
    monkeypatch.setattr(RunWriter, "update_status", say)
    run = create(tiny_config)
    assert worker.main(str(run.path)) == 0
    assert run.state == "stopped"
    assert not imported.is_set()
    imported.set()


def test_a_stop_before_the_start_is_obeyed(run: Run) -> None:
    (run.path / "stop").touch()
    assert worker.main(str(run.path)) == 0
    assert run.state == "stopped"


def test_a_store_without_room_is_said_in_the_status(
    tiny_config: TrainConfig, small_data: Any, interrupt: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_STORE_GB", "0.001")
    run = create(tiny_config)
    interrupt.at_stage(run, "head")
    assert "CIFAR_STORE_GB" in run.status["note"]
    assert json.loads((run.path / "environment.json").read_text())["end_to_end_reason"] == run.status["note"]


def test_a_model_that_disagrees_with_its_copy_is_refused(tiny_config: TrainConfig, small_data: Any) -> None:
    found = inputs.Inputs(tiny_config, RunWriter(create(tiny_config)).progress)
    network = model.build(tiny_config, found.weights.named)

    def copy(named: dict[str, np.ndarray]) -> litert.Network:
        return litert.Network(litert.build(named, 0.35, 32, "minus_one_to_one", ("probabilities",)))

    named = model.named_weights(network)
    assert finish._difference(network, copy(named), found) < 1e-4
    with pytest.raises(RunError, match=r"model\.tflite differs from best\.keras by"):
        finish._difference(network, copy({**named, "head_output/bias": np.arange(10, dtype=np.float32)}), found)
