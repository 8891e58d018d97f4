"""What a training ended with, bit for bit, and whether its metrics file tells of all of it."""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from cifar_core.evaluation import data_map, predictions
from cifar_core.runs import Run

CLOCKS = ("elapsed_seconds", "epoch_seconds", "images_per_second", "seconds_left")
FIGURES = ("test_accuracy", "test_loss", "validation_accuracy", "validation_loss", "best_phase", "best_epoch")


@dataclass(frozen=True)
class Outcome:
    """What must be equal between a disturbed run and an undisturbed one; nothing in it is a clock's."""

    epochs: list[dict[str, Any]]
    progress: dict[str, Any]
    figures: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def differences(self, other: "Outcome") -> list[str]:
        """The names of all that is not the same, bit for bit."""
        found = [name for name in ("epochs", "progress", "figures") if getattr(self, name) != getattr(other, name)]
        names = sorted(set(self.arrays) | set(other.arrays))
        empty = np.empty(0)
        return found + [
            name
            for name in names
            if not np.array_equal(self.arrays.get(name, empty), other.arrays.get(name, empty), equal_nan=True)
        ]


def outcome(run: Run) -> Outcome:
    """What the finished `run` ended with: optimizer, seeds, network, both model files, predictions, figures."""
    arrays = {}
    for name in ("checkpoint.npz", "evaluation.npz"):
        with np.load(run.path / name, allow_pickle=False) as file:
            arrays |= {f"{name}/{key}": file[key] for key in file.files}
    progress = json.loads(arrays.pop("checkpoint.npz/state").tobytes())
    for clock in ("elapsed_seconds", "rows", "probes"):
        del progress[clock]
    arrays |= _keras_arrays(run)
    if (run.path / data_map.EPOCHS_FILE).exists():  # a sweep's trial does without
        arrays[data_map.EPOCHS_FILE] = np.fromfile(run.path / data_map.EPOCHS_FILE, np.uint8)
    arrays["model.tflite"] = np.frombuffer((run.path / "model.tflite").read_bytes(), np.uint8)
    return Outcome(epochs(run), progress, {name: run.result[name] for name in FIGURES}, arrays)


def epochs(run: Run) -> list[dict[str, Any]]:
    """The epochs' rows without what a clock says."""
    rows = [row for row in run.metrics() if row["kind"] == "epoch"]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


def places(run: Run) -> list[tuple[str, int]]:
    """Phase and number of each epoch's row."""
    return [(row["phase"], row["epoch"]) for row in epochs(run)]


def assert_complete(run: Run) -> None:
    """Every line is a row, every epoch is there once, each step at most once, all in order."""
    config, rows = run.config, run.metrics()
    assert len(rows) == len((run.path / "metrics.jsonl").read_text().splitlines()), "a line is no row"
    plan = (("head", config.head_epochs), ("fine_tune", config.fine_tune_epochs))
    assert places(run) == [(phase, number) for phase, last in plan for number in range(1, last + 1)]
    clock = [row["elapsed_seconds"] for row in rows]
    assert clock == sorted(clock)
    order = [
        (row["phase"] == "fine_tune", row["epoch"], row.get("step", 1_000_000))
        for row in rows
        if row["kind"] in ("step", "epoch")
    ]
    assert order == sorted(set(order))


def assert_answers_of_each_epoch(run: Run) -> None:
    """Each epoch left the answers to the validation images that its row counts; those of the best one are the run's."""
    known, rows = data_map.load_dynamics(run), epochs(run)
    assert known is not None and len(known.names) == len(rows) > 1
    images = len(known.labels)
    for number, row in enumerate(rows):
        assert abs(known.after(number).accuracy - row["validation_accuracy"]) <= 1.5 / images
    best = [(row["phase"], row["epoch"]) for row in rows].index((run.result["best_phase"], run.result["best_epoch"]))
    final = predictions.load(run).validation
    assert np.abs(known.probabilities[best] - final.probabilities).max() < 2e-3
    assert (run.path / data_map.EPOCHS_FILE).stat().st_size == 2 * len(rows) * images * 10


def _keras_arrays(run: Run) -> dict[str, np.ndarray]:
    """The weights in best.keras, read without Keras."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"best.keras/{name}"] = item[()]

    with zipfile.ZipFile(run.path / "best.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(take)
    return found
