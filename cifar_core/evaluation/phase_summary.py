"""The phases of a run: accuracies, early stopping, reductions of the learning rate, effect of fine-tuning.

runs/<id>/head.npz      the checkpoint at the end of phase 1, which can become a separate run
runs/<id>/phases.npz    predictions of phase 1's best weights for the validation images
runs/<id>/parent.json   in a run made from a phase 1: the ID of the original run
"""

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from cifar_core import jobs, runs, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError, os_errors_as
from cifar_core.evaluation import predictions
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, curves, records
from cifar_core.runs.curves import LinearProbe

HEAD_FILE, PHASES_FILE, PARENT_FILE = "head.npz", "phases.npz", "parent.json"
_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Reduction:
    """A reduction of the learning rate from `before` to `after` at the end of `epoch` of its phase."""

    epoch: int
    before: float
    after: float


@dataclass(frozen=True)
class Phase:
    """A phase of training. Accuracies are on validation images, 0..1; epochs count from 1 within the phase.

    `before` is the best accuracy of the previous phase (None in the first). `training` is the accuracy in the best
    epoch on the training images, measured during training: with augmentation and dropout, while the weights change.
    """

    name: str
    epochs: int
    planned: int
    before: float | None
    first: float
    best: float
    best_epoch: int
    training: float
    last: float
    seconds: float
    reductions: tuple[Reduction, ...]

    @property
    def label(self) -> str:
        """The phase's name on screen."""
        return curves.PHASE_NAMES[self.name]

    @property
    def stopped_early(self) -> bool:
        """Whether the phase ended before its planned epochs."""
        return self.epochs < self.planned


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after fine-tuning, 0..1, and the numbers of images corrected and broken."""

    name: str
    before: float
    after: float
    corrected: int
    broken: int


def phases(rows: Sequence[dict[str, Any]], schedule: str = "plateau") -> list[Phase]:
    """Return the phases in the metrics `rows` of a run.

    Reductions are listed only for the `schedule` "plateau"; a cosine schedule lowers the rate at every step.
    """
    ended: list[Phase] = []
    whole = epoch_rows(rows)
    for name in curves.PHASE_NAMES:
        if epochs := [row for row in whole if row["phase"] == name]:
            ended.append(_phase(name, epochs, ended[-1].best if ended else None, schedule))
    return ended


def epoch_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of whole epochs that have all required values."""
    needed = ("accuracy", "loss", "validation_accuracy", "validation_loss", "learning_rate", "epoch")
    whole = [row for row in curves.sound_rows(rows) if row["kind"] == "epoch"]
    return [row for row in whole if all(isinstance(row.get(name), int | float) for name in needed)]


def _phase(name: str, epochs: list[dict[str, Any]], before: float | None, schedule: str) -> Phase:
    best = max(epochs, key=lambda row: row["validation_accuracy"])
    reductions = [
        Reduction(int(row["epoch"]), float(then["learning_rate"]), float(row["learning_rate"]))
        for then, row in itertools.pairwise(epochs)
        if schedule == "plateau" and row["learning_rate"] < then["learning_rate"] * 0.999
    ]
    planned = epochs[-1].get("epochs")
    return Phase(
        name,
        len(epochs),
        planned if isinstance(planned, int) else len(epochs),
        before,
        float(epochs[0]["validation_accuracy"]),
        float(best["validation_accuracy"]),
        int(best["epoch"]),
        float(best["accuracy"]),
        float(epochs[-1]["validation_accuracy"]),
        sum(float(row.get("epoch_seconds") or 0) for row in epochs),
        tuple(reductions),
    )


def sentences(ended: Sequence[Phase], patience: int) -> list[str]:
    """Return one text for each phase; `patience` is the patience of early stopping."""
    lines = []
    for phase in ended:
        start = "" if phase.before is None else f"from {phase.before:.1%} to "
        text = (
            f"{phase.label}: {start}{phase.best:.1%} validation accuracy, best in epoch {phase.best_epoch} of "
            f"{phase.epochs}, in {phase.seconds:.0f} s."
        )
        if phase.before is not None:
            text += f" {_verdict(phase.best - phase.before)}"
        for reduction in phase.reductions:
            text += f" After epoch {reduction.epoch} the learning rate fell to {reduction.after:.1e}."
        if phase.stopped_early:
            text += (
                f" It ended after epoch {phase.epochs} of {phase.planned}: {patience} epochs without a better "
                "validation accuracy."
            )
        lines.append(text)
    return lines


def probe_sentence(probe: LinearProbe | None, best: float | None) -> str:
    """Return a sentence on the linear probe; "" without one. `best`, 0..1, adds the gain of a run that has ended."""
    if probe is None:
        return ""
    text = (
        f"{probe.name[0].upper()}{probe.name[1:]}: {probe.accuracy:.1%} of the validation images are predicted "
        "correctly by a linear classifier on its features, before any training here (a linear probe)."
    )
    if best is not None:
        gain = best - probe.accuracy
        text += f" Training {'added' if gain >= 0 else 'lost'} {points(abs(gain))}."
    return text


def gap_sentence(ended: Sequence[Phase], best_phase: str | None = None) -> str:
    """Return a sentence on the gap between training and validation accuracy in the best epoch, or "".

    `best_phase` is the phase of the run's model.
    """
    chosen = next((phase for phase in ended if phase.name == best_phase), ended[-1] if ended else None)
    if chosen is None:
        return ""
    gap = chosen.training - chosen.best
    shares = f"{chosen.training:.1%} of the training and {chosen.best:.1%} of the validation images"
    if gap > 0.1:
        reading = f"{points(gap)} apart: the model overfits."
    elif gap > 0.03:
        reading = f"{points(gap)} apart, which is usual."
    elif gap >= -0.03:
        reading = "about the same: the model generalizes."
    else:
        reading = (
            f"{points(-gap)} lower in training: augmentation and dropout make training images harder than "
            "validation images."
        )
    return f"In the best epoch {shares} were correct, {reading}"


def class_changes(before: Predictions, after: Predictions) -> list[ClassChange]:
    """Return the change of each class from `before` to `after`, predictions of the same images."""
    was, now = before.is_correct, after.is_correct
    changes = []
    for label, name in enumerate(CLASSES):
        is_label = after.labels == label
        if is_label.any():
            counts = int((is_label & ~was & now).sum()), int((is_label & was & ~now).sum())
            changes.append(ClassChange(name, float(was[is_label].mean()), float(now[is_label].mean()), *counts))
    return changes


def changes_of(run: Run) -> list[ClassChange]:
    """Return the change of each class by fine-tuning in `run`. Raises RunError.

    It is empty without predictions of phase 1: in runs with one phase, of older versions, or imported. A damaged file
    of them is ignored.
    """
    final = predictions.load(run).validation
    try:
        probabilities = untrusted.load_arrays(run.path / PHASES_FILE, _LIMIT_BYTES)["head_validation_probabilities"]
        return class_changes(predictions.checked(final.labels, probabilities), final)
    except (OSError, ValueError, KeyError):
        return []


def can_keep_head(run: Run) -> bool:
    """Return whether the run's model is from fine-tuning and head.npz exists, as `keep_head` requires."""
    is_other = run.state == "finished" and run.result.get("best_phase") == "fine_tune"
    return is_other and (run.path / HEAD_FILE).is_file()


def keep_head(run: Run) -> Run:
    """Make a new run from the best weights of phase 1 of `run`, and return it.

    It equals a training with `fine_tune_epochs` 0, which is its configuration; its worker only exports and
    evaluates. Raises RunError if `run` has no phase 1 to keep.
    """
    if not can_keep_head(run):
        raise RunError(
            f"Run {run.id} has no phase 1 to save, expected a finished, fine-tuned run; train with fine_tune_epochs 0."
        )
    if records.environment(run.path) is None:
        raise RunError(f"Run {run.id} has no environment.json, so phase 1 cannot be a run; train it again.")

    def prepare(made: Run) -> None:
        with os_errors_as(RunError, "Phase 1 could not be written", "free disk space and try again"):
            runs.write_json(made.path / PARENT_FILE, {"id": run.id})
            shutil.copyfile(run.path / "environment.json", made.path / "environment.json")
            shutil.copyfile(run.path / HEAD_FILE, made.path / "checkpoint.npz")

    return jobs.start_run(replace(run.config, fine_tune_epochs=0), "phase1", prepare)


class _Parent(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=f"^{runs.ID_PATTERN.pattern}$")]


def parent(run: Run) -> str | None:
    """Return the ID of the original run if `run` was made from a phase 1. Raises RunError if the file is damaged."""
    saved = records.load(run.path / PARENT_FILE, _Parent)
    return saved.id if saved else None


def _verdict(gain: float) -> str:
    if gain > 0.001:
        return f"Fine-tuning added {points(gain)}."
    if gain >= -0.001:
        return "Fine-tuning changed nothing."
    return f"Fine-tuning cost {points(-gain)}, so the model is that of phase 1."


def points(share: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return f"{100 * share:.1f} points"
