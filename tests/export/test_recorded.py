"""A run folder and an archive that the version of commit a1a1808 (2026-11-28) wrote open in this one.

recorded/archive.zip was exported by that version; its run's folder held the same files, byte for byte, and those of
recorded/run. Width 0.35, 32 px, 1,000 generated images, one epoch of each phase; checkpoints are left out.
"""

from pathlib import Path

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.evaluation import predictions
from cifar_core.export import archive, exports
from cifar_core.inference import calibration, classifier, neighbors
from cifar_core.runs import Run, curves

ARCHIVE = Path(__file__).resolve().parents[1] / "recorded" / "archive.zip"
IMAGES = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)


def assert_complete(run: Run) -> None:
    assert run.state == "finished"
    assert (run.config.alpha, run.config.image_size, run.config.dense_units) == (0.35, 32, 16)
    assert run.result["best_phase"] == "fine_tune"
    assert predictions.load(run).test.accuracy == pytest.approx(run.result["test_accuracy"], abs=1e-6)
    assert [row["phase"] for row in run.metrics() if row["kind"] == "epoch"] == ["head", "fine_tune"]
    assert curves.curves(run.metrics())
    probabilities = classifier.open_classifier(run.id).probabilities(IMAGES)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_recorded_run_folder_opens(recorded_run: Run) -> None:
    assert runs.list_runs() == [recorded_run]
    assert_complete(recorded_run)
    assert calibration.load(recorded_run.path / calibration.FILE) is not None
    assert neighbors.load(recorded_run.path / neighbors.FILE) is not None


def test_a_recorded_archive_is_imported_and_classifies_as_its_run_did(recorded_run: Run) -> None:
    expected = classifier.open_classifier(recorded_run.id).probabilities(IMAGES)
    run = archive.import_run(ARCHIVE.read_bytes())
    assert run.status["imported"]["id"] == recorded_run.id
    assert_complete(run)
    assert np.array_equal(classifier.open_classifier(run.id).probabilities(IMAGES), expected)


def test_a_recorded_run_is_exported_as_a_model_file(recorded_run: Run) -> None:
    exports.make(recorded_run, "litert")
    assert exports.state(recorded_run, "litert")["agreement"] >= 0.99
