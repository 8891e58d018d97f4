import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.runs import Run

START_SECONDS = 60  # for TensorFlow, on a busy machine
STOP_SECONDS = 4  # three are promised, one is for a busy machine


def wait_until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {seconds} s"
        time.sleep(0.02)


def wait_for_state(run: Run, state: str, seconds: float = START_SECONDS) -> None:
    wait_until(lambda: run.state == state, f"{run.id} {state}", seconds)


def kill(run: Run) -> None:
    """End the worker without a warning, as the system does when memory runs out."""
    psutil.Process(run.status["pid"]).send_signal(signal.SIGKILL)
    wait_until(lambda: not run.is_alive, "killed")


@pytest.fixture(autouse=True)
def no_worker_stays(own_folders: None) -> Iterator[None]:
    yield
    for run in runs.list_runs():
        jobs.stop_run(run)


@pytest.fixture
def taken_slot() -> Iterator[FileLock]:
    """The one training slot, in other hands: whoever is started has to queue."""
    runs.runs_dir().mkdir()
    with FileLock(runs.runs_dir() / ".slot") as slot:
        yield slot


def test_a_started_worker_queues_holds_its_lock_and_needs_no_tensorflow(
    taken_slot: FileLock, tiny_config: TrainConfig
) -> None:
    run = jobs.start_run(tiny_config, "first")
    assert run.state == "queued"
    assert run.is_alive
    worker = psutil.Process(run.status["pid"])
    assert not [file for file in worker.memory_maps() if "tensorflow" in file.path and "litert" not in file.path]
    with pytest.raises(RunError, match=f"{run.id} is queued"):
        runs.delete(run)
    with pytest.raises(RunError, match=f"{run.id} is queued.*stopped, failed or lost"):
        jobs.resume_run(run)


def test_a_start_that_fails_leaves_no_run(tiny_config: TrainConfig) -> None:
    def fail(run: Run) -> None:
        raise RunError("no room")

    with pytest.raises(RunError):
        jobs.start_run(tiny_config, prepare=fail)
    assert runs.list_runs() == []


def test_a_queued_run_is_stopped_resumed_and_stopped_again(taken_slot: FileLock, tiny_config: TrainConfig) -> None:
    run = jobs.start_run(tiny_config)
    for _ in range(2):
        start = time.monotonic()
        jobs.stop_run(run)
        assert time.monotonic() - start < STOP_SECONDS
        assert run.state == "stopped"
        assert (run.path / "stop").exists()
        jobs.resume_run(run)
        assert run.state == "queued"
        assert not (run.path / "stop").exists()


def test_a_killed_worker_leaves_a_lost_run_that_can_be_resumed_or_deleted(
    taken_slot: FileLock, tiny_config: TrainConfig
) -> None:
    run = jobs.start_run(tiny_config)
    kill(run)
    assert run.state == "lost"
    jobs.resume_run(run)
    assert run.state == "queued"
    kill(run)
    runs.delete(run)
    assert runs.list_runs() == []


def test_many_starts_at_once_train_one_after_the_other_in_order(tiny_config: TrainConfig, small_data: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        started = sorted(pool.map(lambda _: jobs.start_run(tiny_config), range(3)), key=lambda run: run.id)
    for position, run in enumerate(started):
        wait_for_state(run, "running")
        assert [other.state for other in started] == ["stopped"] * position + ["running"] + ["queued"] * (2 - position)
        assert [jobs.queue_position(other) for other in started[position:]] == list(range(3 - position))
        jobs.stop_run(run)


def test_stopping_while_tensorflow_is_imported(tiny_config: TrainConfig, small_data: Path) -> None:
    run = jobs.start_run(tiny_config)
    wait_until(lambda: run.status.get("stage") == "import", "import")
    start = time.monotonic()
    jobs.stop_run(run)
    assert time.monotonic() - start < STOP_SECONDS
    assert run.state == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("features", {"image_size": 96, "train_images": 12_000}),
        ("head", {"views": 0, "image_size": 160, "batch_size": 256, "train_images": 12_000}),  # long steps
        ("fine_tune", {"head_epochs": 0, "fine_tune_epochs": 100}),
    ],
)
def test_stopping_in_every_stage(
    tiny_config: TrainConfig, small_data: Path, stage: str, changes: dict[str, Any]
) -> None:
    run = jobs.start_run(dataclasses.replace(tiny_config, early_stopping_patience=100, **changes))
    wait_until(lambda: run.status.get("stage") == stage, stage)
    time.sleep(1)  # into the middle of it
    assert run.status["stage"] == stage
    start = time.monotonic()
    jobs.stop_run(run)
    assert time.monotonic() - start < STOP_SECONDS
    assert run.state == "stopped"


@pytest.mark.parametrize(
    "process", [{}, {"pid": 1}, {"pid": 10**15, "pid_created": 0}, {"pid": -1, "pid_created": 1.5}]
)
def test_stopping_a_worker_whose_status_names_no_process_of_ours_ends_none(
    run: Run, process: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be damaged, or its worker may not have written one yet."""
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.1)
    runs.write_json(run.path / "status.json", {"state": "running", **process})
    with FileLock(run.path / "lock"):  # held by this process, which goes on
        jobs.stop_run(run)
        assert run.state == "stopping"


def test_a_stop_file_left_behind_means_stopped_and_a_resume_removes_it(
    taken_slot: FileLock, tiny_config: TrainConfig
) -> None:
    run = jobs.start_run(tiny_config)
    kill(run)
    (run.path / "stop").touch()
    assert run.state == "stopped"
    jobs.resume_run(run)
    assert run.state == "queued"


def test_stopping_what_has_ended_changes_nothing(run: Run) -> None:
    runs.write_json(run.path / "status.json", {"state": "finished"})
    jobs.stop_run(run)
    assert run.state == "finished"
    assert not (run.path / "stop").exists()


def test_a_finished_run_is_not_resumed(run: Run) -> None:
    runs.write_json(run.path / "status.json", {"state": "finished"})
    with pytest.raises(RunError, match=f"{run.id} is finished.*stopped, failed or lost"):
        jobs.resume_run(run)


def test_a_run_without_a_usable_configuration_is_not_resumed(run: Run) -> None:
    runs.write_json(run.path / "status.json", {"state": "failed"})
    (run.path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json"):
        jobs.resume_run(run)
    assert not run.is_alive


def test_stopping_never_ends_a_stranger_who_has_the_workers_old_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        created = psutil.Process(stranger.pid).create_time()
        runs.write_json(run.path / "status.json", {"state": "running", "pid": stranger.pid, "pid_created": created})
        with FileLock(run.path / "lock"):  # so that the run seems to live
            jobs.stop_run(run)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.5)
        stranger.kill()


def test_a_worker_that_cannot_start_is_a_sentence(
    run: Run, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RUN_WORKER", "cifar_core.no_such_module")
    with pytest.raises(RunError, match=r"worker\.log"):
        jobs.start_run(tiny_config)
    assert "no_such_module" in (runs.list_runs()[0].path / "worker.log").read_text()


def test_the_worker_reads_relative_folders_as_its_starter_does(
    taken_slot: FileLock, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR_RUNS_DIR", "runs")
    run = jobs.start_run(tiny_config)
    worker = psutil.Process(run.status["pid"])
    assert worker.cwd() == str(tmp_path)
    assert worker.environ()["CIFAR_RUNS_DIR"] == str(tmp_path / "runs")
