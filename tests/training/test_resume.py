import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from interrupted_runs import Interruption
from run_outcome import assert_complete, epochs, outcome, places

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, synthetic
from cifar_core.errors import RunError
from cifar_core.inference import calibration, neighbors, pins
from cifar_core.inference.classifier import open_classifier
from cifar_core.runs import Run, create, curves
from cifar_core.training import fit, worker

pytestmark = pytest.mark.usefixtures("shared_networks")
Train = Callable[[TrainConfig], Run]
STEPS = 13  # an epoch: 800 images in batches of 64


def assert_same(run: Run, other: Run) -> None:
    """Both ended with the same numbers, bit for bit."""
    assert outcome(run).differences(outcome(other)) == []


def pinned_run(config: TrainConfig) -> Run:
    """A new run with two pictures to watch."""
    run = create(config)
    images, _ = cifar10.samples(2, "generated", test=True)
    pins.save(run, [pins.Pin(image, f"picture {i}") for i, image in enumerate(images)])
    return run


@pytest.mark.slow
def test_an_interrupted_run_equals_an_undisturbed_one_and_has_watched_the_same(
    tiny_config: TrainConfig, small_data: Any, interrupt: Interruption
) -> None:
    config = dataclasses.replace(tiny_config, fine_tune_epochs=3, fine_tune_blocks=4, reduce_patience=1)
    run, undisturbed = pinned_run(config), pinned_run(config)
    interrupt.in_batch(run, STEPS + 4)  # in the second epoch of the head
    assert [row["epoch"] for row in epochs(run)] == [1]
    interrupt.at_stage(run, "fine_tune")  # between the phases
    interrupt.in_batch(run, STEPS + 1)  # in the second epoch of fine-tuning
    assert places(run) == [("head", 1), ("head", 2), ("fine_tune", 1)]
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "epo')  # as a power cut leaves it
    assert worker.main(str(run.path)) == 0
    assert worker.main(str(undisturbed.path)) == 0
    assert_complete(run)
    assert_same(run, undisturbed)
    assert (run.path / pins.PROBES).read_text() == (undisturbed.path / pins.PROBES).read_text()
    assert_watched(undisturbed)
    for each in (run, undisturbed):
        assert [row["kind"] for row in each.metrics()].count(curves.PROBE) == 1
        known = curves.linear_probe(each.metrics())
        assert known is not None and known.name == "what random weights already know"
        assert 0 < known.accuracy == each.result["linear_probe_accuracy"] <= 1
    assert_knows_its_training_images(undisturbed)


@pytest.mark.slow
def test_several_steps_in_one_call_train_the_same_network_as_single_ones(
    tiny_config: TrainConfig, small_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(tiny_config, head_batch_size=16, batch_size=16, views=1)
    runs, steps = [], 50
    for at_once in (1, 3):
        monkeypatch.setattr(fit, "_STEPS_AT_ONCE", at_once)
        runs.append(pinned_run(config))
        assert worker.main(str(runs[-1].path)) == 0
    assert_same(*runs)
    rows = [row for row in runs[1].metrics() if row["kind"] == "step"]
    assert rows
    assert {row["step"] % 3 for row in rows if row["step"] < steps} <= {0}
    assert max(row["step"] for row in rows) <= steps
    moments = [0.0, 3 / steps, 6 / steps, 12 / steps, 27 / steps, 1.0, 2.0]
    found = [json.loads(line) for line in (runs[1].path / pins.PROBES).read_text().splitlines()]
    for phase in ("head", "fine_tune"):
        assert [row["epoch"] for row in found if row["phase"] == phase] == pytest.approx(moments, abs=1e-3)


def assert_watched(run: Run) -> None:
    """Its pictures were asked for after every epoch and within the first of each phase."""
    found = [json.loads(line) for line in (run.path / pins.PROBES).read_text().splitlines()]
    for phase, last in (("head", run.config.head_epochs), ("fine_tune", run.config.fine_tune_epochs)):
        moments = [number / STEPS for number in (0, 1, 2, 3, 6)] + list(range(1, last + 1))
        assert [row["epoch"] for row in found if row["phase"] == phase] == pytest.approx(moments, abs=1e-3)
    first = pins.watch(run).watched[0]
    assert np.allclose(first.probabilities.sum(axis=1), 1, atol=1e-3)
    assert np.abs(first.probabilities[-1] - first.probabilities[0]).max() > 0.01
    if (run.result["best_phase"], run.result["best_epoch"]) == ("fine_tune", run.config.fine_tune_epochs):
        last = open_classifier(run.id).probabilities(first.pin.image[None])[0]
        assert np.allclose(first.probabilities[-1], last, atol=1e-3)


def assert_knows_its_training_images(run: Run) -> None:
    """The end of a run leaves an index of them, and how sure and how unusual an answer is."""
    model = open_classifier(run.id)
    index, known = model.index, model.calibration
    assert index is not None
    assert known is not None
    assert known.out_of_distribution is not None
    dataset = cifar10.load("generated")
    assert (dataset.train_labels[index.rows] == index.labels).all()
    own = dataset.train_images[index.rows[:20]]
    nearest = index.nearest(model.features(own))[0][:, 0]
    assert (index.labels[nearest] == index.labels[:20]).all()  # itself, or the same picture again
    answers = model.answer(synthetic.other_images("noise", 5))
    assert (answers.is_unusual == (answers.scores > known.out_of_distribution.threshold)).all()
    assert known.loss[1] <= known.loss[0] + 1e-6
    assert set(known.out_of_distribution.caught) == set(synthetic.OTHER_KINDS)
    assert (run.path / calibration.FILE).exists() and (run.path / neighbors.FILE).exists()


@pytest.mark.slow
def test_early_stopping_remembers_the_epochs_before_the_interruption_and_another_seed_learns_otherwise(
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

    other = train(dataclasses.replace(config, head_epochs=1, seed=2))
    assert epochs(other)[0] | {"epochs": 0} != epochs(run)[0] | {"epochs": 0}, "another seed, the same curve"


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + b"\0" * 100])
def test_a_damaged_checkpoint_is_a_sentence(
    tiny_config: TrainConfig, small_data: Any, content: bytes, interrupt: Interruption
) -> None:
    run = create(tiny_config)
    (run.path / "checkpoint.npz").write_bytes(content)
    assert worker.main(str(run.path)) == 2
    assert run.status["error"]["type"] == RunError.__name__
    assert "checkpoint.npz is damaged" in run.status["error"]["message"]
