"""Distillation, mixing of images and averaging of weights: each is its formula, and resumes bit for bit."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from interrupted_runs import Interruption
from run_outcome import assert_answers_of_each_epoch, assert_complete, outcome, places

from cifar_core.config import TrainConfig
from cifar_core.data import augmentation, cifar10
from cifar_core.data.augmentation import View
from cifar_core.errors import ConfigError, RunError
from cifar_core.inference.classifier import open_classifier
from cifar_core.network import architecture
from cifar_core.runs import Run, create, curves, records
from cifar_core.training import model, worker
from cifar_core.training.batches import Batches
from cifar_core.training.fit import compiled, phases
from cifar_core.training.inputs import Pixels, Teacher

pytestmark = pytest.mark.usefixtures("shared_networks")
CLASSES = architecture.CLASS_COUNT
STEPS = 13  # an epoch: 800 images in batches of 64


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def head(tiny_config: TrainConfig) -> Callable[..., keras.Model]:
    """The compiled head of a configuration with changes, which learns from 20 steps an epoch."""

    def build(**changes: Any) -> keras.Model:
        config = dataclasses.replace(tiny_config, **changes)
        from cifar_core.network import pretrained

        base = pretrained.load("random", config.alpha, config.image_size, config.seed).named
        network = model.build(config, base)
        return compiled(network, config, phases(config)[0], 20, is_stored=True)

    return build


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 1.0), (0.5, 1.0), (0.7, 4.0), (1.0, 2.0)])
def test_the_loss_is_hintons(head: Callable[..., keras.Model], weight: float, temperature: float) -> None:
    trained = head(
        teacher="bundled", distillation=weight, distillation_temperature=temperature, label_smoothing=0.1, l2=0.0
    )
    rng = np.random.default_rng(0)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, 7)]
    teacher, student = (softmax(rng.normal(0, 2, (7, CLASSES))).astype(np.float32) for _ in range(2))
    smoothed = 0.9 * labels + 0.1 / CLASSES
    hard = -(smoothed * np.log(student)).sum(axis=1)
    soft = -(softmax(np.log(teacher) / temperature) * np.log(softmax(np.log(student) / temperature))).sum(axis=1)
    loss = trained.compute_loss(y=np.concatenate([labels, teacher], axis=1), y_pred=student)
    assert float(loss) == pytest.approx(((1 - weight) * hard + weight * temperature**2 * soft).mean(), rel=1e-4)
    alone = trained.compute_loss(y=labels, y_pred=student)
    assert float(alone) == pytest.approx(hard.mean(), rel=1e-5), "validation has no teacher"


def test_accuracy_and_cross_entropy_are_of_the_labels(head: Callable[..., keras.Model]) -> None:
    trained = head(teacher="bundled")
    labels = np.eye(CLASSES, dtype=np.float32)[[3, 4]]
    student = np.full((2, CLASSES), 0.05, np.float32)
    student[:, 3] = 0.55
    figures = trained.compute_metrics(None, np.concatenate([labels, student[::-1]], axis=1), student)
    assert float(figures["accuracy"]) == 0.5
    assert float(figures["cross_entropy"]) == pytest.approx(-(np.log(0.55) + np.log(0.05)) / 2, rel=1e-5)


@pytest.mark.bundled
def test_what_the_teacher_says_of_a_view_is_computed_once_and_is_what_it_says_of_those_pixels(small_data: Any) -> None:
    data = cifar10.load("generated")
    first, again = list[int](), list[int]()
    view, positions = View(1.0, 3, 2), np.array([5, 0, 700])
    stored = Teacher("bundled", data, lambda done, _: first.append(done)).stored(view, positions)
    expected = open_classifier("bundled").probabilities(
        augmentation.augment(data.train_images[positions], positions, 1.0, 3, 2)
    )
    assert np.allclose(stored[positions], expected, atol=1e-3)
    Teacher("bundled", data, lambda done, _: again.append(done)).stored(view, positions)
    assert (first, again) == ([0, 3], [])


@pytest.mark.bundled
def test_a_batch_of_pixels_holds_labels_and_what_the_teacher_says_of_them(small_data: Any) -> None:
    data = cifar10.load("generated")
    rows = np.arange(40)
    teacher = Teacher("bundled", data, lambda *_: None)
    source = Pixels(data.train_images, rows, View(1.0, 1), teacher)
    batches = Batches(source, data.train_labels[rows], 16, 1, source.teacher_answers)
    batches.begin(1)
    pixels, targets = batches[1]
    assert targets.shape == (16, 2 * CLASSES)
    assert (targets[:, :CLASSES].sum(axis=1) == 1).all()
    assert np.allclose(targets[:, CLASSES:], teacher.probabilities(pixels.astype(np.uint8)))


def test_mixed_images_and_labels_have_the_same_shares() -> None:
    images = np.zeros((6, 32, 32, 3), np.float32)
    images[:3] = 200
    labels = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1]]
    kinds = set()
    for seed in range(40):
        mixed, shares = augmentation.mix(images, labels, np.random.default_rng(seed))
        assert np.allclose(shares.sum(axis=1), 1)
        assert np.allclose(mixed.mean(axis=(1, 2, 3)) / 200, shares[:, 0], atol=0.003)
        kinds.add("cutmix" if set(np.unique(mixed)) <= {0, 200} and len(np.unique(mixed[0])) == 2 else "mixup")
    assert kinds == {"cutmix", "mixup"}


def test_a_share_of_the_batches_is_mixed_the_same_in_each_repetition() -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(400) % CLASSES

    def mixed(share: float) -> list[bool]:
        batches = Batches(Pixels(images, np.arange(400), View()), labels, 4, 7, None, share)
        batches.begin(2)
        return [bool((targets.max(axis=1) < 1).any()) for _, targets in (batches[i] for i in range(len(batches)))]

    assert mixed(0.0) == [False] * 100
    assert mixed(0.5) == mixed(0.5)
    assert 25 < sum(mixed(0.5)) < 65


def test_averaged_weights_are_the_moving_average_of_the_steps(head: Callable[..., keras.Model]) -> None:
    trained = head(ema="on", l2=0.0, dropout=0.0)
    rng = np.random.default_rng(0)
    average = None
    for _ in range(5):
        features = rng.normal(size=(8, *trained.input_shape[1:])).astype(np.float32)
        trained.train_on_batch(features, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, 8)])
        now = trained.trainable_variables[0].numpy()
        average = now if average is None else (1 - 1 / 20) * average + now / 20
    held = trained.optimizer._model_variables_moving_average[0].numpy()
    assert np.allclose(held, average, atol=1e-6)
    assert not np.allclose(held, now, atol=1e-6)


def test_adamw_decays_kernels_only(head: Callable[..., keras.Model]) -> None:
    trained = head(optimizer="adamw", l2=0.0)
    decayed = {v.path.split("/")[-1]: trained.optimizer._use_weight_decay(v) for v in trained.trainable_variables}
    assert decayed == {"gamma": False, "beta": False, "kernel": True, "bias": False}


OTHERWISE = {
    "head_epochs": 0,
    "schedule": "cosine",
    "optimizer": "adamw",
    "batch_norm": "adapt",
    "label_smoothing": 0.1,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gigabytes", "changes", "done"),
    [("0.0001", OTHERWISE, [("fine_tune", 1)]), ("10", {}, [("head", 1)])],
    ids=["end to end", "stored"],
)
def test_with_a_teacher_mixing_and_averaging_an_interrupted_run_equals_an_undisturbed_one(
    tiny_config: TrainConfig,
    train: Callable[[TrainConfig], Run],
    interrupt: Interruption,
    undisturbed_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    gigabytes: str,
    changes: dict[str, Any],
    done: list[tuple[str, int]],
) -> None:
    """It is interrupted after the epochs in `done`.

    Without room for features it trains end to end, and with every other schedule, optimizer and normalization.
    """
    monkeypatch.setenv("CIFAR_STORE_GB", gigabytes)
    teacher = Run(undisturbed_run.name)
    shutil.copytree(undisturbed_run, teacher.path)
    config = dataclasses.replace(tiny_config, augmentation=1.0, teacher=teacher.id, mixing=0.5, ema="on", **changes)
    run = create(config)
    interrupt.in_batch(run, len(done) * STEPS + 4)
    assert places(run) == done
    assert worker.main(str(run.path)) == 0
    assert_complete(run)
    is_stored = "CIFAR_STORE_GB" not in run.status.get("note", "")
    assert is_stored == (not changes)
    assert (curves.linear_probe(run.metrics()) is not None) == ("linear_probe_accuracy" in run.result) == is_stored
    assert_answers_of_each_epoch(run)
    assert outcome(run).differences(outcome(train(config))) == []
    environment = records.environment(run.path)
    assert environment is not None
    assert environment.teacher is not None
    assert environment.teacher.label == teacher.id


@pytest.mark.slow
@pytest.mark.bundled
def test_a_run_can_be_stopped_while_the_teacher_classifies_a_later_view(
    tiny_config: TrainConfig, interrupt: Interruption
) -> None:
    run = create(dataclasses.replace(tiny_config, teacher="bundled", views=2, head_epochs=3, fine_tune_epochs=0))
    interrupt.in_progress(run, "teacher", 2)
    assert places(run) == [("head", 1), ("head", 2)]
    assert worker.main(str(run.path)) == 0
    assert_complete(run)


@pytest.mark.slow
def test_a_saved_model_of_averaged_weights_says_what_validation_said(
    tiny_config: TrainConfig, train: Callable[[TrainConfig], Run]
) -> None:
    run = train(dataclasses.replace(tiny_config, ema="on", head_epochs=3, fine_tune_epochs=0))
    accuracies = [row["validation_accuracy"] for row in run.metrics() if row["kind"] == "epoch"]
    assert run.result["validation_accuracy"] == pytest.approx(max(accuracies), abs=1e-6)


def test_a_teacher_that_is_not_there_is_a_sentence(small_data: Any, tiny_config: TrainConfig) -> None:
    run = create(dataclasses.replace(tiny_config, teacher="20200101-000000000-gone"))
    assert worker.main(str(run.path)) == 2
    assert run.status["error"]["type"] == RunError.__name__


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b", "x" * 200, "bundled\n", 7, None])
def test_a_name_that_no_run_has_is_refused(tiny_config: TrainConfig, name: Any) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(tiny_config, teacher=name)


def test_a_configuration_from_before_has_no_teacher(tiny_config: TrainConfig) -> None:
    saved = tiny_config.to_dict()
    for name in ("mixing", "ema", "teacher", "distillation", "distillation_temperature"):
        del saved[name]
    assert TrainConfig.from_dict(saved) == tiny_config
