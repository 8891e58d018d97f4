"""The figures of a run as tables: cells of text for report and command line, and CSV. Shares in CSV are 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import mistakes
from cifar_core.evaluation.predictions import Evaluation, Predictions
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.evaluation.story import ClassChange
from cifar_core.untrusted import csv_text

Cells = tuple[Sequence[str], list[Sequence[str]]]
"""The head and the rows of a table."""


def accuracy_cells(evaluation: Evaluation) -> Cells:
    """Return accuracy, interval, top-2 accuracy and loss on validation and test images."""
    rows: list[Sequence[str]] = []
    for split in ("validation", "test"):
        found = evaluation.split(split)
        low, high = found.interval
        figures = (f"{found.accuracy:.1%}", f"{low:.1%} to {high:.1%}", f"{mistakes.top2(found):.1%}")
        rows.append((split, *figures, f"{found.loss:.4f}", f"{len(found.labels):,}"))
    return ("images", "accuracy", "95% interval (Wilson)", "top 2", "loss (nats)", "number"), rows


def class_cells(predictions: Predictions) -> Cells:
    """Return precision, recall, F1 and number of images of each class."""
    rows: list[Sequence[str]] = []
    for one in mistakes.class_figures(predictions):
        shares = ("-" if share is None else f"{share:.1%}" for share in (one.precision, one.recall, one.f1))
        rows.append((one.name, *shares, f"{one.images:,}"))
    return ("class", "precision", "recall", "F1", "images"), rows


def classes(predictions: Predictions) -> str:
    """Return precision, recall, F1 and number of images of each class, as CSV."""
    rows = [(one.name, one.precision, one.recall, one.f1, one.images) for one in mistakes.class_figures(predictions)]
    return csv_text([("class", "precision", "recall", "f1", "images"), *rows])


def confusion(predictions: Predictions) -> str:
    """Return the confusion matrix in images, as CSV: a row for each label, a column for each answer."""
    counts = mistakes.confusion(predictions).tolist()
    return csv_text([("label", *CLASSES), *((name, *row) for name, row in zip(CLASSES, counts, strict=True))])


def predictions(evaluation: Evaluation, split: str, calibrated: Predictions) -> str:
    """Return each image of "validation" or "test" with its label, answer and ten probabilities, as CSV.

    `position` counts from 0: among the training images for validation, among the test images for test.
    """
    rows = evaluation.validation_rows if split == "validation" else None
    places = range(len(calibrated.labels)) if rows is None else rows.tolist()
    best = calibrated.probabilities.argmax(axis=1)
    shares = calibrated.probabilities.tolist()
    lines = [
        (place, CLASSES[label], CLASSES[answer], *own)
        for place, label, answer, own in zip(places, calibrated.labels, best, shares, strict=True)
    ]
    return csv_text([("position", "label", "answer", *CLASSES), *lines])


def robustness(measured: Mapping[str, Measured]) -> str:
    """Return a line for each run (name -> measures), corruption and strength, as CSV."""
    lines: list[Sequence[object]] = [("run", "fault", "strength", "unit", "accuracy", "images")]
    for name, known in measured.items():
        lines.append((name, "none", "", "", known.clean, known.images))
        for corruption in CORRUPTIONS.values():
            found = known.accuracies.get(corruption.name, ())
            for strength, accuracy in zip(corruption.strengths, found, strict=False):
                lines.append((name, corruption.name, strength, corruption.unit, accuracy, known.images))
    return csv_text(lines)


def changes(found: Sequence[ClassChange]) -> str:
    """Return what fine-tuning changed in each class, as CSV."""
    head = ("class", "recall_phase_1", "recall_run", "put_right", "put_wrong")
    return csv_text([head, *((one.name, one.before, one.after, one.fixed, one.broken) for one in found)])
