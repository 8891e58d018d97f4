import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from interruption import Interruption
from outcome import assert_complete, epochs, outcome, places

from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.runs import Run, create
from cifar_core.training import worker

Train = Callable[[TrainConfig], Run]
STEPS = 13  # an epoch: 800 images in batches of 64


def assert_same(run: Run, other: Run) -> None:
    """Both ended with the same numbers, bit for bit."""
    assert outcome(run).differences(outcome(other)) == []


def test_a_run_interrupted_everywhere_equals_an_undisturbed_one(
    tiny_config: TrainConfig, train: Train, interrupt: Interruption
) -> None:
    config = dataclasses.replace(tiny_config, fine_tune_epochs=3, reduce_patience=1)
    run = create(config)
    interrupt.in_batch(run, STEPS + 4)  # in the second epoch of the head
    assert [row["epoch"] for row in epochs(run)] == [1]
    interrupt.at_stage(run, "fine_tune")  # between the phases
    interrupt.in_batch(run, STEPS + 1)  # in the second epoch of fine-tuning
    assert places(run) == [("head", 1), ("head", 2), ("fine_tune", 1)]
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "epo')  # as a power cut leaves it
    interrupt.at_stage(run, "evaluate")
    assert worker.main(str(run.path)) == 0
    assert_complete(run)
    assert_same(run, train(config))


@pytest.mark.slow
def test_a_run_end_to_end_with_a_cosine_interrupted_in_both_phases_equals_an_undisturbed_one(
    tiny_config: TrainConfig, train: Train, interrupt: Interruption
) -> None:
    config = dataclasses.replace(
        tiny_config, views=0, schedule="cosine", optimizer="adamw", batch_norm="adapt", label_smoothing=0.1
    )
    run = create(config)
    interrupt.in_batch(run, STEPS + 4)  # in the second epoch of the head
    interrupt.in_batch(run, 2 * STEPS + 4)  # the same again, then in the second of fine-tuning
    assert places(run) == [("head", 1), ("head", 2), ("fine_tune", 1)]
    assert worker.main(str(run.path)) == 0
    assert_complete(run)
    assert_same(run, train(config))


@pytest.mark.slow
def test_early_stopping_remembers_the_epochs_before_the_interruption(
    tiny_config: TrainConfig, train: Train, interrupt: Interruption
) -> None:
    config = dataclasses.replace(
        tiny_config, head_epochs=20, head_learning_rate=0.03, fine_tune_epochs=0, early_stopping_patience=2
    )
    undisturbed = train(config)
    ended = len(epochs(undisturbed))
    assert 2 < ended < 20  # else nothing is tested
    run = create(config)
    interrupt.in_batch(run, (ended - 1) * STEPS + 2)
    assert worker.main(str(run.path)) == 0
    assert_same(run, undisturbed)


def test_another_seed_gives_another_curve(tiny_config: TrainConfig, train: Train) -> None:
    one, other = (train(dataclasses.replace(tiny_config, head_epochs=1, fine_tune_epochs=0, seed=n)) for n in (1, 2))
    assert epochs(one) != epochs(other)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + b"\0" * 100])
def test_a_damaged_checkpoint_is_a_sentence(
    tiny_config: TrainConfig, small_data: Any, content: bytes, interrupt: Interruption
) -> None:
    run = create(tiny_config)
    (run.path / "checkpoint.npz").write_bytes(content)
    assert worker.main(str(run.path)) == 2
    assert run.status["error"]["type"] == RunError.__name__
    assert "checkpoint.npz is damaged" in run.status["error"]["message"]
