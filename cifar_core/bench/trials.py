"""Trials a minute: a sweep from the warm store, beside training each trial anew as a script would."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any

from cifar_core.config import TrainConfig, preset
from cifar_core.errors import RunError
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 600
_VARIED = ("dropout", "label_smoothing", "l2")  # nothing that the stored features depend on
_TRIALS = {"head": 8, "two_phase": 3}


def configurations() -> dict[str, TrainConfig]:
    """Return what the trials train: `quick`, 5,000 images, the head alone and both phases."""
    return {"head": preset("quick", fine_tune_blocks=0), "two_phase": preset("quick")}


def measure(kind: str) -> float:
    """Return the trials a minute of a sweep once the store is warm, which the first trial sees to.

    A trial that is ended early counts neither as one nor with its time. Raises RunError if the sweep ends early.
    """
    plan = Plan(configurations()[kind], tuple(map(space.table_range, _VARIED)))
    name, count = f"bench-{kind.replace('_', '-')}", _TRIALS[kind] + 1
    sweep_workers.start(name, plan, Goal(count))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while sweep_workers.living_workers(name):
        if time.monotonic() > deadline:
            sweep_workers.stop(name)
        time.sleep(_POLL_SECONDS)
    trials: list[Any] = studies.open_study(name).get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.datetime_complete]
    if len(ended) < count:
        raise RunError(f"The benchmark's sweep {name} ended after {len(ended)} of {count} trials, expected all.")
    return rate(ended)


def rate(trials: Sequence[Any]) -> float:
    """Return how many of `trials`, an ended sweep's, a minute brings: each is timed from the end of the one before."""
    seconds = [
        (trial.datetime_complete - before.datetime_complete).total_seconds()
        for before, trial in itertools.pairwise(trials)
        if trial.state.name == "COMPLETE"
    ]
    return 60 / statistics.fmean(seconds)
