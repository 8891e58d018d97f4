"""A finished run with every file that a run can have, as a stranger's folder would hold it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, download, synthetic
from cifar_core.evaluation import robustness
from cifar_core.inference import calibration, neighbors, pins
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run, write_json
from cifar_core.search import head_lab

CONFIG = TrainConfig(
    dataset="generated", train_images=1_000, alpha=0.35, image_size=32, weights="random", dense_units=16, views=2,
    head_epochs=2, fine_tune_epochs=2,
)  # fmt: skip
ID = "20260101-000000000-stranger"
COUNT = 60  # images that were predicted


def model() -> bytes:
    """A LiteRT file of CONFIG with random weights."""
    rng = np.random.default_rng(3)
    named = dict(pretrained.load("random", CONFIG.alpha, CONFIG.image_size, 1).named)
    named |= {f"head_norm/{name}": np.ones(1280, np.float32) for name in ("gamma", "beta", "moving_variance")}
    named["head_norm/moving_mean"] = np.zeros(1280, np.float32)
    for layer, shape in (("head_dense", (1280, 16)), ("head_output", (16, 10))):
        named[f"{layer}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        named[f"{layer}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, CONFIG.alpha, CONFIG.image_size, CONFIG.scaling, ("pooled", "probabilities"))


def metrics() -> list[dict]:
    rows: list[dict] = [{"kind": "progress", "stage": "features", "done": 5, "total": 5, "seconds_left": 0.0}]
    for phase in ("head", "fine_tune"):
        for epoch in (1, 2):
            common = {"phase": phase, "epoch": epoch, "elapsed_seconds": 2.0 * epoch, "accuracy": 0.5, "loss": 1.5}
            common |= {"learning_rate": 1e-3, "images_per_second": 900.0, "seconds_left": None}
            rows.append({"kind": "step", "step": 5, "steps": 10, **common})
            validation = {"validation_loss": 1.0, "validation_accuracy": 0.5, "epochs": 2, "images": 800}
            rows.append({"kind": "epoch", "epoch_seconds": 1.0, **common, **validation})
    return rows


def write(run: Run, content: bytes) -> None:
    """Write a finished run's files, all that there can be."""
    place, rng = run.path, np.random.default_rng(5)
    place.mkdir(parents=True)
    (place / "exports").mkdir()
    said = rng.dirichlet(np.ones(10), COUNT).astype(np.float32)
    labels = (np.arange(COUNT) % 10).astype(np.uint8)
    accuracy = float((said.argmax(axis=1) == labels).mean())
    result = {f"{name}_accuracy": accuracy for name in ("validation", "test")}
    result |= {"validation_images": COUNT, "test_images": COUNT, "validation_loss": 2.0, "test_loss": 2.0}
    result |= {"best_phase": "fine_tune", "best_epoch": 2, "parameters": 1, "model_bytes": len(content)}
    result |= {"dataset": cifar10.LABELS["generated"], "weights": "random numbers (seed 1)", "elapsed_seconds": 12.5}
    status = {"state": "finished", "stage": "done", "result": result, "started": 1.7e9, "updated": 1.7e9}
    write_json(place / "status.json", status | {"imported": {"id": ID, "time": 1.7e9}, "note": "", "message": ""})
    write_json(place / "config.json", CONFIG.to_dict())
    environment = {"python": "3.11.7", "cores": 2, "processor": "x", "packages": {"keras": "3"}}
    write_json(
        place / "environment.json",
        environment
        | {
            "data": {"name": "generated", "label": "synthetic", "fingerprint": "x"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    write_json(place / "labels.json", {"name": "a name", "note": "a note", "starred": True})
    write_json(place / "owner.json", {"id": "1", "name": "Ada"})
    write_json(place / "latency.json", {"latency_ms": 2.0})
    write_json(place / "parent.json", {"id": ID})
    accuracies = {name: [0.1] * len(corruption.strengths) for name, corruption in robustness.CORRUPTIONS.items()}
    measured = {"version": 1, "images": 100, "clean": 0.5, "accuracies": accuracies, "seconds": 3.0}
    write_json(place / "robustness.json", measured)
    done = {"state": "done", "bytes": 5, "agreement": 0.99, "images": 200, "latency_ms": 1.0, "against": "x"}
    write_json(place / "exports" / "litert.json", done | {"made": 1.0})
    write_json(place / "exports" / "onnx.json", {"state": "working", "done": 3, "total": 5})
    unlike = calibration.OutOfDistribution(0.5, 0.95, {"noise": 0.9}, 50)
    calibration.fit(said, labels, unlike).save(place / "calibration.json")
    np.savez(
        place / "evaluation.npz", validation_labels=labels, validation_probabilities=said, test_labels=labels,
        test_probabilities=said, validation_rows=np.arange(COUNT),
    )  # fmt: skip
    np.savez(place / "phases.npz", head_validation_probabilities=said[::-1].copy())
    index = neighbors.build(rng.random((40, 1280), np.float32), np.arange(40) % 10, np.arange(40), "x")
    index.save(place / "neighbours.npz")
    pin = pins.Pin(rng.integers(0, 256, (32, 32, 3), np.uint8), "cat")
    pins.save(run, [pin])
    probes = [
        {"phase": phase, "epoch": n, "pins": {pin.key: [0.1] * 10}} for phase in ("head", "fine_tune") for n in (0, 1.5)
    ]
    for name, rows in (("metrics.jsonl", metrics()), ("probes.jsonl", probes)):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "summary.txt").write_text("block_16_project (Conv2D)")
    (place / "model.tflite").write_bytes(content)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the run by name."""
    folder = tmp_path_factory.mktemp("stranger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_RUNS_DIR", str(folder))
        run = Run(ID)
        write(run, model())
        found = (path for path in run.path.rglob("*") if path.is_file())
        return {path.relative_to(run.path).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder, so that the small set is drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def small_set(own_folders: None, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small set of generated images, no CIFAR-10, no ImageNet weights and no network."""
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(drawn))
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of the head lab, which would outlive the test."""
    monkeypatch.setattr(head_lab, "start", lambda: None)


@pytest.fixture
def stranger(files: dict[str, bytes]) -> Callable[..., Run]:
    """A function that lays the run into the test's own runs directory, some files changed (None: left out)."""

    def lay(changes: dict[str, bytes | None] | None = None) -> Run:
        run = Run(ID)
        (run.path / "exports").mkdir(parents=True, exist_ok=True)
        for name, content in (files | (changes or {})).items():
            if content is None:
                (run.path / name).unlink(missing_ok=True)
            else:
                (run.path / name).write_bytes(content)
        return runs.get(run.id)

    return lay
