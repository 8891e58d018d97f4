"""A training that goes on while people look, and how fast it is."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.runs import Run

CONFIG = TrainConfig(
    train_images=20_000,
    augmentation=0.0,
    head_epochs=1,
    fine_tune_epochs=100,
    early_stopping_patience=100,
    batch_size=128,
)
_START_SECONDS = 600


@dataclass(frozen=True)
class Moment:
    """How far the training was: images since fine-tuning began, its own clock, and its processor time, in seconds."""

    images: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Pace:
    """What the training did between two moments."""

    images_per_second: float
    cores: float

    @classmethod
    def between(cls, first: Moment, last: Moment) -> Pace:
        """Return the pace from `first` to `last`."""
        seconds = max(last.seconds - first.seconds, 1e-9)
        return cls((last.images - first.images) / seconds, (last.cpu_seconds - first.cpu_seconds) / seconds)


def start() -> Run:
    """Start the training and wait until it fine-tunes. Raises RuntimeError if it does not get there."""
    run = jobs.start_run(CONFIG, "watched")
    deadline = time.monotonic() + _START_SECONDS
    while _last_step(run) is None:
        if run.state not in runs.LIVE_STATES or time.monotonic() > deadline:
            raise RuntimeError(f"The training did not begin: {run.status.get('error')}")
        time.sleep(1)
    return run


def moment(run: Run) -> Moment:
    """Return how far `run` is now."""
    row = _last_step(run)
    if row is None or run.state != "running":
        raise RuntimeError(f"The training is {run.state}; choose a shorter time.")
    times = psutil.Process(int(run.status["pid"])).cpu_times()
    steps = (row["epoch"] - 1) * row["steps"] + row["step"]
    return Moment(steps * CONFIG.batch_size, row["elapsed_seconds"], times.user + times.system)


def _last_step(run: Run) -> dict | None:
    rows = [row for row in run.metrics() if row.get("kind") == "step" and row.get("phase") == "fine_tune"]
    return rows[-1] if rows else None
