"""The training queue over several machines: a waiting run is offered in PostgreSQL, and a free worker trains it.

    python -m cifar_core.training.shared_queue      a worker: trains offered runs one after the other, until a signal

CIFAR_SWEEP_STORAGE names the database. "Home" is the machine with the run's folder. Its process of the run (worker.py)
waits for the training slot, and offers the run when it is first in the queue. A worker takes the offer, trains in a
process and a folder of its own (in `.worker` in the runs folder) and sends each changed file; home writes the files to
the run's folder, so its readers see no difference. Home deletes the offer to stop the worker. If the worker is silent,
home offers the run again, and it continues from its checkpoint.

    cifar_offers    what a run needs, its worker, and the last time of each side
    cifar_files     files in transit; deleted on arrival
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cifar_core import jobs, machine, runs
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, RunError
from cifar_core.network import pretrained
from cifar_core.runs import Run, records
from cifar_core.search import studies
from cifar_core.training.run_writer import RunWriter, write_whole
from cifar_core.untrusted import quoted

if TYPE_CHECKING:
    from psycopg import Connection

POLL_SECONDS, RETRY_SECONDS = 0.5, 3.0
GRACE_SECONDS, _PATIENCE_SECONDS = studies.GRACE_SECONDS, 300
"""An offer ends after this silence of the other side, or after this time without the database."""
_FILE = re.compile(r"[a-z][a-z0-9_]{0,39}\.(json|jsonl|npz|keras|tflite|f16|txt|log)")
_HOMES = {"config.json", "pins.npz", "parent.json", "owner.json", "labels.json"}
_WORKERS = {"status.json", "worker.log", "owner.json", "labels.json"}
_CONNECTION: Any = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "options": "-c client_min_messages=warning"}
_TABLES = """
    SELECT pg_advisory_xact_lock(20261129);
    CREATE TABLE IF NOT EXISTS cifar_offers (
        id bigserial PRIMARY KEY, run text NOT NULL, needs text NOT NULL, worker text,
        home_seen timestamptz NOT NULL DEFAULT clock_timestamp(), worker_seen timestamptz);
    CREATE TABLE IF NOT EXISTS cifar_files (
        id bigserial PRIMARY KEY, offer bigint NOT NULL REFERENCES cifar_offers ON DELETE CASCADE,
        from_home boolean NOT NULL, name text NOT NULL, content bytea NOT NULL);
"""
_FREE = """
    SELECT id, run, needs FROM cifar_offers WHERE worker IS NULL
    AND home_seen > clock_timestamp() - make_interval(secs => %s) ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED
"""
_TAKE = "UPDATE cifar_offers SET worker = %s, worker_seen = clock_timestamp() WHERE id = %s"


class Unreachable(Exception):  # noqa: N818 - it is retried
    """The database does not answer."""


class Gone(Exception):  # noqa: N818 - not an error
    """The offer was deleted, the other side is silent, or the database was down for too long."""


class Ended(Exception):  # noqa: N818 - not an error
    """Another machine trained the run; the argument is "finished" or "failed"."""


@contextmanager
def database(url: str) -> Iterator[Connection]:
    """Open a transaction. Raises Unreachable, RunError if the tables are not of this program, CifarError."""
    with machine.extra("A queue on PostgreSQL", '"psycopg[binary]"'):
        import psycopg
    try:
        with psycopg.connect(url.replace("+psycopg", "", 1), **_CONNECTION) as connection:
            connection.execute(_TABLES)
            yield connection
    except psycopg.OperationalError as error:
        print(f"The database of the queue cannot be reached ({type(error).__name__}).", flush=True)
        raise Unreachable from error
    except psycopg.Error as error:
        raise RunError(
            f"The tables cifar_offers and cifar_files are not as this program makes them ({type(error).__name__}); "
            "drop them, or name another database."
        ) from None


class Channel:
    """One side of an offer: exchanges the files in the run's `folder` with the other side.

    `status` is the worker's last status.json, checked; empty before, and on the worker's side. `pause` is the number of
    seconds until the next exchange.
    """

    def __init__(self, url: str, folder: Path, offer: int, is_home: bool) -> None:
        self.status: dict[str, Any] = {}
        self.pause, self.is_taken = POLL_SECONDS, False
        self._url, self._folder, self._offer, self._is_home = url, folder, offer, is_home
        self._known: dict[str, tuple[int, int, int]] = {}
        self._reached = self._heard = time.monotonic()
        self._seen: object = None

    def exchange(self) -> bool:
        """Receive and send changed files; return whether the database answers. Raises Gone, RunError."""
        began = time.monotonic()
        mine, others = ("home_seen", "worker_seen") if self._is_home else ("worker_seen", "home_seen")
        try:
            with database(self._url) as connection:
                query = f"SELECT {others}, worker FROM cifar_offers WHERE id = %s FOR KEY SHARE"
                if (row := connection.execute(query, (self._offer,)).fetchone()) is None:
                    raise Gone
                self._take(connection)
                sent = self._send(connection)
                connection.execute(f"UPDATE cifar_offers SET {mine} = clock_timestamp() WHERE id = %s", (self._offer,))
        except Unreachable:
            self._heard = time.monotonic()  # silence does not count without the database
            if self._heard - self._reached > _PATIENCE_SECONDS:
                raise Gone from None
            return False
        self._known |= sent
        self._reached = time.monotonic()
        self.pause = min(max(POLL_SECONDS, 4 * (self._reached - began)), GRACE_SECONDS / 4)  # large files: less often
        if row[0] != self._seen:
            self._seen, self._heard = row[0], self._reached
        self.is_taken = row[1] is not None
        if self.is_taken and self._reached - self._heard > GRACE_SECONDS:
            raise Gone
        return True

    def _take(self, connection: Connection) -> None:
        query = "DELETE FROM cifar_files WHERE offer = %s AND from_home <> %s RETURNING id, name, content"
        for _, name, content in sorted(connection.execute(query, (self._offer, self._is_home))):
            if not _FILE.fullmatch(name) or name in (_HOMES if self._is_home else _WORKERS):
                raise RunError(f"Received {quoted(name)} for the run's folder, expected a file that a training writes.")
            path = self._folder / name
            if path.name == "status.json":
                self.status = _status(content)
            elif path.name == "worker.log":  # in place: the process at home also writes to it
                path.write_bytes(content)
            else:
                write_whole(path, content)
                self._known[name] = machine.stamp(path)

    def _send(self, connection: Connection) -> dict[str, tuple[int, int, int]]:
        """Send changed files; return the stamps of all.

        Status and checkpoint are read before the other files and written after them, so they are never ahead of them.
        """
        kept = _WORKERS if self._is_home else _HOMES
        paths = [path for path in self._folder.iterdir() if _FILE.fullmatch(path.name) and path.name not in kept]
        paths.sort(key=lambda path: (path.name != "status.json", path.name != "checkpoint.npz"))
        stamps = {path.name: machine.stamp(path) for path in paths}
        changed = {path.name: path.read_bytes() for path in paths if stamps[path.name] != self._known.get(path.name)}
        for name, content in reversed(changed.items()):
            query = "INSERT INTO cifar_files (offer, from_home, name, content) VALUES (%s, %s, %s, %s)"
            connection.execute(query, (self._offer, self._is_home, name, content))
        return stamps


def _status(content: bytes) -> dict[str, Any]:
    """Return the parts of a worker's status.json that are valid at home. Raises RunError."""
    try:
        saved = records.status(records.sanitized(json.loads(content)))
        if saved.get("state") not in runs.STATES:
            raise ValueError
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise RunError("The worker's status is damaged, expected JSON with the state of a run.") from None
    return {key: saved[key] for key in ("state", "stage", "note", "error", "result") if key in saved}


class Offer:
    """The offer of a waiting run to other machines."""

    def __init__(self, url: str, run: Run, writer: RunWriter) -> None:
        self._url, self._run, self._writer = url, run, writer
        self._turn = FileLock(runs.runs_dir() / ".offer")  # one run at a time, so that the queue keeps its order
        self._id: int | None = None
        self._next = 0.0

    def look(self) -> None:
        """Offer the run if it is first in the queue; if a worker has taken it, receive its files until it ends.

        Raises Ended, Stopped, RunError.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + POLL_SECONDS
        try:
            if self._id is None:
                self._make_if_first()
            if self._id is not None and self._channel.exchange() and self._channel.is_taken:
                self._follow()
        except Unreachable:
            self._next = time.monotonic() + RETRY_SECONDS
        except Gone:
            self.withdraw()

    def _make_if_first(self) -> None:
        try:
            self._turn.acquire(timeout=0)
        except Timeout:
            return
        if not jobs.is_next(self._run):
            self._turn.release(force=True)
            return
        config = self._run.config
        needed = needs(config.dataset, config.weights, config.alpha, config.image_size)
        with database(self._url) as connection:
            query = "INSERT INTO cifar_offers (run, needs) VALUES (%s, %s) RETURNING id"
            self._id = connection.execute(query, (self._run.id, needed)).fetchall()[0][0]
        self._channel = Channel(self._url, self._run.path, self._id, is_home=True)

    def _follow(self) -> None:
        """Receive the worker's files until the run ends. Raises Gone if the worker is silent or was stopped."""
        channel, writer, shown = self._channel, self._writer, dict[str, Any]()
        writer.update_status("running", stage="prepare", began=time.time())
        self._turn.release(force=True)
        try:
            while (state := channel.status.get("state")) != "stopped":  # by a signal; `check_stop` handles the user
                if channel.status != shown and state != "queued":
                    shown = channel.status
                    writer.update_status(**shown)
                if state in ("finished", "failed"):
                    raise Ended(state)
                jobs.wait_until(lambda: writer.is_asked_to_stop, channel.pause)
                writer.check_stop()
                channel.exchange()
            raise Gone
        except Gone:
            writer.update_status("queued", stage="queue")
            raise

    def withdraw(self, if_free: bool = False) -> bool:
        """Delete the offer, with `if_free` only if no worker has it. Return whether it is deleted."""
        with suppress(Unreachable):  # then the worker ends after this side's silence
            if self._id is not None:
                with database(self._url) as connection:
                    query = "DELETE FROM cifar_offers WHERE id = %s" + " AND worker IS NULL" * if_free
                    if not connection.execute(query, (self._id,)).rowcount and if_free:
                        return False
        self._id = None
        self._turn.release(force=True)
        return True


@contextmanager
def offered(run: Run, writer: RunWriter) -> Iterator[Offer | None]:
    """Yield the Offer of `run`, withdrawn at the end; None without a database, or if the teacher is a run."""
    url = studies.storage_url()
    if not url or run.config.teacher not in ("", "bundled"):
        yield None
        return
    offer = Offer(url, run, writer)
    try:
        yield offer
    finally:
        offer.withdraw()


def needs(dataset: str, weights: str, alpha: float, image_size: int) -> str:
    """Return the settings as JSON, with the images and initial weights that they select on this machine.

    A worker takes a run only if its own result is equal. Raises DataError.
    """
    meant = cifar10.name_of(dataset), pretrained.expected_kind(weights, alpha, image_size)
    return json.dumps([dataset, weights, alpha, image_size, *meant])


@jobs.program
def main() -> None:
    """Train offered runs, one after the other, until a signal."""
    stopping = threading.Event()
    jobs.stop_on_signals(stopping)
    if not (url := studies.storage_url()):
        raise RunError(f"A worker needs {studies.STORAGE_VARIABLE}=postgresql://USER:PASSWORD@HOST/DATABASE.")
    place = runs.runs_dir().resolve() / ".worker"
    place.mkdir(parents=True, exist_ok=True)
    os.environ |= {studies.STORAGE_VARIABLE: "", "CIFAR_RUNS_DIR": str(place)}  # for what it starts
    busy = RunError("A worker works in this folder already; set CIFAR_RUNS_DIR to another one.")
    with machine.hold_lock(place / "worker.lock", busy=busy):
        for run in runs.list_runs():  # of a worker that was killed
            _remove(run)
        print("Waiting for runs.", flush=True)
        while not stopping.is_set():
            _serve(url, stopping)


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
