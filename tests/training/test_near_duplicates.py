"""Near-duplicates: groups by the cosine of features, and a split that keeps each on one side."""

from types import SimpleNamespace

import numpy as np
import pytest

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.runs import create
from cifar_core.training import near_duplicates
from cifar_core.training.inputs import Inputs
from cifar_core.training.run_writer import RunWriter


def test_groups_are_those_of_a_chain_of_similar_features() -> None:
    angles = np.array([0.0, 20.0, 40.0, 90.0, 180.0, 185.0, 270.0])  # 0, 20 and 40 degrees: 0 and 40 by way of 20
    features = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1) * angles[:, None].clip(1)
    positions, groups = near_duplicates.find(features, similar=np.cos(np.radians(25)))
    assert positions.tolist() == [0, 1, 2, 4, 5]
    assert groups.tolist() == [0, 0, 0, 1, 1]


def test_a_validation_image_with_a_near_duplicate_in_training_moves_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    np.savez(tmp_path / "few.npz", positions=np.array([1, 3, 6, 7]), groups=np.array([0, 0, 1, 1]))
    monkeypatch.setattr(near_duplicates, "_FILE", tmp_path / "few.npz")
    images = SimpleNamespace(official=True, train_labels=np.zeros(9))
    training, validation = near_duplicates.kept_together(images, np.array([0, 1, 2, 4]), np.array([3, 5, 6, 7]))
    assert training.tolist() == [0, 1, 2, 3, 4]
    assert validation.tolist() == [5, 6, 7]  # 6 and 7 are near-duplicates, both on one side


def test_the_file_has_groups_of_two_or_more_images() -> None:
    with np.load(near_duplicates._FILE) as arrays:
        positions, groups = arrays["positions"], arrays["groups"]
    assert len(np.unique(positions)) == len(positions) == len(groups)
    assert 0 <= positions.min() <= positions.max() < 50_000
    assert np.bincount(groups).min() >= 2


def _inputs(config: TrainConfig) -> Inputs:
    return Inputs(config, RunWriter(create(config)).progress)


def test_synthetic_images_are_split_as_before(small_data: None) -> None:
    plain, grouped = (
        _inputs(TrainConfig(dataset="generated", weights="random", train_images=1_000, split=split))
        for split in ("stratified", "grouped")
    )
    assert plain.validation_rows.tolist() == grouped.validation_rows.tolist()


@pytest.mark.real_images
def test_of_all_images_each_is_used_once_and_no_group_is_on_both_sides() -> None:
    if not cifar10.status()["official"]:
        pytest.skip("the official CIFAR-10 is not on this machine")
    inputs = _inputs(TrainConfig(dataset="cifar10", weights="random", split="grouped"))
    with np.load(near_duplicates._FILE) as arrays:
        group_of = dict(zip(arrays["positions"].tolist(), arrays["groups"].tolist(), strict=True))
    training, validation = inputs.train_rows.tolist(), inputs.validation_rows.tolist()
    assert sorted(training + validation) == list(range(50_000))
    sides = [{group_of[row] for row in rows if row in group_of} for rows in (training, validation)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert np.bincount(inputs.dataset.train_labels[validation]).min() > 900  # of 1,000 in each class
