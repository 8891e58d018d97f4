"""A worker of the training queue over several machines: trains offered runs one after the other, until a signal.

    python -m cifar_core.training.queue_worker

CIFAR_SWEEP_STORAGE names the database. Each run is trained by a process of its own, in `.worker` in the runs folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from filelock import Timeout

from cifar_core import jobs, machine, runs
from cifar_core.errors import CifarError, RunError
from cifar_core.runs import Run
from cifar_core.search import studies
from cifar_core.training.shared_queue import (
    GRACE_SECONDS,
    POLL_SECONDS,
    RETRY_SECONDS,
    Channel,
    Gone,
    Unreachable,
    database,
    needs,
)
from cifar_core.untrusted import quoted

_FREE = """
    SELECT id, run, needs FROM cifar_offers WHERE worker IS NULL
    AND home_seen > clock_timestamp() - make_interval(secs => %s) ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED
"""
_TAKE = "UPDATE cifar_offers SET worker = %s, worker_seen = clock_timestamp() WHERE id = %s"


def main() -> int:
    """Train offered runs, one after the other, until a signal; return the exit code."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        if not (url := studies.storage_url()):
            raise RunError(f"A worker needs {studies.STORAGE_VARIABLE}=postgresql://USER:PASSWORD@HOST/DATABASE.")
        place = runs.runs_dir().resolve() / ".worker"
        place.mkdir(parents=True, exist_ok=True)
        os.environ |= {studies.STORAGE_VARIABLE: "", "CIFAR_RUNS_DIR": str(place)}  # for what it starts
        with machine.hold_lock(place / "worker.lock"):
            for run in runs.list_runs():  # of a worker that was killed
                _remove(run)
            print("Waiting for runs.", flush=True)
            while not stopping.is_set():
                _serve(url, stopping)
    except Timeout:
        print("A worker works in this folder already; set CIFAR_RUNS_DIR to another one.", file=sys.stderr)
        return 2
    except CifarError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _serve(url: str, stopping: threading.Event) -> None:
    """Train the oldest offered run for which this machine has images and weights; wait a moment without one."""
    try:
        runs.check_disk()
        with database(url) as connection:
            connection.execute("DELETE FROM cifar_offers WHERE home_seen < clock_timestamp() - interval '1 hour'")
            free = connection.execute(_FREE, (GRACE_SECONDS,)).fetchall()
            if taken := next((row for row in free if _can_train(row[2])), None):
                connection.execute(_TAKE, (socket.gethostname(), taken[0]))
        if taken:
            _train(url, taken[0], taken[1], stopping)
        stopping.wait(POLL_SECONDS)
    except Unreachable:
        stopping.wait(RETRY_SECONDS)
    except (RunError, OSError) as error:  # OSError: the disk of this machine; another trains the run
        print(error, flush=True)
        stopping.wait(RETRY_SECONDS)


def _can_train(needed: str) -> bool:
    """Return whether the settings select the same images and weights as at home."""
    with suppress(CifarError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return needs(*json.loads(needed)[:4]) == needed
    return False


def _train(url: str, offer: int, run_id: str, stopping: threading.Event) -> None:
    """Train one run and send its files. Raises RunError."""
    if not runs.ID_PATTERN.fullmatch(run_id):
        raise RunError(f"Offer {offer} is left: {quoted(run_id)} is not the id of a run.")
    run = Run(run_id)
    run.path.mkdir(exist_ok=True)
    try:
        channel = Channel(url, run.path, offer, is_home=False)
        channel.exchange()
        run.config  # noqa: B018 - raises if none was sent
        jobs.spawn_worker(run)
        while run.state in runs.LIVE_STATES and not stopping.wait(channel.pause):
            channel.exchange()
        jobs.stop_run(run)
        status = run.status
        if status["state"] == "lost":
            words = f"Its process on {socket.gethostname()} ended, perhaps out of memory; resume the run."
            status |= {"state": "failed", "error": {"type": "RunError", "message": words}}
        runs.write_json(run.path / "status.json", status)
        while not channel.exchange():
            time.sleep(RETRY_SECONDS)
        print(f"Run {run.id} is {status['state']}.", flush=True)
    except Gone:
        print(f"Run {run.id} is not wanted any more.", flush=True)
    finally:
        _remove(run)


def _remove(run: Run) -> None:
    jobs.stop_run(run)
    shutil.rmtree(run.path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
