"""A job: work of a process of its own that a page or a command starts, watches and stops.

    <folder>/<name>.progress.json   {"state": "working", "stopped", "failed" or "done", ...}, written by the process
    <folder>/<name>.lock            held by the process while it works
    <folder>/<name>.stop            asks it to stop
    <folder>/<name>.log             what it printed

A feature declares its job as a `Job`, does the work under `working` and shows what `read` returns. Trainings and
sweeps have their own records (see runs/folder.py and search/studies.py), since they can be resumed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from cifar_core import locks, runs
from cifar_core.errors import RunError
from cifar_core.jobs import process


class Stopped(Exception):  # noqa: N818 - not an error
    """The job was asked to stop."""


@dataclass(frozen=True)
class Job:
    """`command` is a module and its arguments; `title` begins every sentence about the job; `advice` ends it."""

    folder: Path
    name: str
    command: tuple[str, ...]
    title: str
    advice: str = "make room there, or make it writable"
    record: str = ".progress.json"

    def file(self, ending: str) -> Path:
        """Return the job's file with this ending."""
        return self.folder / f"{self.name}{ending}"

    @property
    def is_running(self) -> bool:
        """Whether a process holds the job's lock."""
        return locks.is_held(self.file(".lock"))

    def start(self) -> subprocess.Popen[bytes] | None:
        """Start the process and wait until it works; return it, None where one works already. Raises RunError."""
        if self.is_running:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write("working")  # what is read if the process dies at once
            started = process.detached(self.command, self.file(".log"))
        except OSError as error:
            raise self._refused(error) from None
        process.wait_until(lambda: self.is_running or started.poll() is not None, runs.START_SECONDS)
        return started

    def ask_to_stop(self) -> None:
        """Make the process stop at its next `check_stop`. Raises RunError."""
        try:
            self.file(".stop").touch()
        except OSError as error:
            raise self._refused(error) from None

    def check_stop(self) -> None:
        """Raise Stopped if the job was asked to stop."""
        if self.file(".stop").exists():
            raise Stopped

    def write(self, state: str, **more: Any) -> None:
        """Write the record. Raises OSError."""
        runs.write_json(self.file(self.record), {"state": state, **more})

    def read(self) -> dict[str, Any]:
        """Return the record with "state": none, working, stopped, failed (then with "error") or done."""
        found = self._load()
        if self.is_running:
            return found | {"state": "working"}
        if found.get("state") == "working":  # it may have ended since the file was read
            found = self._load()
        if found.get("state") == "working":
            return {"state": "failed", "error": f"Its process ended unexpectedly; see {self.file('.log')}."}
        if found.get("state") == "failed":
            return {"state": "failed", "error": str(found.get("error"))[:500]}
        return found if found.get("state") in ("stopped", "done") else {"state": "none"}

    def _load(self) -> dict[str, Any]:
        """Return the record, empty without one; where it is damaged, the state "failed" with the reason."""
        try:
            return runs.load_json(self.file(self.record)) or {}
        except RunError as error:
            return {"state": "failed", "error": f"{error} Start it again."}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the job's lock, and record how the work ended: done, stopped or failed.

        Raises RunError if another process is at it or the folder refuses, and whatever the work raises.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locks.hold(self.file(".lock")):
                self.file(".stop").unlink(missing_ok=True)
                self.write("working")
                yield from self._recorded()
        except Timeout:
            raise RunError(f"{self.title}: another process is at it already; wait for it, or stop it.") from None
        except OSError as error:
            raise self._refused(error) from None

    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except (Stopped, KeyboardInterrupt):
            self.write("stopped")
            raise
        except Exception as error:
            self.write("failed", error=str(error) or type(error).__name__)
            raise
        if runs.read_json(self.file(self.record)).get("state") == "working":  # else the work wrote its own result
            self.write("done")

    def _refused(self, error: OSError) -> RunError:
        return RunError(f"{self.title}: {self.folder} cannot be used ({error.strerror or error}); {self.advice}.")
