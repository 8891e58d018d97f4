"""What a run gets wrong: figures checked by hand on a few images."""

from __future__ import annotations

import numpy as np
import pytest

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.predictions import (
    Predictions,
    class_figures,
    confident_mistakes,
    confusion_counts,
    images_in_cell,
    least_confident_correct,
    outvoted_by_neighbors,
    possibly_mislabeled,
    top2_accuracy,
    worst_cell,
)
from cifar_core.inference import neighbors

CAT, DOG, DEER = CLASSES.index("cat"), CLASSES.index("dog"), CLASSES.index("deer")


def predictions(*images: tuple[int, int, float]) -> Predictions:
    """Images as (label, answer, probability of the answer); the rest of it falls to the class after the answer."""
    said = np.zeros((len(images), 10), np.float32)
    for row, (_, answer, share) in enumerate(images):
        said[row, answer], said[row, (answer + 1) % 10] = share, 1 - share
    return Predictions(np.array([label for label, _, _ in images], np.uint8), said)


@pytest.fixture
def said() -> Predictions:
    return predictions(
        (CAT, CAT, 0.9), (CAT, CAT, 0.6), (CAT, DOG, 0.8), (DOG, DOG, 0.7), (DOG, CAT, 0.95), (DOG, CAT, 0.55)
    )


def test_precision_recall_and_f1_are_the_textbook_ones(said: Predictions) -> None:
    cat, dog = class_figures(said)[CAT], class_figures(said)[DOG]
    assert (cat.precision, cat.recall, cat.images) == (2 / 4, pytest.approx(2 / 3), 3)
    assert cat.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert (dog.precision, dog.recall) == (1 / 2, pytest.approx(1 / 3))


def test_a_class_that_is_neither_shown_nor_named_has_no_figures(said: Predictions) -> None:
    ship = class_figures(said)[CLASSES.index("ship")]
    assert (ship.precision, ship.recall, ship.f1, ship.images) == (None, None, None, 0)


def test_top2_counts_the_second_answer() -> None:
    second = (CAT + 1) % 10  # where `predictions` puts the rest
    assert top2_accuracy(predictions((CAT, CAT, 0.9), (second, CAT, 0.9), (DOG, CAT, 0.9))) == pytest.approx(2 / 3)


def test_confusion_has_a_row_for_each_label(said: Predictions) -> None:
    counts = confusion_counts(said)
    assert counts.shape == (10, 10)
    assert (counts[CAT, CAT], counts[CAT, DOG], counts[DOG, CAT], counts[DOG, DOG]) == (2, 1, 2, 1)
    assert counts.sum() == 6
    assert worst_cell(said) == (DOG, CAT)


def test_a_perfect_run_has_no_worst_cell() -> None:
    perfect = predictions((CAT, CAT, 0.9), (DOG, DOG, 0.9))
    assert worst_cell(perfect) == (0, 0)
    assert not len(confident_mistakes(perfect))


def test_a_cell_opens_its_images_surest_first(said: Predictions) -> None:
    assert images_in_cell(said, DOG, CAT).tolist() == [4, 5]
    assert images_in_cell(said, CAT, CAT).tolist() == [0, 1]
    assert images_in_cell(said, DEER, CAT).tolist() == []


def test_mistakes_come_surest_and_hits_least_sure_first(said: Predictions) -> None:
    assert confident_mistakes(said).tolist() == [4, 2, 5]
    assert least_confident_correct(said).tolist() == [1, 3, 0]


def test_a_hit_whose_neighbours_disagree_is_found() -> None:
    """Features are the images' mean: the training images near the second image are labelled dog, it is a cat."""
    rng = np.random.default_rng(0)
    training = np.concatenate([rng.normal((1, 0, 0), 0.05, (20, 3)), rng.normal((0, 1, 0), 0.05, (20, 3))])
    labels = np.repeat([CAT, DOG], 20)
    index = neighbors.build(training.astype(np.float32), labels, np.arange(40), "these")
    said = predictions((CAT, CAT, 0.9), (CAT, CAT, 0.5), (DOG, DOG, 0.6), (DOG, CAT, 0.9))
    images = np.zeros((4, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(4)
    places = np.array([(1, 0, 0), (0, 1, 0), (0, 1, 0), (1, 0, 0)], np.float32)
    positions, votes = outvoted_by_neighbors(said, images, lambda some: places[some[:, 0, 0, 0]], index)
    assert positions.tolist() == [1]
    assert votes.tolist() == [0]


def test_nothing_is_asked_where_no_answer_is_right() -> None:
    index = neighbors.build(np.eye(12, 3, dtype=np.float32), np.zeros(12, int), np.arange(12), "these")
    positions, _ = outvoted_by_neighbors(
        predictions((CAT, DOG, 0.9)), np.zeros((1, 32, 32, 3), np.uint8), lambda some: np.zeros((len(some), 3)), index
    )
    assert not len(positions)


def test_a_label_that_the_network_is_sure_against_is_probably_wrong() -> None:
    """Of forty cats and deer two cats are labeled deer; one answer is doubtful."""
    rows = [(CAT, CAT, 0.9), (DEER, DEER, 0.9)] * 20
    rows[5], rows[8], rows[9] = (DEER, CAT, 0.95), (DEER, CAT, 0.99), (DEER, DEER, 0.6)
    assert possibly_mislabeled(predictions(*rows)).tolist() == [8, 5]


def test_where_nothing_contradicts_no_label_is_doubted() -> None:
    assert len(possibly_mislabeled(predictions(*[(CAT, CAT, 0.9), (DOG, DOG, 0.8)] * 5))) == 0
    assert len(possibly_mislabeled(predictions((CAT, CAT, 1.0)))) == 0
