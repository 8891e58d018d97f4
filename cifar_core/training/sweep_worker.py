"""Works on a sweep: one trial after the other in one process, until the sweep is done or asked to stop.

    python -m cifar_core.training.sweep_worker NAME

The storage is CIFAR_SWEEP_STORAGE. Each trial is a run on disk that holds its own lock and waits for the training
slot like any other; the data, Keras and the way to the store stay in memory between trials. A worker pinned to the
GPU i by CUDA_VISIBLE_DEVICES has CIFAR_SWEEP_GPU=i too, and a training slot of its own.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from cifar_core import locks, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, ConfigError, RunError
from cifar_core.runs import Run
from cifar_core.search import studies
from cifar_core.training import worker
from cifar_core.training.run_writer import RunWriter

if TYPE_CHECKING:
    from optuna import Study, Trial

    from cifar_core.training.fit import TrainingOptions
    from cifar_core.training.phases import NetworkCache

_LOOK_SECONDS = 0.25
_MOST_WORKERS, _NUMBER_SECONDS = 64, 0.1
_CHECKPOINT_PAUSE_SECONDS = 20.0
"""A trial that is interrupted sooner begins anew: most take less, and a checkpoint costs as much as an epoch."""
_MOST_FAILURES = 5  # in a row, after which something is wrong with more than a trial


class Interrupted(Exception):  # noqa: N818 - not an error
    """The worker was asked to stop within a trial."""


def main(name: str) -> int:
    """Work on the sweep called `name`; return the process's exit code."""
    os.environ["CIFAR_RUNS_DIR"] = str(runs.runs_dir().resolve())
    try:
        place = studies.folder(name)
        place.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            number = _take_number(place, stack)
            study = studies.open_study(name, seed=_seed(name, number))
            Worker(study, place).work()
    except CifarError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _take_number(place: Path, stack: ExitStack) -> int:
    """Take the first number that no living worker of this machine has, and hold its lock."""
    for number in range(_MOST_WORKERS):
        with suppress(Timeout):
            stack.enter_context(locks.hold(place / f"worker-{number}.lock", _NUMBER_SECONDS))
            process = psutil.Process()
            about = {"pid": process.pid, "pid_created": process.create_time()}
            runs.write_json(place / f"worker-{number}.json", about)
            return number
    raise studies.SweepError(f"{_MOST_WORKERS} workers are on this sweep already, expected fewer; stop some.")


def _seed(name: str, number: int) -> int:
    """Return a seed by which a worker that begins anew does not propose again what was tried."""
    study = studies.open_study(name)
    return studies.plan_of(study).base.seed + 101 * number + 10_007 * len(study.get_trials(deepcopy=False))


class Worker:
    """Works on one study. `stopping` is set by a signal or by the study's wish."""

    def __init__(self, study: Study, place: Path) -> None:
        self.study, self.place, self.plan = study, place, studies.plan_of(study)
        self.stopping = threading.Event()
        self._asking = FileLock(place / "ask.lock")
        self._run_lock = ExitStack()
        gpu = os.environ.get("CIFAR_SWEEP_GPU", "0")
        self._slot = worker.SLOT if gpu == "0" else f"{worker.SLOT}-{int(gpu)}"
        self._writer: RunWriter | None = None
        self._networks: NetworkCache | None = None  # made once Keras is imported

    def work(self) -> None:
        """Train trials until nothing is left to do; returns early when asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        threading.Thread(target=self._watch, daemon=True).start()
        while not self.stopping.is_set() and not self._fails_repeatedly():
            if not self._begin():
                if not self._others_work():
                    return
                self.stopping.wait(_LOOK_SECONDS)  # one of them may die, and leave its trial to us
                continue
            try:
                self.study.optimize(self._objective, n_trials=1, catch=(CifarError,))
            except Interrupted:
                return
            finally:
                self._asking.release(force=True)
                self._run_lock.close()  # after the study heard of the result, so that nobody takes the trial for dead
                self._writer = None

    def _begin(self) -> bool:
        """Take the right to ask for a trial, and keep it if there is one left; `_objective` gives it back."""
        self._asking.acquire()
        studies.fail_the_dead(self.study)
        if not studies.is_done(self.study):
            return True
        self._asking.release()
        return False

    def _others_work(self) -> bool:
        return any(trial.state.name == "RUNNING" for trial in self.study.get_trials(deepcopy=False))

    def _fails_repeatedly(self) -> bool:
        ended = [t for t in studies.counted(self.study.get_trials(deepcopy=False)) if t.state.is_finished()]
        return len(ended) >= _MOST_FAILURES and all(t.state.name == "FAIL" for t in ended[-_MOST_FAILURES:])

    def _objective(self, trial: Trial) -> float:
        """Train one trial; return its best validation accuracy."""
        try:
            studies.check_wanted(self.study, trial)
            run = self._run_of(trial, self.plan.config(trial))
        except (ConfigError, RunError) as error:  # RunError: there is no room for another run
            trial.set_user_attr("error", str(error))
            raise
        finally:
            self._asking.release()
        self._writer = writer = RunWriter(run)
        writer.stop_signal = self.stopping.is_set()
        state = worker.carry_out(run, writer, functools.partial(self._options, trial, run.config), self._slot)
        if self.stopping.is_set() and state == "stopped":
            studies.take_up_again(self.study, self.study.get_trials(deepcopy=False)[trial.number])
            raise Interrupted
        if state != "finished":
            why = run.status.get("error")
            message = why.get("message") if isinstance(why, dict) else "it was stopped by hand"
            trial.set_user_attr("error", str(message)[:500])
            print(f"Trial {trial.number + 1}: run {run.id} is {state}.", flush=True)
            raise studies.SweepError(f"Run {run.id} is {state}: {message}")
        return self._told(trial, run)

    def _run_of(self, trial: Trial, config: TrainConfig) -> Run:
        """Return the run of `trial`, whose lock is held from now on: the one it had before, if it is still there."""
        known = trial.user_attrs.get("run")
        if isinstance(known, str) and runs.ID_PATTERN.fullmatch(known) and self._goes_on(Run(known), config):
            return Run(known)
        run = runs.create(config, f"{self.study.study_name.replace('-', '')[:16]}t{trial.number + 1}")
        self._run_lock.enter_context(FileLock(run.path / "lock"))
        runs.write_json(run.path / "trial.json", {"sweep": self.study.study_name, "trial": trial.number})
        trial.set_user_attr("run", run.id)
        return run

    def _goes_on(self, run: Run, config: TrainConfig) -> bool:
        try:
            if run.path.is_dir() and run.config == config and run.state != "finished":
                self._run_lock.enter_context(locks.hold(run.path / "lock"))
                (run.path / "stop").unlink(missing_ok=True)
                return True
        except (CifarError, Timeout):
            pass
        return False

    def _told(self, trial: Trial, run: Run) -> float:
        """Let the study know what the finished `run` is like; return its accuracy."""
        import optuna

        result = run.result
        for name in ("model_bytes", "latency_ms", "parameters", "best_phase", "best_epoch"):
            trial.set_user_attr(name, result[name])
        trial.set_user_attr("seconds", result["elapsed_seconds"])
        trial.set_user_attr("accuracy", result["validation_accuracy"])
        accuracy, early = result["validation_accuracy"], ", ended early" if result["pruned"] else ""
        took = f"{result['elapsed_seconds']:.1f} s"
        print(
            f"Trial {trial.number + 1}: validation accuracy {accuracy:.1%} after {took}{early}, run {run.id}",
            flush=True,
        )
        if early:
            raise optuna.TrialPruned
        return float(accuracy)

    def _options(self, trial: Trial, config: TrainConfig) -> TrainingOptions:
        """Return how `trial` is trained: judged after each epoch but the last, and in a grid never."""
        from cifar_core.training import finish, fit
        from cifar_core.training.phases import NetworkCache, phases

        self._networks = self._networks or NetworkCache()
        epochs = sum(phase.epochs for phase in phases(config))

        def should_prune(epoch: int, accuracy: float) -> bool:
            trial.report(accuracy, epoch)
            return not self.plan.grid and epoch < epochs and trial.should_prune()

        return fit.TrainingOptions(
            self._networks.build, finish.finish_trial, should_prune, _CHECKPOINT_PAUSE_SECONDS, saves_head=False
        )

    def _watch(self) -> None:
        """Look whether the study is asked to stop, for as long as the process lives."""
        while not self.stopping.wait(_LOOK_SECONDS):
            with suppress(Exception):  # a database that is away for a moment stops nothing
                if studies.is_asked_to_stop(self.study):
                    self._stop()

    def _stop(self) -> None:
        self.stopping.set()
        if self._writer is not None:
            self._writer.stop_signal = True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
