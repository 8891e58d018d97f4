"""The run directory: the only channel between the page and the worker.

    runs/<id>/
      config.json       the settings                                     written by `create`
      stop              requests a stop                                  written by the launcher
      lock              held by the running worker                       (SIGKILL releases it)
      status.json       state, stage, process, result or failure         written by the worker, like the files below
      metrics.jsonl     one row per step, epoch and progress report
      checkpoint.npz    everything that a resume needs, replaced once per epoch
      best.keras  model.tflite  summary.txt  environment.json  evaluation.npz
      calibration.json  neighbours.npz   temperature and out-of-distribution threshold; features of training images
      pins.npz          watched pictures                                 written by the page or the launcher
      probes.jsonl      their probabilities during training

Each JSON file is first written to a temporary file and then moved into place.
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, ConfigError, RunError, os_errors_as
from cifar_core.runs import records
from cifar_core.runs.records import load_json, read_json, read_rows, write_json  # noqa: F401 - re-exported
from cifar_core.untrusted import quoted

ID_PATTERN = re.compile(r"[0-9]{8}-[0-9]{9}-[a-z0-9]{1,24}")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""Names of searches and projects, which are also folders."""
NAME_WANTED = "expected a name of a to z, 0 to 9 and -, at most 40 characters long"
STATES = ("queued", "running", "stopping", "stopped", "finished", "failed", "lost")
LIVE_STATES = ("queued", "running", "stopping")
RESUMABLE_STATES = ("stopped", "failed", "lost")
_ENDED_STATES = ("finished", "failed", "stopped")
_RESERVE_BYTES = 10**9
TRIAL_FILE = "trial.json"
"""The sweep of a trial and its number there."""
START_SECONDS = 20.0
"""Time limit for the first sign of a new worker (the start of Python; TensorFlow is imported later)."""


def runs_dir() -> Path:
    """Return the folder of all runs: `CIFAR_RUNS_DIR`, or `runs` beside app.py."""
    return Path(os.environ.get("CIFAR_RUNS_DIR") or machine.app_dir() / "runs")


@dataclass(frozen=True)
class Run:
    """One run directory. Objects with the same ID are equal; each property is read from the disk."""

    id: str

    @property
    def is_trial(self) -> bool:
        """Whether a sweep created the run."""
        has_number = re.search(r"t[0-9]+$", self.id) is not None  # most others have none, which needs no disk
        return has_number and (self.path / TRIAL_FILE).exists()

    @property
    def path(self) -> Path:
        """The run's folder."""
        return runs_dir() / self.id

    @property
    def config(self) -> TrainConfig:
        """The run's configuration. Raises RunError if the file is missing or damaged."""
        try:
            return TrainConfig.from_dict(load_json(self.path / "config.json") or {})
        except (ConfigError, RunError) as error:
            if not self.path.is_dir():
                raise RunError(f"There is no run {self.id} any more: it was deleted.") from None
            raise RunError(f"Run {self.id} has no usable config.json: {error} Delete the run.") from None

    @property
    def status(self) -> dict[str, Any]:
        """The last status of the worker, with `state` corrected for a worker that is stopping, stopped or lost.

        Keys: `state` (one of STATES) and, if known, `stage`, `message`, `error`, `pid`, `started`, `result`.
        """
        stop = self.path / "stop"
        saved = self._saved_status()
        if saved.get("state") in _ENDED_STATES:
            return saved
        if self.is_alive:
            saved.pop("error", None)
            live = "stopping" if stop.exists() else "running" if saved.get("state") == "running" else "queued"
            return {**saved, "state": live}
        saved = self._saved_status()  # the worker may have ended after the first read
        if saved.get("state") in (*_ENDED_STATES, "lost"):
            return saved
        return {**saved, "state": "stopped" if stop.exists() else "queued" if self._is_starting else "lost"}

    def _saved_status(self) -> dict[str, Any]:
        """Return the content of status.json; if it is damaged, the state "lost" and the reason."""
        try:
            saved = load_json(self.path / "status.json")
            status = records.status(saved or {})
            if saved is not None and status.get("state") not in STATES:
                raise RunError("status.json is damaged: it names no state of a run.")
            return status
        except RunError as error:
            message = f"{error} Resume the run, or delete it."
            return {"state": "lost", "error": {"type": "RunError", "message": message}}

    @property
    def state(self) -> str:
        """One of STATES."""
        return self.status["state"]

    @property
    def result(self) -> dict[str, Any]:
        """The metrics of a finished run, otherwise an empty dictionary."""
        return self.status.get("result", {})

    @property
    def is_alive(self) -> bool:
        """Whether a worker holds the run's lock."""
        return machine.is_locked(self.path / "lock")

    @property
    def _is_starting(self) -> bool:
        """Whether the run is new and its worker may not have written a status yet."""
        age = time.time() - machine.stamp(self.path / "config.json")[0] / 1e9
        return abs(age) < START_SECONDS and not (self.path / "status.json").exists()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl in order; incomplete or damaged lines are skipped."""
        return read_rows(self.path / "metrics.jsonl", 0)[0]


def new_id(slug: str) -> str:
    """Return an ID with the current UTC time; `slug` is its end, 1 to 24 characters a-z or 0-9."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03d}-{slug}"


def create(config: TrainConfig, name: str = "run", prepare: Callable[[Run], None] | None = None) -> Run:
    """Create a run directory with `config` and return the run. `name` becomes the end of its ID.

    `prepare` can add files to the folder. Raises RunError if the folder cannot be written or `check_disk` fails; an
    error leaves no folder.
    """
    check_disk()
    slug = re.sub(r"[^a-z0-9]", "", name.lower())[:24] or "run"
    advice = "free disk space, make the folder writable, or set CIFAR_RUNS_DIR"
    with os_errors_as(RunError, f"The run could not be written to {runs_dir()}", advice):
        runs_dir().mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):  # of another run in the same millisecond
                run = Run(new_id(slug))
                run.path.mkdir()
                break
        try:
            write_json(run.path / "config.json", config.to_dict())
            if prepare:
                prepare(run)
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)  # else it would queue, and nothing would train it
            raise
    return run


def get(run_id: str) -> Run:
    """Return the run `run_id`. Raises RunError if it does not exist, contains links, or the ID is invalid."""
    run = Run(run_id)
    if not isinstance(run_id, str) or not ID_PATTERN.fullmatch(run_id) or not run.path.is_dir():
        raise RunError(f"There is no run {str(run_id)[:60]!r}; Explore and 'python -m cifar_core runs list' show all.")
    if link := find_link(run.path):
        raise RunError(f"Run {run_id} is not opened: {quoted(link)} is a link or no file; put the file itself there.")
    return run


def list_runs() -> list[Run]:
    """Return all runs, newest first, without runs that contain links (see `get`)."""
    return list(stamped())


def stamped(most: int | None = None) -> dict[Run, int]:
    """Return the runs of `list_runs`, or the `most` newest, each with the modification time of its folder in ns.

    Replacing a file changes this time; writing to a file in place does not.
    """
    stamps: dict[Run, int] = {}
    folders: list[os.DirEntry[str]] = []
    with suppress(OSError), os.scandir(str(runs_dir())) as entries:
        folders = [one for one in entries if ID_PATTERN.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
    for entry in sorted(folders, key=lambda entry: entry.name, reverse=True):
        with suppress(OSError):  # being deleted
            stamp = entry.stat(follow_symlinks=False).st_mtime_ns
            if _find_link_below(entry.path, stamp) is None:
                stamps[Run(entry.name)] = stamp
        if len(stamps) == most:
            break
    return stamps


def folder_beside_runs(name: str) -> Path:
    """Return the folder `name` beside the runs; it may not exist. Raises RunError if it is a link."""
    folder = runs_dir() / name
    if folder.is_symlink():
        raise RunError(f"{folder} is a link, which could point anywhere, expected a folder; delete the link.")
    return folder


def find_link(folder: Path) -> str | None:
    """Return the name of a link, pipe or device in a run's folder, or of the folder if it is a link, or None.

    A copied run may contain them; reading and writing its files could then access any place on the disk.
    """
    try:
        facts = folder.lstat()
        return _find_link_below(str(folder), facts.st_mtime_ns) if stat.S_ISDIR(facts.st_mode) else folder.name
    except OSError:
        return folder.name  # being deleted, or unreadable


def _find_link_below(folder: str, stamp: int) -> str | None:
    """Return the name of a link, pipe or device in `folder` or below, or None; a folder is read once per `stamp`."""
    odd, below = _scan(folder, stamp)
    return odd or next(filter(None, (_find_link_below(path, os.lstat(path).st_mtime_ns) for path in below)), None)


@lru_cache(maxsize=8192)
def _scan(folder: str, stamp: int) -> tuple[str | None, tuple[str, ...]]:
    """Return the first link, pipe or device in a folder (or None), and its subfolders."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                return entry.name, ()
    return None, tuple(below)


def finished_runs() -> list[Run]:
    """Return the finished runs that have a model, newest first."""
    return [run for run in list_runs() if run.state == "finished" and (run.path / "model.tflite").exists()]


def delete(run: Run) -> None:
    """Delete `run` permanently. Raises RunError if its worker is running or the folder cannot be written."""
    target = run.path.with_name(f".deleted-{run.id}")
    remove(run, target)
    shutil.rmtree(target, ignore_errors=True)


def remove(run: Run, target: Path) -> None:
    """Move the folder of `run` to `target`, which is deleted before. Raises the errors of `delete`."""
    with os_errors_as(RunError, f"Run {run.id} could not be deleted"):
        target.parent.mkdir(parents=True, exist_ok=True)
        busy = RunError(f"Run {run.id} is {run.state} and cannot be deleted; stop it first.")
        with machine.hold_lock(run.path / "lock", 0.2, busy):
            shutil.rmtree(target, ignore_errors=True)  # an imported run may have the ID of a deleted one
            run.path.rename(target)


def check_disk() -> None:
    """Raise RunError if the runs directory has reached its maximum size or its disk is almost full."""
    folder = runs_dir()
    place = existing(folder)
    free, reserve = shutil.disk_usage(place).free, reserve_bytes(place)
    if free < reserve:
        sizes = f"The disk of {folder} has {free / 1e6:,.0f} MB free, expected {reserve / 1e6:,.0f} MB"
        raise RunError(f"{sizes}; free disk space there, or set CIFAR_RUNS_DIR to a folder on another disk.")
    allowed, taken = budget_bytes(), size_bytes(folder)
    if taken >= allowed:
        sizes = f"The runs take {taken / 1e9:.3g} GB, of {allowed / 1e9:.3g} GB at most"
        raise RunError(f"{sizes}; delete some on Explore and empty the trash, or raise CIFAR_RUNS_GB.")


def existing(folder: Path) -> Path:
    """Return `folder`, or its nearest existing parent."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def reserve_bytes(place: Path) -> int:
    """Return the bytes to keep free on the disk of `place`: 1 GB, or a quarter of the disk if that is less."""
    return min(shutil.disk_usage(place).total // 4, _RESERVE_BYTES)


def size_bytes(folder: Path) -> int:
    """Return the total size of the files below `folder`; links are not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - thousands of them
    return total


def budget_bytes() -> float:
    """Return the maximum size of the runs directory, including trash and sweeps, in bytes. Raises RunError.

    It is set by `CIFAR_RUNS_GB` in gigabytes (default 50).
    """
    return gigabytes("CIFAR_RUNS_GB", 50, RunError)


def gigabytes(variable: str, default: float, error: type[CifarError]) -> float:
    """Return the bytes that the environment `variable` sets in gigabytes. Raises `error` if it is not above 0."""
    text = os.environ.get(variable) or str(default)
    try:
        size = float(text) * 1e9
    except ValueError:
        size = -1.0
    if not 0 < size < float("inf"):
        raise error(f"{variable}: received {text[:40]!r}, expected a number of gigabytes above 0.")
    return size
