"""Rules of the diagnosis, based on metrics and configuration.

A rule takes a Case and returns a Finding or None. Its thresholds come from recorded runs of this app: above them, the
effect is larger than the noise of a validation set of some hundred images.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cifar_core.config import ALL_IMAGES, KNOBS, TrainConfig
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.phase_summary import Phase

Level = Literal["problem", "hint", "fine"]
_GUESSING_LOSS = math.log(len(CLASSES))  # cross-entropy of equal probabilities, in nats
_GUESSING = 0.2  # up to this accuracy nothing was learned; guessing gives 0.1, plus some by chance
_GAP, _WIDE_GAP = 0.1, 0.15
_FALL = 0.03
_LOSS_CHANGE = 0.05  # relative change from which the validation loss rises or falls
_LAG = "Batch normalization uses the statistics of each batch in training, and slow moving averages in evaluation."
_SLOW_RATE = 3e-5  # lower fine-tuning rates hardly change the weights in a few epochs


@dataclass(frozen=True)
class Step:
    """A remedy: `text` for the user, and `changes`, the settings by knob, the main one first.

    `direction` is 1 if it raises the main setting, and -1 if it lowers it.
    """

    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    direction: int = 0

    @property
    def knob(self) -> str:
        """The main setting, or "" if there is none."""
        return next(iter(self.changes), "")


@dataclass(frozen=True)
class Finding:
    """The finding of a rule. `level`: "problem" (costs accuracy), "hint" (good to know) or "fine" (looks odd, is not).

    `cause` is the probable cause, `evidence` the numbers. Each of the `steps` may help on its own. `rule` is the name
    of the rule's function.
    """

    level: Level
    title: str
    cause: str
    steps: tuple[Step, ...]
    evidence: str
    rule: str = ""

    @property
    def advice(self) -> str:
        """The steps as one sentence."""
        text = ", or ".join(step.text for step in self.steps)
        return f"{text[:1].upper()}{text[1:]}."

    def to_dict(self) -> dict[str, str]:
        """Return the finding for JSON."""
        names = ("rule", "level", "title", "cause", "advice", "evidence")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Case:
    """The input of the rules: valid rows of whole epochs, their phases, the run's metrics and error message.

    `loss_name` is the meaning of "loss" and "validation_loss" in the rows: "cross-entropy", or "loss" with
    penalties.
    """

    config: TrainConfig
    epochs: Sequence[dict[str, Any]]
    loss_name: str
    phases: Sequence[Phase]
    result: Mapping[str, Any]
    error: str

    @property
    def last(self) -> dict[str, Any]:
        """The last whole epoch."""
        return self.epochs[-1]

    def phase(self, name: str) -> Phase | None:
        """Return the phase `name`, or None if it has no whole epoch."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def epochs_of(self, name: str) -> list[dict[str, Any]]:
        """Return the whole epochs of a phase."""
        return [row for row in self.epochs if row["phase"] == name]


def set_knob(config: TrainConfig, knob: str, value: Any) -> Step:
    """Return the step that sets `knob` to `value`, clipped to its range; without changes if it is set already."""
    known, old = KNOBS[knob], getattr(config, knob)
    if not isinstance(value, str):
        value = min(max(value, known.low or 0), known.high or value)
        value = value if isinstance(old, int) else float(f"{value:.2g}")
    if value == old:
        return Step(f"change another setting, since {label(knob)} is “{known.format(old)}” already")
    if isinstance(value, str):
        return Step(f"set {label(knob)} to “{known.format(value)}”", {knob: value})
    direction = 1 if value > old else -1
    verb = "raise" if direction > 0 else "lower"
    return Step(f"{verb} {label(knob)} from {known.short(old)} to {known.short(value)}", {knob: value}, direction)


def label(name: str) -> str:
    """Return a knob's label in quotation marks."""
    return f"“{KNOBS[name].label}”"


def not_a_number(case: Case) -> Finding | None:
    """Find a loss that became infinite or NaN, which ended the run."""
    named = re.search(r"phase (head|fine_tune) the loss became", case.error)  # as in training/callbacks.py
    phases = [named[1]] if named else [row["phase"] for row in case.epochs if not math.isfinite(row["loss"])]
    if not phases:
        return None
    knob = f"{phases[0]}_learning_rate"
    rate = getattr(case.config, knob)
    return Finding(
        "problem",
        "The loss is not a number",
        "The learning rate is so high that the weights overflowed; later steps cannot repair them.",
        (set_knob(case.config, knob, rate / 10),),
        (case.error or "The loss of an epoch is not finite.") + f" The rate was {rate:g}.",
    )


def nothing_learned(case: Case) -> Finding | None:
    """Find a training that is no better than guessing, even on training images; while it runs, after two epochs."""
    first = case.phases[0]
    best = max(row["validation_accuracy"] for row in case.epochs)
    learned = max(row["accuracy"] for row in case.epochs)
    if best > _GUESSING or learned > _GUESSING + _GAP or (len(case.epochs) < 2 and not case.result):
        return None
    knob = f"{first.name}_learning_rate"
    cause, step = _why_flat(case, knob)
    losses = [row["loss"] for row in case.epochs_of(first.name)]
    return Finding(
        "problem",
        "It learned almost nothing",
        cause,
        (step,),
        f"Validation accuracy never rose above {best:.1%} (guessing gives 10%); the training {case.loss_name} went "
        f"from {losses[0]:.2f} to {losses[-1]:.2f} until epoch {len(losses)} (guessing gives {_GUESSING_LOSS:.2f}) at "
        f"a rate of {getattr(case.config, knob):g}.",
    )


def _why_flat(case: Case, knob: str) -> tuple[str, Step]:
    rate, usual = getattr(case.config, knob), set_knob(case.config, knob, 1e-3)
    if rate >= 1e-2:
        return "The learning rate is so high that the weights do not converge.", usual
    if rate <= 5e-5:
        return "The learning rate is so low that the weights hardly change.", usual
    if case.config.weights == "random" or "random" in str(case.result.get("weights")):
        cause = "The frozen backbone has random weights, so its features do not separate the classes."
        return cause, set_knob(case.config, "weights", "imagenet")
    cause = "The features of the frozen layers separate the classes too little, or the learning rate does not fit them."
    return cause, usual


def fell_at_the_boundary(case: Case) -> Finding | None:
    """Find a validation accuracy that fell when fine-tuning began."""
    head, tuned = case.phase("head"), case.phase("fine_tune")
    if not head or not tuned or tuned.first > head.best - _FALL:
        return None
    recovered = tuned.best > head.best
    cause, step = _why_it_fell(case.config, recovered)
    ending = f"it recovered to {tuned.best:.1%}" if recovered else f"it reached {tuned.best:.1%} at best"
    return Finding(
        "hint" if recovered else "problem",
        "Accuracy fell when fine-tuning began",
        cause,
        (step,),
        f"Validation accuracy: {head.best:.1%} in phase 1, {tuned.first:.1%} after one epoch of phase 2; {ending}.",
    )


def _why_it_fell(config: TrainConfig, recovered: bool) -> tuple[str, Step]:
    if config.batch_norm == "training":
        return _LAG, set_knob(config, "batch_norm", "inference")
    rate = config.fine_tune_learning_rate
    if rate < _SLOW_RATE:
        return (
            "The learning rate is small already, so the number of unfrozen blocks is the likelier cause.",
            set_knob(config, "fine_tune_blocks", config.fine_tune_blocks // 2),
        )
    return (
        "The first steps with unfrozen layers were too large and damaged the pretrained weights.",
        set_knob(config, "fine_tune_learning_rate", rate / (2 if recovered else 10)),
    )


def fine_tuning_gave_nothing(case: Case) -> Finding | None:
    """Find a second phase whose best epoch is not better than the first phase's."""
    head, tuned = case.phase("head"), case.phase("fine_tune")
    if not head or not tuned or tuned.best > head.best or fell_at_the_boundary(case) or nothing_learned(case):
        return None
    slow = case.config.fine_tune_learning_rate < _SLOW_RATE
    rate = case.config.fine_tune_learning_rate
    change = set_knob(case.config, "fine_tune_learning_rate", 1e-4 if slow else rate / 5)
    return Finding(
        "hint",
        "Fine-tuning did not help: the model is that of phase 1",
        "Its steps were too small to change much." if slow else "No epoch of phase 2 was better than phase 1.",
        (change, set_knob(case.config, "fine_tune_epochs", 0)),
        f"Phase 1 reached {head.best:.1%}, phase 2 {tuned.best:.1%} in {tuned.epochs} epochs, {tuned.seconds:.0f} s.",
    )


def stale_statistics(case: Case) -> Finding | None:
    """Find batch normalization with moving averages that do not match the training batches."""
    tuned = case.epochs_of("fine_tune")
    if case.config.batch_norm != "training" or not tuned:
        return None
    last = tuned[-1]
    if last["accuracy"] - last["validation_accuracy"] < _GAP:
        return None
    return Finding(
        "problem",
        "Batch normalization differs between training and evaluation",
        _LAG,
        (set_knob(case.config, "batch_norm", "inference"),),
        f"In the last epoch {last['accuracy']:.1%} of the training images were correct, but "
        f"{last['validation_accuracy']:.1%} of the validation images; {case.loss_name}: {last['loss']:.2f} and "
        f"{last['validation_loss']:.2f}.",
    )


def overfitting(case: Case) -> Finding | None:
    """Find a final training accuracy far above the validation accuracy."""
    last = case.last
    gap = last["accuracy"] - last["validation_accuracy"]
    if gap < _GAP or stale_statistics(case):
        return None
    lowest = min(case.epochs_of(last["phase"]), key=lambda row: row["validation_loss"])
    rose = last["validation_loss"] > (1 + _LOSS_CHANGE) * lowest["validation_loss"]
    rise = (
        f" The validation {case.loss_name} was lowest in epoch {lowest['epoch']} ({lowest['validation_loss']:.2f}) and "
        f"rose to {last['validation_loss']:.2f}."
    )
    return Finding(
        "problem" if gap >= _WIDE_GAP or rose else "hint",
        "Overfitting",
        "The network learns details of the training images that new images do not have.",
        _against_overfitting(case.config, f"{last['phase']}_epochs", lowest["epoch"] if rose else 0),
        f"In the last epoch {last['accuracy']:.1%} of the training images were correct, and "
        f"{last['validation_accuracy']:.1%} of the validation images.{rise if rose else ''}",
    )


def _against_overfitting(config: TrainConfig, phase_epochs: str, best_epoch: int) -> tuple[Step, ...]:
    steps = []
    if best_epoch:
        steps.append(set_knob(config, phase_epochs, best_epoch))
    if config.augmentation < 0.5:
        steps.append(set_knob(config, "augmentation", 0.5))
    if config.dropout < 0.3:
        steps.append(set_knob(config, "dropout", 0.3))
    if config.train_images < ALL_IMAGES:
        steps.append(set_knob(config, "train_images", 4 * config.train_images))
    if config.fine_tunes:
        steps.append(set_knob(config, "fine_tune_blocks", config.fine_tune_blocks // 2))
    return tuple(steps[:3]) or (set_knob(config, "l2", 10 * config.l2 or 1e-4),)


def augmented_too_hard(case: Case) -> Finding | None:
    """Find an augmentation so strong that training images are much harder than real images."""
    ends = [case.epochs_of(phase.name)[-1] for phase in case.phases]
    widest = max(ends, key=lambda row: row["validation_accuracy"] - row["accuracy"])
    if case.config.augmentation < 2 or widest["validation_accuracy"] - widest["accuracy"] < _GAP:
        return None
    return Finding(
        "problem",
        "The augmentation is too strong",
        "At this strength objects leave the picture or cannot be recognized.",
        (set_knob(case.config, "augmentation", 0.5),),
        f"At the end of a phase {widest['accuracy']:.1%} of the augmented training images were correct, and "
        f"{widest['validation_accuracy']:.1%} of the validation images, which are not augmented.",
    )


def validation_above_training(case: Case) -> Finding | None:
    """Find a validation accuracy above the training accuracy; it looks like a mistake but is expected."""
    gap = case.last["validation_accuracy"] - case.last["accuracy"]
    if gap < 0.02 or augmented_too_hard(case) or nothing_learned(case):
        return None
    reasons = [f"dropout sets {case.config.dropout:.0%} of the head's inputs to 0"] if case.config.dropout else []
    reasons += ["training images are augmented"] if case.config.augmentation else []
    reasons += ["the training figure is the mean over an epoch that began with worse weights"]
    return Finding(
        "fine",
        "Validation is better than training, as expected here",
        f"Training is harder: {'; '.join(reasons)}. Validation has none of that.",
        (Step("you need not change anything"),),
        f"In the last epoch {case.last['validation_accuracy']:.1%} of the validation and "
        f"{case.last['accuracy']:.1%} of the training images were correct.",
    )


def wrong_pixel_range(case: Case) -> Finding | None:
    """Find a pixel range other than that of ImageNet weights."""
    weights = str(case.result.get("weights", "ImageNet"))  # of an imported run, possibly a number
    is_imagenet = case.config.weights not in ("bundled", "random") and "ImageNet" in weights
    if not is_imagenet or case.config.scaling != "zero_to_one":
        return None
    best = max(case.phases, key=lambda phase: phase.best)
    return Finding(
        "problem",
        "The pixels are in the wrong range",
        "ImageNet weights expect pixels in [-1, 1]. In [0, 1] images look pale, and features separate classes less.",
        (set_knob(case.config, "scaling", "minus_one_to_one"),),
        f"With [0, 1], the best validation accuracy was {best.best:.1%}, in phase “{best.label.lower()}”.",
    )


def still_rising(case: Case) -> Finding | None:
    """Find a training with the best accuracy in its last planned epoch and a validation loss that still fell.

    The loss decides: in most validation sets, the gain in accuracy of one epoch is within the noise.
    """
    phase = case.phases[-1]
    epochs = case.epochs_of(phase.name)
    if phase.stopped_early or len(epochs) < 2 or phase.best_epoch != epochs[-1]["epoch"]:
        return None
    before, last = epochs[-2]["validation_loss"], epochs[-1]["validation_loss"]
    if last > (1 - _LOSS_CHANGE) * before or phase.best <= _GUESSING:
        return None
    knobs = (f"{phase.name}_epochs", f"{phase.name}_learning_rate")
    return Finding(
        "hint",
        "It stopped while it was still improving",
        f"The last planned epoch was the best one, and the validation {case.loss_name} was still falling.",
        tuple(set_knob(case.config, knob, 2 * getattr(case.config, knob)) for knob in knobs),
        f"The validation {case.loss_name} went from {before:.2f} to {last:.2f} in the last epoch.",
    )


def impatient(case: Case) -> Finding | None:
    """Find a phase that early stopping ended while its validation loss was still falling."""
    over = case.phases if case.result else case.phases[:-1]  # a stopped or failed run ended its last phase otherwise
    for phase in over:
        epochs = case.epochs_of(phase.name)
        if not phase.stopped_early or case.config.early_stopping_patience > 2 or len(epochs) < 2:
            continue
        losses = [row["validation_loss"] for row in epochs]
        if losses[-1] == min(losses) and losses[-1] < losses[-2]:
            return Finding(
                "hint",
                f"Early stopping ended “{phase.label.lower()}” too early",
                "With little patience, one dip in validation accuracy ends a phase that still improves.",
                (set_knob(case.config, "early_stopping_patience", 5),),
                f"It ended after epoch {phase.epochs} of {phase.planned}; the validation {case.loss_name} was at its "
                f"lowest, {losses[-1]:.2f}, and that of training still fell from {epochs[-2]['loss']:.2f} to "
                f"{epochs[-1]['loss']:.2f}.",
            )
    return None
