import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from interruption import Interruption

from cifar_core import runs, weights
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.training import worker
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


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch)
