"""Starts, stops and resumes the workers of runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.jobs import process
from cifar_core.runs import Run, trash

WORKER = "cifar_core.training.worker"
MOST_QUEUED = 50
"""Runs that train or wait at once."""
STOP_SECONDS = 2.5
"""How long a worker may take to stop by itself before its process is ended."""


def start(config: TrainConfig, name: str = "run", prepare: Callable[[Run], None] | None = None) -> Run:
    """Create a run and spawn its worker, which queues for the one training slot. Raises RunError.

    `prepare` puts more files into the new run's folder before the worker reads it.
    """
    _check_queue()
    trash.clear_unfinished()
    run = runs.create(config, name)
    if prepare:
        prepare(run)
    spawn(run)
    return run


def _check_queue() -> None:
    live = sum(run.state in runs.LIVE_STATES for run in runs.list_runs())
    if live >= MOST_QUEUED:
        raise RunError(
            f"{live} runs train or wait already, expected fewer than {MOST_QUEUED}; wait until one has ended, or stop "
            "some."
        )


def resume(run: Run) -> None:
    """Resume a stopped, failed or lost run from its last full epoch. Raises RunError in any other state."""
    if run.state not in runs.RESUMABLE_STATES:
        raise RunError(f"Run {run.id} is {run.state}; only a stopped, failed or lost run can be resumed.")
    _check_queue()
    run.config  # noqa: B018 - raises if the run is damaged beyond resuming
    try:
        (run.path / "stop").unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"Run {run.id} cannot go on ({error.strerror}); make {run.path} writable.") from None
    spawn(run)


def stop(run: Run) -> None:
    """Stop `run` within three seconds; its best and its last full epoch remain. Does nothing if it has ended.

    The worker is asked first. One that does not answer in time (a long step, an import) is ended, which loses nothing:
    the checkpoint holds the last full epoch.
    """
    if run.state not in runs.LIVE_STATES:
        return
    try:
        (run.path / "stop").touch()
    except OSError:  # a full disk
        process.end(run.status, WORKER, psutil.Process.terminate)
    if not process.wait_until(lambda: not run.is_alive, STOP_SECONDS):
        process.end(run.status, WORKER, psutil.Process.kill)
        process.wait_until(lambda: not run.is_alive, STOP_SECONDS)


def queue_position(run: Run) -> int:
    """Return how many live runs are before `run` in the queue: 0 means that it is next or already running."""
    live = sorted(other.id for other in runs.list_runs() if other.state in runs.LIVE_STATES)
    return live.index(run.id) if run.id in live else 0


def spawn(run: Run) -> None:
    """Start the worker of `run` and wait until it holds the run's lock. Raises RunError if it ends before."""
    before = _stamp(run)
    try:
        worker = process.detached([WORKER, str(run.path.resolve())], run.path / "worker.log")
    except OSError as error:
        raise RunError(
            f"The worker of run {run.id} cannot be started ({error.strerror}); make its folder writable and resume."
        ) from None
    process.wait_until(lambda: _stamp(run) != before or worker.poll() is not None, runs.START_SECONDS)
    if _stamp(run) == before:
        raise RunError(f"The worker of run {run.id} did not start; its output is in {run.path / 'worker.log'}.")


def _stamp(run: Run) -> tuple[int, int] | None:
    """Return what changes when the worker writes its first status."""
    with contextlib.suppress(OSError):
        stat = (run.path / "status.json").stat()
        return stat.st_ino, stat.st_mtime_ns
    return None
