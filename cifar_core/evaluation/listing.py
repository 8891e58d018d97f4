"""The table of all runs: rows, filter, order, CSV. Rows are cached in memory until a file of their run changes."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cifar_core import machine, runs
from cifar_core.config import KNOBS, TrainConfig
from cifar_core.evaluation.predictions import wilson
from cifar_core.inference import model_file
from cifar_core.runs import Run, labels, records
from cifar_core.runs.labels import Labels
from cifar_core.untrusted import csv_text

_FILES = ("config.json", "status.json", "model.tflite", labels.FILE, model_file.LATENCY_FILE)
_INACTIVE = ("finished", "stopped", "failed")
"""States without a worker; they change only if a file changes."""
_FILE_TIME_NS = 1_000_000_000
"""A folder that changed this shortly before it was read may have changed again: file times are coarse."""
_RECHECK_NS = 10_000_000_000
"""How long an unchanged folder counts as unchanged files; files may be written in place."""


@dataclass(frozen=True)
class Row:
    """A run in the table. Accuracies are 0..1; unknown values are None."""

    run: Run
    state: str
    labels: Labels
    config: TrainConfig | None
    validation_accuracy: float | None = None
    validation_images: int = 0
    test_accuracy: float | None = None
    seconds: float | None = None
    model_bytes: float | None = None
    latency_ms: float | None = None
    classifies: bool = False

    @property
    def name(self) -> str:
        """The name on screen: the user's, or else one from the settings."""
        return labels.shown_name(self.labels, self.config)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval (Wilson) of the validation accuracy."""
        if self.validation_accuracy is None or not self.validation_images:
            return None
        return wilson(round(self.validation_accuracy * self.validation_images), self.validation_images)

    def knob(self, name: str) -> Any:
        """Return the value of the knob `name`, or None if the configuration is damaged."""
        return getattr(self.config, name) if self.config else None


_SORT_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "validation": lambda row: row.validation_accuracy,
    "newest": lambda row: row.run.id,
    "name": lambda row: row.name.lower(),
    "starred": lambda row: row.labels.starred,
    "state": lambda row: runs.STATES.index(row.state),
    "time": lambda row: row.seconds,
    "size": lambda row: row.model_bytes,
    "latency": lambda row: row.latency_ms,
    "test": lambda row: row.test_accuracy,
}
_LARGE_FIRST = ("validation", "newest", "starred", "test")
SORTS = tuple(_SORT_KEYS)
"""Sort orders that are not settings."""
ORDERS = (*SORTS, *KNOBS)
"""All sort orders."""


def rows(most: int | None = None) -> list[Row]:
    """Return a row for each run, or for the `most` newest runs, newest first."""
    parent = str(runs.runs_dir().absolute())
    known = {f"{parent}/{run.id}": (run, stamp) for run, stamp in runs.stamped(most).items()}
    current = [_current(run, folder, stamp) for folder, (run, stamp) in known.items()]
    for deleted in set(_cache) - set(known) if most is None else ():
        _cache.pop(deleted, None)
    return current


def row(run: Run) -> Row:
    """Return the row of one run."""
    folder = str(run.path.absolute())
    return _current(run, folder, machine.stamp(folder)[0])


def classifiers() -> list[Row]:
    """Return the rows of the runs that can classify, newest first."""
    return [item for item in rows() if item.classifies]


def best(items: Iterable[Row]) -> Row | None:
    """Return the row with the best validation accuracy (the newest of equal ones), or None if no row has one."""
    measured = [row for row in items if row.validation_accuracy is not None]
    return max(measured, key=lambda row: (row.validation_accuracy, row.run.id), default=None)


def filter_rows(items: Iterable[Row], text: str = "", starred_only: bool = False) -> list[Row]:
    """Return the rows that contain every term of `text` in name, note, ID, state or "knob=value"."""
    terms = text.lower().split()
    return [
        row
        for row in items
        if (row.labels.starred or not starred_only) and all(term in _search_text(row) for term in terms)
    ]


def sort_rows(items: Iterable[Row], order: str = "validation", reverse: bool = False) -> list[Row]:
    """Return the rows sorted by one of ORDERS, or in reverse. Unknown values come last."""
    value = _SORT_KEYS.get(order) or (lambda row: row.knob(order))
    newest = sorted(items, key=lambda row: row.run.id, reverse=True)
    known = [row for row in newest if value(row) is not None]
    known.sort(key=value, reverse=(order in _LARGE_FIRST) != reverse)
    return known + [row for row in newest if value(row) is None]


def to_dict(row: Row) -> dict[str, Any]:
    """Return a row as flat values for JSON and CSV: metrics, then knobs."""
    low, high = row.interval or (None, None)
    return {
        "id": row.run.id,
        "name": row.name,
        "state": row.state,
        "starred": row.labels.starred,
        "note": row.labels.note,
        "validation_accuracy": row.validation_accuracy,
        "validation_low": low,
        "validation_high": high,
        "test_accuracy": row.test_accuracy,
        "seconds": row.seconds,
        "model_bytes": row.model_bytes,
        "latency_ms": row.latency_ms,
        **{name: row.knob(name) for name in KNOBS},
    }


def to_csv(items: Iterable[Row]) -> str:
    """Return the rows as CSV."""
    rows = [to_dict(row) for row in items]
    return csv_text([tuple(rows[0] if rows else ()), *(tuple(row.values()) for row in rows)])


def _read(run: Run) -> Row:
    status = run.status
    figures = status.get("result") or {}
    config, _ = records.or_problem(lambda: run.config, "")
    images = figures.get("validation_images")
    return Row(
        run,
        status["state"],
        labels.load(run),
        config,
        records.amount(figures.get("validation_accuracy"), 1),
        images if type(images) is int and images > 0 else 0,
        records.amount(figures.get("test_accuracy"), 1),
        records.amount(figures.get("elapsed_seconds")),
        records.amount(figures.get("model_bytes")),
        model_file.load_latency(run),
        status["state"] == "finished" and (run.path / "model.tflite").exists(),
    )


def _search_text(row: Row) -> str:
    knobs = [f"{name}={row.knob(name)}" for name in KNOBS] if row.config else []
    return " ".join([row.name, row.labels.note, row.run.id, row.state, *knobs]).lower()


@dataclass(frozen=True)
class _Cached:
    """A row, and the stamps of its folder and files at the time `checked`; times in ns."""

    row: Row
    folder: int
    files: tuple[tuple[int, int, int], ...]
    checked: int


_cache: dict[str, _Cached] = {}


def _current(run: Run, path: str, folder: int) -> Row:
    """Return the row of `run`; read it again only if a file in its folder or its worker may have changed it.

    `folder` is the stamp of the folder at `path`. Checking it takes one system call instead of one for each file.
    Each call lets other threads run; thousands of calls took seconds with twenty sessions.
    """
    cached, now = _cache.get(path), time.time_ns()
    if cached and cached.row.state not in _INACTIVE:
        cached = None  # its worker changes files without changing the folder
    if cached and cached.folder == folder:
        is_old = cached.checked - folder > _FILE_TIME_NS
        if is_old and 0 <= now - cached.checked < _RECHECK_NS:
            return cached.row
    files = tuple(machine.stamp(f"{path}/{file}") for file in _FILES)
    row = cached.row if cached and cached.files == files else _read(run)
    _cache[path] = _Cached(row, folder, files, now)
    return row
