"""`evaluate` and `data`."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_files import binary_files, small_batches, write_files
from command_line import (  # noqa: F401 - fixtures among them
    Ask,
    ask,
    ask_json,
    cat,
    finished,
    home,
    model,
)

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import batch_files, cifar10, feature_cache
from cifar_core.data.cifar10 import CLASSES
from cifar_core.runs import Run


def test_evaluate_tells_the_figures_of_the_test_images(ask_json: Callable[..., Any], ask: Ask, finished: Run) -> None:
    answer = ask_json("evaluate", finished.id)
    assert answer.keys() >= {"id", "accuracy", "loss", "images", "dataset", "interval", "classes"}
    assert (answer["id"], answer["accuracy"], answer["images"]) == (finished.id, 0.1, 20)
    assert answer["dataset"] == "CIFAR-10"
    assert answer["interval"] == pytest.approx([0.0279, 0.3010], abs=1e-3)
    assert answer["classes"] == dict.fromkeys(CLASSES, 0.0) | {"cat": 1.0}
    out = ask("evaluate", finished.id)[1]
    (test,) = (line.split() for line in out.splitlines() if line.startswith("test "))
    assert test == ["test", "10.0%", "2.8%", "to", "30.1%", "20.0%", f"{answer['loss']:.4f}", "20"]
    assert "images: CIFAR-10" in out


def test_evaluate_of_an_unfinished_or_damaged_run_is_a_sentence(ask: Ask, finished: Run) -> None:
    (finished.path / "evaluation.npz").write_bytes(b"PK\x03\x04")
    unfinished = runs.create(TrainConfig())
    for run, words in ((finished, "is damaged"), (unfinished, "only a finished run")):
        code, out, err = ask("evaluate", run.id, "--json")
        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1


def test_bundled_model_is_evaluated_on_the_images_at_hand(
    ask_json: Callable[..., Any], home: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "bundled.tflite").write_bytes(model)
    write_files(binary_files(small_batches(monkeypatch)), home / "cifar10")
    monkeypatch.setenv("CIFAR10_DIR", str(home / "cifar10"))
    answer = ask_json("evaluate", "bundled")
    assert (answer["id"], answer["images"], answer["dataset"]) == ("bundled", 20, "CIFAR-10")
    assert answer["classes"]["cat"] == 1


def test_data_status_tells_what_a_training_gets(ask_json: Callable[..., Any], ask: Ask) -> None:
    assert ask_json("data", "status") == cifar10.status()
    out = ask("data", "status")[1]
    assert re.match(r"synthetic images, not CIFAR-10: 12,000 .* 2,000 ", out)
    assert "CIFAR10_DIR" in out


def test_wrong_data_folder_is_a_mistake(ask: Ask, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(home / "nosuch"))
    code, out, err = ask("data", "status", "--json")
    assert code == 2
    assert json.loads(out)["error"] == err.strip()


def test_download_that_fails_is_a_mistake(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    code, out, err = ask("data", "download", "--json")
    assert (code, out) == (2, "")
    assert cifar10.URL in err
    assert len(err.splitlines()) == 1


def test_download_tells_where_the_images_are(
    ask_json: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(binary_files(small_batches(monkeypatch)), home / "cache")
    monkeypatch.setattr(cifar10.Dataset, "official", True)
    answer = ask_json("data", "download")
    assert answer["dataset"] == "cifar10"
    assert answer["source"] == str(home / "cache" / batch_files.BINARY_FOLDER)
    assert (answer["train_images"], answer["test_images"], answer["official"]) == (100, 20, True)


def test_cache_tells_its_contents_and_can_be_emptied(ask_json: Callable[..., Any], ask: Ask) -> None:
    entry = feature_cache.entry({"layer": "pooled", "alpha": 0.35}, 8, (1280,))
    entry.write(np.arange(8), np.ones((8, 1280)))
    answer = ask_json("data", "cache")
    assert [item["about"]["layer"] for item in answer["entries"]] == ["pooled"]
    assert answer["bytes"] >= 8 * 1280 * 2
    assert answer["budget_bytes"] == feature_cache.budget_bytes()
    assert "pooled" in ask("data", "cache")[1]
    cleared = ask_json("data", "cache", "--clear")
    assert (cleared["entries"], cleared["bytes"], cleared["freed_bytes"]) == ([], 0, answer["bytes"])
