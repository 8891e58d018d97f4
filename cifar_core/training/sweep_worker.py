"""Works on a sweep: trains its trials one after another in one process, until the sweep is done or stopped.

    python -m cifar_core.training.sweep_worker NAME

CIFAR_SWEEP_STORAGE sets the storage. Each trial is a run on disk, holds its own lock and waits for the training slot
like any run. Data, Keras and compiled networks stay in memory between trials. A worker pinned to GPU i by
CUDA_VISIBLE_DEVICES also has CIFAR_SWEEP_GPU=i and its own training slot.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cifar_core import jobs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, ConfigError, RunError
from cifar_core.runs import Run, records
from cifar_core.search import studies
from cifar_core.training import hardware, worker
from cifar_core.training.run_writer import RunWriter

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_POLL_SECONDS = 0.25
_MOST_WORKERS, _LOCK_SECONDS = 64, 0.1
_MOST_FAILURES = 5  # consecutive ones; then the cause is not a single trial


class Interrupted(Exception):  # noqa: N818 - not an error
    """Raised if the worker must stop; its trial continues under another number."""


@jobs.program
def main(name: str) -> None:
    """Work on the sweep `name`."""
    folder = studies.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        number = _take_number(folder, stack)
        plan = studies.plan_of(study := studies.open_study(name))
        # a restarted worker must not propose the same trials again
        seed = plan.base.seed + 101 * number + 10_007 * len(study.get_trials(deepcopy=False))
        Worker(studies.open_study(name, seed=seed), folder).work()


def _take_number(folder: Path, stack: ExitStack) -> int:
    """Return the lowest number that no running worker of this machine has, and hold its lock."""
    for number in range(_MOST_WORKERS):
        with suppress(Timeout):
            stack.enter_context(machine.hold_lock(folder / f"worker-{number}.lock", _LOCK_SECONDS))
            runs.write_json(folder / f"worker-{number}.json", jobs.this_process())
            return number
    raise studies.SweepError(f"{_MOST_WORKERS} workers are on this search already, expected fewer; stop some.")


class Worker:
    """Works on one study until it is done or `stopping` is set, by a signal or through the study."""

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self.plan = study, studies.plan_of(study)
        self.stopping = threading.Event()
        self._ask_lock = FileLock(folder / "ask.lock")
        self._run_lock = ExitStack()
        self._before = {trial.number for trial in self._ended()}
        gpu = os.environ.get("CIFAR_SWEEP_GPU", "0")
        self._slot = worker.SLOT if gpu == "0" else f"{worker.SLOT}-{int(gpu)}"

    def work(self) -> None:
        """Train trials until none is left, five in a row have failed, or the worker is stopped."""
        jobs.stop_on_signals(self.stopping)
        threading.Thread(target=self._watch, daemon=True).start()
        while not self.stopping.is_set() and not self._fails_repeatedly():
            if not self._has_trial():
                if not any(trial.state.name == "RUNNING" for trial in self.study.get_trials(deepcopy=False)):
                    return
                self.stopping.wait(_POLL_SECONDS)  # another worker may die and leave its trial
                continue
            try:
                self.study.optimize(self._objective, n_trials=1, catch=(CifarError,))
            except Interrupted:
                return
            finally:
                self._ask_lock.release(force=True)
                self._run_lock.close()  # after the study has the result: a free lock means a dead trial

    def _has_trial(self) -> bool:
        """Return whether a trial is left. If so, hold the ask lock; `_objective` releases it."""
        self._ask_lock.acquire()
        studies.requeue_dead(self.study)
        if studies.is_done(self.study):
            self._ask_lock.release()
            return False
        return True

    def _ended(self) -> list[FrozenTrial]:
        return [t for t in studies.counted(self.study.get_trials(deepcopy=False)) if t.state.is_finished()]

    def _fails_repeatedly(self) -> bool:
        """Return whether the last five trials failed that have ended since this process started."""
        last = [trial.state.name for trial in self._ended() if trial.number not in self._before][-_MOST_FAILURES:]
        return last == ["FAIL"] * _MOST_FAILURES

    def _objective(self, trial: Trial) -> float:
        """Train one trial; return its best validation accuracy."""
        try:
            studies.check_not_surplus(self.study, trial)
            run = self._run_of(trial, self.plan.config(trial))
        except (ConfigError, RunError) as error:  # RunError: there is no room for another run
            trial.set_user_attr("error", str(error))
            raise
        finally:
            self._ask_lock.release()
        should_prune = functools.partial(self._should_prune, trial, sum(run.config.epochs.values()))
        state = worker.train_run(run, RunWriter(run, self.stopping), should_prune, self._slot)
        if self.stopping.is_set() and state == "stopped":
            studies.requeue(self.study, self.study.get_trials(deepcopy=False)[trial.number])
            raise Interrupted
        if state != "finished":
            failure = run.status.get("error")
            message = failure.get("message") if isinstance(failure, dict) else "it was stopped by the user"
            trial.set_user_attr("error", str(message)[:500])
            print(f"Trial {trial.number + 1}: run {run.id} is {state}.", flush=True)
            raise studies.SweepError(f"Run {run.id} is {state}: {message}")
        return self._record(trial, run)

    def _run_of(self, trial: Trial, config: TrainConfig) -> Run:
        """Return the previous run of `trial` or a new one, and hold its lock."""
        if previous := self._previous(trial, config):
            return previous
        run = runs.create(config, f"{self.study.study_name.replace('-', '')[:16]}t{trial.number + 1}")
        self._run_lock.enter_context(FileLock(run.path / "lock"))
        runs.write_json(run.path / runs.TRIAL_FILE, {"sweep": self.study.study_name, "trial": trial.number})
        records.save_owner(run.path, records.owner(studies.folder(self.study.study_name)))
        trial.set_user_attr("run", run.id)
        return run

    def _previous(self, trial: Trial, config: TrainConfig) -> Run | None:
        """Return the unfinished run that `trial` continues, and hold its lock; None without one."""
        with suppress(CifarError, Timeout):
            run = runs.get(trial.user_attrs.get("run", ""))
            if run.config == config and run.state != "finished":
                self._run_lock.enter_context(machine.hold_lock(run.path / "lock"))
                (run.path / "stop").unlink(missing_ok=True)
                return run
        return None

    def _record(self, trial: Trial, run: Run) -> float:
        """Write the metrics of the finished `run` to the study; return its accuracy. Raises TrialPruned."""
        import optuna

        result = run.result
        accuracy, seconds = float(result["validation_accuracy"]), result["elapsed_seconds"]
        copied = {
            name: result[name] for name in ("model_bytes", "latency_ms", "parameters", "best_phase", "best_epoch")
        }
        for name, value in {**copied, "seconds": seconds, "accuracy": accuracy}.items():
            trial.set_user_attr(name, value)
        early = ", pruned" if result["pruned"] else ""
        print(
            f"Trial {trial.number + 1}: validation accuracy {accuracy:.1%} after {seconds:.1f} s{early}, run {run.id}",
            flush=True,
        )
        if early:
            raise optuna.TrialPruned
        return accuracy

    def _should_prune(self, trial: Trial, epochs: int, epoch: int, accuracy: float) -> bool:
        """Report the epoch; return whether to end `trial`: never in a grid or after the last of `epochs`."""
        trial.report(accuracy, epoch)
        return not self.plan.grid and epoch < epochs and trial.should_prune()

    def _watch(self) -> None:
        """Set `stopping` when a stop is requested in the study."""
        while not self.stopping.wait(_POLL_SECONDS):
            with suppress(Exception):  # a short outage of the database does not matter
                if studies.is_asked_to_stop(self.study):
                    self.stopping.set()


if __name__ == "__main__":
    hardware.leave(main(*sys.argv[1:]))
