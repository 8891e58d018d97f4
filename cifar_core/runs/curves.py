"""Reads and checks the rows of metrics.jsonl and returns curves; each read parses only the new rows.

A long training writes tens of thousands of rows; parsing all at each poll would keep a CPU core busy.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_core import machine
from cifar_core.network.architecture import BLOCK_COUNT
from cifar_core.runs import Run, read_rows, records

PHASE_NAMES = {"head": "Head", "fine_tune": "Fine-tuning"}
_NEEDED = {
    "step": ("epoch", "step", "steps", "accuracy", "loss", "learning_rate", "images_per_second"),
    "epoch": ("epoch", "validation_accuracy", "validation_loss"),
    "progress": ("done", "total"),
    "linear_probe": ("weights", "validation_accuracy"),
}
PROBE = "linear_probe"
_COUNTS = {"epoch": 1, "epochs": 1, "step": 0, "steps": 1, "images": 0, "done": 0, "total": 0}  # name -> minimum
_SHARES = ("accuracy", "validation_accuracy")
_CROSS_ENTROPIES = ("cross_entropy", "validation_cross_entropy")
_LOSSES = ("loss", "validation_loss", *_CROSS_ENTROPIES)  # not finite if the training diverges
_AMOUNTS = ("learning_rate", "images_per_second", "elapsed_seconds", "epoch_seconds", "seconds_left")
_MOST = 1e9
_PROBED = {
    "imagenet": "what ImageNet already knows",
    "bundled": "what the bundled model already knows",
    "random": "what random weights already know",
}

MOST_POINTS = 160  # per line: few enough to smooth the noise of steps
_STEP = ("accuracy", "loss", "cross_entropy", "learning_rate", "images_per_second")
_EPOCH = ("validation_accuracy", "validation_loss", "validation_cross_entropy")
_CLOCK = "elapsed_seconds"
_MANY = 1e6  # more than the stretches of a phase
_FINE_TUNE = 1.0  # in the column "phase"; the head is 0


def sound_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that have the keys of their kind and numbers in their ranges.

    A damaged or imported file may contain other rows. A loss may be NaN or infinite, as in a training that diverges.
    """
    return [row for row in rows if _is_sound(row)]


def _is_sound(row: Mapping[str, Any]) -> bool:
    kind, phase = str(row.get("kind")), str(row.get("phase"))
    if kind not in _NEEDED or (kind in ("step", "epoch") and phase not in PHASE_NAMES):
        return False
    needed = _NEEDED[kind]
    return all(name in row for name in needed) and all(
        _is_measure(name, value) for name, value in row.items() if value is not None or name in needed
    )


def _is_measure(name: str, value: Any) -> bool:
    if name in _COUNTS:
        return type(value) is int and _COUNTS[name] <= value <= _MOST
    if name in _SHARES:
        return records.is_number(value) and 0 <= value <= 1
    if name in _LOSSES:
        return type(value) in (int, float) and not records.MOST < abs(value) < math.inf
    if name in _AMOUNTS:
        return records.is_number(value) and 0 <= value <= _MOST
    if name == "weight_changes":
        amounts = isinstance(value, list) and len(value) in (0, BLOCK_COUNT)
        return amounts and all(records.is_number(one) and 0 <= one <= _MOST for one in value)
    if name == "weights":
        return value in list(_PROBED)
    return name != "stage" or isinstance(value, str)


@dataclass(frozen=True)
class Curve:
    """One line: x in epochs since the start of the run (with fractions), y in the metric's unit."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class LinearProbe:
    """The validation accuracy, 0..1, of a linear probe; `name` describes the weights of the frozen backbone."""

    name: str
    accuracy: float


def linear_probe(rows: Sequence[dict[str, Any]]) -> LinearProbe | None:
    """Return the linear probe in the metrics `rows` of a run, or None if there is none."""
    first = next((row for row in rows if row.get("kind") == PROBE and _is_sound(row)), None)
    return LinearProbe(_PROBED[first["weights"]], first["validation_accuracy"]) if first else None


@dataclass(frozen=True)
class Curves:
    """The metrics of a run as curves.

    `curves` contains "accuracy", "loss", "validation_accuracy", "validation_loss", "learning_rate",
    "images_per_second" and "elapsed_seconds" (the time of all rows); also "cross_entropy" and
    "validation_cross_entropy", unless a row lacks them, as in runs before 28 November 2026. `boundary` is the epoch at
    which fine-tuning began, or None. `planned` is the maximum number of epochs.
    """

    curves: Mapping[str, Curve]
    boundary: int | None
    planned: int
    linear_probe: LinearProbe | None = None
    weight_changes: tuple[float, ...] = ()
    """Relative change of the weights of each block since the start; empty in older runs."""


def loss_metric(*runs: Curves) -> str:
    """Return the loss metric for a chart of `runs`: "cross_entropy" if each run recorded it, otherwise "loss"."""
    return "cross_entropy" if all(name in run.curves for run in runs for name in _CROSS_ENTROPIES) else "loss"


class Columns:
    """The valid step and epoch rows of one run as columns of 8-byte numbers; a row takes about a kilobyte."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        """The last valid row, except linear probes."""
        self._steps = {name: array("d") for name in ("phase", "at", *_STEP)}
        self._epochs = {name: array("d") for name in ("phase", "at", *_EPOCH)}
        self._clock = {name: array("d") for name in ("phase", "at", _CLOCK)}
        self._most = {"head": 0, "fine_tune": 0}
        self._has_cross_entropy = True
        self._probe: LinearProbe | None = None
        self._changes: tuple[float, ...] = ()

    @property
    def epochs(self) -> int:
        """Number of complete epochs."""
        return len(self._epochs["at"])

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows; damaged rows are skipped."""
        self._probe = self._probe or linear_probe(rows)
        for row in sound_rows(rows):
            if row["kind"] == PROBE:
                continue
            self.last = row
            if row["kind"] == "progress":
                continue
            phase, epoch = row["phase"], row["epoch"]
            self._most[phase] = max(self._most[phase], epoch)
            place = {"phase": _FINE_TUNE if phase == "fine_tune" else 0.0, "at": epoch}
            if row["kind"] == "step":
                place["at"] = epoch - 1 + row["step"] / row["steps"]
            self._changes = row.get("weight_changes") or self._changes
            self._append(self._steps if row["kind"] == "step" else self._epochs, row | place)
            if isinstance(row.get(_CLOCK), int | float):
                self._append(self._clock, {**place, _CLOCK: row[_CLOCK]})

    def curves(self, planned_epochs: Mapping[str, int] | None = None, ended: bool = False) -> Curves:
        """Return the curves, with at most MOST_POINTS points each (except "elapsed_seconds").

        A point is the mean over a fixed share of the planned epochs, so existing points do not change as a curve grows.
        `planned_epochs` (phase -> epochs) also sets the length of the axis until the run has `ended`.
        """
        head, fine_tuned = self._most["head"], self._most["fine_tune"]
        most = [max(self._most[phase], (planned_epochs or {}).get(phase, 0)) for phase in self._most]
        width = sum(most) / (MOST_POINTS - 1)
        lines = _averaged(self._steps, _STEP, head, width) | _averaged(self._epochs, _EPOCH, head, width)
        lines["elapsed_seconds"] = Curve("elapsed_seconds", _x(self._clock, head), np.array(self._clock[_CLOCK]))
        if not self._has_cross_entropy:
            lines = {name: curve for name, curve in lines.items() if name not in _CROSS_ENTROPIES}
        planned = head + fine_tuned if ended else (head if fine_tuned else most[0]) + most[1]
        return Curves(lines, head if fine_tuned and head else None, planned, self._probe, tuple(self._changes))

    def _append(self, columns: Mapping[str, array[float]], row: Mapping[str, Any]) -> None:
        for name, column in columns.items():
            value = row.get(name)
            if value is None:  # valid rows lack nothing else
                self._has_cross_entropy = False
            column.append(math.nan if value is None else value)


def curves(rows: Sequence[dict[str, Any]], planned_epochs: Mapping[str, int] | None = None) -> Curves:
    """Return the curves of the metrics rows of one run; see `Columns.curves`."""
    columns = Columns()
    columns.add(rows)
    return columns.curves(planned_epochs)


class CurveReader:
    """Reads the metrics file of `run` incrementally; thread-safe."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._columns, self._file, self._offset = Columns(), 0, 0

    def read(
        self, planned_epochs: Mapping[str, int] | None = None, ended: bool = False
    ) -> tuple[Curves, dict[str, Any] | None, int]:
        """Read new rows; return the curves, the last valid row (or None) and the number of complete epochs."""
        path = self._run.path / "metrics.jsonl"
        with self._lock:
            _, size, file = machine.stamp(path)
            if file != self._file or size < self._offset:  # a resume has rewritten the file
                self._columns, self._file, self._offset = Columns(), file, 0
            rows, self._offset = read_rows(path, self._offset)
            self._columns.add(rows)
            return self._columns.curves(planned_epochs, ended), self._columns.last, self._columns.epochs


def _x(columns: Mapping[str, array[float]], head_epochs: int) -> np.ndarray:
    """Return the rows' x values in epochs since the start of the run; fine-tuning follows the head phase."""
    return np.array(columns["at"]) + head_epochs * np.array(columns["phase"])


def _averaged(
    columns: Mapping[str, array[float]], names: Sequence[str], head_epochs: int, width: float
) -> dict[str, Curve]:
    """Return the columns' means over stretches of `width` epochs of a phase, each at the last row of its stretch.

    The last stretch may be incomplete; its mean also covers the last `width` epochs.
    """
    x = _x(columns, head_epochs)
    if not len(x):
        return {name: Curve(name, x, x) for name in names}
    stretch = np.ceil(np.array(columns["at"]) / width - 1e-6) + _MANY * np.array(columns["phase"])
    ends = np.append(np.flatnonzero(stretch[1:] != stretch[:-1]), len(x) - 1)
    starts = np.append(0, ends[:-1] + 1)
    counts = ends - starts + 1
    recent = np.searchsorted(x, max(x[-1] - width * (1 - 1e-6), head_epochs * columns["phase"][-1]), side="right")
    first = min(int(recent), int(starts[-1]))  # also for unordered rows
    lines = {}
    for name in names:
        y = np.array(columns[name])
        means = np.add.reduceat(y, starts) / counts
        means[-1] = y[first:].mean()
        lines[name] = Curve(name, x[ends], means)
    return lines
