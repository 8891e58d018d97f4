"""Robustness: the corruptions themselves, what is measured, kept, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.evaluation import robustness
from cifar_core.evaluation.robustness import CORRUPTIONS
from cifar_core.runs import Run, write_json

IMAGES = 40


@pytest.fixture
def images() -> np.ndarray:
    return cifar10.samples(IMAGES, "generated")[0]


@pytest.fixture
def run(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run on generated images whose "model" knows an image as long as it is what it was."""
    made = runs.create(TrainConfig(dataset="generated", train_images=1_000))
    dataset = cifar10.load("generated")
    rows = np.arange(IMAGES) * 7
    said = np.full((IMAGES, 10), 0.1, np.float32)
    known = {"validation_labels": dataset.train_labels[rows], "validation_probabilities": said, "validation_rows": rows}
    test = {"test_labels": dataset.test_labels[:5], "test_probabilities": said[:5]}
    np.savez(made.path / "evaluation.npz", **known, **test)
    write_json(
        made.path / "environment.json",
        {
            "data": {"name": "generated", "label": "synthetic", "fingerprint": dataset.fingerprint},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    write_json(made.path / "status.json", {"state": "finished", "result": {}})
    answers = {dataset.train_images[row].tobytes(): int(dataset.train_labels[row]) for row in rows}

    def classify(some: np.ndarray) -> np.ndarray:
        labels = [answers.get(image.tobytes()) for image in some]
        return np.stack([np.zeros(10) if label is None else np.eye(10)[label] * 2 for label in labels])

    monkeypatch.setattr(robustness, "open_classifier", lambda name: SimpleNamespace(probabilities=classify))
    return made


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_a_fault_changes_pixels_more_the_stronger_it_is(name: str, images: np.ndarray) -> None:
    corruption = CORRUPTIONS[name]
    draws = robustness.random_numbers(np.arange(IMAGES))
    assert len(corruption.strengths) == 5
    distances = []
    for strength in corruption.strengths:
        changed = robustness.corrupted(corruption, images, draws, strength)
        assert changed.shape == images.shape
        assert changed.dtype == np.uint8
        distances.append(np.abs(changed.astype(float) - images).mean())
    assert distances[0] > 0
    assert distances == sorted(distances), distances


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_an_image_meets_the_same_fault_in_whatever_company(name: str, images: np.ndarray) -> None:
    corruption, places = CORRUPTIONS[name], np.arange(IMAGES) + 100
    together = robustness.corrupted(corruption, images, robustness.random_numbers(places), corruption.strengths[2])
    alone = robustness.corrupted(
        corruption, images[7:8], robustness.random_numbers(places[7:8]), corruption.strengths[2]
    )
    assert np.array_equal(together[7], alone[0])


def test_noise_has_the_deviation_that_it_is_called_by() -> None:
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    noisy = robustness.corrupted(CORRUPTIONS["noise"], grey, robustness.random_numbers(np.arange(20)), 20)
    assert noisy.astype(float).std() == pytest.approx(20, rel=0.05)


def test_a_square_of_the_named_side_is_covered() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    covered = robustness.corrupted(CORRUPTIONS["occlusion"], images, robustness.random_numbers(np.arange(10)), 8)
    changed = (covered != images).any(axis=3)
    for mask in changed:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (8, 8)


def test_measuring_tells_every_accuracy_keeps_it_and_repeats_it(run: Run) -> None:
    reports: list[tuple[int, int]] = []
    found = robustness.measure(run, lambda done, total, left: reports.append((done, total)))
    assert found.is_complete
    assert found.clean == 1.0  # untouched images are known
    assert found.images == IMAGES
    rows = np.arange(IMAGES) * 7
    airplanes = (cifar10.load("generated").train_labels[rows] == 0).mean()
    assert found.mean == pytest.approx(airplanes)  # changed ones are not, and are called the first class
    assert reports[-1] == (41 * IMAGES, 41 * IMAGES)
    assert robustness.load(run) == found
    assert robustness.state(run) == {"state": "done"}
    (run.path / robustness.FILE).unlink()
    again = robustness.measure(run)
    assert (again.clean, again.accuracies) == (found.clean, found.accuracies)


def test_a_stopped_measuring_keeps_what_it_has_and_goes_on_from_there(run: Run) -> None:
    def stop(done: int, total: int, left: float | None) -> None:
        if done == 7 * IMAGES:
            robustness.job(run).ask_to_stop()

    found = robustness.measure(run, stop)
    assert not found.is_complete
    assert found.mean is None
    assert len(found.accuracies["rotation"]) == 5
    assert len(found.accuracies["shift"]) == 1
    assert robustness.state(run)["state"] == "stopped"
    done: list[int] = []
    complete = robustness.measure(run, lambda now, total, left: done.append(now))
    assert complete.is_complete
    assert done[0] == 8 * IMAGES
    assert complete.accuracies["rotation"] == found.accuracies["rotation"]


def test_while_a_process_measures_its_progress_can_be_read_and_no_other_begins(run: Run) -> None:
    with FileLock(run.path / "robustness.lock"):
        write_json(
            run.path / "robustness.progress.json", {"state": "working", "done": 10, "total": 100, "seconds_left": 3.5}
        )
        assert robustness.state(run) == {"state": "working", "done": 10, "total": 100, "seconds_left": 3.5}
        assert robustness.job(run).is_running
        with pytest.raises(RunError, match="another process"):
            robustness.measure(run)
    assert not robustness.job(run).is_running


def test_a_measurement_that_has_just_begun_has_its_progress_too(run: Run) -> None:
    """The page read it, and failed with KeyError until the first images were classified."""
    with robustness.job(run).working():
        assert robustness.state(run) == {"state": "working", "done": 0, "total": 0, "seconds_left": 0.0}


def test_images_that_are_not_here_are_told_of_and_remembered(run: Run) -> None:
    write_json(
        run.path / "environment.json",
        {
            "data": {"name": "cifar10", "label": "CIFAR-10", "fingerprint": "elsewhere"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    with pytest.raises(RunError, match=rf"{run.id}.*CIFAR10_DIR"):
        robustness.measure(run)
    assert robustness.state(run)["state"] == "failed"
    assert "CIFAR10_DIR" in robustness.state(run)["error"]


def test_images_that_are_gone_lose_nothing_that_was_measured(run: Run) -> None:
    found = robustness.measure(run)
    write_json(
        run.path / "environment.json",
        {
            "data": {"name": "cifar10", "label": "CIFAR-10", "fingerprint": "elsewhere"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    with pytest.raises(RunError, match=rf"{run.id}.*CIFAR10_DIR"):
        robustness.measure(run)
    assert robustness.load(run) == found
    assert robustness.state(run) == {"state": "done"}


def test_a_process_that_died_before_its_first_word_is_told_of(run: Run) -> None:
    robustness.job(run).write("working")
    found = robustness.state(run)
    assert found["state"] == "failed"
    assert "robustness.log" in found["error"]


def test_an_unfinished_run_is_not_measured(run: Run) -> None:
    write_json(run.path / "status.json", {"state": "failed"})
    with pytest.raises(RunError, match=f"{run.id} is failed.*finished"):
        robustness.measure(run)


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{",
        json.dumps({"version": 1, "images": "5", "clean": 1, "accuracies": {}, "seconds": 1}),
        json.dumps({"version": 1, "images": 5, "clean": 1, "accuracies": {"noise": [2.0]}, "seconds": 1}),
        json.dumps({"version": 1, "images": 5, "clean": 1, "accuracies": {"noise": [0.1] * 6}, "seconds": 1}),
        json.dumps({"version": 1, "images": 5, "clean": 1, "accuracies": [1], "seconds": 1}),
    ],
)
def test_a_damaged_record_is_a_failure_that_says_so(run: Run, record: str) -> None:
    (run.path / robustness.FILE).write_text(record)
    with pytest.raises(RunError, match=robustness.FILE):
        robustness.load(run)
    found = robustness.state(run)
    assert found["state"] == "failed" and robustness.FILE in found["error"]


def test_the_record_of_another_version_is_none(run: Run) -> None:
    record = {"version": 99, "images": 5, "clean": 1, "accuracies": {}, "seconds": 1}
    (run.path / robustness.FILE).write_text(json.dumps(record))
    assert robustness.load(run) is None
    assert robustness.state(run)["state"] == "none"
