"""The command line in a test: called in this process or another, on a machine of its own with a run or none."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_core import jobs, runs
from cifar_core.cli import parser
from cifar_core.config import PRESETS
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference import classifier
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run

CAT = CLASSES.index("cat")

RESULT = {
    "validation_accuracy": 0.875,
    "test_accuracy": 0.85,
    "test_loss": 0.5,
    "test_images": 10_000,
    "best_phase": "fine_tune",
    "best_epoch": 3,
    "dataset": "CIFAR-10",
    "weights": "random numbers (seed 1)",
    "elapsed_seconds": 61.0,
}

EPOCH = {
    "kind": "epoch",
    "phase": "head",
    "epoch": 1,
    "epochs": 10,
    "loss": 1.25,
    "accuracy": 0.5,
    "validation_loss": 1.5,
    "validation_accuracy": 0.75,
    "learning_rate": 0.001,
    "images_per_second": 900.0,
    "seconds_left": 60.0,
    "elapsed_seconds": 12.0,
}

STEP = EPOCH | {"kind": "step", "step": 30, "steps": 60}

PROGRESS = {"kind": "progress", "stage": "features", "done": 512, "total": 1024, "seconds_left": 3.0}

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_model: None) -> Path:
    """A machine without runs, CIFAR-10 and a bundled model."""
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(classifier, "_bundled_model", lambda: tmp_path / "bundled.tflite")
    return tmp_path


@pytest.fixture(scope="session")
def model() -> bytes:
    """A network with random weights, but for a bias that makes everything a cat at 69 %."""
    named = dict(pretrained.load("random", 0.35, 32, seed=1).named)
    named |= {f"head_norm/{name}": np.ones(1280, np.float32) for name in ("gamma", "moving_variance")}
    named |= {f"head_norm/{name}": np.zeros(1280, np.float32) for name in ("beta", "moving_mean")}
    named |= {"head_dense/kernel": np.zeros((1280, 16), np.float32), "head_dense/bias": np.zeros(16, np.float32)}
    named |= {"head_output/kernel": np.zeros((16, 10), np.float32), "head_output/bias": 3 * np.eye(10)[CAT]}
    named["head_output/bias"] = named["head_output/bias"].astype(np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


@pytest.fixture
def finished(model: bytes) -> Run:
    return finish(runs.create(replace(PRESETS["standard"], alpha=0.35, image_size=32, dense_units=16)), model)


def finish(run: Run, model: bytes, **changes: Any) -> Run:
    """Give `run` what a worker leaves behind; of its 20 test images 2 are cats, and right."""
    set_status(run, state="finished", stage="done", result=RESULT | changes)
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (PROGRESS, STEP, EPOCH)))
    environment = {
        "python": "3.11.7",
        "data": {"label": RESULT["dataset"], "fingerprint": "d"},
        "weights": {"label": RESULT["weights"], "fingerprint": "w"},
    }
    runs.write_json(run.path / "environment.json", environment)
    (run.path / "model.tflite").write_bytes(model)
    labels, said = np.arange(20, dtype=np.uint8) % 10, np.eye(10, dtype=np.float32)[[CAT] * 20]
    np.savez(
        run.path / "evaluation.npz",
        validation_labels=labels,
        validation_probabilities=said,
        test_labels=labels,
        test_probabilities=said,
    )
    return run


def set_status(run: Run, **status: Any) -> None:
    runs.write_json(run.path / "status.json", status)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line; gives exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = parser.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask_json(ask: Ask) -> Callable[..., Any]:
    """Calls the command line with --json, expects success, and gives what it answers."""

    def call(*words: object) -> Any:
        code, out, _ = ask(*words, "--json")
        assert code == 0
        return json.loads(out)

    return call


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(picture())
    return path


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "orange").save(file, "PNG")
    return file.getvalue()


def workers_do(monkeypatch: pytest.MonkeyPatch, work: Callable[[Run], object]) -> None:
    """Let `work` be done where a worker would be started."""
    monkeypatch.setattr(jobs, "spawn_worker", work)


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=600)
