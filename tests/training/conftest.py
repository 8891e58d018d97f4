import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_core import runs, weights
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.training import callbacks, worker
from cifar_core.training.journal import Journal, Stopped
from cifar_core.weights import Weights

KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(KERAS_AND_NUMPY))


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Take back what a worker in this process does to its signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def lively_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights that keep the size of what passes (He et al. 2015), so that there is something to learn from.

    Those of the product start as Keras starts, whose frozen, untrained base lets next to nothing through.
    """

    def he(alpha: float, seed: int) -> Weights:
        rng = np.random.default_rng(seed)
        named = {}
        for name, shape in weights.base_shapes(alpha).items():
            if name.endswith("/kernel"):
                inputs = 9 if shape[3] == 1 else shape[0] * shape[1] * shape[2]
                named[name] = rng.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)
            elif name.endswith(("/gamma", "/moving_variance")):
                named[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
            else:
                named[name] = rng.normal(0, 0.2, shape).astype(np.float32)
        return Weights("random", "random numbers", named, weights.fingerprint(named))

    monkeypatch.setattr(weights, "_random", he)


@pytest.fixture
def train(small_data: Path) -> Callable[[TrainConfig], Run]:
    """Trains a configuration to its end, as a worker does."""

    def finish(config: TrainConfig) -> Run:
        run = runs.create(config)
        assert worker.main(str(run.path)) == 0
        assert run.state == "finished", run.status
        return run

    return finish


class Interruption:
    """Ends a training as a stop does, at a place of choice; nothing of the process is left behind but its files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def in_batch(self, run: Run, number: int) -> None:
        """Start or resume `run` and stop it after `number` training steps."""
        left = number

        def count(watch: callbacks.StopWatch, *_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Stopped

        self._stopped(run, callbacks.StopWatch, "on_train_batch_end", count)

    def at_stage(self, run: Run, stage: str) -> None:
        """Start or resume `run` and stop it when `stage` is about to begin."""
        really_say = Journal.say

        def say(journal: Journal, state: str, **more: Any) -> None:
            if more.get("stage") == stage:
                raise Stopped
            really_say(journal, state, **more)

        self._stopped(run, Journal, "say", say)

    def _stopped(self, run: Run, place: type, name: str, replacement: Callable[..., None]) -> None:
        with self._monkeypatch.context() as patch:
            patch.setattr(place, name, replacement)
            assert worker.main(str(run.path)) == 0
        assert run.state == "stopped", run.status


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch)
