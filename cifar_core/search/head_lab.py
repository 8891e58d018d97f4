"""The head lab: requests from pages, and results of the lab's process (training/lab_worker.py).

    <runs>/.lab/
      lab.lock              held by the running process
      request.json          the requested settings; the newest request counts    written by pages
      status.json           state of the process, and its fixed settings         written by the process, as the rest
      map-<base>.npz        the decision map
      <base>-<key>.json     one result: a row for each epoch, the class of each validation image
      lab.log               output of the process

Only the head is trained, on cached features. All but five knobs have the values of BASE.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from cifar_core import machine, runs, untrusted
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import ConfigError, RunError, os_errors_as
from cifar_core.evaluation.predictions import wilson
from cifar_core.jobs import Job
from cifar_core.runs import records

BASE = replace(PRESETS["quick"], augmentation=0.0, head_epochs=8, fine_tune_epochs=0, head_batch_size=256)
"""The fixed settings, without schedule and early stopping."""
GRID = 70
"""Cells of the decision map in each direction."""
_STORED = Path(__file__).parents[1] / "bundled" / "head_lab.json"
_FIGURES = ("epoch", "accuracy", "cross_entropy", "validation_accuracy", "validation_cross_entropy")


@dataclass(frozen=True)
class Settings:
    """The sliders of the lab, knobs of TrainConfig. The constructor checks all values and raises ConfigError."""

    dropout: float = BASE.dropout
    dense_units: int = BASE.dense_units
    l2: float = BASE.l2
    head_learning_rate: float = BASE.head_learning_rate
    label_smoothing: float = BASE.label_smoothing

    def __post_init__(self) -> None:
        """Check each field against its knob."""
        for name in SLIDERS:
            object.__setattr__(self, name, KNOBS[name].check(getattr(self, name)))

    @property
    def config(self) -> TrainConfig:
        """The configuration for training the head."""
        return replace(BASE, **asdict(self))

    @property
    def run_config(self) -> TrainConfig:
        """The preset `quick` with this head: a complete run with fine-tuning."""
        return replace(PRESETS["quick"], **asdict(self))

    @property
    def key(self) -> str:
        """The key of the settings in file names."""
        return hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The values in a URL: `0.3_128_0.0001_0.001_0`."""
        return "_".join(f"{getattr(self, name):g}" for name in SLIDERS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the settings in `text`. Raises ConfigError."""
        words = text.split("_")
        if len(words) != len(SLIDERS):
            raise ConfigError(f"Lab: received {len(words)} values, expected {len(SLIDERS)} between underscores.")
        return cls(**{name: KNOBS[name].parse(word) for name, word in zip(SLIDERS, words, strict=True)})

    def differences(self, other: Self) -> str:
        """Return the values that differ from `other` as text, or "the same"."""
        changes = self.config.differences(other.config).items()
        words = (f"{KNOBS[name].label.lower()} {KNOBS[name].format(value)}" for name, (value, _) in changes)
        return ", ".join(words) or "the same"


SLIDERS = tuple(item.name for item in fields(Settings))


@dataclass(frozen=True)
class Result:
    """The result for some settings: `rows`, one for each epoch, and `predicted`, the class of each image.

    `state` is "computing", "done", "cancelled" (replaced by other settings) or "failed" (see `message`).
    """

    state: str
    rows: Sequence[Mapping[str, float]]
    predicted: Sequence[int]
    message: str = ""
    seconds: float = 0.0

    @property
    def accuracy(self) -> float | None:
        """The validation accuracy after the last epoch, 0..1."""
        return self.rows[-1]["validation_accuracy"] if self.rows else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of the accuracy."""
        total = len(self.predicted)
        return wilson(round((self.accuracy or 0.0) * total), total)


def lab_dir() -> Path:
    """Return the lab's folder. Raises RunError if it is a link."""
    return runs.folder_beside_runs(".lab")


def job() -> Job:
    """Return the job of the lab. It ends five minutes after the last request."""
    return Job(lab_dir(), "lab", ("cifar_core.training.lab_worker",), "The lab")


def start() -> None:
    """Start the process of the lab if it is not running. Raises RunError."""
    job().start()


def is_open() -> bool:
    """Return whether the process of the lab is running."""
    return job().is_running


def request(settings: Settings) -> None:
    """Request `settings`; they replace the current computation. Raises RunError."""
    with os_errors_as(RunError, f"The request cannot be written to {lab_dir()}", "make it writable"):
        lab_dir().mkdir(parents=True, exist_ok=True)
        runs.write_json(lab_dir() / "request.json", {"settings": asdict(settings), "asked": time.time()})


def requested() -> tuple[Settings, float] | None:
    """Return the requested settings and the time of the request (seconds since 1970), or None."""
    saved = runs.read_json(lab_dir() / "request.json")
    number, values = saved.get("asked"), saved.get("settings")
    try:
        return (Settings(**values), float(number)) if isinstance(values, dict) else None  # type: ignore[arg-type]
    except (ConfigError, TypeError, ValueError):
        return None


def status() -> dict[str, Any]:
    """Return the state of the process.

    Keys: `state` ("off", "starting", "preparing", "waiting", "ready", "computing", "mapping", "failed") and, if
    known, `message`, `done` and `total` during preparation, `base` (texts on the fixed settings) and its `key`.
    """
    is_running = is_open()
    try:
        saved = runs.load_json(lab_dir() / "status.json") or {}
    except RunError as error:
        saved = {} if is_running else {"state": "failed", "message": str(error)}
    if not isinstance(saved.get("state"), str):
        saved = {"state": "starting"}
    return saved if is_running or saved["state"] == "failed" else saved | {"state": "off"}


def base_key() -> str:
    """Return the key of the fixed settings in file names, or "" before the first start."""
    base = status().get("base")
    key = str(base.get("key", "")) if isinstance(base, dict) else ""
    return key if key.isalnum() else ""


def result_path(base: str, settings: Settings) -> Path:
    """Return the path of the result for `settings`."""
    return lab_dir() / f"{base}-{settings.key}.json"


def result(settings: Settings) -> Result | None:
    """Return the result for `settings`, or None if there is none."""
    return _read(result_path(base_key(), settings))


def stored() -> Result | None:
    """Return the result of `Settings()` on CIFAR-10 with ImageNet weights, which the package contains."""
    return _read(_STORED)


def _read(path: Path) -> Result | None:
    saved = runs.read_json(path)
    rows, predicted = saved.get("rows"), saved.get("predicted")
    if not isinstance(rows, list) or not isinstance(predicted, str) or not re.fullmatch("[0-9]*", predicted):
        return None
    whole = [row for row in rows if isinstance(row, dict) and all(_is_figure(k, row.get(k)) for k in _FIGURES)]
    if saved.get("state") == "done" and not whole:  # written by a version without cross-entropy: train again
        return None
    message, seconds = str(saved.get("message", "")), records.amount(saved.get("seconds")) or 0.0
    return Result(str(saved.get("state")), whole, [*map(int, predicted)], message, seconds)


def _is_figure(name: str, value: Any) -> bool:
    return records.amount(value, 1 if name.endswith("accuracy") else records.MOST) is not None


@dataclass(frozen=True, eq=False)
class Map:
    """The decision map: validation images in two dimensions, and the nearest images of each cell of a grid.

    points: float32 (n, 2). labels: uint8 (n,). x, y: float32 (GRID,), centers of the cells. nearest: int32 (GRID *
    GRID, k), rows of y first; -1 if no image is near.
    """

    points: np.ndarray
    labels: np.ndarray
    x: np.ndarray
    y: np.ndarray
    nearest: np.ndarray


def map_path(base: str) -> Path:
    """Return the path of the map of a base."""
    return lab_dir() / f"map-{base}.npz"


def load_map(base: str) -> Map | None:
    """Return the map of a base, or None if it is missing or damaged."""
    try:
        lab_map = Map(**untrusted.load_arrays(map_path(base)))
    except (OSError, ValueError, TypeError):  # TypeError: an array is missing
        return None
    sound = lab_map.points.shape == (len(lab_map.labels), 2) and lab_map.nearest.shape[:1] == (GRID * GRID,)
    return lab_map if sound and lab_map.nearest.max() < len(lab_map.labels) else None


def save_map(base: str, lab_map: Map) -> None:
    """Write the map of a base atomically."""
    machine.save_arrays(map_path(base), **vars(lab_map))


def background_classes(lab_map: Map, predicted: np.ndarray) -> np.ndarray:
    """Return the most frequent class of each cell's nearest images, float (GRID, GRID), NaN far from all images.

    predicted: int (n,), the class of each image.
    """
    votes = np.eye(len(CLASSES), dtype=np.int32)[predicted[lab_map.nearest]].sum(axis=1)  # (cells, 10)
    classes = votes.argmax(axis=1).astype(float)
    classes[lab_map.nearest[:, 0] < 0] = np.nan
    return classes.reshape(GRID, GRID)
