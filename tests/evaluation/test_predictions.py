import io
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.evaluation import predictions
from cifar_core.evaluation.predictions import Predictions, wilson
from cifar_core.runs import Run


def arrays() -> dict[str, np.ndarray]:
    """Predictions of 40 validation and 20 test images; of the test images every second is wrong."""
    test_labels = np.arange(20, dtype=np.uint8) % 10
    said = np.where(np.arange(20) < 10, test_labels, (test_labels + 1) % 10)
    validation_labels = np.arange(40, dtype=np.uint8) % 10
    return {
        "validation_labels": validation_labels,
        "validation_probabilities": confident(validation_labels),
        "test_labels": test_labels,
        "test_probabilities": confident(said),
    }


def confident(labels: np.ndarray) -> np.ndarray:
    """Probabilities of 0.91 for `labels` and 0.01 for each other class."""
    return (np.eye(10)[labels] * 0.9 + 0.01).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "runs"))
    made = runs.create(TrainConfig())
    runs.write_json(made.path / "status.json", {"state": "finished", "result": {"dataset": "CIFAR-10"}})
    np.savez_compressed(made.path / "evaluation.npz", **arrays())
    return made


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(50, 100, 0.4038, 0.5962), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (8_500, 10_000, 0.8429, 0.8569)],
)
def test_wilson_gives_the_textbook_interval(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10**9).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson(correct, total)
    assert 0 <= low < high <= 1
    assert total == 0 or low - 1e-12 <= correct / total <= high + 1e-12


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, -1)])
def test_wilson_refuses_impossible_counts(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"received {correct} of {total}, expected 0 to {total}"):
        wilson(correct, total)


def test_figures_are_those_of_the_stored_predictions(run: Run) -> None:
    found = predictions.load(run)
    assert found.dataset == "CIFAR-10"
    assert found.validation.accuracy == 1
    assert found.test.accuracy == 0.5
    assert found.test.loss == pytest.approx(-(math.log(0.91) + math.log(0.01)) / 2, rel=1e-5)
    assert found.test.interval == wilson(10, 20)
    assert {one.recall for one in predictions.class_figures(found.test)} == {0.5}


def test_class_without_an_image_has_no_accuracy() -> None:
    labels = np.array([3, 3], np.uint8)
    figures = predictions.class_figures(Predictions(labels, confident(np.array([3, 5]))))
    accuracies = {one.name: one.recall for one in figures}
    assert accuracies.pop("cat") == 0.5
    assert set(accuracies.values()) == {None}


def test_certain_and_wrong_is_a_finite_loss() -> None:
    assert Predictions(np.array([0], np.uint8), np.eye(10, dtype=np.float32)[[1]]).loss == pytest.approx(
        27.63, abs=0.01
    )


@pytest.mark.parametrize("state", ["running", "failed", "stopped"])
def test_run_that_is_not_finished_has_no_evaluation(run: Run, state: str) -> None:
    runs.write_json(run.path / "status.json", {"state": state})
    with pytest.raises(RunError, match=f"{run.id} is {run.state}.*finished"):
        predictions.load(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test_labels", None),
        ("test_labels", np.full(20, 10, np.uint8)),
        ("test_labels", np.zeros(19, np.uint8)),
        ("test_labels", np.zeros(20, np.int64)),
        ("test_labels", np.zeros((20, 1), np.uint8)),
        ("validation_labels", np.zeros(0, np.uint8)),
        ("test_probabilities", np.full((20, 10), 0.1)),
        ("test_probabilities", np.full((20, 9), 1 / 9, np.float32)),
        ("test_probabilities", np.full((20, 10), np.nan, np.float32)),
        ("test_probabilities", np.full((20, 10), 0.2, np.float32)),
        ("test_probabilities", np.eye(10, dtype=np.float32)[np.zeros(20, int)] * 2 - 0.1),
    ],
)
def test_other_arrays_than_predictions_are_refused(run: Run, name: str, value: np.ndarray | None) -> None:
    changed = arrays() | ({} if value is None else {name: value})
    if value is None:
        del changed[name]
    np.savez_compressed(run.path / "evaluation.npz", **changed)
    with pytest.raises(RunError, match=r"evaluation\.npz"):
        predictions.load(run)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", pickle.dumps([1])])
def test_missing_or_foreign_file_is_refused(run: Run, content: bytes | None) -> None:
    path = run.path / "evaluation.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"evaluation\.npz"):
        predictions.load(run)


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_payload_in_an_object_array_is_not_executed(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    np.savez(run.path / "evaluation.npz", **arrays() | {"test_labels": np.array([Payload(mark)], object)})
    with pytest.raises(RunError, match=r"evaluation\.npz"):
        predictions.load(run)
    assert not mark.exists()


def test_file_that_unpacks_to_far_too_much_is_refused_unread(run: Run) -> None:
    bomb = np.zeros(70 * 2**20, np.uint8)
    np.savez_compressed(run.path / "evaluation.npz", **arrays() | {"test_labels": bomb})
    with pytest.raises(RunError, match="too large"):
        predictions.load(run)


def test_header_that_promises_terabytes_is_refused(run: Run) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(run.path / "evaluation.npz", "w") as archive:
        archive.writestr("validation_labels.npy", header.getvalue())
    with pytest.raises(RunError, match=r"evaluation\.npz"):
        predictions.load(run)


def test_damaged_bytes_never_give_a_wrong_figure(run: Run) -> None:
    path, rng = run.path / "evaluation.npz", np.random.default_rng(3)
    np.savez(path, **arrays())  # not compressed, so that headers are hit as well
    whole = path.read_bytes()
    for _ in range(400):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged if rng.random() < 0.7 else damaged[: rng.integers(0, len(whole))])
        try:
            found = predictions.load(run)
        except RunError:
            continue
        assert found.test.accuracy == 0.5
        assert found.validation.accuracy == 1
