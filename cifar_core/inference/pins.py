"""Pictures pinned to a run, whose ten probabilities are recorded while it learns.

pins.npz       up to six pictures and their names     written by the page or the launcher, before or during training
probes.jsonl   what the network says of them          written by the worker, a row for each moment
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError
from cifar_core.runs import Run, read_rows, records
from cifar_core.untrusted import shown_name

FILE = "pins.npz"
PROBES = "probes.jsonl"
MOST = 6
_NAME_LENGTH = 60
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Pin:
    """One pinned picture: uint8 (32, 32, 3) as the network sees it, and a name to show."""

    image: np.ndarray
    name: str

    @property
    def key(self) -> str:
        """What the picture's pixels are known by in probes.jsonl: 12 hexadecimal digits."""
        return hashlib.sha256(np.ascontiguousarray(self.image).data).hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class Watched:
    """What was recorded of one pin.

    epochs: float (m,), since the run's start, fractions within an epoch, ascending. probabilities: float (m, 10).
    """

    pin: Pin
    epochs: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Watch:
    """What was recorded of a run's pins. `boundary` is where fine-tuning began, in epochs, None before."""

    watched: tuple[Watched, ...]
    boundary: float | None


def load(folder: Path) -> list[Pin]:
    """Return the pins in a run's `folder`: none where there is no such file, or it is not of ours."""
    path = folder / FILE
    try:
        found = untrusted.load_arrays(path, _LIMIT_BYTES)
        images, names = found["images"], found["names"]
    except (OSError, ValueError, KeyError):
        return []
    if names.ndim != 1 or images.dtype != np.uint8 or images.shape != (len(names), 32, 32, 3) or not len(names) <= MOST:
        return []
    return [Pin(image, shown_name(str(name))) for image, name in zip(images, names, strict=True)]


def save(run: Run, pins: Sequence[Pin]) -> None:
    """Let `pins` be the pinned pictures of `run`. Raises RunError if they are more than MOST, or cannot be written."""
    if len(pins) > MOST:
        raise RunError(f"{len(pins)} pictures cannot be pinned, {MOST} at most; take one off first.")
    path = run.path / FILE
    temporary = path.with_name(f".{FILE}.{os.getpid()}.npz")
    images = np.stack([pin.image for pin in pins]) if pins else np.empty((0, 32, 32, 3), np.uint8)
    names = np.array([pin.name[:_NAME_LENGTH] for pin in pins], dtype=f"<U{_NAME_LENGTH}")
    try:
        np.savez(temporary, images=images, names=names)
        machine.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunError(f"The pins could not be written: {error.strerror}; make room and try again.") from None


def added(pins: Sequence[Pin], pin: Pin) -> list[Pin]:
    """Return `pins` with `pin` at the end, once; the first of MOST makes room."""
    if any(other.key == pin.key for other in pins):
        return list(pins)
    return [*pins, pin][-MOST:]


def watch(run: Run) -> Watch:
    """Return what was recorded of the pins of `run`; a damaged row is left out."""
    rows = [row for row in read_rows(run.path / PROBES, 0)[0] if _is_probe(row)]
    head = max((row["epoch"] for row in rows if row["phase"] == "head"), default=0)
    tuned = any(row["phase"] == "fine_tune" for row in rows)
    before = {"head": 0, "fine_tune": head}
    watched = []
    for pin in load(run.path):
        own = [row for row in rows if _are_probabilities(row["pins"].get(pin.key))]
        epochs = np.array([before[row["phase"]] + row["epoch"] for row in own], float)
        said = np.array([row["pins"][pin.key] for row in own], float).reshape(-1, len(CLASSES))
        watched.append(Watched(pin, epochs, said))
    return Watch(tuple(watched), head if tuned and head else None)


def _is_probe(row: dict[str, Any]) -> bool:
    return (
        row.get("phase") in ("head", "fine_tune")
        and records.amount(row.get("epoch")) is not None
        and isinstance(row.get("pins"), dict)
    )


def _are_probabilities(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == len(CLASSES)
        and all(records.amount(v, 1) is not None for v in values)
    )
