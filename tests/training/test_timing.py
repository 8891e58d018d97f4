"""A shape that is new to the machine is timed on a few batches, and the estimate knows it."""

import time
from dataclasses import replace

import pytest

from cifar_core import costs, runs
from cifar_core.config import TrainConfig

SMALL = TrainConfig(image_size=32, alpha=0.35, train_images=1_000, head_epochs=1, fine_tune_epochs=1, views=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, views=0), replace(SMALL, head_epochs=0, fine_tune_blocks=17)],
    ids=["stored", "end to end", "nothing frozen"],
)
def test_a_measured_shape_is_known_from_then_on(small_data, config):
    assert not costs.estimate(config, 1_000, 100).measured
    costs.measure(config, wait=True)
    guess = costs.estimate(config, 1_000, 100)
    assert guess.measured
    assert 1e8 < guess.memory_bytes < 1e11
    assert all(0 < seconds < 600 for seconds in guess.stages.values())
    assert not costs.is_measuring()


@pytest.mark.slow
def test_it_waits_for_the_training_slot_and_is_not_done_twice(small_data):
    from filelock import FileLock

    runs.runs_dir().mkdir(parents=True, exist_ok=True)
    with FileLock(runs.runs_dir() / ".slot"):
        costs.measure(SMALL)
        costs.measure(replace(SMALL, alpha=0.5))  # does nothing while the first one waits
        assert costs.is_measuring()
        assert not costs.estimate(SMALL, 1_000, 100).measured
    deadline = time.monotonic() + 120
    while costs.is_measuring():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert costs.estimate(SMALL, 1_000, 100).measured
    assert not costs.estimate(replace(SMALL, alpha=0.5), 1_000, 100).measured
