"""The process that trains one run.

    python -m cifar_core.training.worker RUN_DIR

It acquires the run's lock before heavy imports, waits in the queue for the training slot, and computes the frozen
features while Keras is imported. It writes only to the run's folder and the feature cache.
"""

import errno
import os
import sys
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cifar_core import costs, jobs, machine, runs
from cifar_core.errors import CifarError, RunError, TrainingError, sentence
from cifar_core.runs import Run, records
from cifar_core.training import hardware, run_writer, shared_queue
from cifar_core.training.run_writer import RunWriter, ShouldPrune

SLOT = ".slot"
"""Lock file in the runs directory, held by the running training."""
_TRAINING = "cifar_core.training.fit"  # imports Keras
_LOCK_SECONDS = 10
_POLL_SECONDS = 0.2


def main(folder: str) -> int:
    """Train the run in `folder` and return the exit code."""
    path = Path(folder).resolve()
    os.environ["CIFAR_RUNS_DIR"] = str(path.parent)
    run = Run(path.name)
    with suppress(Timeout), machine.hold_lock(run.path / "lock", _LOCK_SECONDS):  # Timeout: another worker trains it
        if runs.read_json(run.path / "status.json").get("state") != "finished":
            return _work(run)
    return 0


def _work(run: Run) -> int:
    writer = RunWriter(run)
    jobs.stop_on_signals(writer.stopping)
    state = train_run(run, writer)
    if state == "finished" and writer.rows and not writer.is_resumed:  # without rows, another machine trained it
        lacked_room = run.config.stored_layers and run.status.get("note")  # then it was trained end to end
        if not lacked_room:
            costs.record_run(run.config, writer.rows, writer.seconds, costs.peak_memory_bytes())
    return 2 if state == "failed" else 0


def train_run(run: Run, writer: RunWriter, should_prune: ShouldPrune | None = None, slot: str = SLOT) -> str:
    """Wait for the training slot, train `run`, and return its final state: "finished", "stopped" or "failed".

    `should_prune` makes it a trial of a sweep. Without it, another machine may train the run (shared_queue.py). The
    reason of a failure is written to the run's status; an unexpected exception is also raised. The caller must hold the
    run's lock.
    """
    offered = nullcontext() if should_prune else shared_queue.offered(run, writer)
    try:
        writer.update_status("queued", stage="queue")
        with offered as offer:
            has_slot = _training_slot(run, writer, slot, offer)
        with has_slot, hardware.memory_errors():
            result = _train(run, writer, should_prune)
        writer.update_status("finished", stage="done", result=result)
    except shared_queue.Ended as ended:
        return str(ended)
    except jobs.Stopped:
        writer.update_status("stopped")
        return "stopped"
    except (CifarError, OSError, MemoryError) as error:
        writer.fail(error, _message(run, error))
        return "failed"
    except BaseException as error:
        writer.fail(error, sentence(error))
        raise
    return "finished"


def _message(run: Run, error: CifarError | OSError | MemoryError) -> str:
    if isinstance(error, OSError):
        file = error.filename or f"a file of {run.path}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full: {file} could not be written; free disk space there and resume."
        return f"The worker could not use {file}: {error.strerror or error}; fix that and resume."
    if isinstance(error, MemoryError):
        return "Not enough memory; close other programs or choose a smaller batch, size or width, and resume."
    return str(error)


def _training_slot(
    run: Run, writer: RunWriter, name: str, offer: shared_queue.Offer | None = None
) -> AbstractContextManager[object]:
    """Wait until this run is first in the queue and the slot `name` is free; return the acquired slot.

    Raises Ended if another machine took the `offer` and trained the run.
    """
    slot = FileLock(runs.runs_dir() / name)
    while True:
        writer.check_stop()
        with suppress(Timeout):
            has_slot = slot.acquire(timeout=0)
            # checked after the slot is free: there may be hundreds of runs
            if (name != SLOT or jobs.is_next(run)) and (offer is None or offer.withdraw(if_free=True)):
                return has_slot
            slot.release()
        if offer:
            offer.look()
        time.sleep(_POLL_SECONDS)


def _train(run: Run, writer: RunWriter, should_prune: ShouldPrune | None) -> dict[str, Any]:
    from cifar_core.training import linear_probe
    from cifar_core.training.inputs import Inputs, resolve_auto

    writer.update_status("running", stage="prepare", began=time.time())
    hardware.set_threads(run.config)
    importing = ThreadPoolExecutor(1).submit(import_module, _TRAINING)
    saved = run_writer.load_checkpoint(run.path / "checkpoint.npz")
    progress = saved.progress if saved else run_writer.Progress("")
    writer.restart(progress.rows, progress.probes, progress.elapsed_seconds)
    before = records.environment(run.path) if saved else None
    if saved and before is None:
        raise RunError(
            "environment.json is missing: whether images and weights are those with which the run began cannot be "
            "checked; restore the file, or start the run again."
        )
    inputs = Inputs(resolve_auto(run.config, before), writer.progress, lambda: not importing.done())
    if before:
        inputs.check_unchanged(before)
    writer.update_status("running", stage="features", note=inputs.end_to_end_reason)
    inputs.prepare()
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(linear_probe.measure, inputs, writer) if should_prune is None else None
        inputs.prepare_later_epochs()
        writer.update_status("running", stage="import")
        while not wait([importing], _POLL_SECONDS).done:
            writer.check_stop()
        result = _imported(importing).train(inputs, saved, writer, should_prune)
    return result | (probe.result() if probe else {})


def _imported(importing: Future[Any]) -> Any:
    """Return the imported module. Raises MemoryError, or TrainingError if it cannot be imported."""
    try:
        return importing.result()
    except BaseException as error:
        traceback.print_exception(error)  # for worker.log: it may be a bug
        if hardware.is_out_of_memory(error) or not hardware.has_memory():
            raise MemoryError from error
        raise TrainingError(
            f"TensorFlow could not be imported ({type(error).__name__}: {str(error)[:200]}); "
            "install the packages again, 'pip install -r requirements.txt', and resume. More is in worker.log."
        ) from error


if __name__ == "__main__":
    hardware.leave(main(sys.argv[1]))
