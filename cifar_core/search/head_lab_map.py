"""The lab's decision map: where validation images lie in two dimensions, and which class rules where.

Places are found once for a base; only the colours change with a result. The ground takes the class that most of the
nearest images are called.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.search import head_lab

GRID = 70
"""Cells of the ground in each direction."""


@dataclass(frozen=True, eq=False)
class Map:
    """`points` float32 (n, 2), `labels` uint8 (n,): true classes. `x` and `y` float32 (GRID,): the cells' middles.

    `nearest` int32 (GRID * GRID, k): the images nearest to each cell, rows of y first; -1 where none is near.
    """

    points: np.ndarray
    labels: np.ndarray
    x: np.ndarray
    y: np.ndarray
    nearest: np.ndarray


def path(base: str) -> Path:
    """Return where the map of a base is kept."""
    return head_lab.lab_dir() / f"map-{base}.npz"


def load(base: str) -> Map | None:
    """Return the map of a base, None if it is not made yet or is damaged."""
    try:
        file = untrusted.load_arrays(path(base))
        found = Map(*(file[name] for name in ("points", "labels", "x", "y", "nearest")))
    except (OSError, ValueError, KeyError):
        return None
    sound = found.points.shape == (len(found.labels), 2) and found.nearest.shape[:1] == (GRID * GRID,)
    return found if sound and found.nearest.max() < len(found.labels) else None


def save(base: str, found: Map) -> None:
    """Write the map of a base, whole or not at all."""
    temporary = path(base).with_suffix(".part.npz")
    np.savez_compressed(temporary, **vars(found))
    machine.replace(temporary, path(base))


def ground(found: Map, predicted: np.ndarray) -> np.ndarray:
    """Return the class of each cell, float (GRID, GRID), NaN far from all images; `predicted` int (n,) are classes."""
    votes = np.eye(len(CLASSES), dtype=np.int32)[predicted[found.nearest]].sum(axis=1)  # (cells, 10)
    classes = votes.argmax(axis=1).astype(float)
    classes[found.nearest[:, 0] < 0] = np.nan
    return classes.reshape(GRID, GRID)
