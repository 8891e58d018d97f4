"""Answers after each epoch: three images by hand, and files as kills, resumes and strangers leave them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from app_pages import make_run, metrics

from cifar_core.evaluation import data_map
from cifar_core.evaluation.data_map import Dynamics
from cifar_core.runs import Run

LABELS = np.array([0, 1, 2], np.uint8)


def answers(*likely: float) -> np.ndarray:
    """Probabilities of three images: `likely` for the label, the rest for the last class."""
    found = np.zeros((3, 10), np.float32)
    found[:, 9] = 1 - np.array(likely)
    found[np.arange(3), LABELS] = likely
    return found


EPOCHS = [answers(0.9, 0.8, 0.1), answers(0.9, 0.2, 0.1), answers(0.9, 0.8, 0.3), answers(0.9, 0.2, 0.1)]


@pytest.fixture
def finished(own_folders: None) -> Run:
    """A finished run of three validation images and four epochs, of which nothing is recorded."""
    run = make_run("finished", metrics(2, 2), result={"dataset": "images"})
    arrays: dict[str, Any] = {"validation_rows": np.arange(3)}
    for split in ("validation", "test"):
        arrays |= {f"{split}_labels": LABELS, f"{split}_probabilities": EPOCHS[-1]}
    np.savez(run.path / "evaluation.npz", **arrays)
    return run


def write(run: Run, epochs: list[np.ndarray]) -> None:
    for number, probabilities in enumerate(epochs):
        data_map.write_epoch(run.path, number, probabilities)


def test_easy_ambiguous_and_hard_by_hand() -> None:
    known = Dynamics(LABELS, np.stack(EPOCHS), "abcd")
    assert known.confidence == pytest.approx([0.9, 0.5, 0.15], abs=1e-6)
    assert known.variability == pytest.approx([0, 0.3, 0.0866], abs=1e-4)
    assert known.right.tolist() == [[True, True, False], [True, False, False]] * 2
    assert known.forgotten.tolist() == [0, 2, 0]
    assert known.after(1).accuracy == pytest.approx(1 / 3)


def test_what_is_written_is_read_with_the_names_of_the_epochs(finished: Run) -> None:
    write(finished, EPOCHS)
    assert (finished.path / data_map.EPOCHS_FILE).stat().st_size == 4 * 3 * 10 * 2
    known = data_map.load_dynamics(finished)
    assert known is not None
    assert np.abs(known.probabilities - np.stack(EPOCHS)).max() < 1e-3
    assert list(known.names) == ["Head, epoch 1", "Head, epoch 2", "Fine-tuning, epoch 1", "Fine-tuning, epoch 2"]


def test_a_resume_writes_over_what_a_killed_worker_left(finished: Run) -> None:
    write(finished, [*EPOCHS[:2], answers(0.5, 0.5, 0.5), EPOCHS[3]])
    for number in (2, 3):
        data_map.write_epoch(finished.path, number, EPOCHS[number])
    known = data_map.load_dynamics(finished)
    assert known is not None and np.abs(known.probabilities - np.stack(EPOCHS)).max() < 1e-3


def test_epochs_that_are_torn_missing_or_beyond_the_metrics_are_left_out(finished: Run) -> None:
    for number in (1, 2, 3, 4):  # an older version trained the first; of the fifth there is no row
        data_map.write_epoch(finished.path, number, EPOCHS[0])
    with (finished.path / data_map.EPOCHS_FILE).open("r+b") as file:
        file.truncate(3 * 60 + 7)
    known = data_map.load_dynamics(finished)
    assert known is not None and list(known.names) == ["Head, epoch 2", "Fine-tuning, epoch 1"]


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff" * 240, b"\x00" * 240, b"\x00\x3c" * 120, b"\x00\x7c\x00\xfc" * 60, b"x"]
)
def test_without_sound_epochs_there_is_nothing(finished: Run, content: bytes | None) -> None:
    if content is not None:
        (finished.path / data_map.EPOCHS_FILE).write_bytes(content)
    assert data_map.load_dynamics(finished) is None
