import math
from dataclasses import replace

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.evaluation import comparison
from cifar_core.evaluation import predictions as predictions_module
from cifar_core.evaluation.comparison import McNemar, Pair, compare, holm, mcnemar, verdict
from cifar_core.evaluation.predictions import Evaluation, Predictions
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
    write_json(
        run.path / "environment.json",
        {
            "data": {"label": "images", "fingerprint": fingerprint},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
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
    with pytest.raises(RunError, match="did not see the same test images"):
        mcnemar(predictions(set()), other)


def test_every_pair_is_tested_or_says_why_not(tiny_config: TrainConfig, run: Run) -> None:
    a = finish(tiny_config, predictions(set()))
    b = finish(tiny_config, predictions(set(range(30))))
    elsewhere = finish(tiny_config, predictions(set()), fingerprint="other")
    pairs = {(pair.a, pair.b): pair for pair in compare([a, b, elsewhere, run])}
    assert len(pairs) == 6
    assert pairs[a, b].result == mcnemar(predictions(set()), predictions(set(range(30))))
    assert pairs[a, elsewhere].result is None and pairs[a, elsewhere].reason
    assert run.id in pairs[a, run].reason
    assert pairs[a, run].reason in verdict(pairs[a, run], "A", "B")


@pytest.mark.parametrize(
    ("only_a", "only_b", "adjusted", "words"),
    [
        (50, 20, 0.0004, "A is better than B: of 200 test images, A alone predicts 50 correctly and B alone 20"),
        (20, 50, 0.0004, "B is better than A"),
        (50, 20, 0.06, "No significant difference between A and B"),
        (21, 20, 0.9, "p = 0.9"),
        (90, 2, 1e-9, "p < 0.0001"),
        (0, 0, 1.0, "both predict the same test images correctly"),
    ],
)
def test_the_verdict_names_the_better_run_only_where_the_adjusted_p_value_allows(
    only_a: int, only_b: int, adjusted: float, words: str
) -> None:
    pair = Pair(Run("a"), Run("b"), McNemar(200, only_a, only_b, 0.0), adjusted=adjusted)
    assert words in verdict(pair, "A", "B")


def test_holms_adjustment_is_that_of_his_example_and_never_below_the_p_value() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.03, 0.5]) == pytest.approx([0.06, 0.5])
    assert holm([]) == []


def test_among_equally_good_runs_five_comparisons_in_a_hundred_find_a_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    chosen = [Run(name) for name in "abcd"]
    labels = np.tile(LABELS, 5)
    false = 0
    for _ in range(300):
        said = {run: np.where(rng.random(len(labels)) < 0.8, labels, (labels + 1) % 10) for run in chosen}
        known = {run: Predictions(labels, np.eye(10, dtype=np.float32)[said[run]]) for run in chosen}
        monkeypatch.setattr(
            predictions_module, "load", lambda run, known=known: Evaluation("made", known[run], known[run])
        )
        false += any(pair.is_significant for pair in compare(chosen))
    assert 0.01 <= false / 300 <= 0.08  # pairs alone would give some 17 in 100


def test_a_comparison_of_several_pairs_says_that_they_are_corrected() -> None:
    assert "Holm" in comparison.correction_note(3)
    assert "Holm" not in comparison.correction_note(1)


@pytest.mark.parametrize(
    ("weights", "data", "seen"),
    [("bundled", "cifar10", True), ("imagenet", "cifar10", False), ("bundled", "generated", False)],
)
def test_a_run_from_the_bundled_model_has_seen_its_validation_images(
    run: Run, weights: str, data: str, seen: bool
) -> None:
    origin = {"label": "", "fingerprint": ""}
    write_json(run.path / "environment.json", {"data": origin | {"name": data}, "weights": origin | {"kind": weights}})
    assert comparison.has_seen_validation(run) is seen
    assert ("a name" in comparison.leak_note({run.id: "a name"})) is seen


def test_without_a_record_the_settings_say_whether_a_run_has_seen_its_validation_images(tiny_config) -> None:
    made = {weights: runs.create(replace(tiny_config, weights=weights)) for weights in ("bundled", "random")}
    assert [name for name, one in made.items() if comparison.has_seen_validation(one)] == ["bundled"]
