"""Each rule, on the recorded rows of a run that really shows it (tests/recorded/: what was run, where and when).

The files hold the epochs' rows, the figures and the failure of real runs on official CIFAR-10, kept when they were
made; their "command" makes such a run again. A loss that is no number has its test where runs are trained.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.errors import RunError
from cifar_core.evaluation import diagnosis
from cifar_core.evaluation.diagnosis_rules import Finding
from cifar_core.runs import Run, write_json

RECORDED = Path(__file__).parents[1] / "recorded"
RUNS = sorted(path.stem for path in RECORDED.glob("*.json"))
FOUND = {
    "by_heart": {"overfitting": "problem", "fine_tuning_gave_nothing": "hint", "small_validation_set": "hint"},
    "broken_by_fine_tuning": {
        "fell_at_the_boundary": "problem",
        "small_validation_set": "hint",
    },
    "nothing_learned": {"nothing_learned": "problem", "small_validation_set": "hint"},
    "wrong_pixel_range": {
        "wrong_pixel_range": "problem",
        "small_input": "problem",
        "never_unfrozen": "hint",
        "small_validation_set": "hint",
    },
    "far_too_hard": {
        "augmented_too_hard": "problem",
        "fell_at_the_boundary": "hint",
        "still_rising": "hint",
        "small_validation_set": "hint",
    },
    "batch_norm_in_training_mode": {
        "stale_statistics": "problem",
        "small_validation_set": "hint",
    },
    "still_rising": {"still_rising": "hint", "small_validation_set": "hint"},
    "test_lower": {
        "fell_at_the_boundary": "hint",
        "overfitting": "hint",
        "still_rising": "hint",
        "test_surprise": "hint",
        "small_validation_set": "hint",
    },
    "much_dropout": {"small_validation_set": "hint", "validation_above_training": "fine"},
    "impatient": {
        "overfitting": "problem",
        "impatient": "hint",
        "never_unfrozen": "hint",
        "small_validation_set": "hint",
    },
    "quick": {"fell_at_the_boundary": "hint", "overfitting": "hint", "small_validation_set": "hint"},
    "standard": {"healthy": "fine"},
}
EVIDENCE = {
    "by_heart": ("overfitting", ("100.0% of the training", "76.0% of the validation"), KNOBS["dropout"].label),
    "broken_by_fine_tuning": ("fell_at_the_boundary", ("75.5% in phase 1", "10.0% after"), "0.01"),
    "nothing_learned": ("nothing_learned", ("above 19.4%", "3.13 to 2.71", "1.001e-05"), "Raise"),
    "wrong_pixel_range": ("wrong_pixel_range", ("[0, 1]", "55.5%"), "[-1, 1]"),
    "far_too_hard": ("augmented_too_hard", ("63.5% of the augmented", "75.5% of the validation"), "3 to 0.5"),
    "batch_norm_in_training_mode": ("stale_statistics", ("80.7%", "47.9%", "0.56 and 3.84"), "keep statistics"),
    "still_rising": ("still_rising", ("0.57 to 0.50",), KNOBS["fine_tune_epochs"].label),
    "test_lower": (
        "test_surprise",
        ("86.0% of 1,000", "82.9% of 10,000", "standard deviations"),
        KNOBS["validation_fraction"].label,
    ),
    "much_dropout": ("validation_above_training", ("of the validation and",), "not change anything"),
    "impatient": ("impatient", ("after epoch 5 of 20", "0.32 to 0.26"), "1 to 5"),
    "quick": ("small_validation_set", ("83.9% to 88.2%",), KNOBS["train_images"].label),
    "standard": ("healthy", ("94.3% of the training", "91.6% of the validation"), "one at a time"),
}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def examined(name: str, until: int | None = None, **more: Any) -> dict[str, Finding]:
    """What the rules find in a recorded run, or in its first `until` epochs, by rule."""
    kept = recorded(name)
    config = TrainConfig.from_dict(kept["config"])
    given = {"result": kept["result"], "error": kept["error"]} | more
    found = diagnosis.diagnose_rows(config, kept["rows"][:until], **given)
    return {finding.rule: finding for finding in found}


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_says_what_it_was(name: str) -> None:
    kept = recorded(name)
    assert kept["command"].startswith("python -m cifar_core train --preset classic --")
    said = kept["command"].split()[6:]
    by_flag = {knob.flag: knob for knob in KNOBS.values()}
    pairs = zip(said[::2], said[1::2], strict=True)
    changes = {by_flag[flag].name: by_flag[flag].parse(value) for flag, value in pairs}
    changes["head_batch_size"] = changes.get("batch_size", 64)  # it had no knob of its own then
    assert replace(PRESETS["classic"], **changes) == TrainConfig.from_dict(kept["config"])
    assert kept["result"]["dataset"] == "CIFAR-10"
    assert kept["hardware"]
    assert kept["date"]


@pytest.mark.parametrize("name", RUNS)
def test_the_rules_find_in_a_run_what_it_shows_and_nothing_else(name: str) -> None:
    assert {rule: finding.level for rule, finding in examined(name).items()} == FOUND[name]


@pytest.mark.parametrize("name", RUNS)
def test_a_finding_gives_its_evidence_in_numbers_and_names_a_knob(name: str) -> None:
    rule, numbers, knob = EVIDENCE[name]
    finding = examined(name)[rule]
    assert all(number in finding.evidence for number in numbers), finding.evidence
    assert knob in finding.advice, finding.advice
    assert finding.cause


def test_every_rule_but_that_of_nan_is_shown_by_a_recorded_run() -> None:
    shown = {rule for found in FOUND.values() for rule in found}
    assert shown == {rule.__name__ for rule in diagnosis.RULES} - {"not_a_number"} | {"healthy"}


def test_problems_come_first() -> None:
    order = [finding.level for finding in examined("far_too_hard").values()]
    assert order == sorted(order, key=("problem", "hint", "fine").index)


@pytest.mark.parametrize("name", RUNS)
def test_what_a_live_run_is_told_is_still_said_at_its_end(name: str) -> None:
    final = set(examined(name))
    for until in range(len(recorded(name)["rows"]) + 1):
        assert set(examined(name, until, result={}, error="", ended=False)) <= final


def test_a_live_run_is_judged_by_phases_that_are_over() -> None:
    assert set(examined("broken_by_fine_tuning", until=5, result={}, ended=False)) == set()
    assert set(examined("nothing_learned", until=3, result={}, ended=False)) == set()
    assert set(examined("nothing_learned", until=4, result={}, ended=False)) == {"nothing_learned"}


def steps(findings: Iterable[Finding]) -> dict[str, set[int]]:
    moved: dict[str, set[int]] = {}
    for finding in findings:
        for step in finding.steps:
            if step.direction:
                moved.setdefault(step.knob, set()).add(step.direction)
    return moved


@pytest.mark.parametrize("name", RUNS)
def test_advice_never_moves_a_knob_both_ways(name: str) -> None:
    for until in range(1, len(recorded(name)["rows"]) + 1):
        moved = steps(examined(name, until).values())
        assert all(len(ways) == 1 for ways in moved.values()), moved
        longer = {
            way
            for knob in ("head_epochs", "fine_tune_epochs", "early_stopping_patience")
            for way in moved.get(knob, ())
        }
        assert len(longer) < 2, moved


def epochs(phase: str, accuracies: Sequence[float], planned: int, loss: float = 1.0) -> list[dict[str, Any]]:
    """Rows of one phase with these validation accuracies, the losses falling as they rise."""
    known = {"kind": "epoch", "phase": phase, "epochs": planned, "accuracy": 0.7, "learning_rate": 1e-3}
    return [
        known | {"epoch": n, "loss": loss, "validation_accuracy": share, "validation_loss": 2 - share}
        for n, share in enumerate(accuracies, 1)
    ]


def rules(rows: Sequence[dict[str, Any]], **knobs: Any) -> dict[str, Finding]:
    config = replace(PRESETS["classic"], **knobs)
    return {finding.rule: finding for finding in diagnosis.diagnose_rows(config, rows, {})}


def test_findings_name_the_cross_entropy_where_it_is_recorded() -> None:
    rows = epochs("head", [0.5, 0.6], 2)
    assert re.search(r"validation loss .*1\.50 .*1\.40", rules(rows)["still_rising"].evidence)
    for row, value in zip(rows, (1.3, 0.9), strict=True):
        row |= {"cross_entropy": 1.0, "validation_cross_entropy": value}
    assert re.search(r"validation cross-entropy .*1\.30 .*0\.90", rules(rows)["still_rising"].evidence)
    rows[1]["validation_cross_entropy"] = 1.4  # the penalties fell, the cross-entropy rose
    assert "still_rising" not in rules(rows)


def test_a_small_rate_is_not_both_too_small_and_too_large() -> None:
    rows = epochs("head", [0.7, 0.75], 2) + epochs("fine_tune", [0.60, 0.62], 2)
    found = rules(rows, fine_tune_learning_rate=1e-5)
    assert "fine_tuning_gave_nothing" not in found
    assert "fine_tune_blocks" in steps(found.values())
    assert "fine_tune_learning_rate" not in steps(found.values())


def test_a_fall_that_recovered_and_a_rise_to_the_end_do_not_move_the_rate_both_ways() -> None:
    rows = epochs("head", [0.7, 0.75], 2) + epochs("fine_tune", [0.60, 0.7, 0.85], 3)
    found = rules(rows)
    assert {"fell_at_the_boundary", "still_rising"} <= set(found)
    assert steps(found.values())["fine_tune_learning_rate"] == {-1}
    assert steps(found.values())["fine_tune_epochs"] == {1}


def test_one_point_more_in_the_last_epoch_is_within_noise() -> None:
    assert "still_rising" not in rules(epochs("head", [0.70, 0.711], 2))


@pytest.mark.parametrize(
    ("error", "rows", "knob"),
    [
        ("in epoch 2 of phase head the loss became nan", epochs("head", [0.5], 4), "head_learning_rate"),
        ("in epoch 1 of phase fine_tune the loss became inf", epochs("head", [0.5] * 4, 4), "fine_tune_learning_rate"),
        ("", epochs("head", [0.5, 0.1], 4, math.nan), "head_learning_rate"),
    ],
)
def test_a_loss_that_is_no_number_blames_the_rate_of_its_phase(error: str, rows: list, knob: str) -> None:
    (finding, *_) = diagnosis.diagnose_rows(PRESETS["classic"], rows, {}, error)
    assert (finding.rule, finding.steps[0].knob) == ("not_a_number", knob)


def test_early_stopping_is_not_blamed_for_the_end_of_a_run_that_was_stopped() -> None:
    kept = recorded("impatient")
    assert "impatient" in examined("impatient")
    assert "impatient" not in examined("impatient", result={})
    both = [*kept["rows"], *epochs("fine_tune", [0.9], 4)]
    config = TrainConfig.from_dict(kept["config"])
    assert "impatient" in {finding.rule for finding in diagnosis.diagnose_rows(config, both)}


@pytest.mark.parametrize(("weights", "expected"), [("auto", True), ("imagenet", True), ("random", False)])
def test_the_pixel_range_is_wrong_for_imagenet_weights_only_also_before_the_end(weights: str, expected: bool) -> None:
    found = rules(epochs("head", [0.5, 0.6], 2), scaling="zero_to_one", weights=weights)
    assert ("wrong_pixel_range" in found) == expected


def test_without_an_epoch_there_is_nothing_to_say() -> None:
    assert diagnosis.diagnose_rows(TrainConfig(), []) == []
    assert diagnosis.diagnose_rows(TrainConfig(), [{"kind": "epoch", "phase": "head", "epoch": "x"}], {"a": 1}) == []


def test_damaged_figures_are_left_out() -> None:
    assert diagnosis.diagnose_rows(TrainConfig(), epochs("head", [0.5, 0.6], 2), {"weights": 5})
    for result in ({}, {"validation_accuracy": "0.9"}, {"validation_accuracy": 7, "validation_images": 10}):
        assert not {"test_surprise", "small_validation_set"} & set(examined("test_lower", result=result))


def test_a_run_on_the_disk_is_diagnosed_and_a_damaged_one_is_a_sentence(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = recorded("by_heart")
    write_json(run.path / "config.json", kept["config"])
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept["rows"]))
    write_json(run.path / "status.json", {"state": "finished", "result": kept["result"]})
    assert [finding.rule for finding in diagnosis.diagnose(run)] == list(FOUND["by_heart"])
    assert parser.main(["runs", "show", run.id]) == 0
    assert f"[problem] {diagnosis.diagnose(run)[0].title}." in capsys.readouterr().out
    (run.path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json"):
        diagnosis.diagnose(runs.get(run.id))


def test_a_setting_at_the_end_of_its_range_is_not_advised_again() -> None:
    """It said "lower Fine-tuning epochs from 100 to 100"."""
    kept = recorded("still_rising")
    config = replace(TrainConfig.from_dict(kept["config"]), fine_tune_epochs=KNOBS["fine_tune_epochs"].high)
    (finding,) = (
        one for one in diagnosis.diagnose_rows(config, kept["rows"], kept["result"]) if one.rule == "still_rising"
    )
    assert [step.knob for step in finding.steps] == ["fine_tune_learning_rate"]
    config = TrainConfig.from_dict(recorded("test_lower")["config"])
    config = replace(config, validation_fraction=KNOBS["validation_fraction"].high)
    found = diagnosis.diagnose_rows(config, recorded("test_lower")["rows"], recorded("test_lower")["result"])
    (finding,) = (one for one in found if one.rule == "test_surprise")
    assert "is “0.5” already" in finding.advice and not finding.steps[0].changes


def test_imagenet_weights_are_not_advised_where_they_are() -> None:
    """Found with random configurations: "Set “Initial weights” to “ImageNet”" for a run with those of ImageNet."""
    kept = recorded("nothing_learned")
    config = replace(TrainConfig.from_dict(kept["config"]), head_learning_rate=3e-3, weights="imagenet")
    first = diagnosis.diagnose_rows(config, kept["rows"], {"weights": "MobileNetV2, ImageNet"})[0]
    assert first.rule == "nothing_learned" and first.steps[0].changes == {"head_learning_rate": 1e-3}
