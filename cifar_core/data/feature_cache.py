"""The feature cache: arrays on disk with one row per image, filled on demand.

    <cache>/store/<key>/
      about.json   the values that the key is a hash of, and the shape and dtype of a row
      rows         the rows in order (a sparse file: missing rows take no space)
      checks       a CRC-32 of each row, 0 for a missing row

A row is used only if its checksum matches; after a torn write, on a full disk or in a damaged file, it is computed
again. One process at a time fills an entry (a lock); others wait.
"""

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from cifar_core import machine, runs
from cifar_core.data.cifar10 import cache_dir
from cifar_core.errors import StoreError, os_errors_as
from cifar_core.runs import read_json, reserve_bytes, write_json

DTYPE = np.dtype(np.float16)


def store_dir() -> Path:
    """Return the folder of the feature cache, inside the app's cache."""
    return cache_dir() / "store"


def budget_bytes() -> int:
    """Return the maximum size of the feature cache: `CIFAR_STORE_GB` gigabytes (default 20). Raises StoreError."""
    return int(runs.gigabytes("CIFAR_STORE_GB", 20, StoreError))


@dataclass(frozen=True)
class Entry:
    """One array: `rows` rows of float16, each of shape `shape`; `about` is the content of about.json."""

    path: Path
    rows: int
    shape: tuple[int, ...]
    about: dict[str, Any] = field(compare=False)

    def touch(self) -> None:
        """Record that the entry is used now; create it if it does not exist. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "about.json").exists():
            write_json(self.path / "about.json", self.about)
        os.utime(self.path / "about.json")

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return int(np.prod(self.shape)) * DTYPE.itemsize

    def missing(self, positions: np.ndarray) -> np.ndarray:
        """Return the `positions` (int (n,)) with missing or damaged rows."""
        checks, stored = self._checks(), self._memory()
        good = [checks[i] != 0 and checks[i] == _check(stored[i]) for i in positions]
        return positions[~np.array(good, bool)]

    def write(self, positions: np.ndarray, values: np.ndarray) -> None:
        """Store `values` (n, *shape), any float dtype, as the rows `positions`. Call it inside `filling`.

        Raises StoreError if the disk is full.
        """
        values = np.ascontiguousarray(values.reshape(len(positions), -1), DTYPE)
        checks = self._checks()
        checks[positions] = [_check(row) for row in values]
        with _disk_errors():
            with _open(self.path / "rows") as file:
                for position, row in zip(positions.tolist(), values, strict=True):
                    file.seek(position * self.row_bytes)
                    file.write(row.tobytes())
            with _open(self.path / "checks") as file:
                file.write(checks.tobytes())

    def open(self) -> np.ndarray:
        """Return all rows as a read-only memory map, float16 (rows, *shape); `missing` rows are undefined.

        Raises StoreError if the file is missing or too short.
        """
        stored = self._memory()
        if not len(stored):
            raise StoreError(f"The stored features in {self.path} were removed; start the run again.")
        return stored.reshape(len(stored), *self.shape)

    def _memory(self) -> np.ndarray:
        """Return the m <= `rows` rows on disk as a memory map (m, values)."""
        file = self.path / "rows"
        whole = file.stat().st_size // self.row_bytes if file.exists() else 0
        shape = (min(whole, self.rows), self.row_bytes // DTYPE.itemsize)
        return np.memmap(file, DTYPE, "r", shape=shape) if whole else np.empty(shape, DTYPE)

    def _checks(self) -> np.ndarray:
        checks = np.zeros(self.rows, np.uint32)
        with suppress(OSError):
            saved = np.fromfile(self.path / "checks", np.uint32, self.rows)  # ignores an incomplete last number
            checks[: len(saved)] = saved
        checks[len(self._memory()) :] = 0
        return checks


def entry(about: dict[str, Any], rows: int, shape: tuple[int, ...]) -> Entry:
    """Return the entry of `about` (ready for JSON); create it if it does not exist. Raises StoreError."""
    about = {**about, "rows": rows, "shape": list(shape), "dtype": DTYPE.name}
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    found = Entry(store_dir() / key, rows, shape, about)
    with _disk_errors():
        found.touch()
    return found


@contextmanager
def filling(item: Entry) -> Iterator[None]:
    """Hold the lock of `item`; wait while another process fills it. Another one may have removed it before."""
    with FileLock(item.path / "lock"):
        item.touch()
        yield


def make_room(needed_bytes: int, kept: Collection[Entry]) -> None:
    """Remove the least recently used entries until `kept`, of `needed_bytes` when full, fit the budget and the disk.

    The stored bytes of `kept` count toward `needed_bytes`. `kept` and entries being filled are not removed. Raises
    StoreError if there is not enough room; if removing all others would not suffice, nothing is removed.
    """
    budget = budget_bytes()
    names = {item.path.name for item in kept}
    known = contents()
    held_bytes = sum(item["bytes"] for item in known if item["key"] in names)
    missing_bytes = needed_bytes - held_bytes
    full_bytes = max(needed_bytes, min(held_bytes, budget))  # on disk, a row takes whole blocks
    others = sorted((item for item in known if item["key"] not in names), key=lambda item: item["last_used"])
    used_bytes = sum(item["bytes"] for item in others)

    def fits(used_bytes: int, free_bytes: int) -> bool:
        return used_bytes + full_bytes <= budget and missing_bytes < free_bytes

    for item in others if fits(0, _free_bytes() + used_bytes) else ():
        if fits(used_bytes, _free_bytes()):
            return
        if _remove(store_dir() / item["key"]):
            used_bytes -= item["bytes"]
    if not fits(used_bytes, _free_bytes()):
        raise StoreError(
            f"The stored features would take {needed_bytes / 1e9:.1f} GB; the budget is {budget / 1e9:.1f} GB and the "
            f"disk has {_free_bytes() / 1e9:.1f} GB free; free disk space, raise CIFAR_STORE_GB or choose fewer views."
        )


def contents() -> list[dict[str, Any]]:
    """Return the entries as dictionaries: key, about, bytes (on disk), last_used (seconds since 1970)."""
    entries = []
    for path in sorted(store_dir().glob("*/about.json")):
        with suppress(OSError):
            size = sum(_disk_bytes(file) for file in path.parent.iterdir())
            about = read_json(path)
            entries.append({"key": path.parent.name, "about": about, "bytes": size, "last_used": path.stat().st_mtime})
    return entries


def clear() -> int:
    """Remove all entries that are not being filled; return the number of freed bytes."""
    return sum(item["bytes"] for item in contents() if _remove(store_dir() / item["key"]))


def _remove(path: Path) -> bool:
    try:
        with machine.hold_lock(path / "lock", 0.1):
            removed = path.rename(path.with_name(f".removed-{path.name}-{time.time_ns()}"))
    except OSError:
        return False
    shutil.rmtree(removed, ignore_errors=True)
    return True


def _check(row: np.ndarray) -> int:
    return zlib.crc32(row.data) or 1  # 0 means "missing"


def _open(path: Path) -> Any:
    path.touch()
    return path.open("r+b")


def _disk_bytes(file: Path) -> int:
    stat = file.stat()
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


def _free_bytes() -> int:
    return max(shutil.disk_usage(store_dir()).free - reserve_bytes(store_dir()), 0)


def _disk_errors() -> AbstractContextManager[None]:
    advice = "free disk space there, or move it with CIFAR_CACHE_DIR"
    return os_errors_as(StoreError, f"Features cannot be stored in {store_dir()}", advice)
