"""A disk of a few megabytes that can be filled to the last byte, or made read-only. For root on Linux."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A file system in memory at `path`."""

    path: Path

    def fill(self, room: int = 0) -> None:
        """Leave `room` bytes, or fewer where a worker writes at the same time."""
        self.clear()
        with (self.path / ".filler").open("wb") as file:
            while (left := self._free() - room) > 0:
                with suppress(OSError):  # a worker was faster
                    os.posix_fallocate(file.fileno(), 0, left)
                    return

    def _free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def clear(self) -> None:
        (self.path / ".filler").unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        mount("-o", "remount,ro", str(self.path))
        try:
            yield
        finally:
            mount("-o", "remount,rw", str(self.path))


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Disk]:
    """A new disk at `path`; skips the test where none can be had."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    path.mkdir(parents=True)
    try:
        mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small disk can be mounted here: {error.stderr.decode().strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
