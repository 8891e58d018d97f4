"""The runs of the lessons on this machine: ordinary ones whose names begin with "learn".

<runs>/<utc time>-learnscalingwrong/     lessons with the same arm share it
"""

from __future__ import annotations

from cifar_core import costs, runs
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.jobs import launch
from cifar_core.lessons import outcome
from cifar_core.lessons.conditions import ARMS
from cifar_core.lessons.outcome import Outcome
from cifar_core.runs import LIVE_STATES, Run

_PREFIX = "learn"


def latest(lesson: str) -> dict[str, Run | None]:
    """Return for each arm of `lesson` its run here: a live one, else the newest finished one, else the newest."""
    found: dict[str, Run | None] = dict.fromkeys(ARMS[lesson])
    wanted = {key: arm.config for key, arm in ARMS[lesson].items()}
    for run in runs.list_runs():  # newest first
        if not run.id[19:].startswith(_PREFIX):
            continue
        try:
            config = run.config
        except CifarError:
            continue
        for key, arm in wanted.items():
            if config == arm:
                found[key] = _better(found[key], run)
    return found


def start(lesson: str, again: bool = False) -> dict[str, Run]:
    """Start a run for each arm of `lesson` that has none, or (`again`) for all; they queue. Return the arms' runs.

    An arm that is running is left alone. Raises RunError.
    """
    started = {}
    for key, run in latest(lesson).items():
        state = run.state if run else ""
        if run is None or not (state in LIVE_STATES or (state == "finished" and not again)):
            run = launch.start(ARMS[lesson][key].config, f"{_PREFIX}{lesson}{key}")
        started[key] = run
    return started


def stop(lesson: str) -> None:
    """Stop the live runs of `lesson`, those that wait first, so that none of them takes the place of the other."""
    live = [run for run in latest(lesson).values() if run and run.state in LIVE_STATES]
    for run in sorted(live, key=lambda run: run.id, reverse=True):
        launch.stop(run)


def seconds(lesson: str) -> float:
    """Return how long the arms of `lesson` that have no finished run here will take. Raises DataError."""
    sizes = cifar10.sizes()
    missing = [key for key, run in latest(lesson).items() if run is None or run.state != "finished"]
    return sum(costs.estimate(ARMS[lesson][key].config, *sizes).seconds for key in missing or ARMS[lesson])


def outcome_of(lesson: str, run: Run) -> Outcome:
    """Return what the finished `run` of `lesson` gave. Raises RunError, DataError."""
    return outcome.of(run, f"python -m cifar_core learn {lesson}")


def _better(known: Run | None, older: Run) -> Run:
    """Return which of two runs of one arm stands for it."""
    if known is None or known.state not in (*LIVE_STATES, "finished"):
        return older if known is None or older.state in (*LIVE_STATES, "finished") else known
    return older if known.state == "finished" and older.state in LIVE_STATES else known
