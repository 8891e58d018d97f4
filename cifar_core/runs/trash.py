"""Deleted runs, kept in runs/.trash until it is emptied: what was deleted can be brought back."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from cifar_core import runs
from cifar_core.errors import RunError
from cifar_core.runs import Run


def trash_dir() -> Path:
    """Return the folder of deleted runs, inside that of all runs. Raises RunError if it is a link."""
    return runs.own_folder(".trash")


def discard(run: Run) -> None:
    """Move `run` to the trash. Does nothing if it is gone. Raises RunError while its worker lives, or on refusal."""
    if not run.path.is_dir():
        return  # another tab was faster
    try:
        trash_dir().mkdir(parents=True, exist_ok=True)
        with runs.run_lock(run, "deleted"):
            run.path.rename(trash_dir() / run.id)
    except OSError as error:
        raise RunError(f"Run {run.id} could not be deleted: {error.strerror}; make its folder writable.") from None


def restore(run_id: str) -> Run:
    """Bring the run called `run_id` back from the trash. Raises RunError if it is not there, or one of it lives on."""
    if run_id not in contents():
        raise RunError(
            f"There is no run {str(run_id)[:60]!r} in the trash; `python -m cifar_core runs trash` shows all."
        )
    run = Run(run_id)
    if run.path.exists():
        raise RunError(f"There is a run {run_id} already, expected none of that id; delete it to restore the other.")
    try:
        (trash_dir() / run_id).rename(run.path)
    except OSError as error:
        raise RunError(f"Run {run_id} could not be restored: {error.strerror}; make room and try again.") from None
    return run


def contents() -> list[str]:
    """Return the ids of the runs in the trash, newest first."""
    try:
        names = sorted((entry.name for entry in os.scandir(trash_dir()) if entry.is_dir()), reverse=True)
    except OSError:
        return []
    return [name for name in names if runs.ID_PATTERN.fullmatch(name)]


def size_bytes() -> int:
    """Return what the trash takes on the disk."""
    total = 0
    for path in trash_dir().rglob("*"):
        with suppress(OSError):  # emptied meanwhile
            total += path.lstat().st_size
    return total


def clear() -> int:
    """Delete what is in the trash for good; return how many runs that were."""
    found = contents()
    for name in found:
        path = trash_dir() / name
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    return len(found)
