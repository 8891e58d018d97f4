"""Writes status.json, metrics.jsonl and probes.jsonl of a run, and sees whether it is to stop."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any

import psutil

from cifar_core import machine
from cifar_core.inference import pins
from cifar_core.jobs import Stopped
from cifar_core.runs import Run, write_json

ROWS_A_SECOND = 10


class RunWriter:
    """Writes the files of one run as its training goes on; setting `stopping` ends it, as the file "stop" does.

    `rows` and `probes` hold everything written so far, also before a resume.
    """

    def __init__(self, run: Run, stopping: threading.Event | None = None) -> None:
        self.run, self.stopping = run, stopping or threading.Event()
        self.rows: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self._seconds_before, self._start, self._last_row = 0.0, time.monotonic(), 0.0
        self._metrics_file, self._probes_file = run.path / "metrics.jsonl", run.path / pins.PROBES
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
    def is_resumed(self) -> bool:
        """Whether a part of the run's work was done by another process."""
        return self._seconds_before > 0

    def restart(self, rows: list[dict[str, Any]], probes: list[dict[str, Any]], seconds: float) -> None:
        """Count from `seconds`; the files of metrics and probes hold these rows and nothing else from now on."""
        self._seconds_before, self._start = seconds, time.monotonic()
        self.rows, self.probes = list(rows), list(probes)
        for path, content in ((self._metrics_file, rows), (self._probes_file, probes)):
            temporary = path.with_name(f".{path.name}")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
            machine.replace(temporary, path)

    def update_status(self, state: str, **more: Any) -> None:
        """Write status.json: `state`, and whatever else is known (`stage`, `message`, `error`, `result`)."""
        self._status |= {"state": state, "updated": time.time(), **more}
        write_json(self.run.path / "status.json", self._status)

    def fail(self, error: BaseException, message: str) -> None:
        """Write that the run failed of `error`; on a full disk over the status before, in place."""
        try:
            self.update_status("failed", error={"type": type(error).__name__, "message": message})
        except OSError:
            with suppress(OSError), (self.run.path / "status.json").open("r+", encoding="utf-8") as file:
                json.dump(self._status, file)
                file.truncate()

    def add_row(self, kind: str, **values: Any) -> None:
        """Append one row to the metrics file, whole and flushed."""
        self.rows.append({"kind": kind, **values, "elapsed_seconds": round(self.seconds, 3)})
        with self._metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")

    def add_probe(self, **values: Any) -> None:
        """Append one row to the file of probes, whole and flushed."""
        self.probes.append(values)
        with self._probes_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def is_time_for_a_row(self) -> bool:
        """Return True at most ROWS_A_SECOND times a second."""
        now = time.monotonic()
        if now - self._last_row < 1 / ROWS_A_SECOND:
            return False
        self._last_row = now
        return True

    def progress(self, stage: str, done: int, total: int, since: float) -> None:
        """Write how far `stage` is, which began when `seconds` was `since`. Raises Stopped."""
        self.check_stop()
        if done in (0, total) or self.is_time_for_a_row():
            left = (self.seconds - since) / done * (total - done) if done else None
            self.add_row("progress", stage=stage, done=done, total=total, seconds_left=left)

    def check_stop(self) -> None:
        """Raise Stopped if the run is to stop."""
        if self.stopping.is_set() or (self.run.path / "stop").exists():
            raise Stopped
