"""What a run keeps of its first phase, and that this phase can become a run of its own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.evaluation import diagnosis, phase_summary, predictions
from cifar_core.runs import Run
from cifar_core.training import inputs, run_writer, worker

pytestmark = pytest.mark.usefixtures("shared_networks")
Train = Callable[[TrainConfig], Run]


@pytest.fixture
def tiny_config(tiny_config: TrainConfig) -> TrainConfig:
    """It fine-tunes four blocks, the usual number."""
    return replace(tiny_config, fine_tune_blocks=4)


@pytest.mark.slow
def test_phase_1_kept_as_a_run_equals_a_training_of_that_phase_alone(
    tiny_config: TrainConfig, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny_config, head_learning_rate=3e-3, fine_tune_learning_rate=1e-3, fine_tune_epochs=3)
    whole = train(config)
    assert whole.result["best_phase"] == "fine_tune", "choose another rate: this test needs a phase 2 that helps"

    # the answers of phase 1 are there, and are those of its best weights
    head = run_writer.load_checkpoint(whole.path / phase_summary.HEAD_FILE)
    assert head is not None
    assert (head.progress.phase, head.progress.phase_done) == ("head", True)
    saved = np.load(whole.path / phase_summary.PHASES_FILE)["head_validation_probabilities"]
    before = predictions.checked(predictions.load(whole).validation.labels, saved)
    assert before.accuracy == pytest.approx(head.progress.best_accuracy, abs=0.011)  # 2 of 200: float16
    changes = phase_summary.changes_of(whole)
    gain = sum(one.corrected - one.broken for one in changes) / 200
    assert gain == pytest.approx(whole.result["validation_accuracy"] - before.accuracy)

    monkeypatch.setattr(jobs, "spawn_worker", lambda run: worker.main(str(run.path)))
    kept = phase_summary.keep_head(whole)
    alone = train(replace(config, fine_tune_epochs=0))
    assert kept.state == "finished", kept.status
    assert {row["phase"] for row in kept.metrics() if row["kind"] == "epoch"} == {"head"}
    assert kept.result["best_phase"] == "head"
    for name in ("validation", "test"):
        one, two = predictions.load(kept).split(name), predictions.load(alone).split(name)
        assert np.array_equal(one.probabilities, two.probabilities)
    assert np.array_equal(predictions.load(kept).validation.probabilities, before.probabilities)
    assert phase_summary.parent(kept) == whole.id
    assert not phase_summary.can_keep_head(kept)
    assert whole.state == "finished"
    assert len(runs.list_runs()) == 3


def test_a_run_whose_loss_is_no_number_is_diagnosed_with_its_knob(
    tiny_config: TrainConfig, small_data: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs.Stored, "take", lambda _, rows: np.full((len(rows), 1280), np.nan, np.float32))
    run = runs.create(replace(tiny_config, head_learning_rate=1e-2))
    assert worker.main(str(run.path)) == 2
    (finding,) = diagnosis.diagnose(run)
    assert (finding.rule, finding.level) == ("not_a_number", "problem")
    assert "in epoch 1 of phase head the loss became nan" in finding.evidence
    assert "The rate was 0.01." in finding.evidence
    assert "“Head learning rate”" in finding.advice
