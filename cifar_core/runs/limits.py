"""How much of the disk runs may take. docs/hosting.md lists all limits."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from cifar_core.errors import RunError

_RESERVE_BYTES = 10**9
RUNS_VARIABLE, RUNS_GB = "CIFAR_RUNS_GB", 50.0
"""What the runs directory may take, trash and sweeps included, in gigabytes."""


def check_disk(folder: Path) -> None:
    """Raise RunError if the runs directory `folder` takes as much as it may, or its disk is almost full."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free, reserve = shutil.disk_usage(place).free, reserve_bytes(place)
    if free < reserve:
        raise RunError(
            f"The disk of {folder} has {free / 1e6:,.0f} MB free, and {reserve / 1e6:,.0f} MB stay free for "
            "what already runs; make room there, or set CIFAR_RUNS_DIR to a folder on another disk."
        )
    allowed, taken = _budget_bytes(), size_bytes(folder)
    if taken >= allowed:
        raise RunError(
            f"The runs take {taken / 1e9:.3g} GB, and {allowed / 1e9:.3g} GB is what they may take; delete some on "
            f"Explore and empty the trash, or raise {RUNS_VARIABLE}."
        )


def reserve_bytes(place: Path) -> int:
    """Return what stays free of the disk that holds `place`: a quarter of a small one, 1 GB of a large one."""
    return min(shutil.disk_usage(place).total // 4, _RESERVE_BYTES)


def size_bytes(folder: Path) -> int:
    """Return what the files below `folder` hold; links count as themselves."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - thousands of them
    return total


def _budget_bytes() -> float:
    text = os.environ.get(RUNS_VARIABLE) or str(RUNS_GB)
    try:
        found = float(text) * 1e9
    except ValueError:
        found = -1.0
    if not 0 < found < float("inf"):
        raise RunError(f"{RUNS_VARIABLE}: received {text[:40]!r}, expected a number of gigabytes above 0.")
    return found
