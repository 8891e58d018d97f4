"""Images by their features: groups stay groups, the file is checked, what cannot be placed says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.evaluation import data_map
from cifar_core.network import pretrained
from cifar_core.runs import Run, write_json

IMAGES = 40
CONFIG = TrainConfig(dataset="generated", train_images=1_000, alpha=0.35, image_size=32, weights="random")


@pytest.fixture
def run(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A fine-tuned run from random weights, whose features are two groups: even and odd images."""
    made = runs.create(CONFIG)
    dataset = cifar10.load("generated")
    rows = np.arange(IMAGES) * 7
    said = np.full((IMAGES, 10), 0.1, np.float32)
    arrays = {"validation_labels": dataset.train_labels[rows], "validation_probabilities": said}
    test = {"test_labels": dataset.test_labels[:5], "test_probabilities": said[:5]}
    np.savez(made.path / "evaluation.npz", validation_rows=rows, **arrays, **test)
    weights = pretrained.load("random", CONFIG.alpha, CONFIG.image_size, CONFIG.seed)
    known = {
        "data": {"name": "generated", "label": "synthetic", "fingerprint": dataset.fingerprint},
        "weights": {"kind": "random", "label": "random numbers", "fingerprint": weights.fingerprint},
    }
    write_json(made.path / "environment.json", known)
    write_json(made.path / "status.json", {"state": "finished", "result": {"best_phase": "fine_tune"}})
    random = np.random.default_rng(1)
    groups = random.normal(0, 0.01, (IMAGES, 8)) + np.eye(8)[np.arange(IMAGES) % 2]
    monkeypatch.setattr(data_map, "open_classifier", lambda name: SimpleNamespace(features=lambda some: groups))
    return made


def test_what_is_alike_lies_together_and_both_maps_have_the_same_images(run: Run) -> None:
    steps: list[tuple[int, int]] = []
    found = data_map.make_map(run, lambda done, total: steps.append((done, total)))
    assert found is not None and found.before is not None
    assert steps == [(0, 3), (1, 3), (2, 3)]
    even, odd = found.after[::2], found.after[1::2]
    assert np.linalg.norm(even.mean(axis=0) - odd.mean(axis=0)) > 2 * max(even.std(), odd.std())
    assert found.positions.tolist() == list(range(IMAGES))
    read = data_map.load_map(run, IMAGES)
    assert read is not None and read.before is not None
    assert np.array_equal(read.after, found.after) and np.array_equal(read.before, found.before)
    assert data_map.job(run).read()["state"] == "done"


@pytest.mark.parametrize("status", [{"best_phase": "head"}, {}])
def test_without_fine_tuning_there_is_one_map(run: Run, status: dict[str, str]) -> None:
    write_json(run.path / "status.json", {"state": "finished", "result": status})
    found = data_map.make_map(run)
    assert found is not None and found.before is None


def test_a_stop_leaves_nothing_and_missing_images_are_a_sentence(run: Run) -> None:
    def stop(done: int, total: int) -> None:
        data_map.job(run).ask_to_stop()

    assert data_map.make_map(run, stop) is None
    assert data_map.load_map(run, IMAGES) is None
    known = {"label": "elsewhere", "fingerprint": "x"}
    write_json(run.path / "environment.json", {"data": known, "weights": known})
    with pytest.raises(RunError, match=rf"{run.id}.*CIFAR10_DIR"):
        data_map.make_map(run)
    assert data_map.job(run).read()["state"] == "failed"


@pytest.mark.parametrize(
    "damage",
    [
        {"positions": np.array([IMAGES], np.int32)},
        {"positions": np.array([0.5])},
        {"positions": np.array([[0]], np.int32)},
        {"after": np.zeros((2, 2), np.float32)},
        {"after": np.full((1, 2), np.nan, np.float32)},
        {"before": np.zeros((1, 3), np.float32)},
        {"seconds": np.array([1.0, 2.0])},
    ],
)
def test_a_damaged_map_is_a_sentence(run: Run, damage: dict[str, np.ndarray]) -> None:
    sound = {"positions": np.array([0], np.int32), "after": np.zeros((1, 2), np.float32), "seconds": np.array(1.0)}
    np.savez(run.path / data_map.MAP_FILE, **sound)
    assert data_map.load_map(run, IMAGES) is not None
    np.savez(run.path / data_map.MAP_FILE, **sound | damage)
    with pytest.raises(RunError, match=data_map.MAP_FILE):
        data_map.load_map(run, IMAGES)
