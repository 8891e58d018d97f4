"""Ends workers without warning at random moments of their stages, and tells where it struck."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from filelock import FileLock
from run_outcome import places

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.training.worker import SLOT

PATIENCE = 300  # seconds, for what takes ten on a machine that nobody shares
AIMS = (
    "queue",
    "store",
    "import",
    "head",
    "head checkpoint",
    "between",
    "fine_tune",
    "fine_tune checkpoint",
    "export",
    "evaluate",
)
"""Parts of a training in their order; "between" is fine-tuning before its first epoch is kept."""
STAGES = ("queue", "prepare", "features", "import", "head", "fine_tune", "export", "evaluate", "done")
"""What a status calls them."""
_STAGE = {"store": "features", "between": "fine_tune"}
_SPANS = {"queue": 0.4, "store": 0.2, "import": 4.0, "head": 2.0, "between": 2.0, "fine_tune": 1.0, "export": 0.6}
_SPAN = {"evaluate": 0.5, "head checkpoint": 0.01, "fine_tune checkpoint": 0.01} | _SPANS
"""Seconds after a part's begin within which the moment lies: what the part takes on two quiet cores."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: where it was to strike, how many seconds after that began, where it struck, the state then."""

    aim: str
    seconds: float
    met: str
    state: str


def train_killed(config: TrainConfig, aims: list[str], chance: random.Random) -> tuple[list[Run], list[Kill]]:
    """Train `config` to its end, killed in each of `aims` and resumed; return the runs and the kills.

    There is more than one run only where the first finished before it could be struck. A later one is then taken back
    to where it was before.
    """
    ended: list[Run] = []
    kills: list[Kill] = []
    run = None
    before = runs.runs_dir().with_name("before")
    for aim in aims:
        kill = None
        while not kill:
            if run:
                shutil.copytree(run.path, before)
            struck, kill = _struck(run, config, aim, chance)
            if kill:
                run = struck
            elif run:
                shutil.rmtree(run.path)
                before.rename(run.path)
            else:
                ended.append(struck)
            shutil.rmtree(before, ignore_errors=True)
        kills.append(kill)
    if run:
        jobs.resume_run(run)
        wait_for(lambda: run.state not in runs.LIVE_STATES, f"{run.id} ends")
        ended.append(run)
    return ended, kills


def _struck(run: Run | None, config: TrainConfig, aim: str, chance: random.Random) -> tuple[Run, Kill | None]:
    """Start or resume, and kill; without a kill where the run finished first."""
    runs.runs_dir().mkdir(exist_ok=True)
    slot = FileLock(runs.runs_dir() / SLOT)
    with slot:  # so that it queues until we are ready
        if run:
            jobs.resume_run(run)
        else:
            run = jobs.start_run(config)
        if aim == "queue":
            return run, _strike(run, aim, chance)
    return run, _strike(run, aim, chance)


def _strike(run: Run, aim: str, chance: random.Random) -> Kill | None:
    epoch, seconds = chance.randint(1, run.config.head_epochs), chance.uniform(0, _SPAN[aim])
    wait_for(lambda: _is_reached(run, aim, epoch), f"{run.id} reaches {aim}", pause=0.001)
    time.sleep(seconds)
    kill(run)
    return None if run.state == "finished" else Kill(aim, round(seconds, 3), _place(run), run.state)


def kill(run: Run) -> None:
    """End the worker of `run` as the system does when memory runs out, unless it has ended."""
    if run.is_alive:
        psutil.Process(run.status["pid"]).kill()
    wait_for(lambda: not run.is_alive, "the killed worker is gone")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.02) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {seconds} s"
        time.sleep(pause)


def _is_reached(run: Run, aim: str, epoch: int) -> bool:
    """Whether the worker is in `aim`, of a checkpoint the one after `epoch` epochs, or beyond it."""
    status = run.status
    if status["state"] not in runs.LIVE_STATES:
        return True
    stage, wanted = status.get("stage", "queue"), _STAGE.get(aim, aim.removesuffix(" checkpoint"))
    if STAGES.index(stage) != STAGES.index(wanted):
        return STAGES.index(stage) > STAGES.index(wanted)
    if aim == "fine_tune":
        return "fine_tune" in dict(places(run))
    return not aim.endswith("checkpoint") or (_is_writing(run, status) and dict(places(run)).get(stage, 0) >= epoch)


def _place(run: Run) -> str:
    """Where the worker of `run` was when it died, by what it left."""
    status = run.status
    stage = status.get("stage", "queue")
    if stage in ("head", "fine_tune") and _is_writing(run, status):
        return f"{stage} checkpoint"
    if stage == "fine_tune" and stage not in dict(places(run)):
        return "between"
    return {"features": "store"}.get(stage, stage)


def _is_writing(run: Run, status: dict[str, Any]) -> bool:
    """Whether this worker, not one before it, has a checkpoint half written."""
    try:
        return any(file.stat().st_mtime > status["started"] for file in run.path.glob(".checkpoint.npz*"))
    except FileNotFoundError:  # it is whole now
        return False
