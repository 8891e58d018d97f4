"""Starts, stops and resumes workers: detached processes that outlive the page and the server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from cifar_core import costs, locks, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import DataError, RunError
from cifar_core.evaluation import robustness, story
from cifar_core.export import exports
from cifar_core.inference import pins
from cifar_core.lessons import layers, probing
from cifar_core.runs import Run, leftovers, limits
from cifar_core.search import head_lab

WORKER = "cifar_core.training.worker"
LAB = "cifar_core.training.lab_worker"
EXPORTER = "cifar_core.training.export_worker"
TIMING = "cifar_core.training.timing"
STOP_SECONDS = 2.5
"""How long a worker may take to stop by itself before its process is ended."""

# glibc returns large buffers to the system and asks for zeroed ones at every training step. Keeping them, in large
# pages, makes a step of the whole network much faster; other systems ignore the variable.
_ALLOCATOR = ":".join(
    f"glibc.malloc.{setting}"
    for setting in ("hugetlb=1", "mmap_max=0", "trim_threshold=100000000000", "top_pad=500000000")
)


def start(config: TrainConfig, name: str = "run", pinned: Sequence[pins.Pin] = ()) -> Run:
    """Create a run and spawn its worker, which queues for the one training slot. Raises RunError.

    `pinned` are pictures to be watched while it learns, `pins.MOST` at most.
    """
    limits.check_queue(sum(other.state in runs.LIVE_STATES for other in runs.list_runs()))
    leftovers.clear()
    run = runs.create(config, name)
    if pinned:
        pins.save(run, pinned)
    _spawn(run)
    return run


def resume(run: Run) -> None:
    """Let a stopped, failed or lost run go on from its last full epoch. Raises RunError in any other state."""
    if run.state not in runs.RESUMABLE_STATES:
        raise RunError(f"Run {run.id} is {run.state}; only a stopped, failed or lost run can be resumed.")
    limits.check_queue(sum(other.state in runs.LIVE_STATES for other in runs.list_runs()))
    run.config  # noqa: B018 - raises if the run is damaged beyond resuming
    try:
        (run.path / "stop").unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"Run {run.id} cannot go on ({error.strerror}); make {run.path} writable.") from None
    _spawn(run)


def stop(run: Run) -> None:
    """Stop `run` within three seconds; its best and its last full epoch remain. Does nothing if it has ended.

    The worker is asked first. One that does not answer in time (a long step, an import) is ended, which
    loses nothing: whatever counts is in the checkpoint.
    """
    if run.state not in runs.LIVE_STATES:
        return
    try:
        (run.path / "stop").touch()
    except OSError:  # a disk that takes nothing any more
        _end(run, psutil.Process.terminate)
    if not wait_until(lambda: not run.is_alive, STOP_SECONDS):
        _end(run, psutil.Process.kill)
        wait_until(lambda: not run.is_alive, STOP_SECONDS)


def download_cifar10() -> None:
    """Start the download of CIFAR-10; `data.status()` tells how far it is. Does nothing while one is under way."""
    if cifar10.status()["download"]["running"]:
        return
    log = cifar10.cache_dir() / "download.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        process = detached(["cifar_core", "data", "download", "--json"], log)
    except OSError as error:
        raise DataError(
            f"The download cannot be kept in {log.parent} ({error.strerror}); set CIFAR_CACHE_DIR."
        ) from None
    wait_until(lambda: cifar10.status()["download"]["running"] or process.poll() is not None, runs.START_SECONDS)


def measure(config: TrainConfig, wait: bool = False) -> None:
    """Time a few batches of the shape of `config` in a process of its own; `costs.estimate` then knows it.

    Does nothing while a shape is being measured. With `wait` it returns when that is done. Raises RunError if the
    process fails meanwhile.
    """
    if costs.is_measuring():
        return
    log = cifar10.cache_dir() / "measuring.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        process = detached([TIMING, json.dumps(config.to_dict())], log)
    except OSError as error:
        raise RunError(
            f"The measurement cannot be kept in {log.parent} ({error.strerror}); set CIFAR_CACHE_DIR."
        ) from None
    wait_until(lambda: costs.is_measuring() or process.poll() is not None, runs.START_SECONDS)
    if wait:
        process.wait()
    if process.poll():
        raise RunError(f"The measurement failed; its last words are in {log}.")


def export(run: Run, name: str) -> None:
    """Start making the model file `name` of a finished run; `exports.state` tells how far it is.

    Does nothing while it is being made. Raises RunError if the run is not finished or its folder refuses.
    """
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be exported.")
    limits.check_disk(runs.runs_dir())
    if locks.is_held(exports.lock(run, name)):
        return
    try:
        exports.announce(run, name)
        process = detached([EXPORTER, str(run.path.resolve()), name], exports.log(run, name))
    except OSError as error:
        raise RunError(f"The export cannot be kept in {run.path} ({error.strerror}); make it writable.") from None
    wait_until(lambda: locks.is_held(exports.lock(run, name)) or process.poll() is not None, runs.START_SECONDS)


def probe_layers() -> None:
    """Start the lesson that probes the layers; `probing.state` tells how far it is. Does nothing while one is at it.

    Raises RunError if the cache refuses.
    """
    if probing.is_working():
        return
    try:
        probing.file(".log").parent.mkdir(parents=True, exist_ok=True)
        process = detached(["cifar_core", "learn", layers.LESSON, "--json"], probing.file(".log"))
    except OSError as error:
        folder = probing.file(".log").parent
        raise RunError(f"The probe cannot be kept in {folder} ({error.strerror}); set CIFAR_CACHE_DIR.") from None
    wait_until(lambda: probing.is_working() or process.poll() is not None, runs.START_SECONDS)


def keep_head(run: Run) -> Run:
    """Make the best weights of phase 1 of `run` a run of their own, and return it.

    It is what training with `fine_tune_epochs` 0 would have given, so that is its configuration. Its worker finds the
    training done, and only exports and evaluates. Raises RunError if the run has kept no phase 1 beside its model.
    """
    if not story.can_keep_head(run):
        raise RunError(
            f"Run {run.id} has no phase 1 to keep: expected a finished run whose model is from fine-tuning, trained "
            "with this version; train it anew, with fine_tune_epochs 0."
        )
    kept = runs.create(replace(run.config, fine_tune_epochs=0), "phase1")
    try:
        runs.write_json(kept.path / story.PARENT_FILE, {"id": run.id})
        runs.write_json(kept.path / "environment.json", runs.read_json(run.path / "environment.json"))
        shutil.copyfile(run.path / story.HEAD_FILE, kept.path / "checkpoint.npz")
    except OSError as error:
        shutil.rmtree(kept.path, ignore_errors=True)
        raise RunError(f"Phase 1 could not be written: {error.strerror}; make room and try again.") from None
    _spawn(kept)
    return kept


def measure_robustness(run: Run) -> None:
    """Start the process that measures how robust `run` is; `robustness.state` tells how far it is.

    Does nothing while it is being measured. Raises RunError if the run is not finished or its folder refuses.
    """
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be measured.")
    if robustness.is_working(run):
        return
    try:
        robustness.announce(run)
        process = detached(["cifar_core", "evaluate", run.id, "--robustness", "--json"], robustness.log(run))
    except OSError as error:
        raise RunError(f"The measures cannot be kept in {run.path} ({error.strerror}); make it writable.") from None
    wait_until(lambda: robustness.is_working(run) or process.poll() is not None, runs.START_SECONDS)


def open_lab() -> None:
    """Start the head lab's process unless it lives; `lab.status` tells how far it is. Raises RunError."""
    if head_lab.is_open():
        return
    try:
        head_lab.lab_dir().mkdir(parents=True, exist_ok=True)
        process = detached([LAB, str(head_lab.lab_dir().resolve())], head_lab.lab_dir() / "lab.log")
    except OSError as error:
        raise RunError(
            f"The lab cannot be kept in {head_lab.lab_dir()} ({error.strerror}); make it writable."
        ) from None
    wait_until(lambda: head_lab.is_open() or process.poll() is not None, runs.START_SECONDS)


def queue_position(run: Run) -> int:
    """Return how many living runs stand before `run` in the queue: 0 means that it is next or already running."""
    live = sorted(other.id for other in runs.list_runs() if other.state in runs.LIVE_STATES)
    return live.index(run.id) if run.id in live else 0


def _spawn(run: Run) -> None:
    """Start the worker of `run` and wait until it holds the run's lock. Raises RunError if it ends before."""
    before = _stamp(run)
    try:
        process = detached([WORKER, str(run.path.resolve())], run.path / "worker.log")
    except OSError as error:
        raise RunError(
            f"The worker of run {run.id} cannot be started ({error.strerror}); mend its folder and resume."
        ) from None
    wait_until(lambda: _stamp(run) != before or process.poll() is not None, runs.START_SECONDS)
    if _stamp(run) == before:
        raise RunError(f"The worker of run {run.id} did not start; its last words are in {run.path / 'worker.log'}.")


def detached(
    module_and_arguments: list[str], log: Path, own: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m ...` as a process of its own session, which ends neither with the page nor with the server.

    `own` is added to its environment. Raises OSError if `log` cannot be written.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module_and_arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(own),
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie stays behind
    return process


def environment(own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker, with `own` added: where runs lie, what makes TensorFlow fast and quiet."""
    root = Path(__file__).resolve().parents[2]
    found = {**os.environ, "CIFAR_RUNS_DIR": str(runs.runs_dir().resolve())}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), found.get("PYTHONPATH")]))
    found.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found.setdefault("GLIBC_TUNABLES", _ALLOCATOR)
    return found | dict(own or {})


def _stamp(run: Run) -> tuple[int, int] | None:
    """Return what changes when the worker writes its first status."""
    with contextlib.suppress(OSError):
        stat = (run.path / "status.json").stat()
        return stat.st_ino, stat.st_mtime_ns
    return None


def _end(run: Run, how: Callable[[psutil.Process], None]) -> None:
    """End the process that the status names, if it is still the very one that wrote it."""
    status = run.status
    with contextlib.suppress(psutil.Error, TypeError, ValueError, LookupError):
        process = psutil.Process(int(status["pid"]))
        if abs(process.create_time() - float(status["pid_created"])) < 1 and WORKER in process.cmdline():
            how(process)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` holds, `seconds` at most; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
