"""The rules of the diagnosis, over metrics and configuration.

A rule looks at a case and returns a finding or None. Its limits stand beside it; they are where, in real runs of
this app, the effect is larger than the noise of a validation set of some hundred images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cifar_core.config import KNOBS, TrainConfig
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.case import Case, Finding, label
from cifar_core.evaluation.predictions import wilson

_GUESSING_LOSS = math.log(len(CLASSES))  # nats, of one who knows nothing of ten classes
_GUESSING = 0.2  # accuracy up to which nothing was learned; guessing gives 0.1, a few images more by chance
_GAP, _WIDE_GAP = 0.1, 0.15
_FALL = 0.03
_STILL_RISING = 0.01
_FAR_APART = 2.58  # standard deviations, 99 %
_WIDE = 0.02  # half of the validation accuracy's interval


def not_a_number(case: Case) -> Finding | None:
    """Find a loss that became infinite or NaN, which ends a run."""
    broken = "loss became" in case.error or any(not math.isfinite(row["loss"]) for row in case.epochs)
    if not broken:
        return None
    phase = "fine_tune" if "fine_tune" in case.error or case.phase("head") else "head"
    rate = getattr(case.config, f"{phase}_learning_rate")
    return Finding(
        "not_a_number",
        "problem",
        "The loss is no longer a number",
        "A step was so large that the weights grew beyond what a float can hold; no later step can bring them back.",
        f"Divide {label(f'{phase}_learning_rate')} by 10 and start anew.",
        (case.error or "The loss of an epoch is not finite.") + f" The rate was {rate:g}.",
    )


def nothing_learned(case: Case) -> Finding | None:
    """Find a loss that was flat from the start: two epochs or more, and no better than guessing."""
    first = case.phases[0]
    best = max(row["validation_accuracy"] for row in case.epochs)
    if best > _GUESSING or len(case.epochs) < 2:
        return None
    rate = getattr(case.config, f"{first.name}_learning_rate")
    losses = [row["loss"] for row in case.epochs_of(first.name)]
    return Finding(
        "nothing_learned",
        "problem",
        "It learned next to nothing",
        _why_flat(case, rate),
        _mend_flat(case, first.name, rate),
        f"Validation accuracy never rose above {best:.1%} (guessing gives 10 %); the training loss went from "
        f"{losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} epochs (guessing costs {_GUESSING_LOSS:.2f}) at a rate "
        f"of {rate:g}.",
    )


def fell_at_the_boundary(case: Case) -> Finding | None:
    """Find a validation accuracy that fell when the top of the base was unfrozen."""
    head, tuned = case.phase("head"), case.phase("fine_tune")
    if not head or not tuned or tuned.first > head.best - _FALL:
        return None
    recovered = tuned.best > head.best
    if case.config.batch_norm == "training":
        cause = (
            "Unfrozen batch normalisation normalises by the batch while it trains, and by slowly moving statistics "
            "when it is tried: in a short training the two do not meet."
        )
        advice = f"Set {label('batch_norm')} to “{KNOBS['batch_norm'].say('inference')}”."
    else:
        cause = (
            "The first steps with the top of the base unfrozen were too large and broke what ImageNet had taught it."
        )
        rate = f"{label('fine_tune_learning_rate')} ({case.config.fine_tune_learning_rate:g})"
        advice = f"A lower {rate} would cost fewer epochs." if recovered else f"Divide {rate} by 5 to 10."
    ending = f"it recovered to {tuned.best:.1%}" if recovered else f"it never came back: {tuned.best:.1%} at best"
    return Finding(
        "fell_at_the_boundary",
        "hint" if recovered else "problem",
        "Accuracy fell when fine-tuning began",
        cause,
        advice,
        f"Validation accuracy was {head.best:.1%} at the end of phase 1 and {tuned.first:.1%} after the first epoch of "
        f"phase 2; {ending}.",
    )


def fine_tuning_gave_nothing(case: Case) -> Finding | None:
    """Find a second phase whose best epoch is not better than the first phase's."""
    head, tuned = case.phase("head"), case.phase("fine_tune")
    if not head or not tuned or tuned.best > head.best:
        return None
    slow = case.config.fine_tune_learning_rate < 3e-5
    return Finding(
        "fine_tuning_gave_nothing",
        "hint",
        "Fine-tuning gave nothing; the model kept is that of phase 1",
        "Its steps were too small to change anything." if slow else "No epoch of phase 2 was better than phase 1.",
        f"{'Raise' if slow else 'Lower'} {label('fine_tune_learning_rate')}, or save the time: "
        f"{label('fine_tune_epochs')} 0.",
        f"Phase 1 reached {head.best:.1%}, phase 2 {tuned.best:.1%} in {tuned.epochs} epochs, {tuned.seconds:.0f} s.",
    )


def stale_statistics(case: Case) -> Finding | None:
    """Find batch normalisation whose slow statistics are not those of the batches that it was trained with."""
    tuned = case.epochs_of("fine_tune")
    if case.config.batch_norm != "training" or not tuned:
        return None
    last = tuned[-1]
    if last["accuracy"] - last["validation_accuracy"] < _GAP:
        return None
    return Finding(
        "stale_statistics",
        "problem",
        "Batch normalisation knows two different networks",
        "While it trains it normalises by the batch at hand; when it is tried, by averages that move by a thousandth a "
        "step, too slowly for a short training. What is tried is not what was trained.",
        f"Set {label('batch_norm')} to “{KNOBS['batch_norm'].say('inference')}”, or let it adapt.",
        f"In the last epoch {last['accuracy']:.1%} of the training images were right, but "
        f"{last['validation_accuracy']:.1%} of the validation images; the losses were {last['loss']:.2f} and "
        f"{last['validation_loss']:.2f}.",
    )


def overfitting(case: Case) -> Finding | None:
    """Find a training accuracy far above the validation accuracy at the end."""
    last = case.last
    gap = last["accuracy"] - last["validation_accuracy"]
    if gap < _GAP or stale_statistics(case):
        return None
    lowest = min(case.epochs_of(last["phase"]), key=lambda row: row["validation_loss"])
    rise = (
        f" The validation loss was lowest in epoch {lowest['epoch']} ({lowest['validation_loss']:.2f}) and rose to "
        f"{last['validation_loss']:.2f}."
        if last["validation_loss"] > 1.05 * lowest["validation_loss"]
        else ""
    )
    return Finding(
        "overfitting",
        "problem" if gap >= _WIDE_GAP or rise else "hint",
        "It learned its training images by heart",
        "It has so much freedom, for so few images, that it remembers them rather than what their class has in common.",
        _against_overfitting(case.config),
        f"In the last epoch {last['accuracy']:.1%} of the training images were right, and "
        f"{last['validation_accuracy']:.1%} of the validation images.{rise}",
    )


def augmented_too_hard(case: Case) -> Finding | None:
    """Find an augmentation so strong that the training images are much harder than real ones."""
    ends = [case.epochs_of(phase.name)[-1] for phase in case.phases]
    widest = max(ends, key=lambda row: row["validation_accuracy"] - row["accuracy"])
    if case.config.augmentation < 2 or widest["validation_accuracy"] - widest["accuracy"] < _GAP:
        return None
    return Finding(
        "augmented_too_hard",
        "problem",
        "The training images are changed beyond what it will ever see",
        "At this strength objects leave the picture or cannot be made out, so steps are spent on noise.",
        f"Set {label('augmentation')} ({case.config.augmentation:g}) to 0.5 to 1.",
        f"At the end of a phase {widest['accuracy']:.1%} of the augmented training images were right, and "
        f"{widest['validation_accuracy']:.1%} of the untouched validation images.",
    )


def validation_above_training(case: Case) -> Finding | None:
    """Find a validation accuracy above the training accuracy, which looks like a mistake and is none."""
    gap = case.last["validation_accuracy"] - case.last["accuracy"]
    if gap < 0.02 or augmented_too_hard(case):
        return None
    reasons = [f"dropout silences {case.config.dropout:.0%} of the head's inputs"] if case.config.dropout else []
    reasons += ["training images are augmented"] if case.config.augmentation else []
    reasons += ["the training figure is the mean over an epoch that began with worse weights"]
    return Finding(
        "validation_above_training",
        "fine",
        "Validation is better than training: that is as it should be here",
        f"Training is made harder on purpose: {'; '.join(reasons)}. Validation has none of that.",
        f"Nothing needs to be mended; if training is far from 100 %, less {label('dropout')} may fit it better.",
        f"In the last epoch {case.last['validation_accuracy']:.1%} of the validation and "
        f"{case.last['accuracy']:.1%} of the training images were right.",
    )


def wrong_pixel_range(case: Case) -> Finding | None:
    """Find pixels scaled to a range that ImageNet's weights were not trained with."""
    if case.config.scaling != "zero_to_one" or "ImageNet" not in str(case.result.get("weights", "ImageNet")):
        return None
    best = max(case.phases, key=lambda phase: phase.best)
    return Finding(
        "wrong_pixel_range",
        "problem",
        "The pixels are in the wrong range",
        "ImageNet's weights were trained with pixels in [-1, 1]. In [0, 1] every picture looks grey and pale to them, "
        "so the features of the frozen base carry less.",
        f"Set {label('scaling')} to “{KNOBS['scaling'].say('minus_one_to_one')}”.",
        f"It was trained with [0, 1]; the best validation accuracy was {best.best:.1%}, in phase "
        f"“{best.label.lower()}”.",
    )


def still_rising(case: Case) -> Finding | None:
    """Find a training whose last planned epoch was its best by far: it stopped too early."""
    phase = case.phases[-1]
    epochs = case.epochs_of(phase.name)
    if phase.stopped_early or len(epochs) < 2 or phase.best_epoch != epochs[-1]["epoch"]:
        return None
    gain = epochs[-1]["validation_accuracy"] - epochs[-2]["validation_accuracy"]
    if gain < _STILL_RISING:
        return None
    knob = f"{phase.name}_epochs"
    return Finding(
        "still_rising",
        "hint",
        "It stopped while it was still getting better",
        "The last planned epoch was the best one, and clearly better than the one before.",
        f"Raise {label(knob)} ({getattr(case.config, knob)}), or {label(f'{phase.name}_learning_rate')}.",
        f"The last epoch alone gave {100 * gain:.1f} points of validation accuracy "
        f"({epochs[-2]['validation_accuracy']:.1%} to {epochs[-1]['validation_accuracy']:.1%}).",
    )


def impatient(case: Case) -> Finding | None:
    """Find a phase that early stopping ended while its training loss was still falling."""
    for phase in case.phases:
        epochs = case.epochs_of(phase.name)
        if not phase.stopped_early or case.config.early_stopping_patience > 2 or len(epochs) < 2:
            continue
        if epochs[-1]["loss"] < 0.97 * epochs[-2]["loss"]:
            return Finding(
                "impatient",
                "hint",
                f"Early stopping ended “{phase.label.lower()}” at the first doubt",
                "With so little patience a chance dip of the validation accuracy ends a phase that was still learning.",
                f"Raise {label('early_stopping_patience')} ({case.config.early_stopping_patience}) to 5.",
                f"It ended after epoch {phase.epochs} of {phase.planned}, while the training loss still fell from "
                f"{epochs[-2]['loss']:.2f} to {epochs[-1]['loss']:.2f} in the last epoch.",
            )
    return None


def test_surprise(case: Case) -> Finding | None:
    """Find a test accuracy that differs from the validation accuracy by more than chance explains."""
    figures = _both_accuracies(case.result)
    if figures is None:
        return None
    (validation, n), (test, m) = figures
    spread = math.sqrt(validation * (1 - validation) / n + test * (1 - test) / m)
    apart = (validation - test) / max(spread, 1e-9)
    if abs(apart) < _FAR_APART:
        return None
    why = (
        "The best epoch was chosen on the validation images, so their figure flatters, that of a small set most."
        if apart > 0
        else "The validation images happen to be harder than the test images."
    )
    return Finding(
        "test_surprise",
        "hint",
        f"The test accuracy is {'lower' if apart > 0 else 'higher'} than validation promised",
        why,
        f"Trust the test figure for this model; raise {label('validation_fraction')} or {label('train_images')} "
        "for a validation figure that says more.",
        f"Validation {validation:.1%} of {n:,} images, test {test:.1%} of {m:,}: {abs(apart):.1f} standard "
        "deviations apart.",
    )


def small_validation_set(case: Case) -> Finding | None:
    """Find a validation set so small that runs cannot be told apart by it."""
    figures = _both_accuracies(case.result)
    if figures is None:
        return None
    validation, n = figures[0]
    low, high = wilson(round(validation * n), n)
    half = (high - low) / 2
    if half < _WIDE:
        return None
    return Finding(
        "small_validation_set",
        "hint",
        "Its validation set is small",
        "Chance alone moves the validation accuracy by as much as many a knob does.",
        f"Do not choose between runs that are closer than {100 * half:.0f} points; raise {label('train_images')}.",
        f"{validation:.1%} of {n:,} images is {low:.1%} to {high:.1%} with 95 % confidence (Wilson).",
    )


Rule = Callable[[Case], Finding | None]
EARLY_RULES: tuple[Rule, ...] = (not_a_number, nothing_learned, fell_at_the_boundary)
"""What more epochs would not mend: of a living run these alone are told."""
RULES: tuple[Rule, ...] = (
    *EARLY_RULES,
    wrong_pixel_range,
    augmented_too_hard,
    stale_statistics,
    overfitting,
    fine_tuning_gave_nothing,
    still_rising,
    impatient,
    test_surprise,
    small_validation_set,
    validation_above_training,
)


def healthy(case: Case) -> Finding:
    """Return what is said of a run in which no rule found anything wrong."""
    last = case.last
    return Finding(
        "healthy",
        "fine",
        "Nothing looks wrong",
        "The losses fell, the phases helped, and training and validation stayed together.",
        "To go on: more images, a wider network (α) or larger images, one at a time.",
        f"In the last epoch {last['accuracy']:.1%} of the training and {last['validation_accuracy']:.1%} of the "
        "validation images were right.",
    )


def _why_flat(case: Case, rate: float) -> str:
    if rate >= 1e-2:
        return "The steps were so large that the weights jumped about instead of settling."
    if rate <= 5e-5:
        return "The steps were so small that hardly anything moved in the time it had."
    if case.config.weights == "random" or "random" in str(case.result.get("weights")):
        return "The frozen base holds random numbers: nothing that it passes on tells the classes apart."
    return "What the head gets from the frozen base tells the classes apart too little, or the steps do not fit it."


def _mend_flat(case: Case, phase: str, rate: float) -> str:
    knob = label(f"{phase}_learning_rate")
    if rate >= 1e-2:
        return f"Divide {knob} by 10 to 100."
    if rate <= 5e-5:
        return f"Raise {knob} to about 0.001."
    return f"Set {label('weights')} to ImageNet, then vary {knob}."


def _against_overfitting(config: TrainConfig) -> str:
    ways = []
    if config.augmentation < 0.5:
        ways.append(f"raise {label('augmentation')} ({config.augmentation:g}) to 0.5")
    if config.dropout < 0.3:
        ways.append(f"raise {label('dropout')} ({config.dropout:g}) to 0.3")
    if config.train_images < KNOBS["train_images"].default:
        ways.append(f"use more images ({label('train_images')}, {config.train_images:,})")
    if config.fine_tunes:
        ways.append(f"unfreeze less ({label('fine_tune_blocks')}, {config.fine_tune_blocks})")
    ways.append("train for fewer epochs")
    text = ", or ".join(ways[:3])
    return f"{text[0].upper()}{text[1:]}."


def _both_accuracies(result: Mapping[str, Any]) -> tuple[tuple[float, int], tuple[float, int]] | None:
    """Return accuracy and number of images of validation and test; None where they are not known."""
    found = []
    for name in ("validation", "test"):
        share, count = result.get(f"{name}_accuracy"), result.get(f"{name}_images")
        if not isinstance(share, int | float) or not 0 <= share <= 1 or not isinstance(count, int) or count < 1:
            return None
        found.append((float(share), count))
    return found[0], found[1]
