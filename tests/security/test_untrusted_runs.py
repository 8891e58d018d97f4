"""A run directory copied from a stranger, each of its files odd in turn: sentences come out, never anything else."""

import contextlib
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from app_pages import figures_of, open_app
from hypothesis import given
from hypothesis import strategies as st
from mutation import CHANGES, changed, examples, odd_json, odd_lines
from readers import READERS, read

from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import predictions
from cifar_core.export import archive
from cifar_core.inference import calibration, classifier, neighbors

JSON = (
    "status.json", "config.json", "environment.json", "labels.json", "owner.json", "latency.json", "parent.json",
    "robustness.json", "calibration.json", "exports/litert.json", "exports/onnx.json",
)  # fmt: skip
LINES = ("metrics.jsonl", "probes.jsonl")
ARRAYS = ("evaluation.npz", "phases.npz", "neighbours.npz", "pins.npz")
PICTURES = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


def test_everything_reads_the_sound_run(stranger) -> None:
    run = stranger()
    for reader in READERS:
        reader(run)
    assert archive.missing(run) == "best.keras"
    assert classifier.open_classifier(run.id).answer(PICTURES).probabilities.shape == (2, 10)


@pytest.mark.parametrize("name", (*JSON, *LINES))
def test_odd_values_in_json_and_rows(stranger, files, name: str) -> None:
    odd, count = (odd_json, 6) if name in JSON else (odd_lines, 10)

    @examples(count)
    @given(odd(files[name]))
    def check(content: bytes) -> None:
        read(stranger({name: content}))

    check()


def test_mutated_files(stranger, files) -> None:
    @examples(20)
    @given(st.sampled_from((*JSON, *LINES, *ARRAYS)), CHANGES)
    def check(name: str, changes: list) -> None:
        run = stranger({name: changed(files[name], changes)})
        read(run)
        for load in (neighbors.load, calibration.load):
            with contextlib.suppress(CifarError):
                found = load(run.path / (neighbors.FILE if load is neighbors.load else calibration.FILE))
                if isinstance(found, neighbors.Index):
                    assert np.isfinite(found.scores(np.ones((2, len(found.mean)), np.float32))).all()

    check()


def test_a_figure_out_of_range_is_no_figure(stranger, files) -> None:
    status = json.loads(files["status.json"])
    for odd in (5.0, -0.1, "0.9", True, float("nan"), 10**400, [0.9]):
        status["result"]["test_accuracy"] = odd
        run = stranger({"status.json": json.dumps(status).encode()})
        assert "test_accuracy" not in run.result
        assert run.result["validation_accuracy"] >= 0


ARRAY_BREAKERS = {
    "another shape": {"test_probabilities": np.zeros((5, 10), np.float32)},
    "not a number": {"test_probabilities": np.full((60, 10), np.nan, np.float32)},
    "no probabilities": {"test_probabilities": np.ones((60, 10), np.float32)},
    "another type": {"test_labels": np.zeros(60, np.int64)},
    "a label beyond the ten": {"test_labels": np.full(60, 10, np.uint8)},
    "no image": {"test_labels": np.empty(0, np.uint8), "test_probabilities": np.empty((0, 10), np.float32)},
    "places below 0": {"validation_rows": np.full(60, -1)},
    "places that are no numbers": {"validation_rows": np.full(60, 0.5)},
}


@pytest.mark.parametrize("name", ARRAY_BREAKERS)
def test_predictions_that_are_none_are_refused(stranger, files, name: str) -> None:
    with np.load(io.BytesIO(files["evaluation.npz"])) as file:
        arrays = {key: file[key] for key in file.files}
    packed = io.BytesIO()
    np.savez(packed, **arrays | ARRAY_BREAKERS[name])
    with pytest.raises(RunError, match="damaged"):
        predictions.load(stranger({"evaluation.npz": packed.getvalue()}))


class Payload:
    """A pickle that leaves a mark in the current folder."""

    def __reduce__(self) -> tuple:
        return exec, ("import pathlib; pathlib.Path('owned').touch()",)


def test_a_payload_leaves_its_mark_where_pickles_are_run(tmp_path, monkeypatch) -> None:
    """So that the tests below can fail."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))
    assert (tmp_path / "owned").exists()


def pickled(*names: str) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=True, **{name: np.array([Payload()], object) for name in names})
    return packed.getvalue()


def test_pickles_in_arrays_are_not_run(stranger, files, tmp_path, monkeypatch) -> None:
    from cifar_core.training import run_writer

    monkeypatch.chdir(tmp_path)
    for name in ARRAYS:
        with np.load(io.BytesIO(files[name])) as file:
            run = stranger({name: pickled(*file.files)})
        read(run)
        if name == neighbors.FILE:
            with pytest.raises(RunError, match="damaged"):
                neighbors.load(run.path / name)
    (run.path / "checkpoint.npz").write_bytes(pickled("state", "model/0"))
    with pytest.raises(RunError, match="damaged"):
        run_writer.load_checkpoint(run.path / "checkpoint.npz")
    for name in (*ARRAYS, "status.json", "metrics.jsonl", "model.tflite"):
        run = stranger({name: pickle.dumps(Payload())})
        read(run)
        with contextlib.suppress(CifarError):
            classifier.open_classifier(run.id)
    assert not list(tmp_path.rglob("owned"))


def test_an_array_that_promises_terabytes_is_refused_at_once(stranger) -> None:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 10), }"
    head += b" " * (64 - (len(head) + 11) % 64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in ("test_labels", "test_probabilities", "validation_labels", "validation_probabilities", "mean"):
            file.writestr(f"{name}.npy", array)
    for name in ARRAYS:
        read(stranger({name: packed.getvalue()}))


# ---- on the pages

PAGES = {
    "train": {"run": "20260101-000000000-stranger"},
    "evaluate": {"run": "20260101-000000000-stranger"},
    "explore": {"runs": "20260101-000000000-stranger"},
    "classify": {"model": "20260101-000000000-stranger"},
}
WRECKS: dict[str, dict[str, bytes]] = {
    "words for numbers": {
        "status.json": b'{"state": "finished", "result": {"test_accuracy": "<b>", "test_images": [], "dataset": 5}}',
        "metrics.jsonl": b'{"kind": "step", "phase": "head", "epoch": "x"}\n' + b'{"kind": "epoch"}\n' * 3,
        "environment.json": b'{"data": [], "cores": "many", "packages": 3}',
        "labels.json": b'{"name": 5, "note": {}, "starred": "yes"}',
    },
    "huge numbers and none": {
        "status.json": b'{"state": "finished", "updated": 1e400, "result": {"test_accuracy": NaN, "test_images": 1e300,'
        b' "validation_accuracy": 7, "elapsed_seconds": -5, "model_bytes": 1e308, "best_epoch": true}}',
        "metrics.jsonl": b'{"kind": "progress", "done": 5, "total": 0, "elapsed_seconds": 1e308}\n'
        b'{"kind": "step", "phase": "head", "epoch": 0, "step": 1, "steps": 0, "accuracy": NaN, "loss": 1e308,'
        b' "learning_rate": -1, "images_per_second": Infinity}\n',
        "robustness.json": b'{"version": 1, "images": 1e308, "clean": NaN, "accuracies": {}}',
        "calibration.json": b'{"temperature": NaN, "ece": [1e400, 0], "images": {}}',
    },
    "no times": {
        "status.json": b'{"state": "finished", "result": {"elapsed_seconds": null}}',
        "metrics.jsonl": b'{"kind": "epoch", "phase": "head", "epoch": 1, "validation_accuracy": 0.5, '
        b'"validation_loss": 1.0, "elapsed_seconds": null, "seconds_left": null}\n',
    },
    "no text": {
        "status.json": b'{"state": "failed", "stage": ["x"], "note": {"a": 1}, "error": {"message": "\\ud800", '
        b'"type": 7}}',
        "summary.txt": b"\xff\xfe\x00\x00" * 100,
        "labels.json": b'{"name": "\\ud800\\u202e<b>**x**", "note": "=1+1"}',
        "exports/litert.json": b'{"state": "failed", "error": "\\udfff"}',
    },
    "nothing": dict.fromkeys((*JSON, *LINES, *ARRAYS, "summary.txt", "model.tflite"), b""),
    "only brackets": dict.fromkeys((*JSON, *LINES), b"[" * 60_000),
}


@pytest.mark.parametrize("wreck", WRECKS)
def test_pages_show_a_wrecked_run_without_crashing(stranger, wreck: str) -> None:
    stranger(WRECKS[wreck])
    for page, query in PAGES.items():
        open_app(f"pages/{page}.py", **query)


def test_what_a_stranger_wrote_is_not_shown_as_a_figure(stranger) -> None:
    stranger()
    assert len(figures_of(open_app(**PAGES["train"]))) >= 3
    stranger(WRECKS["huge numbers and none"])
    assert figures_of(open_app(**PAGES["train"])) == set()
