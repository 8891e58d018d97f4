"""The clock goes back by an hour, and files are refused: ids, elapsed times, trainings, what a page says of a run."""

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from app_pages import living_worker, make_run, open_app
from run_outcome import assert_complete, outcome

from cifar_core import costs, jobs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.training import worker
from cifar_core.training.run_writer import RunWriter

HOUR = 3_600.0
KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock be an hour late from now on."""
    real = time.time

    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(seconds=HOUR)

    monkeypatch.setattr(time, "time", lambda: real() - HOUR)
    monkeypatch.setattr(runs, "datetime", Late)


@pytest.mark.slow
@pytest.mark.usefixtures("own_signals", "shared_networks")
@pytest.mark.filterwarnings(KERAS_AND_NUMPY)
def test_a_training_meanwhile_whose_files_are_refused_ends_as_an_undisturbed_one(
    short_config: TrainConfig, small_data: Path
) -> None:
    """Each file can be replaced at the eighth try, as on Windows while another program has it open."""
    run, twin = runs.create(short_config), runs.create(short_config)
    really_replace, really_say, tries = os.replace, RunWriter.update_status, Counter[str]()

    def refused(source: Path, target: Path) -> None:
        tries[os.fspath(target)] += 1
        if tries[os.fspath(target)] % 8:
            raise PermissionError(13, "Permission denied")
        really_replace(source, target)

    def say(writer: RunWriter, state: str, **more: Any) -> None:
        if more.get("stage") == "fine_tune":
            put_back(patch)
        really_say(writer, state, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "update_status", say)
        patch.setattr(os, "replace", refused)
        patch.setattr(machine, "_REPLACE_SECONDS", [0.0] * len(machine._REPLACE_SECONDS))
        assert worker.main(str(run.path)) == 0
    assert worker.main(str(twin.path)) == 0  # in this process, too, where TensorFlow may have other threads
    assert_complete(run)
    assert outcome(run).differences(outcome(twin)) == []
    assert run.result["elapsed_seconds"] > 0
    assert {"status.json", "checkpoint.npz", "metrics.jsonl"} <= {Path(name).name for name in tries}
    assert not list(run.path.glob(".*"))


def test_a_run_made_afterwards_has_an_id_of_its_own_and_is_found(
    tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = runs.create(tiny_config)
    put_back(monkeypatch)
    after = runs.create(tiny_config)
    assert {before, after} == set(runs.list_runs())
    made = datetime.strptime(after.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - made).total_seconds() - HOUR) < 60
    assert runs.get(after.id).config == tiny_config


def test_a_run_whose_worker_never_spoke_is_lost_at_once(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.state == "queued"
    put_back(monkeypatch)
    assert run.state == "lost"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the clock moves when the system began on Linux")
def test_a_process_that_does_not_stop_is_still_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from cifar_core import jobs, machine; import json, time; print(json.dumps(jobs.this_process()), flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(60)", jobs.RUN_WORKER]
    environment = os.environ | {"PYTHONPATH": str(machine.app_dir())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        record = runs.records.json.loads(process.stdout.readline())
        real = psutil._pslinux.boot_time
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: real() - HOUR)
        older = {**record, "pid_created": record["pid_created"] - 10}
        jobs.end_process(older, jobs.RUN_WORKER, psutil.Process.kill)
        assert process.poll() is None
        jobs.end_process(record, jobs.RUN_WORKER, psutil.Process.kill)
        assert process.wait(10) < 0


def test_the_page_of_a_live_run_shows_no_time_below_zero(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    run = make_run("running", rows=[], stage="head", began=now, updated=now)
    put_back(monkeypatch)
    with living_worker(run):
        app = open_app(run=run.id)
        assert not app.exception
    forecast = costs.Forecast(costs.estimate(run.config, *cifar10.sizes()).stages, {"head": 3, "fine_tune": 2})
    outlook = forecast.outlook(time.time(), run.status, None)
    assert outlook.done >= 0 and outlook.seconds_left >= 0
