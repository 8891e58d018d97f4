import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_core.data import augmentation

POSITIONS = np.array([0, 7, 300, 49_999, 11_999])


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (len(POSITIONS), 32, 32, 3)).astype(np.uint8)


def test_strength_zero_changes_nothing(images: np.ndarray) -> None:
    assert np.array_equal(augmentation.augment(images, POSITIONS, 0.0, 1, 0), images)
    assert str(augmentation.ranges(0)) == "no augmentation"


@given(st.floats(0, 3), st.integers(0, 2_147_483_647), st.integers(0, 100))
@settings(max_examples=25)
def test_every_strength_gives_images(strength: float, seed: int, view: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    changed = augmentation.augment(images, np.array([3, 65_535]), strength, seed, view)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8


@pytest.mark.parametrize("strength", [0.25, 1, 3])
def test_no_pixel_comes_from_beyond_the_picture(strength: float) -> None:
    grey = np.full((200, 32, 32, 3), 100, np.uint8)
    changed = augmentation.augment(grey, np.arange(200), strength, 1, 0)
    spread = 100 * augmentation.ranges(strength).brightness
    assert changed.min() >= 100 - spread - 1  # a border of black would be 0
    assert changed.max() <= 100 + spread + 1
    assert (changed == changed[:, :1, :1, :1]).all()


def test_an_image_is_changed_the_same_way_whatever_its_batch(images: np.ndarray) -> None:
    whole = augmentation.augment(images, POSITIONS, 1.0, 1, 2)
    order = np.array([3, 1, 4, 0])
    assert np.array_equal(augmentation.augment(images[order], POSITIONS[order], 1.0, 1, 2), whole[order])
    many = np.tile(images, (200, 1, 1, 1))
    assert np.array_equal(augmentation.augment(many, np.tile(POSITIONS, 200), 1.0, 1, 2)[-5:], whole)


def test_seed_view_place_and_strength_each_decide(images: np.ndarray) -> None:
    first = augmentation.augment(images, POSITIONS, 1.0, 1, 0)
    assert np.array_equal(augmentation.augment(images, POSITIONS, 1.0, 1, 0), first)
    for arguments in (
        (POSITIONS, 1.0, 2, 0),
        (POSITIONS, 1.0, 1, 1),
        (POSITIONS + 1, 1.0, 1, 0),
        (POSITIONS, 0.5, 1, 0),
    ):
        changed = augmentation.augment(images, *arguments)
        assert all((changed[i] != first[i]).any() for i in range(len(images)))


def test_the_images_given_are_left_alone(images: np.ndarray) -> None:
    before = images.copy()
    augmentation.augment(images, POSITIONS, 3.0, 1, 0)
    assert np.array_equal(images, before)


def test_half_of_the_images_are_mirrored_at_any_strength_above_zero() -> None:
    half = np.zeros((1_000, 32, 32, 3), np.uint8)
    half[:, :, :16] = 200  # light on the left
    changed = augmentation.augment(half, np.arange(1_000), 1e-9, 1, 0)
    mirrored = (changed[:, :, 16:].mean(axis=(1, 2, 3)) > 100).mean()
    assert 0.45 < mirrored < 0.55


def test_brightness_reaches_its_range_and_no_further() -> None:
    grey = np.full((2_000, 32, 32, 3), 100, np.uint8)
    means = augmentation.augment(grey, np.arange(2_000), 1.0, 1, 0).mean(axis=(1, 2, 3))
    assert 79 <= means.min() < 82
    assert 118 < means.max() <= 121


def test_shift_and_zoom_stay_within_their_ranges() -> None:
    spot = np.zeros((500, 32, 32, 3), np.uint8)
    spot[:, 14:18, 14:18] = 255  # in the middle, so that only a shift moves it
    changed = augmentation.augment(spot, np.arange(500), 1.0, 1, 0)[..., 0].astype(float)
    total = changed.sum(axis=(1, 2))
    grid = np.arange(32)
    for axis in (1, 2):
        centres = (changed.sum(axis=axis) * grid).sum(axis=1) / total
        assert np.abs(centres - 15.5).max() < 3.2 * 1.1 + 0.5  # a tenth of 32, a little more where it is enlarged
        assert np.abs(centres - 15.5).max() > 2.5


def test_the_ranges_are_said_in_words() -> None:
    assert (
        str(augmentation.ranges(1.0)) == "rotation ±15°, shift ±10%, zoom ±10%, brightness ±20%, mirrored half the time"
    )


def test_the_same_seed_gives_the_pixels_of_this_version() -> None:
    """If this fails, `augment.VERSION` has to be raised: stored views are of the old pixels."""
    ramp = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(1, 32, 32, 3) % 251
    changed = augmentation.augment(ramp.astype(np.uint8), np.array([5]), 1.0, 1, 3)
    assert augmentation.VERSION == 2
    assert changed[0, ::16, ::16, 0].tolist() == [[96, 144], [35, 10]]


def test_two_views_show_an_image_both_ways() -> None:
    left = np.zeros((50, 32, 32, 3), np.uint8)
    left[:, :, :16] = 255
    positions = np.arange(50)
    bright_left = [
        augmentation.augment(left, positions, 0.25, 7, view)[:, :, :8].mean((1, 2, 3)) > 128 for view in (0, 1)
    ]
    assert (bright_left[0] != bright_left[1]).all()
