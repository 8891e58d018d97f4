from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from run_outcome import epochs

from cifar_core.config import TrainConfig
from cifar_core.evaluation import dynamics, predictions
from cifar_core.runs import Run

Train = Callable[[TrainConfig], Run]


@pytest.mark.parametrize("changes", [{}, {"views": 0, "head_epochs": 0}])
def test_each_epoch_leaves_the_answers_that_its_row_counts(
    tiny_config: TrainConfig, train: Train, changes: dict
) -> None:
    """From stored features of both phases, and from pixels."""
    run = train(replace(tiny_config, **changes))
    known, rows = dynamics.load(run), epochs(run)
    assert known is not None and len(known.names) == len(rows) > 1
    images = len(known.labels)
    for number, row in enumerate(rows):
        assert known.after(number).accuracy == pytest.approx(row["validation_accuracy"], abs=1.5 / images)
    best = next(
        i
        for i, row in enumerate(rows)
        if row["epoch"] == run.result["best_epoch"] and row["phase"] == run.result["best_phase"]
    )
    final = predictions.load(run).validation
    assert np.abs(known.probabilities[best] - final.probabilities).max() < 2e-3
    assert (run.path / dynamics.FILE).stat().st_size == 2 * len(rows) * images * 10
