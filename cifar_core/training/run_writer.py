"""What the worker tells the world: status.json, metrics.jsonl and probes.jsonl, and whether it was asked to stop."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from cifar_core import machine
from cifar_core.inference import pins
from cifar_core.runs import Run, write_json

ROWS_A_SECOND = 10


class Stopped(Exception):  # noqa: N818 - not an error
    """Somebody asked the run to stop."""


class RunWriter:
    """Writes a run's status, metrics rows and what the network says of pinned pictures.

    `rows` and `probes` hold all rows so far, `seconds` counts over resumes.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rows: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.stop_signal = False
        self._seconds_before = 0.0
        self._start = time.monotonic()
        self._last_row = 0.0
        process = psutil.Process()
        self._status: dict[str, Any] = {
            "pid": process.pid,
            "pid_created": process.create_time(),
            "started": time.time(),
        }

    @property
    def seconds(self) -> float:
        """Seconds of work since the run's start, those before a resume included."""
        return self._seconds_before + time.monotonic() - self._start

    @property
    def is_whole(self) -> bool:
        """Whether all of the run's work was done by this process."""
        return self._seconds_before == 0.0

    @property
    def _metrics(self) -> Path:
        return self.run.path / "metrics.jsonl"

    @property
    def _probes(self) -> Path:
        return self.run.path / pins.PROBES

    def restart(self, rows: list[dict[str, Any]], probes: list[dict[str, Any]], seconds: float) -> None:
        """Begin counting at `seconds`, with the files of metrics and probes holding these rows and nothing else."""
        self._seconds_before, self._start = seconds, time.monotonic()
        self.rows, self.probes = list(rows), list(probes)
        for path, kept in ((self._metrics, rows), (self._probes, probes)):
            temporary = path.with_name(f".{path.name}")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            machine.replace(temporary, path)

    def update_status(self, state: str, **more: Any) -> None:
        """Write status.json: `state`, and whatever else is known (`stage`, `message`, `error`, `result`)."""
        self._status |= {"state": state, "updated": time.time(), **more}
        write_json(self.run.path / "status.json", self._status)

    def fail(self, error: BaseException, message: str) -> None:
        """Write that the run failed of `error`; on a full disk into the room that the status before takes."""
        try:
            self.update_status("failed", error={"type": type(error).__name__, "message": message})
        except OSError:
            with suppress(OSError), (self.run.path / "status.json").open("r+", encoding="utf-8") as file:
                json.dump(self._status, file)
                file.truncate()

    def add_row(self, kind: str, **values: Any) -> None:
        """Append one row to the metrics file, whole and flushed."""
        row = {"kind": kind, **values, "elapsed_seconds": round(self.seconds, 3)}
        self.rows.append(row)
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def add_probe(self, **values: Any) -> None:
        """Append one row to the file of probes, whole and flushed."""
        self.probes.append(values)
        with self._probes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def is_time_for_a_row(self) -> bool:
        """Return True at most ROWS_A_SECOND times a second."""
        now = time.monotonic()
        if now - self._last_row < 1 / ROWS_A_SECOND:
            return False
        self._last_row = now
        return True

    def progress(self, stage: str, done: int, total: int, since: float) -> None:
        """Tell how far `stage` is, begun `since` seconds of work ago's clock; raises Stopped if asked to stop."""
        self.check_stop()
        if done in (0, total) or self.is_time_for_a_row():
            spent = self.seconds - since
            left = spent / done * (total - done) if done else None
            self.add_row("progress", stage=stage, done=done, total=total, seconds_left=left)

    def check_stop(self) -> None:
        """Raise Stopped if the launcher or a signal asked for it."""
        if self.stop_signal or (self.run.path / "stop").exists():
            raise Stopped
