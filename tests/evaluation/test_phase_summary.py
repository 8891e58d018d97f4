"""The phases of a run, reductions, early stopping, what fine-tuning changed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.evaluation import phase_summary
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, write_json
from cifar_core.runs.curves import LinearProbe


def epoch(phase: str, number: int, validation: float, rate: float = 1e-3, planned: int = 3) -> dict[str, Any]:
    return {
        "kind": "epoch",
        "phase": phase,
        "epoch": number,
        "epochs": planned,
        "loss": 1.0 / number,
        "accuracy": validation + 0.05,
        "validation_loss": 1.0,
        "validation_accuracy": validation,
        "learning_rate": rate,
        "epoch_seconds": 2.0,
    }


HEAD = [epoch("head", 1, 0.6), epoch("head", 2, 0.8), epoch("head", 3, 0.7)]


def test_each_phase_tells_what_it_gave() -> None:
    tuned = [epoch("fine_tune", 1, 0.75), epoch("fine_tune", 2, 0.9)]
    head, fine = phase_summary.phases([*HEAD, *tuned])
    assert (head.before, head.first, head.best, head.best_epoch, head.last, head.seconds) == (
        None,
        0.6,
        0.8,
        2,
        0.7,
        6.0,
    )
    assert (fine.before, fine.first, fine.best, fine.best_epoch) == (0.8, 0.75, 0.9, 2)
    assert head.training == pytest.approx(0.85)
    assert (head.stopped_early, fine.stopped_early) == (False, True)  # two of three epochs
    told = phase_summary.sentences([head, fine], patience=1)
    assert re.search(r"80\.0%.* 2 of 3\b", told[0])
    assert re.search(r"added 10\.0 points.* 2 of 3: 1 ", told[1])


def test_reductions_are_told_on_a_plateau_and_not_along_a_cosine() -> None:
    rows = [epoch("head", 1, 0.6, 1e-3), epoch("head", 2, 0.6, 1e-3), epoch("head", 3, 0.6, 5e-4)]
    assert phase_summary.phases(rows)[0].reductions == (phase_summary.Reduction(3, 1e-3, 5e-4),)
    assert re.search(r"epoch 3 .*5\.0e-04", phase_summary.sentences(phase_summary.phases(rows), 5)[0])
    assert phase_summary.phases(rows, "cosine")[0].reductions == ()


def test_fine_tuning_that_did_not_help_is_told_as_such() -> None:
    told = phase_summary.sentences(phase_summary.phases([*HEAD, epoch("fine_tune", 1, 0.7)]), 5)
    assert "cost 10.0 points" in told[1]


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (0.95, "overfits"),
        (0.86, "which is usual"),
        (0.81, "about the same"),
        (0.7, "lower in training"),
    ],
)
def test_the_gap_between_training_and_validation_is_read_out(training: float, words: str) -> None:
    row = epoch("head", 1, 0.8) | {"accuracy": training}
    assert words in phase_summary.gap_sentence(phase_summary.phases([row]))


def test_the_gap_is_that_of_the_phase_that_was_kept() -> None:
    told = phase_summary.phases([*HEAD, epoch("fine_tune", 1, 0.9)])
    assert "90.0%" in phase_summary.gap_sentence(told, "fine_tune")
    assert "80.0%" in phase_summary.gap_sentence(told, "head")
    assert phase_summary.gap_sentence([]) == ""


def test_damaged_rows_tell_nothing() -> None:
    assert (
        phase_summary.phases([{"kind": "epoch", "phase": "head"}, {"kind": "epoch", "phase": "head", "epoch": "1"}])
        == []
    )


def said(labels: list[int], answers: list[int]) -> Predictions:
    return Predictions(np.array(labels, np.uint8), np.eye(10, dtype=np.float32)[answers])


def test_what_fine_tuning_changed_is_counted_class_by_class() -> None:
    cat, dog = phase_summary.class_changes(said([3, 3, 3, 5], [3, 5, 5, 5]), said([3, 3, 3, 5], [3, 3, 5, 3]))
    assert (cat.name, cat.corrected, cat.broken) == ("cat", 1, 0)
    assert (cat.before, cat.after) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (dog.name, dog.corrected, dog.broken, dog.before, dog.after) == ("dog", 0, 1, 1.0, 0.0)


@pytest.fixture
def finished(run: Run) -> Run:
    final = said([3, 5], [3, 3])
    np.savez(
        run.path / "evaluation.npz",
        **{f"{name}_labels": final.labels for name in ("validation", "test")},
        **{f"{name}_probabilities": final.probabilities for name in ("validation", "test")},
    )
    write_json(run.path / "status.json", {"state": "finished", "result": {"best_phase": "fine_tune"}})
    return run


def test_answers_of_phase_1_are_read_and_a_run_without_them_says_so(finished: Run) -> None:
    assert phase_summary.changes_of(finished) == []
    before = said([3, 5], [5, 5]).probabilities
    np.savez(finished.path / phase_summary.PHASES_FILE, head_validation_probabilities=before)
    assert [(one.name, one.corrected, one.broken) for one in phase_summary.changes_of(finished)] == [
        ("cat", 1, 0),
        ("dog", 0, 1),
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_damaged_answers_of_phase_1_count_as_none(finished: Run, content: bytes) -> None:
    (finished.path / phase_summary.PHASES_FILE).write_bytes(content)
    assert phase_summary.changes_of(finished) == []


def test_answers_of_another_shape_count_as_none(finished: Run) -> None:
    np.savez(finished.path / phase_summary.PHASES_FILE, head_validation_probabilities=np.ones((5, 10), np.float32))
    assert phase_summary.changes_of(finished) == []


def test_phase_1_cannot_be_kept_where_it_is_not_or_is_the_model_already(finished: Run) -> None:
    assert not phase_summary.can_keep_head(finished)
    with pytest.raises(RunError, match=f"{finished.id}.*fine_tune_epochs 0"):
        phase_summary.keep_head(finished)
    (finished.path / phase_summary.HEAD_FILE).write_bytes(b"x")
    assert phase_summary.can_keep_head(finished)
    write_json(finished.path / "status.json", {"state": "finished", "result": {"best_phase": "head"}})
    assert not phase_summary.can_keep_head(finished)
    assert runs.list_runs() == [finished]


def test_keeping_phase_1_prepares_a_run_of_that_phase_alone(
    finished: Run, monkeypatch: pytest.MonkeyPatch, tiny_config: TrainConfig
) -> None:
    (finished.path / phase_summary.HEAD_FILE).write_bytes(b"the checkpoint")
    origin = {"label": "any", "fingerprint": "any"}
    write_json(finished.path / "environment.json", {"data": origin, "weights": origin})
    spawned: list[Run] = []
    monkeypatch.setattr(jobs, "spawn_worker", spawned.append)
    kept = phase_summary.keep_head(finished)
    assert spawned == [kept]
    assert (kept.path / "checkpoint.npz").read_bytes() == b"the checkpoint"
    assert kept.config.fine_tune_epochs == 0
    assert kept.config.differences(tiny_config).keys() == {"fine_tune_epochs"}
    assert phase_summary.parent(kept) == finished.id
    assert phase_summary.parent(finished) is None


def test_a_strange_parent_is_a_sentence(run: Run) -> None:
    write_json(run.path / phase_summary.PARENT_FILE, {"id": "../../etc"})
    with pytest.raises(RunError, match=phase_summary.PARENT_FILE):
        phase_summary.parent(run)


def test_the_linear_probe_says_what_training_added_and_old_runs_say_nothing() -> None:
    probe = LinearProbe("what ImageNet already knows", 0.75)
    assert re.search(r"75\.0%.*added 15\.0 points", phase_summary.probe_sentence(probe, 0.9))
    assert "lost 5.0 points" in phase_summary.probe_sentence(probe, 0.7)
    assert "points" not in phase_summary.probe_sentence(probe, None)
    assert phase_summary.probe_sentence(None, 0.9) == ""
