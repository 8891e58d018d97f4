import numpy as np
import pytest
from PIL import Image

from cifar_core.inference import explain


def red_in_the_corner(images: np.ndarray) -> np.ndarray:
    """A model of the upper left 8x8 pixels: the redder, the likelier class 3, and the less likely class 5."""
    red = images[:, :8, :8, 0].mean(axis=(1, 2)) / 255
    said = np.full((len(images), 10), 0.02)
    said[:, 3], said[:, 5] = 0.1 + 0.6 * red, 0.74 - 0.6 * red
    return said


@pytest.fixture
def corner() -> np.ndarray:
    """Black, with a red upper left corner."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[:8, :8, 0] = 255
    return image


def test_the_part_that_decides_speaks_for_its_class_and_against_the_other(corner):
    heat = explain.saliency(red_in_the_corner, corner)
    assert heat.shape == (10, 32, 32)
    assert np.unravel_index(heat[3].argmax(), (32, 32)) < (8, 8)
    assert heat[3, :8, :8].min() > 0.1
    assert np.abs(heat[:, 16:, 16:]).max() < 1e-6
    assert heat[5, :8, :8].max() < -0.1


def test_all_covered_images_go_through_the_model_in_one_call(corner):
    calls = []

    def model(images: np.ndarray) -> np.ndarray:
        calls.append(images.shape)
        return np.full((len(images), 10), 0.1)

    explain.saliency(model, corner)
    assert len(calls) == 1
    assert calls[0][1:] == (32, 32, 3)


def test_the_first_image_is_uncovered_and_every_pixel_is_covered_equally_often(corner):
    images, masks = explain.occluded(corner)
    assert (images[0] == corner).all()
    assert len(images) == len(masks) + 1
    times = masks.sum(axis=0)
    assert times.min() >= times.max() - 7  # a corner lacks one row and column of patches at most
    for image, mask in zip(images[1:], masks, strict=True):
        assert (image[~mask] == corner[~mask]).all()
        assert len(np.unique(image[mask], axis=0)) == 1


def test_a_model_that_is_certain_has_finite_saliency(corner):
    said = np.eye(10)[[2]]
    assert np.isfinite(explain.saliency(lambda images: said.repeat(len(images), axis=0), corner)).all()


def test_the_overlay_at_strength_0_is_the_picture_and_colours_both_directions(corner):
    picture = Image.fromarray(corner)
    heat = np.zeros((32, 32), np.float32)
    heat[:16], heat[16:] = 1, -0.5
    plain = np.asarray(explain.overlay(picture, heat, 0, side=32))
    assert np.abs(plain.astype(int) - corner).max() <= 1
    red, green, _ = np.asarray(explain.overlay(picture, heat, 1, side=32), int)[[8, 24], 24].T
    assert green[0] > red[0]
    assert red[1] > green[1]


def test_no_saliency_at_all_is_drawn_too(corner):
    assert explain.overlay(Image.fromarray(corner), np.zeros((32, 32), np.float32), side=64).size == (64, 64)
