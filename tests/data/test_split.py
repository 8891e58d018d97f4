"""How training and validation images are chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_core.data.cifar10 import split
from cifar_core.errors import ConfigError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10, dtype=np.uint8), 100))


def test_split_of_everything() -> None:
    training, validation = split(LABELS, 50_000, 0.2, seed=3)
    assert (len(training), len(validation)) == (800, 200)
    assert training.dtype == validation.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(1000))
    assert np.all(np.diff(training) > 0)
    assert np.all(np.bincount(LABELS[validation]) == 20)


def test_split_depends_on_the_seed_alone() -> None:
    first, again, other = (split(LABELS, 500, 0.2, seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smaller_set_is_part_of_a_larger_one() -> None:
    small, large = (np.concatenate(split(LABELS, count, 0.2, seed=3)) for count in (200, 300))
    assert len(small) == 200
    assert np.isin(small, large).all()


@given(
    counts=st.lists(st.integers(12, 300), min_size=10, max_size=10),
    share=st.floats(0.5, 1),
    fraction=st.floats(0.3, 0.7),
    seed=st.integers(0, 2**32),
)
def test_shares_are_exact_to_within_one_image_a_class(
    counts: list[int], share: float, fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    wanted = max(1, round(share * len(labels)))
    training, validation = split(labels, wanted, fraction, seed)
    used = np.bincount(labels[np.concatenate([training, validation])], minlength=10)
    assert len(np.union1d(training, validation)) == used.sum() == wanted
    assert np.all(np.abs(used - np.array(counts) * wanted / len(labels)) < 1 + 1e-9)
    held_out = np.bincount(labels[validation], minlength=10)
    assert np.all(np.abs(held_out - used * fraction) < 1 + 1e-9)
    assert abs(len(validation) - wanted * fraction) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("train_images", "fraction", "field"),
    [
        (1000, 0.0, "validation_fraction"),
        (1000, 0.004, "validation_fraction"),
        (1000, 1.0, "validation_fraction"),
        (10, 0.2, "train_images"),
        (0, 0.2, "train_images"),
        (-5, 0.2, "train_images"),
    ],
)
def test_class_without_an_image_is_an_error(train_images: int, fraction: float, field: str) -> None:
    with pytest.raises(ConfigError, match=f"train_images = {train_images:,} .*expected one of each") as caught:
        split(LABELS, train_images, fraction, seed=1)
    assert caught.value.field == field


def test_split_of_labels_that_lack_a_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match="without an image"):
        split(LABELS[LABELS != 9], 1000, 0.2, seed=1)
