from collections.abc import Callable
from pathlib import Path

import pytest
from interrupted_runs import Interruption

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.training import worker

KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(KERAS_AND_NUMPY))
            item.add_marker(pytest.mark.usefixtures("own_signals"))


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
