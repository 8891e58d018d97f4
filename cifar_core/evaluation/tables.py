"""What *Evaluate* shows, as CSV that no spreadsheet computes. Shares are 0..1."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import mistakes
from cifar_core.evaluation.predictions import Evaluation, Predictions
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.evaluation.story import ClassChange
from cifar_core.untrusted import inert


def classes(predictions: Predictions) -> str:
    """Return precision, recall, F1 and number of images of each class."""
    rows = [(one.name, one.precision, one.recall, one.f1, one.images) for one in mistakes.class_figures(predictions)]
    return _csv(("class", "precision", "recall", "f1", "images"), rows)


def confusion(predictions: Predictions) -> str:
    """Return the confusion matrix: a row for each label, a column for each answer, in images."""
    counts = mistakes.confusion(predictions).tolist()
    return _csv(("label", *CLASSES), [(name, *row) for name, row in zip(CLASSES, counts, strict=True)])


def predictions(evaluation: Evaluation, split: str, said: Predictions) -> str:
    """Return every image of "validation" or "test" with its label, answer and ten probabilities, as in `said`.

    `position` counts from 0: among the training images for validation, among the test images for test.
    """
    rows = evaluation.validation_rows if split == "validation" else None
    places = range(len(said.labels)) if rows is None else rows.tolist()
    best = said.probabilities.argmax(axis=1)
    lines = [
        (place, CLASSES[label], CLASSES[answer], *shares)
        for place, label, answer, shares in zip(places, said.labels, best, said.probabilities.tolist(), strict=True)
    ]
    return _csv(("position", "label", "answer", *CLASSES), lines)


def robustness(measured: Mapping[str, Measured]) -> str:
    """Return a line for each run (its name -> its measures), corruption and strength."""
    lines: list[Sequence[object]] = []
    for name, known in measured.items():
        lines.append((name, "none", "", "", known.clean, known.images))
        for corruption in CORRUPTIONS.values():
            found = known.accuracies.get(corruption.name, ())
            for strength, accuracy in zip(corruption.strengths, found, strict=False):
                lines.append((name, corruption.name, strength, corruption.unit, accuracy, known.images))
    return _csv(("run", "fault", "strength", "unit", "accuracy", "images"), lines)


def changes(found: Sequence[ClassChange]) -> str:
    """Return what fine-tuning changed, class by class."""
    lines = [(one.name, one.before, one.after, one.fixed, one.broken) for one in found]
    return _csv(("class", "recall_phase_1", "recall_run", "put_right", "put_wrong"), lines)


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return inert(value)
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
