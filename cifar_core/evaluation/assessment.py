"""The evaluation of a finished run for page, command line and report: values, JSON, table cells and CSV.

Shares in CSV are 0..1.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError
from cifar_core.evaluation import diagnosis, phase_summary, predictions, robustness
from cifar_core.evaluation.diagnosis_rules import Finding
from cifar_core.evaluation.phase_summary import ClassChange, Phase
from cifar_core.evaluation.predictions import Evaluation, Predictions, class_figures, confusion_counts, top2_accuracy
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.inference import calibration
from cifar_core.inference.calibration import Calibration, CalibrationError, Reliability
from cifar_core.runs import Run, curves, records
from cifar_core.runs.curves import LinearProbe
from cifar_core.untrusted import csv_text

SPLITS = ("validation", "test")

Cells = tuple[Sequence[str], list[Sequence[str]]]
"""The header and the rows of a table."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """The evaluation of a finished run.

    `stored` are the predictions of the run, `calibrated` the same at the run's temperature. Both have the same
    predicted classes; without a calibration they are identical.
    """

    run: Run
    config: TrainConfig
    stored: Evaluation
    calibrated: Evaluation
    calibration: Calibration | None
    phases: list[Phase]
    findings: list[Finding]
    linear_probe: LinearProbe | None = None
    parent: str | None = None
    """ID of the original run if this run was made from its phase 1."""
    problems: tuple[str, ...] = ()
    """One sentence for each damaged file: what is missing."""

    @property
    def is_cifar10(self) -> bool:
        """Whether the images are CIFAR-10, not synthetic images."""
        return self.stored.dataset == cifar10.LABELS["cifar10"]

    @functools.cached_property
    def test_error(self) -> CalibrationError:
        """The calibration error on the test images, which were not used to fit the temperature."""
        return calibration.calibration_error(self.calibrated.test.probabilities, self.calibrated.test.labels)

    @property
    def sentences(self) -> list[str]:
        """One text each for the linear probe, if there is one, the phases, and the gap between both accuracies."""
        best = max((phase.best for phase in self.phases), default=None)
        probe = phase_summary.probe_sentence(self.linear_probe, best)
        phases = phase_summary.sentences(self.phases, self.config.early_stopping_patience)
        gap = phase_summary.gap_sentence(self.phases, self.run.result.get("best_phase"))
        return [*filter(None, [probe, *phases, gap])]

    def images(self, split: str) -> np.ndarray | None:
        """Return the images of a split, uint8 (n, 32, 32, 3), or None if unknown or not on this machine."""
        try:
            return predictions.images_of(self.run, self.stored, split)
        except RunError:  # listed in `problems`
            return None

    def reliability(self, split: str) -> tuple[Reliability, Reliability]:
        """Return the reliability of a split before and after calibration."""
        parts = self.stored.split(split), self.calibrated.split(split)
        before, after = (calibration.reliability(part.probabilities, part.labels) for part in parts)
        return before, after


def assess(run: Run) -> Assessment:
    """Return the evaluation of `run`. Raises RunError if it is not finished or damaged."""
    stored = predictions.load(run)
    known, uncalibrated = calibration.load_or_problem(run.path / calibration.FILE)
    _, unknown_images = records.or_problem(
        lambda: records.environment(run.path), "Which images the run has seen is unknown, so none are shown"
    )
    parent, unknown_parent = records.or_problem(
        lambda: phase_summary.parent(run), "Whether this is phase 1 of another run is unknown"
    )
    rows = run.metrics()
    return Assessment(
        run,
        run.config,
        stored,
        replace(stored, validation=_at(stored.validation, known), test=_at(stored.test, known)),
        known,
        phase_summary.phases(rows, run.config.schedule),
        diagnosis.diagnose_rows(run.config, rows, run.result),
        curves.linear_probe(rows),
        parent,
        tuple(filter(None, (uncalibrated, unknown_images, unknown_parent))),
    )


def figures(predictions: Predictions) -> dict[str, Any]:
    """Return accuracy, interval, loss, top-2 accuracy and per-class metrics, ready for JSON."""
    return {
        "accuracy": predictions.accuracy,
        "interval": list(predictions.interval),
        "top2": top2_accuracy(predictions),
        "loss": predictions.loss,
        "images": len(predictions.labels),
        "classes": {
            one.name: {"precision": one.precision, "recall": one.recall, "f1": one.f1, "images": one.images}
            for one in class_figures(predictions)
        },
        "confusion": confusion_counts(predictions).tolist(),
    }


def to_json(result: Assessment) -> dict[str, Any]:
    """Return the evaluation as plain data. Validation comes first; nothing is ordered by test metrics."""
    measured, robustness_problem = robustness.load_or_problem(result.run)
    answer: dict[str, Any] = {name: figures(result.stored.split(name)) for name in SPLITS}
    answer["calibration"] = result.calibration and {
        "temperature": result.calibration.temperature,
        "validation_ece": list(result.calibration.ece),
        "test_ece": [one.ece for one in result.reliability("test")],
        "test_error": vars(result.test_error),
    }
    answer["story"] = {
        "linear_probe": result.linear_probe and vars(result.linear_probe),
        "phases": [asdict(phase) for phase in result.phases],
        "changes": [vars(change) for change in phase_summary.changes_of(result.run)],
        "sentences": result.sentences,
        "phase_1_of": result.parent,
    }
    answer["problems"] = [*result.problems, *filter(None, [robustness_problem])]
    answer["diagnosis"] = [finding.to_dict() for finding in result.findings]
    answer["robustness"] = measured and measured_json(measured)
    return answer


def measured_json(measured: Measured) -> dict[str, Any]:
    """Return robustness as plain data: unit, strengths and accuracies of each corruption."""
    return {
        "images": measured.images,
        "clean": measured.clean,
        "mean": measured.mean,
        "seconds": measured.seconds,
        "faults": {
            name: {
                "unit": corruption.unit,
                "strengths": list(corruption.strengths),
                "accuracies": list(measured.accuracies.get(name, ())),
            }
            for name, corruption in CORRUPTIONS.items()
        },
    }


def _at(predictions: Predictions, known: Calibration | None) -> Predictions:
    if known is None:
        return predictions
    return replace(predictions, probabilities=calibration.scaled(predictions.probabilities, known.temperature))


def accuracy_cells(evaluation: Evaluation) -> Cells:
    """Return accuracy, interval, top-2 accuracy and loss on validation and test images."""
    rows: list[Sequence[str]] = []
    for split in SPLITS:
        part = evaluation.split(split)
        low, high = part.interval
        figures = (f"{part.accuracy:.1%}", f"{low:.1%} to {high:.1%}", f"{top2_accuracy(part):.1%}")
        rows.append((split, *figures, f"{part.loss:.4f}", f"{len(part.labels):,}"))
    return ("images", "accuracy", "95% interval (Wilson)", "top 2", "loss (nats)", "number"), rows


def class_cells(predictions: Predictions) -> Cells:
    """Return precision, recall, F1 and number of images of each class."""
    rows: list[Sequence[str]] = []
    for one in class_figures(predictions):
        shares = ("-" if share is None else f"{share:.1%}" for share in (one.precision, one.recall, one.f1))
        rows.append((one.name, *shares, f"{one.images:,}"))
    return ("class", "precision", "recall", "F1", "images"), rows


def classes_csv(predictions: Predictions) -> str:
    """Return precision, recall, F1 and number of images of each class, as CSV."""
    return csv_text([("class", "precision", "recall", "f1", "images"), *map(astuple, class_figures(predictions))])


def confusion_csv(predictions: Predictions) -> str:
    """Return the confusion matrix in images as CSV: rows are labels, columns are predictions."""
    counts = confusion_counts(predictions).tolist()
    return csv_text([("label", *CLASSES), *((name, *row) for name, row in zip(CLASSES, counts, strict=True))])


def predictions_csv(evaluation: Evaluation, split: str, calibrated: Predictions) -> str:
    """Return label, prediction and ten probabilities of each image of "validation" or "test", as CSV.

    `position` counts from 0, in the training set for validation and in the test set for test.
    """
    rows = evaluation.validation_rows if split == "validation" else None
    places = range(len(calibrated.labels)) if rows is None else rows.tolist()
    best = calibrated.probabilities.argmax(axis=1)
    shares = calibrated.probabilities.tolist()
    lines = [
        (place, CLASSES[label], CLASSES[answer], *probabilities)
        for place, label, answer, probabilities in zip(places, calibrated.labels, best, shares, strict=True)
    ]
    return csv_text([("position", "label", "answer", *CLASSES), *lines])


def robustness_csv(measured: Mapping[str, Measured]) -> str:
    """Return one line for each run (name -> measures), corruption and strength, as CSV."""
    lines: list[Sequence[object]] = [("run", "fault", "strength", "unit", "accuracy", "images")]
    for name, known in measured.items():
        lines.append((name, "none", "", "", known.clean, known.images))
        for corruption in CORRUPTIONS.values():
            accuracies = known.accuracies.get(corruption.name, ())
            for strength, accuracy in zip(corruption.strengths, accuracies, strict=False):
                lines.append((name, corruption.name, strength, corruption.unit, accuracy, known.images))
    return csv_text(lines)


def changes_csv(changes: Sequence[ClassChange]) -> str:
    """Return the change of each class by fine-tuning, as CSV."""
    head = ("class", "recall_phase_1", "recall_run", "put_right", "put_wrong")
    return csv_text([head, *map(astuple, changes)])
