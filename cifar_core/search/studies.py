"""Sweeps. Each sweep is an Optuna study of one plan; each of its trials is an ordinary run on disk.

    <runs>/sweeps/<name>/   journal.log (without a database), worker.log, worker-<n>.lock and worker-<n>.json
    <runs>/sweeps/.deleted/ deleted sweeps, until another of the same name is deleted

CIFAR_SWEEP_STORAGE sets the storage: empty for the journal, or a PostgreSQL URL for several machines. A study stores
the configuration and metrics of each trial; the user attribute `run` is the ID of its run. Optuna is imported inside
functions, so pages and commands without a search start fast.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from cifar_core import machine, runs
from cifar_core.errors import CifarError, SweepError
from cifar_core.runs import records
from cifar_core.search.space import MOST_TRIALS, Goal, Plan
from cifar_core.untrusted import quoted

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STORAGE_VARIABLE = "CIFAR_SWEEP_STORAGE"
HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 20
"""Interval of a worker's heartbeat in a database, and silence after which another continues its trial."""
_PLAN, _GOAL, _STOP, _SURPLUS = "plan", "goal", "stop", "surplus"
_OLD_LINK = "journal.log.lock"
DAMAGE = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError, RecursionError)
"""Exceptions of Optuna for a damaged journal, found by mutation tests."""


def storage_url() -> str:
    """Return the database URL from CIFAR_SWEEP_STORAGE, or "" for the journal. Raises SweepError."""
    url = os.environ.get(STORAGE_VARIABLE, "")
    if not url:
        return ""
    kind, address, rest = url.partition("://")
    if not address or not rest or kind not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SweepError(  # without the URL, which may contain a password
            "The storage of searches is a journal file (no setting), or postgresql://USER:PASSWORD@HOST/DATABASE; "
            "received something else."
        )
    return f"postgresql+psycopg://{rest}"


def folder(name: str) -> Path:
    """Return the folder of sweep `name`. Raises SweepError if the name is invalid or the folder has a link."""
    if not isinstance(name, str) or not runs.NAME_PATTERN.fullmatch(name):
        raise SweepError(f"Search {quoted(str(name))}: {runs.NAME_WANTED}.")
    path = runs.folder_beside_runs("sweeps") / name
    if path.is_symlink() or _holds_link(path):
        raise SweepError(
            f"Search {name} is not opened: its folder is a link, or contains a link, folder or device; delete that."
        )
    return path


def _holds_link(place: Path) -> bool:
    """Return whether a folder contains a link, pipe, device or folder. Old versions locked a journal by a link."""
    try:
        with os.scandir(place) as entries:
            return any(not e.is_file(follow_symlinks=False) and not e.name.startswith(_OLD_LINK) for e in entries)
    except OSError:
        return False  # the folder does not exist


def names() -> list[str]:
    """Return the sorted names of all sweeps in the storage. Raises SweepError."""
    if storage_url():
        with _storage_errors():
            known = _optuna().get_all_study_names(_storage("any"))
    else:
        known = [file.parent.name for file in runs.folder_beside_runs("sweeps").glob("*/journal.log")]
    return sorted(filter(runs.NAME_PATTERN.fullmatch, known))


def stamp(name: str) -> tuple[int, int]:
    """Return a stamp that changes with the sweep's journal; with a database it changes every second."""
    return (int(time.time()), 0) if storage_url() else machine.stamp(folder(name) / "journal.log")[:2]


def free_name(start: str, taken: Sequence[str]) -> str:
    """Return `start` with the first number that gives an unused name."""
    return next(name for number in itertools.count(1) if (name := f"{start}-{number}") not in taken)


def create(name: str, plan: Plan, goal: Goal) -> None:
    """Create sweep `name` without a worker. Raises SweepError if it exists or cannot be stored."""
    place, optuna = folder(name), _optuna()
    exists = SweepError(f"There is a search {name} already; choose another name, or resume or extend that one.")
    if name in names():
        raise exists
    try:
        with _storage_errors():
            place.mkdir(parents=True, exist_ok=True)
            try:
                study = optuna.create_study(storage=_storage(name), study_name=name, direction="maximize")
            except optuna.exceptions.DuplicatedStudyError:  # by another person since the check above
                raise exists from None
            study.set_user_attr(_PLAN, plan.to_dict())
            study.set_user_attr(_GOAL, asdict(goal))
            for cell in plan.cells() if plan.grid else ():
                study.enqueue_trial({"seed": plan.base.seed, **cell})
    except SweepError as error:
        if error is not exists and not storage_url():  # an incomplete journal would be a damaged sweep
            shutil.rmtree(place, ignore_errors=True)
        raise


def delete(name: str) -> None:
    """Delete sweep `name`; its runs are kept. Raises SweepError if it does not exist.

    `restore` restores a journal; a study in a database is deleted permanently.
    """
    if name not in names():
        raise _unknown(name)
    with _storage_errors():
        if storage_url():
            _optuna().delete_study(study_name=name, storage=_storage(name))
            return
        target = _deleted(name)
        shutil.rmtree(target, ignore_errors=True)  # an earlier deleted sweep of the same name
        target.parent.mkdir(exist_ok=True)
        folder(name).rename(target)


def restore(name: str) -> None:
    """Restore a deleted sweep. Raises SweepError if it does not exist or the name is in use."""
    if not (_deleted(name) / "journal.log").exists():
        raise SweepError(f"There is no deleted search {name}; those in a database are deleted permanently.")
    if not is_restorable(name):
        raise SweepError(f"There is a search {name} again; move {folder(name)} away to restore the deleted one.")
    with _storage_errors():
        _deleted(name).rename(folder(name))


def is_restorable(name: str) -> bool:
    """Return whether `restore` works for sweep `name`."""
    return (_deleted(name) / "journal.log").exists() and not folder(name).exists()


def _deleted(name: str) -> Path:
    return runs.folder_beside_runs("sweeps/.deleted") / folder(name).name


def _unknown(name: str) -> SweepError:
    return SweepError(f"There is no search {name}; 'python -m cifar_core sweep list' shows all.")


def open_study(name: str, seed: int | None = None) -> Study:
    """Return study `name` with a TPE sampler seeded with `seed`. Raises SweepError if it does not exist."""
    journal = folder(name) / "journal.log"
    if not storage_url() and not journal.exists():
        raise _unknown(name)
    optuna = _optuna()
    with _storage_errors():
        try:
            return optuna.load_study(
                study_name=name,
                storage=_storage(name),
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            )
        except KeyError as error:
            raise _unknown(name) if storage_url() else damaged(name, error) from None
        except DAMAGE as error:
            raise damaged(name, error) from None


def open_checked(name: str) -> Study:
    """Return study `name`. Raises SweepError if it does not exist, or its plan or goal is damaged."""
    study = open_study(name)
    plan_of(study)
    goal_of(study)
    return study


def damaged(name: str, error: Exception) -> SweepError:
    """Return the error for a damaged journal."""
    return SweepError(
        f"Search {quoted(name)} is damaged ({type(error).__name__} in its journal); delete it and start a new one."
    )


def _seconds(trials: Sequence[FrozenTrial]) -> float:
    return sum(records.amount(trial.user_attrs.get("seconds")) or 0.0 for trial in trials)


def plan_of(study: Study) -> Plan:
    """Return the plan of a study. Raises SweepError if it is damaged."""
    if _PLAN not in study.user_attrs:
        raise SweepError(f"Search {study.study_name} has no plan of what to try; delete it and start a new one.")
    return Plan.from_dict(study.user_attrs[_PLAN])


def goal_of(study: Study) -> Goal:
    """Return the goal of a study. Raises SweepError if it is damaged."""
    try:
        return Goal(**study.user_attrs[_GOAL])
    except (KeyError, TypeError):
        raise SweepError("The search's goal is damaged; start a new search.") from None


def extend(study: Study, trials: int = 0, seconds: float = 0.0) -> Goal:
    """Raise the goal by `trials`, or by `seconds` of training, and return it. Raises SweepError.

    A limit of time remains only if `seconds` are added.
    """
    goal, begun = goal_of(study), counted(study.get_trials(deepcopy=False))
    most_seconds = max(goal.seconds or 0.0, _seconds(begun)) + seconds if seconds else None
    goal = Goal(_wanted(goal, len(begun)) + trials if trials else MOST_TRIALS, most_seconds)
    with _storage_errors():
        study.set_user_attr(_GOAL, asdict(goal))
    return goal


def repeat(study: Study, seeds: int = 1) -> None:
    """Queue all cells of a grid for each of `seeds` new seeds, and remove a limit of time.

    Raises SweepError if the sweep is not a grid, or would have more than MOST_TRIALS trials.
    """
    plan, goal = plan_of(study), goal_of(study)
    if not plan.grid or not 1 <= seeds <= 20:
        raise SweepError("Only a grid can be repeated, with 1 to 20 more seeds at once.")
    with _storage_errors():
        trials, cells = study.get_trials(deepcopy=False), plan.cells()
        goal = Goal(_wanted(goal, len(trials) - len(uncounted(trials))) + seeds * len(cells))
        first = max((t.system_attrs.get("fixed_params", {}).get("seed", 0) for t in trials), default=0) + 1
        for seed in range(first, first + seeds):
            for cell in cells:
                study.enqueue_trial({**cell, "seed": seed})
        study.set_user_attr(_GOAL, asdict(goal))


def _wanted(goal: Goal, known: int) -> int:
    """Return the number of trials that `goal` wants; with only a limit of time, the number of `known` ones."""
    return known if goal.trials == MOST_TRIALS else max(goal.trials, known)


def ask_to_stop(study: Study, stop: bool) -> None:
    """Request all workers to stop, or cancel the request."""
    with _storage_errors():
        study.set_user_attr(_STOP, stop)


def is_asked_to_stop(study: Study) -> bool:
    """Return whether a stop is requested."""
    with _storage_errors():
        return bool(study.user_attrs.get(_STOP))


def uncounted(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials that do not count: requeued under another number, or beyond the goal."""
    again = {trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs}
    return again | {trial.number for trial in trials if trial.user_attrs.get(_SURPLUS)}


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the started trials that count."""
    others = uncounted(trials)
    return [trial for trial in trials if trial.state.name != "WAITING" and trial.number not in others]


def check_not_surplus(study: Study, trial: Trial) -> None:
    """Raise SweepError and mark `trial` as surplus if workers on several machines started it beyond the goal."""
    before = [other for other in counted(study.get_trials(deepcopy=False)) if other.number < trial.number]
    if len(before) >= goal_of(study).trials:
        trial.set_user_attr(_SURPLUS, True)
        raise SweepError(f"Trial {trial.number + 1} is one more than wanted; another worker began the last one.")


def is_done(study: Study) -> bool:
    """Return whether the goal is reached."""
    goal, counts = goal_of(study), counted(study.get_trials(deepcopy=False))
    return len(counts) >= goal.trials or (goal.seconds is not None and _seconds(counts) >= goal.seconds)


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Queue the parameters of `trial` if its worker stopped or died; its run continues under a new number."""
    optuna = _optuna()
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={**trial.user_attrs, "retry_of": trial.number},
            system_attrs=trial.system_attrs,
        )
    )


def requeue_dead(study: Study) -> None:
    """Requeue the running trials of dead workers.

    With a database, the heartbeat decides. With the journal, a trial is alive while the lock of its run is held.
    Call it from one process at a time, and not between the start of a trial and the start of its run.
    """
    optuna = _optuna()
    with _storage_errors():
        if storage_url():
            optuna.storages.fail_stale_trials(study)
            return
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            run = trial.user_attrs.get("run")
            if not isinstance(run, str) or not runs.ID_PATTERN.fullmatch(run) or not runs.Run(run).is_alive:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                requeue(study, trial)


def _storage(name: str) -> BaseStorage:
    optuna, url = _optuna(), storage_url()
    if not url:
        journal = folder(name) / "journal.log"
        lock = FileLock(journal.with_suffix(".lock"))
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal), lock_obj=lock))
    return _database(url)


@functools.lru_cache(maxsize=4)
def _database(url: str) -> BaseStorage:
    """Return the database storage, one for each process, without open connections between calls."""
    from sqlalchemy.pool import NullPool

    return _optuna().storages.RDBStorage(
        url,
        engine_kwargs={"poolclass": NullPool, "connect_args": {"connect_timeout": 5}},
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=requeue,
    )


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Convert all errors of a storage to SweepError."""
    try:
        yield
    except (CifarError, KeyError, TypeError, AttributeError):
        raise
    except OSError as error:
        raise SweepError(
            f"Searches cannot be stored in {runs.runs_dir()} ({error.strerror}); free disk space, or make it writable."
        ) from None
    except ImportError:
        raise SweepError('Searches on PostgreSQL need psycopg: pip install "psycopg[binary]"') from None
    except Exception as error:  # from SQLAlchemy, psycopg or Optuna
        reason = type(error.__cause__ or error).__name__
        raise SweepError(
            f"The storage of searches cannot be used ({reason}); check {STORAGE_VARIABLE} and the database."
        ) from error


def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
    return optuna
