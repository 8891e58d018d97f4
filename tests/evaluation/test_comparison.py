import math

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.evaluation import comparison
from cifar_core.evaluation.comparison import McNemar, Pair, compare, mcnemar, verdict
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, write_json

LABELS = np.arange(200, dtype=np.uint8) % 10


def predictions(wrong: set[int]) -> Predictions:
    """What a model says that is wrong on the images `wrong` only."""
    said = LABELS.copy()
    said[list(wrong)] = (said[list(wrong)] + 1) % 10
    return Predictions(LABELS, np.eye(10, dtype=np.float32)[said])


def finish(config: TrainConfig, said: Predictions, fingerprint: str = "f") -> Run:
    run = runs.create(config)
    write_json(run.path / "status.json", {"state": "finished", "result": {}})
    write_json(run.path / "environment.json", {"data": {"fingerprint": fingerprint}})
    arrays = {f"{part}_{name}": value for part in ("validation", "test") for name, value in vars(said).items()}
    np.savez(run.path / "evaluation.npz", **arrays)
    return run


def test_the_exact_test_counts_images_that_one_model_alone_gets_right() -> None:
    a, b = predictions(set(range(0, 10))), predictions(set(range(8, 40)))
    found = mcnemar(a, b)
    assert (found.images, found.only_a, found.only_b) == (200, 30, 8)
    assert found.p_value == pytest.approx(2 * sum(math.comb(38, k) for k in range(9)) / 2**38)
    back = mcnemar(b, a)
    assert (back.only_a, back.only_b, back.p_value) == (8, 30, found.p_value)


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    found = mcnemar(predictions({1, 2}), predictions({1, 2}))
    assert (found.only_a, found.only_b, found.p_value) == (0, 0, 1.0)


def test_other_images_are_refused() -> None:
    other = Predictions(LABELS[::-1].copy(), predictions(set()).probabilities)
    with pytest.raises(ValueError, match="different images"):
        mcnemar(predictions(set()), other)


def test_every_pair_is_tested_or_says_why_not(tiny_config: TrainConfig, run: Run) -> None:
    a = finish(tiny_config, predictions(set()))
    b = finish(tiny_config, predictions(set(range(30))))
    elsewhere = finish(tiny_config, predictions(set()), fingerprint="other")
    pairs = {(pair.a, pair.b): pair for pair in compare([a, b, elsewhere, run])}
    assert len(pairs) == 6
    assert pairs[a, b].result == mcnemar(predictions(set()), predictions(set(range(30))))
    assert "different sets of images" in pairs[a, elsewhere].reason
    assert "only a finished run can be evaluated" in pairs[a, run].reason
    assert "cannot be compared" in verdict(pairs[a, run], "A", "B")


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value", "pairs", "words"),
    [
        (
            50,
            20,
            0.0004,
            1,
            "A is really better than B: of 200 test images 50 are right with A only and 20 with B only",
        ),
        (20, 50, 0.0004, 1, "B is really better than A"),
        (50, 20, 0.02, 1, "A is really better than B"),
        (50, 20, 0.02, 3, "No real difference between A and B is shown"),
        (21, 20, 0.9, 1, "about 90 pairs in 100"),
        (50, 20, 0.0004, 1, "about 1 pair in 2,500"),
        (90, 2, 1e-9, 1, "p < 0.0001"),
        (0, 0, 1.0, 1, "both are right on the same test images"),
    ],
)
def test_the_verdict_is_said_in_words(only_a: int, only_b: int, p_value: float, pairs: int, words: str) -> None:
    pair = Pair(Run("a"), Run("b"), McNemar(200, only_a, only_b, p_value))
    assert words in verdict(pair, "A", "B", pairs)


def test_many_pairs_come_with_a_caution() -> None:
    assert "3 pairs are looked at together" in comparison.caution(3)
    assert "below 0.017" in comparison.caution(3)
    assert "together" not in comparison.caution(1)
