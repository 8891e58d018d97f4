"""The worker: trains the run in RUN_DIR, and touches nothing outside of it but the store.

    python -m cifar_core.training.worker RUN_DIR

It takes the run's lock before anything heavy is imported, waits in the queue for the one training slot, and
prepares the frozen features while Keras is being imported.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import FileLock, Timeout

from cifar_core import costs, locks, runs
from cifar_core.errors import CifarError, RunError, TrainingError
from cifar_core.runs import Run, records
from cifar_core.training import hardware
from cifar_core.training.run_writer import RunWriter, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from cifar_core.training.fit import TrainingOptions

LateOptions: TypeAlias = "Callable[[], TrainingOptions]"
"""Says how to train once Keras is there."""
SLOT = ".slot"
"""The one training slot of a runs directory: a lock."""
_LOCK_SECONDS = 10
_POLL_SECONDS = 0.2


def main(folder: str) -> int:
    """Train the run in `folder`; return the process's exit code."""
    path = Path(folder).resolve()
    os.environ["CIFAR_RUNS_DIR"] = str(path.parent)
    run = Run(path.name)
    try:
        with locks.hold(run.path / "lock", _LOCK_SECONDS):
            return _work(run)
    except Timeout:
        return 0  # another worker has it


def _work(run: Run) -> int:
    if runs.read_json(run.path / "status.json").get("state") == "finished":
        return 0
    writer = RunWriter(run)
    signal.signal(signal.SIGTERM, lambda *_: setattr(writer, "stop_signal", True))
    signal.signal(signal.SIGINT, lambda *_: setattr(writer, "stop_signal", True))
    state = carry_out(run, writer)
    if state == "finished" and writer.is_whole and not _found_no_room(run):
        costs.learn(run.config, writer.rows, writer.seconds, costs.peak_memory_bytes())
    return 2 if state == "failed" else 0


def _found_no_room(run: Run) -> bool:
    """Return whether the store had no room for the features of `run`, so that it was trained end to end."""
    return costs.is_stored(run.config) and bool(run.status.get("note"))


def carry_out(run: Run, writer: RunWriter, options: LateOptions | None = None, slot: str = SLOT) -> str:
    """Wait for the training slot, train `run` in `options` and return the state in which it ended.

    "finished", "stopped", or "failed", with what a person can mend in its status. A bug is written there too and
    raised. The caller holds the run's lock.
    """
    try:
        writer.update_status("queued", stage="queue")
        with _training_slot(run, writer, slot), hardware.memory_errors():
            result = _train(run, writer, options)
        writer.update_status("finished", stage="done", result=result)
    except Stopped:
        writer.update_status("stopped")
        return "stopped"
    except (CifarError, OSError, MemoryError) as error:
        writer.fail(error, _sentence(run, error))
        return "failed"
    except BaseException as error:
        writer.fail(error, str(error)[:2000])
        raise
    return "finished"


def _sentence(run: Run, error: CifarError | OSError | MemoryError) -> str:
    if isinstance(error, OSError):
        file = error.filename or f"a file of {run.path}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full: {file} could not be written; make room there and resume."
        return f"The worker could not use {file}: {error.strerror or error}; mend that and resume."
    if isinstance(error, MemoryError):
        return "The memory did not suffice; end other programs or choose a smaller batch, size or width, and resume."
    return str(error)


def _training_slot(run: Run, writer: RunWriter, name: str) -> AbstractContextManager[object]:
    """Wait until this run is the first in the queue and the slot called `name` is free; return it, held."""
    slot = FileLock(runs.runs_dir() / name)
    while True:
        writer.check_stop()
        with suppress(Timeout):
            held = slot.acquire(timeout=0)
            if name != SLOT or _is_first(run):  # looked up only once the slot is free: there may be hundreds of runs
                return held
            slot.release()
        time.sleep(_POLL_SECONDS)


def _is_first(run: Run) -> bool:
    waiting = (other.id for other in runs.list_runs() if other.id < run.id)
    return not any(Run(other).state == "queued" for other in waiting)


def _train(run: Run, writer: RunWriter, options: LateOptions | None) -> dict[str, Any]:
    from cifar_core.training.checkpoint import load
    from cifar_core.training.inputs import Inputs, as_begun

    writer.update_status("running", stage="prepare", began=time.time())
    hardware.set_threads(run.config)
    importing = _Import("cifar_core.training.fit")
    saved = load(run.path / "checkpoint.npz")
    if saved:
        writer.restart(saved.progress.rows, saved.progress.probes, saved.progress.elapsed_seconds)
    else:
        writer.restart([], [], 0.0)
    before = _environment(run) if saved else None
    inputs = Inputs(as_begun(run.config, before), writer, importing.is_alive)
    if before:
        inputs.check_unchanged(before)
    writer.update_status("running", stage="features", note=inputs.end_to_end_reason)
    inputs.prepare()
    inputs.prepare_ahead()
    writer.update_status("running", stage="import")
    while importing.is_alive():
        writer.check_stop()
        importing.join(_POLL_SECONDS)
    return importing.result().train(run, inputs, saved, writer, options() if options else None)


def _environment(run: Run) -> records.Environment:
    """Return what the run began with. Raises RunError if that is missing or damaged."""
    found = records.environment(run.path)
    if found is None:
        raise RunError(
            "environment.json is missing: whether images and weights are those with which the run began cannot be "
            "checked; put the run's own file back, or start the run anew."
        )
    return found


class _Import(threading.Thread):
    """Imports a module in the background."""

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self._name = name
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Import, and keep what went wrong."""
        try:
            importlib.import_module(self._name)
        except BaseException as error:  # whatever it is, the worker's main thread must hear of it
            self._error = error

    def result(self) -> Any:
        """Wait for the module and return it. Raises MemoryError, or TrainingError if it cannot be imported."""
        self.join()
        if self._error:
            traceback.print_exception(self._error)  # for worker.log: it may be a bug as well
            if (
                hardware.is_out_of_memory(self._error) or not hardware.has_memory()
            ):  # Python and libraries may word it in any way
                raise MemoryError from self._error
            raise TrainingError(
                f"TensorFlow could not be imported ({type(self._error).__name__}: {str(self._error)[:200]}); "
                "install the packages again, `pip install -r requirements.txt`, and resume. More is in worker.log."
            ) from self._error
        return sys.modules[self._name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
