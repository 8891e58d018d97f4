import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from filelock import FileLock

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import SweepError
from cifar_core.evaluation import predictions
from cifar_core.inference.classifier import open_classifier
from cifar_core.network import pretrained
from cifar_core.runs import Run
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.findings import Findings
from cifar_core.search.space import Goal, Plan
from cifar_core.training import sweep_worker, worker

STOP_SECONDS = 4  # three are promised, one is for a busy machine


@pytest.fixture
def head_plan(tiny_config: TrainConfig) -> Plan:
    base = replace(tiny_config, fine_tune_epochs=0, head_learning_rate=1e-2)
    return Plan(base, (space.parse_range("dropout=0,0.3"),))


@pytest.fixture
def sweep(small_data: Path) -> Callable[..., Findings]:
    """Works on a new sweep in this process until it is done."""

    def work(plan: Plan, trials: int, name: str = "test") -> Findings:
        studies.create(name, plan, Goal(trials))
        assert sweep_worker.main(name) == 0
        return findings.find(name)

    return work


@pytest.fixture
def no_worker_stays(own_folders: None) -> Iterator[None]:
    yield
    for place in (runs.runs_dir() / "sweeps").glob("*"):
        for number in sweep_workers.living_workers(place.name):
            about = runs.read_json(place / f"worker-{number}.json")
            jobs.end_process(about, sweep_workers.WORKER, psutil.Process.kill)


def epochs(run: Run) -> list[tuple[str, int, float]]:
    rows = [row for row in run.metrics() if row["kind"] == "epoch"]
    return [(row["phase"], row["epoch"], row["validation_accuracy"]) for row in rows]


def run_of(found: Findings, number: int) -> Run:
    run = found.trials[number].run
    assert run is not None
    return Run(run)


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    assert jobs.wait_until(lambda: bool(condition()), seconds), "not in time"


@pytest.mark.usefixtures("shared_networks")
def test_trials_are_ordinary_finished_runs_and_a_hopeless_one_ends_early(
    head_plan: Plan, sweep: Callable[..., Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_hopeless(trial: optuna.Trial) -> bool:
        """The second trial always, the third at its end, where there is nothing left to save."""
        return trial.number == 1 or (trial.number == 2 and 2 in trial.study.trials[2].intermediate_values)

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", is_hopeless)
    found = sweep(head_plan, 3)
    assert (found.state, found.done) == ("finished", 3)
    assert [trial.state for trial in found.trials] == ["finished", "pruned", "finished"]
    assert [len(trial.curve) for trial in found.trials] == [2, 1, 2]
    pruned = run_of(found, 1)
    assert (pruned.state, pruned.result["pruned"], len(epochs(pruned))) == ("finished", True, 1)
    assert pruned in runs.finished_runs()
    assert sorted(found.trials[0].params) == ["dropout"]
    for number in (0, 2):
        run, trial = run_of(found, number), found.trials[number]
        assert run.state == "finished"
        assert run.config == head_plan.with_values(trial.params)
        assert trial.accuracy == run.result["validation_accuracy"]
        assert [epoch for epoch, _ in trial.curve] == [1, 2]
        said = predictions.load(run)
        assert (len(said.validation.labels), len(said.test.labels)) == (200, 2_000)
        own = open_classifier(run.id)
        images = cifar10.load("generated").test_images[:50]
        assert own.probabilities(images) == pytest.approx(said.test.probabilities[:50], abs=0.02)  # stored as float16
        assert (own.probabilities(images).argmax(1) == said.test.probabilities[:50].argmax(1)).mean() > 0.95
        assert own.calibration is not None
        assert runs.read_json(run.path / "trial.json") == {"sweep": "test", "trial": number}
        assert not run.is_alive
    assert len(runs.list_runs()) == 3


@pytest.mark.slow
def test_a_trial_learns_what_an_ordinary_run_learns(
    tiny_config: TrainConfig, sweep: Callable[..., Findings], train: Callable[[TrainConfig], Run]
) -> None:
    found = sweep(Plan(tiny_config, (space.parse_range("dropout=0.2,0.4"),)), 2)
    last = run_of(found, 1)
    ordinary = train(last.config)
    assert epochs(last) == epochs(ordinary)
    assert last.result["validation_accuracy"] == pytest.approx(ordinary.result["validation_accuracy"], abs=0.011)
    assert (last.path / "model.tflite").read_bytes() == (ordinary.path / "model.tflite").read_bytes()
    difference = np.abs(predictions.load(last).test.probabilities - predictions.load(ordinary).test.probabilities)
    assert difference.max() < 0.02


def test_trials_without_room_on_the_disk_say_so(
    head_plan: Plan, sweep: Callable[..., Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_RUNS_GB", "1e-9")
    found = sweep(head_plan, 9)
    assert found.state == "failed"
    assert all("raise CIFAR_RUNS_GB" in str(trial.error) for trial in found.trials)


@pytest.mark.usefixtures("shared_networks")
def test_a_grid_trains_every_cell_once_and_prunes_none(
    head_plan: Plan, sweep: Callable[..., Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda _: True)
    plan = Plan(head_plan.base, (space.parse_range("dropout=0,0.3"),), grid=True)
    found = sweep(plan, 2)
    assert [cell.mean is not None for cell in found.cells()] == [True, True]
    assert {trial.state for trial in found.trials} == {"finished"}


def test_a_sweep_of_failures_ends_and_says_why(
    head_plan: Plan, sweep: Callable[..., Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "URL", "http://127.0.0.1:9/")  # nobody answers there
    found = sweep(Plan(replace(head_plan.base, weights="imagenet"), head_plan.ranges), 30)
    assert (found.state, len(found.trials)) == ("failed", 5)
    assert "could not be downloaded" in str(found.trials[0].error)
    assert sweep_worker.main("test") == 0  # as when it is resumed
    assert len(findings.find("test").trials) == 10, "failures before the resume do not count"


@pytest.mark.slow
@pytest.mark.usefixtures("shared_networks")
def test_a_stopped_trial_goes_on_under_another_number_with_its_run(
    tiny_config: TrainConfig, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(replace(tiny_config, early_stopping_patience=100), (space.parse_range("dropout=0,0.3"),))
    monkeypatch.setattr("cifar_core.training.fit._TRIAL_PAUSE_SECONDS", 0.0)
    studies.create("test", plan, Goal(1))
    report = optuna.trial.Trial.report

    def stopped_after_the_third(trial: optuna.Trial, value: float, step: int) -> None:
        report(trial, value, step)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(optuna.trial.Trial, "report", stopped_after_the_third)
    assert sweep_worker.main("test") == 0
    first = findings.find("test")
    assert (first.state, [trial.state for trial in first.trials]) == ("interrupted", ["waiting"])
    run = run_of(first, 0)
    assert run.state == "stopped"
    monkeypatch.setattr(optuna.trial.Trial, "report", report)
    assert sweep_worker.main("test") == 0
    found = findings.find("test")
    assert (found.state, [trial.state for trial in found.trials]) == ("finished", ["finished"])
    assert run_of(found, 0) == run
    assert [row[:2] for row in epochs(run)] == [("head", 1), ("head", 2), ("fine_tune", 1), ("fine_tune", 2)]
    assert len(runs.list_runs()) == 1


@pytest.mark.usefixtures("shared_networks")
def test_a_run_that_was_deleted_meanwhile_is_trained_anew_on_a_second_gpu_that_waits_for_no_other(
    head_plan: Plan, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies.create("test", head_plan, Goal(1))
    trial = studies.open_study("test").ask()
    head_plan.config(trial)
    trial.set_user_attr("run", "20200101-000000000-gone")
    monkeypatch.setenv("CIFAR_SWEEP_GPU", "1")
    with FileLock(runs.runs_dir() / worker.SLOT):
        assert sweep_worker.main("test") == 0
    found = findings.find("test")
    assert [trial.state for trial in found.trials] == ["finished"]
    assert run_of(found, 0).state == "finished"


def test_a_trial_beyond_the_goal_is_not_trained_and_does_not_count(
    head_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines may both find that one trial is left: they share no lock."""
    studies.create("test", head_plan, Goal(1))
    study = studies.open_study("test")
    other = study.ask()
    head_plan.config(other)
    study.tell(other, 0.5)
    answers = iter([False])
    is_done = studies.is_done
    monkeypatch.setattr(studies, "is_done", lambda asked: next(answers, None) is None and is_done(asked))
    assert sweep_worker.main("test") == 0
    assert [trial.state.name for trial in studies.open_study("test").trials] == ["COMPLETE", "FAIL"]
    assert [trial.number for trial in findings.find("test").trials] == [0]
    assert runs.list_runs() == []


def test_a_worker_without_a_sweep_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep_worker.main("none") == 2
    assert sweep_worker.main("../none") == 2
    assert "There is no search none" in capsys.readouterr().err


@pytest.mark.slow
def test_of_two_workers_one_takes_up_the_trial_of_the_other_that_died_stops_within_seconds_and_resumes(
    tiny_config: TrainConfig, small_data: Path, no_worker_stays: None
) -> None:
    base = replace(tiny_config, fine_tune_epochs=8, early_stopping_patience=100)
    sweep_workers.start("test", Plan(base, (space.parse_range("dropout=0:0.5"),)), Goal(2), workers=2)
    assert sweep_workers.living_workers("test") == [0, 1]
    with pytest.raises(SweepError, match="is running"):
        sweep_workers.resume("test")

    def training() -> list[Run]:
        return [run for run in runs.list_runs() if run.state == "running" and epochs(run)]

    wait_for(training)
    (run,) = training()
    psutil.Process(run.status["pid"]).send_signal(signal.SIGKILL)
    wait_for(lambda: run.state == "lost")
    wait_for(lambda: run in training(), 180)
    since = time.monotonic()
    sweep_workers.stop("test")
    assert time.monotonic() - since < STOP_SECONDS
    assert findings.find("test").state == "stopped"

    sweep_workers.resume("test")
    assert findings.find("test").state == "running"
    wait_for(lambda: findings.find("test").state != "running", 180)
    found = findings.find("test")
    assert (found.state, found.done) == ("finished", 2)
    assert {trial.state for trial in found.trials} <= {"finished", "pruned"}
    states = [trial.state.name for trial in studies.open_study("test").get_trials()]
    assert states.count("FAIL") == 2, "one worker died, one was stopped"
    assert len(runs.list_runs()) == 2
    assert all(run.state == "finished" for run in runs.list_runs())


def test_a_worker_elsewhere_hears_of_the_stop(head_plan: Plan, small_data: Path, no_worker_stays: None) -> None:
    """It waits for the slot, which this test holds, so that it needs no TensorFlow."""
    studies.create("test", head_plan, Goal(1))
    with (
        FileLock(runs.runs_dir() / worker.SLOT),
        subprocess.Popen([sys.executable, "-m", sweep_workers.WORKER, "test"]) as process,
    ):
        wait_for(lambda: [run for run in runs.list_runs() if run.state == "queued" and run.is_alive])
        studies.ask_to_stop(studies.open_study("test"), True)
        assert process.wait(30) == 0
    assert [trial.state for trial in findings.find("test").trials] == ["waiting"]
    assert findings.find("test").state == "stopped"


@pytest.mark.slow
def test_ten_trials_leave_no_files_open_and_little_memory(small_data: Path) -> None:
    command = [sys.executable, "-m", "tests.sweep_memory", "10"]  # as a sweep's worker, a process without other tests
    lines = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith('{"bytes"')]
    assert len(rows) == 10
    settled = rows[4:]  # the first trials fill allocators and caches
    files = [row["files"] for row in settled]
    assert min(files[3:]) <= max(files[:3])  # a thread may have one open at that moment; one a trial would show
    assert settled[-1]["bytes"] - settled[0]["bytes"] < 5 * 2_000_000
