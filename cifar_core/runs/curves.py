"""Reads and checks the rows of metrics.jsonl and returns curves; each read parses only the new rows.

A long training writes tens of thousands of rows; parsing all at each poll would keep a CPU core busy.
"""

import math
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
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
_MOST = 1e9
_TIMES = ("learning_rate", "images_per_second", "elapsed_seconds", "epoch_seconds", "seconds_left")
_AMOUNTS = {"accuracy": 1.0, "validation_accuracy": 1.0, **dict.fromkeys(_TIMES, _MOST)}  # name -> maximum
_CROSS_ENTROPIES = ("cross_entropy", "validation_cross_entropy")
_LOSSES = ("loss", "validation_loss", *_CROSS_ENTROPIES)  # not finite if the training diverges
_PROBED = {
    "imagenet": "what ImageNet already knows",
    "bundled": "what the bundled model already knows",
    "random": "what random weights already know",
}

MOST_POINTS = 160  # per line: few enough to smooth the noise of steps
_CLOCK = "elapsed_seconds"
_COLUMNS = {
    "step": ("accuracy", "loss", "cross_entropy", "learning_rate", "images_per_second"),
    "epoch": ("validation_accuracy", "validation_loss", "validation_cross_entropy"),
    _CLOCK: (_CLOCK,),
}
_MANY = 1e6  # more than the stretches of a phase


def sound_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
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
    if name in _LOSSES:
        return type(value) in (int, float) and not records.MOST < abs(value) < math.inf
    if name in _AMOUNTS:
        return records.amount(value, _AMOUNTS[name]) is not None
    if name == "weight_changes":
        amounts = [records.amount(one, _MOST) for one in value] if isinstance(value, list) else [None]
        return None not in amounts and len(amounts) in (0, BLOCK_COUNT)
    if name == "weights":
        return value in list(_PROBED)
    return name != "stage" or isinstance(value, str)


@dataclass(frozen=True)
class Curve:
    """One line: x in epochs since the start of the run (with fractions), y in the metric's unit."""

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
        self.epochs = 0
        """Number of complete epochs."""
        self._tables = {name: array("d") for name in _COLUMNS}
        """Rows of the phase (0: head, 1: fine-tuning), the place in epochs, and the values of `_COLUMNS`."""
        self._most = {"head": 0, "fine_tune": 0}
        self._has_cross_entropy = True
        self._probe: LinearProbe | None = None
        self._changes: tuple[float, ...] = ()

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows; damaged rows are skipped."""
        self._probe = self._probe or linear_probe(rows)
        for row in sound_rows(rows):
            if row["kind"] == PROBE:
                continue
            self.last = row
            if row["kind"] == "progress":
                continue
            kind, phase, epoch = row["kind"], row["phase"], row["epoch"]
            self._most[phase] = max(self._most[phase], epoch)
            self._changes = row.get("weight_changes") or self._changes
            self.epochs += kind == "epoch"
            place = [float(phase == "fine_tune"), epoch - 1 + row["step"] / row["steps"] if kind == "step" else epoch]
            values = [row.get(name) for name in _COLUMNS[kind]]
            self._has_cross_entropy &= None not in values  # valid rows lack nothing else
            self._tables[kind].extend([*place, *(math.nan if value is None else value for value in values)])
            if row.get(_CLOCK) is not None:
                self._tables[_CLOCK].extend([*place, row[_CLOCK]])

    def curves(self, planned_epochs: Mapping[str, int] | None = None, ended: bool = False) -> Curves:
        """Return the curves, with at most MOST_POINTS points each (except "elapsed_seconds").

        A point is the mean over a fixed share of the planned epochs, so existing points do not change as a curve grows.
        `planned_epochs` (phase -> epochs) also sets the length of the axis until the run has `ended`.
        """
        head, fine_tuned = self._most["head"], self._most["fine_tune"]
        most = [max(self._most[phase], (planned_epochs or {}).get(phase, 0)) for phase in self._most]
        width = sum(most) / (MOST_POINTS - 1)
        tables = {name: np.array(table).reshape(-1, 2 + len(_COLUMNS[name])) for name, table in self._tables.items()}
        clock = tables[_CLOCK]
        lines = {_CLOCK: Curve(clock[:, 1] + head * clock[:, 0], clock[:, 2])}
        for name in ("step", "epoch"):
            x, means = _averaged(tables[name], head, width)
            lines |= {measure: Curve(x, y) for measure, y in zip(_COLUMNS[name], means.T, strict=True)}
        if not self._has_cross_entropy:
            lines = {name: curve for name, curve in lines.items() if name not in _CROSS_ENTROPIES}
        planned = head + fine_tuned if ended else (head if fine_tuned else most[0]) + most[1]
        return Curves(lines, head if fine_tuned and head else None, planned, self._probe, tuple(self._changes))


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


def _averaged(table: np.ndarray, head_epochs: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x, (m,), in epochs since the start of the run, and the means of the values of a table, (m, columns).

    A mean is over a stretch of `width` epochs of a phase, and lies at the stretch's last row. The last stretch may be
    incomplete; its mean also covers the last `width` epochs.
    """
    phase, at, values = table[:, 0], table[:, 1], table[:, 2:]
    x = at + head_epochs * phase
    if not len(x):
        return x, values
    stretch = np.ceil(at / width - 1e-6) + _MANY * phase
    ends = np.append(np.flatnonzero(stretch[1:] != stretch[:-1]), len(x) - 1)
    starts = np.append(0, ends[:-1] + 1)
    means = np.add.reduceat(values, starts) / (ends - starts + 1)[:, None]
    recent = np.searchsorted(x, max(x[-1] - width * (1 - 1e-6), head_epochs * phase[-1]), side="right")
    means[-1] = values[min(int(recent), int(starts[-1])) :].mean(axis=0)  # the minimum: also for unordered rows
    return x[ends], means
