"""Outcomes of lessons, made up for tests."""

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.lessons import experiments
from cifar_core.lessons.experiments import Internals, Outcome, Provenance
from cifar_core.runs.curves import Curve, Curves

MADE = Provenance(
    "python -m cifar_core learn x", "2026-11-22T19:00:00+00:00", "a processor", 2, "3.11", {}, 1, "CIFAR-10", "w"
)


def made_up(validation: float = 0.8, training: float = 0.9, last: float | None = None, **figures: float) -> Outcome:
    """An outcome of two epochs whose last validation accuracy is `last` (else the best)."""
    y = np.array([0.5, validation if last is None else last])
    lines = {name: Curve(np.array([1.0, 2.0]), y) for name in experiments._CURVES}
    known = dict.fromkeys(experiments.FIGURES, 1.0) | {"validation_accuracy": validation, "training_accuracy": training}
    within = Internals(
        [1 / experiments.HISTOGRAM_BINS] * experiments.HISTOGRAM_BINS, [1.0] * 19, [[1.0, 2.0], [3.0, 4.0]], 0.5
    )
    return Outcome(TrainConfig(), Curves(lines, 1, 2), known | figures, within, MADE)
