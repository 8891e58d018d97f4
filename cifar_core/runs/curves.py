"""What a run's metrics say so far, in columns: read on from where the last look ended, so that a poll costs little.

A long training writes tens of thousands of rows; parsing them all at every look would cost the page a core.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core.runs import Run, metrics, read_rows

MOST_POINTS = 160  # of a line: as many as can be told apart, and few enough to calm a step's noise
_STEP = ("accuracy", "loss", "learning_rate", "images_per_second")
_EPOCH = ("validation_accuracy", "validation_loss")
_FINE_TUNE = 1.0  # in the column "phase"; the head is 0


@dataclass(frozen=True)
class Curve:
    """One line: x in epochs since the run's start (fractions within an epoch), y in the metric's unit."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Curves:
    """What the metrics rows of a run say, ready to be drawn.

    `curves` holds "accuracy", "loss", "validation_accuracy", "validation_loss", "learning_rate", "images_per_second"
    and "elapsed_seconds", the clock of all rows; `boundary` is where fine-tuning began, in epochs, None without;
    `planned` is how many epochs there will be at most.
    """

    curves: Mapping[str, Curve]
    boundary: int | None
    planned: int


class Columns:
    """The sound step and epoch rows of one run as numbers: 8 bytes each, where a row is about a kilobyte."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        """The last sound row of any kind."""
        self._steps = {name: array("d") for name in ("phase", "at", *_STEP)}
        self._epochs = {name: array("d") for name in ("phase", "at", *_EPOCH)}
        self._clock = {name: array("d") for name in ("phase", "at", "elapsed_seconds")}
        self._most = {"head": 0, "fine_tune": 0}

    @property
    def epochs(self) -> int:
        """How many whole epochs there are."""
        return len(self._epochs["at"])

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take in further rows; those that are damaged are left out."""
        for row in metrics.sound_rows(rows):
            self.last = row
            if row["kind"] == "progress":
                continue
            phase, epoch = row["phase"], row["epoch"]
            self._most[phase] = max(self._most[phase], epoch)
            place = {"phase": _FINE_TUNE if phase == "fine_tune" else 0.0, "at": epoch}
            if row["kind"] == "step":
                place["at"] = epoch - 1 + row["step"] / row["steps"]
                _append(self._steps, row | place)
            else:
                _append(self._epochs, row | place)
            if isinstance(row.get("elapsed_seconds"), int | float):
                _append(self._clock, {**place, "elapsed_seconds": row["elapsed_seconds"]})

    def curves(self, planned_epochs: Mapping[str, int] | None = None) -> Curves:
        """Return the curves, at most MOST_POINTS points each (but the clock).

        `planned_epochs` (phase -> epochs) says how far the axis reaches while the run goes on.
        """
        planned_epochs = planned_epochs or {}
        head, fine_tuned = self._most["head"], self._most["fine_tune"]
        found = {name: _thinned(name, *_line(self._steps, name, head)) for name in _STEP}
        found |= {name: _thinned(name, *_line(self._epochs, name, head)) for name in _EPOCH}
        found["elapsed_seconds"] = Curve("elapsed_seconds", *_line(self._clock, "elapsed_seconds", head))
        planned_head = head if fine_tuned else max(head, planned_epochs.get("head", 0))
        planned = planned_head + max(fine_tuned, planned_epochs.get("fine_tune", 0))
        return Curves(found, head if fine_tuned and head else None, planned)


def curves(rows: Sequence[dict[str, Any]], planned_epochs: Mapping[str, int] | None = None) -> Curves:
    """Return the curves of the metrics rows of one run, at most MOST_POINTS points each (but the clock).

    `planned_epochs` (phase -> epochs) says how far the axis reaches while the run goes on.
    """
    columns = Columns()
    columns.add(rows)
    return columns.curves(planned_epochs)


class Track:
    """The metrics file of `run`, followed as it grows; many threads may look at the same time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._columns, self._file, self._offset = Columns(), 0, 0

    def look(self, planned_epochs: Mapping[str, int] | None = None) -> tuple[Curves, dict[str, Any] | None, int]:
        """Read what is new; return the curves, the last sound row (None before the first) and the number of epochs."""
        path = self._run.path / "metrics.jsonl"
        with self._lock:
            file, size = _identity(path)
            if file != self._file or size < self._offset:  # a resume has rewritten it
                self._columns, self._file, self._offset = Columns(), file, 0
            rows, self._offset = read_rows(path, self._offset)
            self._columns.add(rows)
            return self._columns.curves(planned_epochs), self._columns.last, self._columns.epochs


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that took its name, and its size in bytes; zeros where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_ino, stat.st_size


def _append(columns: Mapping[str, array[float]], row: Mapping[str, Any]) -> None:
    for name, column in columns.items():
        column.append(row[name])


def _line(columns: Mapping[str, array[float]], name: str, head_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a column; fine-tuning begins where the head ended."""
    return np.array(columns["at"]) + head_epochs * np.array(columns["phase"]), np.array(columns[name])


def _thinned(name: str, x: np.ndarray, y: np.ndarray) -> Curve:
    """Return at most MOST_POINTS points: the first, then means of equal stretches at their ends."""
    if len(x) > MOST_POINTS:
        stretches = [np.array([0]), *np.array_split(np.arange(1, len(x)), MOST_POINTS - 1)]
        x, y = np.array([x[s[-1]] for s in stretches]), np.array([y[s].mean() for s in stretches])
    return Curve(name, x, y)
