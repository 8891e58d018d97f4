"""A job's lock, record, stop and failure, and the processes that do the work."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from filelock import FileLock, Timeout

from cifar_core import jobs, machine, runs
from cifar_core.errors import RunError, sentence
from cifar_core.jobs import Job, Stopped


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "work", "count", ("cifar_core", "runs", "list", "--json"), "The count")


def test_a_job_that_was_never_started_is_none(job: Job) -> None:
    assert job.read() == {"state": "none"}
    assert not job.is_running


def test_work_is_seen_while_it_goes_on_and_is_done_afterwards(job: Job) -> None:
    with job.working():
        job.write("working", done=3)
        assert job.read() == {"state": "working", "done": 3}
        assert job.is_running
        with pytest.raises(RunError, match="another process"), job.working():
            pass
    assert job.read() == {"state": "done"}
    assert not job.is_running


def test_a_result_that_the_work_has_written_stays(job: Job) -> None:
    with job.working():
        job.write("done", bytes=7)
    assert job.read() == {"state": "done", "bytes": 7}


def test_a_job_that_is_asked_to_stop_is_stopped_and_can_begin_again(job: Job) -> None:
    with pytest.raises(Stopped), job.working():
        job.ask_to_stop()
        job.check_stop()
    assert job.read()["state"] == "stopped"
    with job.working():
        job.check_stop()
    assert job.read()["state"] == "done"


def test_a_failure_is_remembered_with_its_reason(job: Job) -> None:
    with pytest.raises(RunError), job.working():
        raise RunError("No images.")
    assert job.read() == {"state": "failed", "error": "No images."}


def test_an_error_that_is_a_bug_is_remembered_with_its_type_and_where_to_look(job: Job) -> None:
    with pytest.raises(KeyError), job.working():
        raise KeyError("width")
    assert job.read()["error"] == sentence(KeyError("width"))
    assert all(part in sentence(KeyError("width")) for part in ("KeyError", "width", "log"))
    assert sentence(RunError("No images.")) == "No images."


def test_a_process_that_ends_without_a_word_has_failed(job: Job) -> None:
    job.start()  # this command ends at once and knows nothing of the job
    assert jobs.wait_until(lambda: not job.is_running, 20)
    found = job.read()
    assert found["state"] == "failed"
    assert str(job.file(".log")) in found["error"]


def test_others_see_no_failure_while_a_process_starts(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, wait_until = [], jobs.wait_until

    def look_and_wait(condition: Callable[[], bool], seconds: float) -> bool:
        seen.append(job.read()["state"])
        return wait_until(condition, seconds)

    monkeypatch.setattr(jobs, "wait_until", look_and_wait)
    job.start()  # this command ends at once and knows nothing of the job
    assert (seen, job.read()["state"]) == (["none"], "failed")


def test_a_folder_that_refuses_is_a_sentence(job: Job) -> None:
    job.folder.write_text("not a folder")
    for act in (job.start, job.ask_to_stop, lambda: job.working().__enter__()):
        with pytest.raises(RunError, match="The count"):
            act()


@pytest.mark.parametrize("record", ['{"state": "do', "", "[]"])
def test_a_damaged_record_is_a_failure_with_its_reason(job: Job, record: str) -> None:
    assert job.read() == {"state": "none"}
    job.folder.mkdir()
    job.file(".progress.json").write_text(record)
    found = job.read()
    assert found["state"] == "failed"
    assert "progress.json" in found["error"]


@pytest.mark.parametrize("record", ['{"state": 3}', '{"state": "other"}'])
def test_a_record_of_an_unknown_state_is_none(job: Job, record: str) -> None:
    job.folder.mkdir()
    job.file(".progress.json").write_text(record)
    assert job.read() == {"state": "none"}


def test_those_who_look_never_make_a_job_fail(tmp_path: Path) -> None:
    lock, ended = tmp_path / "lock", threading.Event()
    lock.touch()

    def look() -> None:
        while not ended.is_set():
            machine.is_locked(lock)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            with machine.hold_lock(lock):
                pass
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_lock_that_is_kept_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"):
        assert machine.is_locked(tmp_path / "lock")
        with pytest.raises(Timeout), machine.hold_lock(tmp_path / "lock", 0.05):
            pass
    assert not machine.is_locked(tmp_path / "lock")


def test_a_worker_starts_from_a_folder_with_a_colon_in_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with:colon").symlink_to(machine.app_dir())
    monkeypatch.setattr(machine, "app_dir", lambda: tmp_path / "with:colon")
    command = jobs.module_command(["cifar_core", "runs", "list", "--json"])
    found = subprocess.run(
        command, cwd=tmp_path, env=jobs.worker_environment(), capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_only_the_very_process_that_wrote_the_record_is_ended() -> None:
    ended: list[int] = []
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        created = psutil.Process(stranger.pid).create_time()
        assert jobs.wait_until(lambda: "-c" in psutil.Process(stranger.pid).cmdline(), 20)
        for record, module in (
            ({"pid": stranger.pid, "pid_created": created}, "cifar_core.training.worker"),
            ({"pid": stranger.pid, "pid_created": created - 10}, "-c"),
            ({"pid": "x"}, "-c"),
            ({}, "-c"),
        ):
            jobs.end_process(record, module, lambda found: ended.append(found.pid))
        assert ended == []
        jobs.end_process({"pid": stranger.pid, "pid_created": created}, "-c", lambda found: ended.append(found.pid))
        assert ended == [stranger.pid]
        stranger.kill()


def test_a_deleted_run_is_called_deleted(run: runs.Run) -> None:
    runs.delete(run)
    with pytest.raises(RunError, match="deleted"):
        run.config  # noqa: B018
