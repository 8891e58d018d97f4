"""Sweeps on a real PostgreSQL, Debian's package, started here; skipped where it is not installed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.config import TrainConfig
from cifar_core.jobs import wait_until
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan


@pytest.fixture
def plan(tiny_config: TrainConfig) -> Plan:
    return Plan(replace(tiny_config, fine_tune_epochs=0), (space.parse_range("dropout=0:0.5"),))


def test_a_sweep_is_kept_in_the_database_and_in_no_file(
    database: str, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(studies.STORAGE_VARIABLE, database)
    studies.create("kept", plan, Goal(3))
    assert "kept" in studies.names()
    assert not (studies.folder("kept") / "journal.log").exists()
    found = findings.find("kept")
    assert (found.plan, found.goal.trials) == (plan, 3)
    studies.extend(studies.open_study("kept"), trials=2)
    assert findings.find("kept").goal.trials == 5
    monkeypatch.delenv(studies.STORAGE_VARIABLE)
    assert studies.names() == []
    assert parser.main(["sweep", "show", "kept", "--storage", database]) == 0
    assert "secret" not in capsys.readouterr().out
    assert parser.main(["sweep", "show", "none", "--storage", database]) == 2


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")  # the test beats itself
def test_a_trial_that_fell_silent_is_taken_up_again_and_one_whose_heart_beats_is_left(
    database: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(studies.STORAGE_VARIABLE, database)
    monkeypatch.setattr(studies, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(studies, "GRACE_SECONDS", 2)
    studies._database.cache_clear()
    studies.create("beats", plan, Goal(5))
    study, storage = studies.open_study("beats"), studies._storage("beats")
    trials = [study.ask(), study.ask()]
    for trial in trials:
        plan.config(trial)
        trial.set_user_attr("run", f"run-{trial.number}")
        storage.record_heartbeat(trial._trial_id)
    for _ in range(3):
        time.sleep(1)
        storage.record_heartbeat(trials[1]._trial_id)
    studies.requeue_dead(study)
    studies._database.cache_clear()
    found = study.get_trials()
    assert [trial.state.name for trial in found] == ["FAIL", "RUNNING", "WAITING"]
    assert (found[2].params, found[2].user_attrs) == (found[0].params, {"run": "run-0", "retry_of": 0})


def test_a_sweep_in_the_database_is_deleted_for_good(
    database: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(studies.STORAGE_VARIABLE, database)
    studies.create("gone", plan, Goal(3))
    sweep_workers.delete("gone")
    assert "gone" not in studies.names()
    assert not studies.is_restorable("gone")


@pytest.mark.slow
def test_two_workers_share_a_database_and_the_trial_of_a_dead_one_is_taken_up_again(
    database: str, plan: Plan, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = replace(plan.base, head_epochs=20, early_stopping_patience=100)
    with monkeypatch.context() as here_only:  # the workers know it from --storage
        here_only.setenv(studies.STORAGE_VARIABLE, database)
        studies.create("shared", Plan(base, plan.ranges), Goal(2))
    command = [sys.executable, "-m", "cifar_core", "sweep", "worker", "--study", "shared", "--storage", database]
    # another machine: its runs lie elsewhere, and so does its training slot
    other = {**os.environ, "CIFAR_RUNS_DIR": str(tmp_path / "elsewhere")}
    with subprocess.Popen(command) as here, subprocess.Popen(command, env=other) as elsewhere:
        try:

            def victims() -> list[runs.Run]:
                return [run for run in runs.list_runs() if run.state == "running" and len(run.metrics()) > 5]

            assert wait_until(lambda: bool(victims()), 300)
            psutil.Process(victims()[0].status["pid"]).send_signal(signal.SIGKILL)
            assert elsewhere.wait(300) == 0
        finally:
            for process in (here, elsewhere):
                for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                    child.kill()
    monkeypatch.setenv(studies.STORAGE_VARIABLE, database)
    found = findings.find("shared")
    assert (found.state, found.done) == ("finished", 2)
    study = studies.open_study("shared")
    assert [trial.state.name for trial in study.get_trials()].count("FAIL") == 1
    assert sweep_workers.living_workers("shared") == []
