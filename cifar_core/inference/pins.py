"""Pictures pinned to a run. Their probabilities are recorded during training.

pins.npz       up to six pictures and their names     written by the page or the launcher, before or during training
probes.jsonl   their probabilities                    written by the worker, one row for each moment
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from cifar_core import machine, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError, os_errors_as
from cifar_core.runs import Run, read_rows
from cifar_core.runs.records import Share

FILE = "pins.npz"
PROBES = "probes.jsonl"
MOST = 6
_NAME_LENGTH = 60
_LIMIT_BYTES = 2**20
_MOST_ROWS = 1_000  # a run of 200 epochs writes some more than 200


@dataclass(frozen=True, eq=False)
class Pin:
    """A pinned picture: the network input, uint8 (32, 32, 3), and a name to show."""

    image: np.ndarray
    name: str

    @property
    def key(self) -> str:
        """The key of the picture in probes.jsonl: 12 hexadecimal digits, a hash of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.image).data).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The class of a test image, which its name ends with ("cat", "test image 7, labeled cat"); "" if unknown."""
        last = self.name.rpartition(", labeled ")[2]
        return last if last in CLASSES else ""


@dataclass(frozen=True, eq=False)
class Watched:
    """The records of one pin: `epochs` since the start, float (m,), ascending; `probabilities`, float (m, 10)."""

    pin: Pin
    epochs: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Watch:
    """The records of a run's pins. `boundary` is the epoch at which fine-tuning began, or None."""

    watched: tuple[Watched, ...]
    boundary: float | None


def load(folder: Path) -> list[Pin]:
    """Return the pins in a run's `folder`; empty if the file is missing or damaged."""
    try:
        arrays = untrusted.load_arrays(folder / FILE, _LIMIT_BYTES)
        images, names = arrays["images"], arrays["names"]
    except (OSError, ValueError, KeyError):
        return []
    if names.ndim != 1 or images.dtype != np.uint8 or images.shape != (len(names), 32, 32, 3) or not len(names) <= MOST:
        return []
    return [Pin(image, untrusted.shown_name(str(name))) for image, name in zip(images, names, strict=True)]


def save(run: Run, pins: Sequence[Pin]) -> None:
    """Write the pins of `run`, at most MOST. Raises RunError if the file cannot be written."""
    images = np.stack([pin.image for pin in pins]) if pins else np.empty((0, 32, 32, 3), np.uint8)
    names = np.array([pin.name[:_NAME_LENGTH] for pin in pins], dtype=f"<U{_NAME_LENGTH}")
    with os_errors_as(RunError, "The pins could not be written"):
        machine.save_arrays(run.path / FILE, images=images, names=names)


def added(pins: Sequence[Pin], pin: Pin) -> list[Pin]:
    """Return `pins` with `pin` appended if it is new; the oldest is dropped if there are more than MOST."""
    if any(other.key == pin.key for other in pins):
        return list(pins)
    return [*pins, pin][-MOST:]


def watch(run: Run) -> Watch:
    """Return the records of the pins of `run`; damaged rows are skipped."""
    rows = list(itertools.islice(_probes(run), _MOST_ROWS))
    head = max((row.epoch for row in rows if row.phase == "head"), default=0.0)
    before = {"head": 0.0, "fine_tune": head}
    watched = []
    for pin in load(run.path):
        pin_rows = [row for row in rows if pin.key in row.pins]
        epochs = np.array([before[row.phase] + row.epoch for row in pin_rows], float)
        shares = np.array([row.pins[pin.key] for row in pin_rows], float).reshape(-1, len(CLASSES))
        watched.append(Watched(pin, epochs, shares))
    return Watch(tuple(watched), head or None if any(row.phase == "fine_tune" for row in rows) else None)


_Shares = Annotated[list[Share], msgspec.Meta(min_length=len(CLASSES), max_length=len(CLASSES))]


class _Probe(msgspec.Struct):
    """A row of probes.jsonl: the probabilities of each pin by its key."""

    phase: Literal["head", "fine_tune"]
    epoch: Annotated[float, msgspec.Meta(ge=0)]
    pins: dict[str, _Shares]


def _probes(run: Run) -> Iterator[_Probe]:
    for row in read_rows(run.path / PROBES, 0)[0]:
        with suppress(ValueError):  # msgspec.ValidationError, or invalid Unicode
            yield msgspec.convert(row, _Probe)
