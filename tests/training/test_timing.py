"""A shape that is new to the machine is timed on a few batches, and the estimate knows it."""

import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
from filelock import FileLock

from cifar_core import costs, runs
from cifar_core.config import TrainConfig
from cifar_core.jobs import wait_until
from cifar_core.training import fit, hardware, timing, worker

SMALL = TrainConfig(image_size=32, alpha=0.35, train_images=1_000, head_epochs=1, fine_tune_epochs=1, views=1)


def assert_known(config: TrainConfig) -> None:
    guess = costs.estimate(config, 1_000, 100)
    assert guess.measured
    assert 1e8 < guess.memory_bytes < 1e11
    assert all(0 < seconds < 600 for seconds in guess.stages.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [replace(SMALL, views=0), replace(SMALL, head_epochs=0)], ids=["end to end", "fine-tuning only"]
)
def test_a_measured_shape_is_known_from_then_on(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    began = psutil.Process().create_time() + 5  # the test's process may be old
    clock = SimpleNamespace(time=lambda: began, monotonic=time.monotonic)
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "_STEPS", 2)
    monkeypatch.setattr(fit, "VALIDATION_BATCH", 64)
    runs.runs_dir().mkdir()
    assert not costs.estimate(config, 1_000, 100).measured
    assert timing.main(json.dumps(config.to_dict())) == 0
    assert_known(config)


@pytest.mark.slow
def test_a_process_waits_for_the_training_slot_measures_once_and_ends() -> None:
    runs.runs_dir().mkdir()
    measuring = threading.Thread(target=costs.measure, args=(SMALL,), kwargs={"wait": True})
    with FileLock(runs.runs_dir() / ".slot"):
        measuring.start()
        assert wait_until(lambda: costs.measuring().is_running, 60)
        costs.measure(replace(SMALL, alpha=0.5))  # does nothing while the first one waits
        assert costs.measuring().is_running
        assert not costs.estimate(SMALL, 1_000, 100).measured
    measuring.join(120)
    assert not costs.measuring().is_running
    assert_known(SMALL)
    assert not costs.estimate(replace(SMALL, alpha=0.5), 1_000, 100).measured


def test_it_computes_with_the_threads_of_a_training_and_knows_how_long_it_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    found: list[float] = []
    monkeypatch.setattr(timing, "measured", lambda config, waited: found.append(waited) or {})
    held = threading.Event()

    def train() -> None:
        with FileLock(runs.runs_dir() / worker.SLOT):
            held.set()
            time.sleep(0.5)

    training = threading.Thread(target=train)
    training.start()
    held.wait()
    assert timing.main(json.dumps(SMALL.to_dict())) == 0
    training.join()
    assert os.environ["TF_NUM_INTEROP_THREADS"] == str(hardware.pieces())
    assert 0.2 < found[0] < 60
