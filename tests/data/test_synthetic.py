"""The synthetic images: reproducible, balanced, and separable by shape rather than by color."""

import numpy as np
import pytest
from PIL import Image

from cifar_core.data import synthetic
from cifar_core.data.cifar10 import CLASSES

TRAIN, TEST = 1000, 500


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return synthetic.images(TRAIN + TEST, seed=11)


def test_every_class_of_cifar10_has_its_figure() -> None:
    assert tuple(synthetic.FIGURES) == CLASSES


def test_images_and_labels_have_the_shapes_of_cifar10(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = drawn
    assert (pixels.dtype, pixels.shape) == (np.uint8, (TRAIN + TEST, 32, 32, 3))
    assert (labels.dtype, labels.shape) == (np.uint8, (TRAIN + TEST,))


def test_same_seed_same_images_and_another_seed_others() -> None:
    (first, first_labels), (again, again_labels), (other, _) = (synthetic.images(30, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.array_equal(first_labels, again_labels)
    assert (first != other).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("count", [0, 1, 10, 37])
def test_a_larger_set_begins_with_the_smaller(drawn: tuple[np.ndarray, np.ndarray], count: int) -> None:
    pixels, labels = synthetic.images(count, seed=11)
    assert np.array_equal(pixels, drawn[0][:count])
    assert np.array_equal(labels, drawn[1][:count])


def test_classes_are_balanced_in_a_shuffled_order(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    blocks = drawn[1].reshape(-1, 10)
    assert (np.sort(blocks) == np.arange(10)).all()
    assert len(np.unique(blocks, axis=0)) > 100


def test_no_image_is_drawn_twice(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(np.unique(drawn[0].reshape(len(drawn[0]), -1), axis=0)) == TRAIN + TEST


def test_no_image_is_empty_or_all_black_or_white(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    means, spreads = drawn[0].mean(axis=(1, 2, 3)), drawn[0].std(axis=(1, 2, 3))
    assert 20 < means.min() < means.max() < 245
    assert spreads.min() > 3


def test_progress_never_falls_and_knows_the_whole() -> None:
    calls: list[tuple[int, int]] = []
    synthetic.images(450, seed=1, progress=lambda done, count: calls.append((done, count)))
    assert calls == [(0, 450), (200, 450), (400, 450), (450, 450)]


@pytest.mark.parametrize("figure", [figure for drawings in synthetic.FIGURES.values() for figure in drawings])
def test_a_figure_fills_a_good_part_of_the_image(figure: str) -> None:
    for seed in range(20):
        image = Image.new("RGB", (128, 128), (255, 0, 255))
        synthetic._draw_figure(image, figure, np.random.default_rng(seed))
        covered = (np.asarray(image) != (255, 0, 255)).any(axis=-1)
        assert 0.05 < covered.mean() < 0.8
        assert covered[16:-16, 16:-16].sum() > 0.7 * covered.sum()


def _nearest_centroid(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy on the images after TRAIN of the nearest class mean among those before."""
    spread = features[:TRAIN].std(axis=0)
    centres = np.stack([features[:TRAIN][labels[:TRAIN] == label].mean(axis=0) for label in range(10)])
    distances = (((features[TRAIN:, None] - centres) / spread) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == labels[TRAIN:]).mean())


def _least_squares(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy on the images after TRAIN of a linear classifier fitted to those before."""
    scaled = (features - features[:TRAIN].mean(axis=0)) / features[:TRAIN].std(axis=0)
    known, asked = scaled[:TRAIN], scaled[TRAIN:]
    ridge = 100 * np.eye(known.shape[1])
    weights = np.linalg.solve(known.T @ known + ridge, known.T @ np.eye(10)[labels[:TRAIN]])
    return float(((asked @ weights).argmax(axis=1) == labels[TRAIN:]).mean())


def test_color_alone_does_not_separate_the_classes(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = drawn
    assert _nearest_centroid(pixels.mean(axis=(1, 2)), labels) < 0.2  # measured: 0.13


def test_the_background_alone_does_not_separate_the_classes(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = drawn
    edges = np.concatenate([pixels[:, :3].mean(axis=(1, 2)), pixels[:, -3:].mean(axis=(1, 2))], axis=1)
    assert _least_squares(edges, labels) < 0.2  # measured: 0.11


def test_coarse_pixels_tell_something_but_not_much(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = drawn
    coarse = pixels.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    assert 0.17 < _least_squares(coarse, labels) < 0.4  # measured: 0.23
