"""Diagnosis of a run: probable problems, what to change, and the evidence. The rules are in diagnosis_rules.py."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.evaluation import diagnosis_rules, phase_summary
from cifar_core.evaluation.diagnosis_rules import Case, Finding, Step, label, set_knob
from cifar_core.evaluation.predictions import wilson
from cifar_core.runs import Run

LEVELS = ("problem", "hint", "fine")
_FAR_APART = 2.58  # standard deviations: 99% of a normal distribution
_WIDE = 0.02  # half width of the validation accuracy's interval
SMALLEST_SIDE = 32
"""Input side in pixels that the network reduces to a 1×1 feature map."""
_LONGER = ("head_epochs", "fine_tune_epochs", "early_stopping_patience")  # higher values mean a longer training


def diagnose(run: Run) -> list[Finding]:
    """Return the findings for `run`, problems first; for a live run only those that later epochs cannot change.

    Empty before the first epoch. Raises RunError if the configuration is damaged.
    """
    status = run.status
    message = str(status.get("error", {}).get("message", "")) if status["state"] == "failed" else ""
    return diagnose_rows(run.config, run.metrics(), run.result, message, status["state"] not in runs.LIVE_STATES)


def _cross_entropies(epochs: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows with cross-entropies as losses, if all rows have them, and the name of the losses."""
    names = {"loss": "cross_entropy", "validation_loss": "validation_cross_entropy"}
    if not all(row.get(name) is not None for row in epochs for name in names.values()):
        return list(epochs), "loss"
    return [row | {loss: row[name] for loss, name in names.items()} for row in epochs], "cross-entropy"


def diagnose_rows(
    config: TrainConfig,
    rows: Sequence[dict[str, Any]],
    result: Mapping[str, Any] | None = None,
    error: str = "",
    ended: bool = True,
) -> list[Finding]:
    """Return the findings, problems first. `error` is the message of a failed run, `result` its metrics.

    For a live run (not `ended`), only phases that have no more epochs count.
    """
    epochs, phases = phase_summary.epoch_rows(rows), phase_summary.phases(rows, config.schedule)
    if not ended:
        phases = [phase for phase in phases if phase is not phases[-1] or phase.epochs >= phase.planned]
        epochs = [row for row in epochs if any(row["phase"] == phase.name for phase in phases)]
    case = Case(config, *_cross_entropies(epochs), phases, result or {}, error)
    findings = [
        replace(finding, rule=rule.__name__)
        for rule in (RULES if ended else LIVE_RULES)
        if (epochs or rule is diagnosis_rules.not_a_number) and (finding := rule(case))
    ]
    findings = _agreed(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))
    if ended and result and epochs and all(finding.level == "fine" for finding in findings):
        findings.append(healthy(case))
    return findings


def _agreed(findings: Sequence[Finding]) -> list[Finding]:
    """Drop steps that contradict an earlier finding or change nothing, and findings without steps left."""
    taken: dict[str, int] = {}
    agreed = []
    for finding in findings:
        steps = [step for step in finding.steps if taken.get(_axis(step.knob), step.direction) == step.direction]
        if steps:
            agreed.append(replace(finding, steps=tuple(step for step in steps if step.changes) or tuple(steps[:1])))
            taken |= {_axis(step.knob): step.direction for step in steps if step.direction}
    return agreed


def _axis(knob: str) -> str:
    return "epochs" if knob in _LONGER else knob


def test_surprise(case: Case) -> Finding | None:
    """Find a test accuracy that differs from the validation accuracy by more than chance."""
    figures = _both_accuracies(case.result)
    if figures is None:
        return None
    validation, n, test, m = figures
    spread = math.sqrt(validation * (1 - validation) / n + test * (1 - test) / m)
    apart = (validation - test) / max(spread, 1e-9)
    if abs(apart) < _FAR_APART:
        return None
    why = (
        "The best epoch was chosen by validation accuracy, which makes it optimistic, especially with few images."
        if apart > 0
        else "The validation images happen to be harder than the test images."
    )
    return Finding(
        "hint",
        f"The test accuracy is {'lower' if apart > 0 else 'higher'} than the validation accuracy",
        why,
        (set_knob(case.config, "validation_fraction", case.config.validation_fraction + 0.1),),
        f"Validation {validation:.1%} of {n:,} images, test {test:.1%} of {m:,}: {abs(apart):.1f} standard "
        "deviations apart.",
    )


def small_validation_set(case: Case) -> Finding | None:
    """Find a validation set so small that its noise hides most differences between runs."""
    figures = _both_accuracies(case.result)
    if figures is None:
        return None
    validation, n, _, _ = figures
    low, high = wilson(round(validation * n), n)
    half = (high - low) / 2
    if half < _WIDE:
        return None
    return Finding(
        "hint",
        "The validation set is small",
        f"Chance alone changes its accuracy by up to {100 * half:.0f} points, as much as many settings do.",
        (set_knob(case.config, "train_images", 4 * case.config.train_images),),
        f"{validation:.1%} of {n:,} images is {low:.1%} to {high:.1%} with 95% confidence (Wilson).",
    )


def _both_accuracies(result: Mapping[str, Any]) -> tuple[float, int, float, int] | None:
    """Return accuracy and number of images of validation and test, or None if unknown."""
    validation, n, test, m = map(
        result.get, ("validation_accuracy", "validation_images", "test_accuracy", "test_images")
    )
    return None if validation is None or test is None or not n or not m else (validation, n, test, m)


def small_input(case: Case) -> Finding | None:
    """Find images so small that the last feature map is 1×1."""
    side = case.config.image_size // SMALLEST_SIDE
    if side > 1:
        return None
    return Finding(
        "problem",
        "The images are too small for the network",
        "MobileNetV2 halves its feature map five times. Its filters expect objects of 96 pixels or more.",
        (set_knob(case.config, "image_size", 96),),
        f"The last map is 1×1 at {case.config.image_size} px, 3×3 at 96 px. Validation reached {_best(case):.1%}.",
    )


def never_unfrozen(case: Case) -> Finding | None:
    """Find a training without fine-tuning."""
    config = case.config
    if config.fine_tunes or diagnosis_rules.nothing_learned(case):
        return None
    zero = [name for name in ("fine_tune_epochs", "fine_tune_blocks") if not getattr(config, name)]
    return Finding(
        "hint",
        "The backbone was never unfrozen",
        "Only the head learned; the features are still those of the initial weights.",
        (Step(f"fine-tune: set {' and '.join(map(label, zero))} to 4", dict.fromkeys(zero, 4), 1),),
        f"The head alone reached {_best(case):.1%} on validation images.",
    )


def _best(case: Case) -> float:
    return max(phase.best for phase in case.phases)


def healthy(case: Case) -> Finding:
    """Return the finding for a run without problems."""
    last = case.last
    return Finding(
        "fine",
        "Nothing looks wrong",
        "The losses fell, and training and validation stayed together.",
        (Step("for more accuracy, try more images, a wider network (width α) or larger images, one at a time"),),
        f"In the last epoch {last['accuracy']:.1%} of the training and {last['validation_accuracy']:.1%} of the "
        "validation images were correct.",
        "healthy",
    )


Rule = Callable[[Case], Finding | None]
LIVE_RULES: tuple[Rule, ...] = (diagnosis_rules.not_a_number, diagnosis_rules.nothing_learned)
"""Rules for the finished phases of a live run: later epochs cannot change their findings."""
RULES: tuple[Rule, ...] = (
    *LIVE_RULES,
    diagnosis_rules.fell_at_the_boundary,
    diagnosis_rules.wrong_pixel_range,
    small_input,
    diagnosis_rules.augmented_too_hard,
    diagnosis_rules.stale_statistics,
    diagnosis_rules.overfitting,
    diagnosis_rules.still_rising,
    diagnosis_rules.fine_tuning_gave_nothing,
    diagnosis_rules.impatient,
    never_unfrozen,
    test_surprise,
    small_validation_set,
    diagnosis_rules.validation_above_training,
)
