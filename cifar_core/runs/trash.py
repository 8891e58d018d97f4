"""Deleted runs: they stay in runs/.trash, and can be restored, until the trash is emptied."""

import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from cifar_core import runs
from cifar_core.errors import RunError, os_errors_as
from cifar_core.runs import Run

IMPORTING, DELETING = ".import-", ".deleted-"
"""Name prefixes of the temporary folders of an import and a deletion."""
UNFINISHED_SECONDS = 3_600  # younger folders may be in use; an import takes seconds


def trash_dir() -> Path:
    """Return the folder of deleted runs, inside the runs directory. Raises RunError if it is a link."""
    return runs.folder_beside_runs(".trash")


def move_to_trash(run: Run) -> None:
    """Move `run` to the trash, if it exists. Raises RunError if its worker is running or the move fails."""
    if run.path.is_dir():  # else another tab was faster
        runs.remove(run, trash_dir() / run.id)


def restore(run_id: str) -> Run:
    """Restore the run `run_id` from the trash. Raises RunError if it is not there or a run with that ID exists."""
    if run_id not in contents():
        raise RunError(f"The trash has no run {str(run_id)[:60]!r}; 'python -m cifar_core runs trash' shows all.")
    run = Run(run_id)
    if run.path.exists():
        command = f"python -m cifar_core runs delete {run_id} --for-good"  # else it would replace the one in the trash
        raise RunError(f"There is a run {run_id} again; '{command}' makes room for the deleted one.")
    with os_errors_as(RunError, f"Run {run_id} could not be restored"):
        (trash_dir() / run_id).rename(run.path)
    return run


def contents() -> list[str]:
    """Return the IDs of the runs in the trash, newest first."""
    names = [path.name for path in trash_dir().glob("*") if path.is_dir() and runs.ID_PATTERN.fullmatch(path.name)]
    return sorted(names, reverse=True)


def size_bytes(run_ids: Collection[str]) -> int:
    """Return the size in bytes of runs in the trash."""
    return sum(runs.size_bytes(trash_dir() / name) for name in run_ids)


def clear(run_ids: Collection[str]) -> None:
    """Delete runs in the trash, some of `contents`, permanently."""
    for name in run_ids:
        path = trash_dir() / name
        path.unlink(missing_ok=True) if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)


def clear_unfinished() -> None:
    """Delete old temporary folders of killed imports and deletions; links are not followed."""
    with suppress(OSError):
        for path in runs.runs_dir().iterdir():
            if path.name.startswith((IMPORTING, DELETING)) and path.is_dir() and not path.is_symlink():
                since = path.stat()
                if time.time() - max(since.st_mtime, since.st_ctime) > UNFINISHED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
