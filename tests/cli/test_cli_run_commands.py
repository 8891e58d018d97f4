"""The command line's words for many runs, and for the head lab."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.config import TrainConfig
from cifar_core.evaluation import listing
from cifar_core.runs import Run, labels, trash, write_json
from cifar_core.search import head_lab
from cifar_core.search.head_lab import Settings


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """Calls the command line with --json; gives exit code, answer and standard error."""

    def call(*words: str) -> tuple[int, Any, str]:
        code = parser.main([*words, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


def finish(config: TrainConfig, accuracy: float, wrong: int = 0) -> Run:
    run = runs.create(config)
    result = {"validation_accuracy": accuracy, "validation_images": 100}
    write_json(run.path / "status.json", {"state": "finished", "result": result})
    truth = np.arange(100, dtype=np.uint8) % 10
    said = np.eye(10, dtype=np.float32)[np.where(np.arange(100) < wrong, (truth + 1) % 10, truth)]
    arrays = {f"{part}_labels": truth for part in ("validation", "test")}
    np.savez(run.path / "evaluation.npz", **arrays, validation_probabilities=said, test_probabilities=said)
    return run


def test_runs_are_sorted_and_filtered(ask: Callable, tiny_config: TrainConfig) -> None:
    low, high = finish(tiny_config, 0.6), finish(replace(tiny_config, dropout=0.1), 0.8)
    labels.change(low, starred=True)
    assert [item["id"] for item in ask("runs", "list", "--sort", "validation")[1]] == [high.id, low.id]
    assert [item["id"] for item in ask("runs", "list", "--sort", "dropout", "--reverse")[1]] == [low.id, high.id]
    assert [item["id"] for item in ask("runs", "list", "--filter", "dropout=0.1")[1]] == [high.id]
    assert [item["id"] for item in ask("runs", "list", "--starred")[1]] == [low.id]
    code, _, err = ask("runs", "list", "--sort", "beauty")
    assert (code, ", ".join(listing.SORTS) in err) == (2, True)


def test_a_run_is_named_noted_and_starred(ask: Callable, run: Run) -> None:
    ask("runs", "rename", run.id, "my\nnet")
    ask("runs", "note", run.id, "wide")
    assert ask("runs", "star", run.id)[1] == {"id": run.id, "name": "my net", "note": "wide", "starred": True}
    assert ask("runs", "star", run.id, "--off")[1]["starred"] is False
    assert ask("runs", "rename", "../x", "y")[0] == 2


def test_a_deleted_run_is_restored_or_gone_for_good(ask: Callable, run: Run) -> None:
    assert ask("runs", "delete", run.id)[1] == {"id": run.id, "status": "deleted"}
    assert ask("runs", "trash")[1]["ids"] == [run.id]
    assert ask("runs", "restore", run.id)[0] == 0
    assert runs.list_runs() == [run]
    ask("runs", "delete", run.id)
    assert ask("runs", "trash", "--clear")[1] == {"deleted": 1}
    code, _, err = ask("runs", "restore", run.id)
    assert (code, run.id in err) == (2, True)


def test_a_run_can_be_deleted_past_the_trash(ask: Callable, run: Run) -> None:
    ask("runs", "delete", run.id, "--for-good")
    assert (runs.list_runs(), trash.contents()) == ([], [])


def test_compare_tells_knobs_and_whether_it_is_real(ask: Callable, tiny_config: TrainConfig) -> None:
    a, b = finish(tiny_config, 0.9), finish(replace(tiny_config, dropout=0.1), 0.6, wrong=30)
    code, answer, _ = ask("runs", "compare", a.id, b.id)
    assert code == 0
    assert answer["knobs"] == {"dropout": {a.id: 0.5, b.id: 0.1}}
    (pair,) = answer["pairs"]
    assert (pair["only_a"], pair["only_b"], pair["is_real"]) == (30, 0, True)
    assert pair["p_value"] == pytest.approx(2 * 0.5**30)
    assert ask("runs", "compare", a.id)[0] == 2


def test_the_lab_answers_what_it_knows_and_else_asks_its_process(
    ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "epoch": 1,
        "accuracy": 0.5,
        "cross_entropy": 1.5,
        "validation_accuracy": 0.6,
        "validation_cross_entropy": 1.2,
    }

    def answer() -> None:
        head_lab.lab_dir().mkdir(parents=True, exist_ok=True)
        write_json(head_lab.lab_dir() / "status.json", {"state": "ready", "base": {"key": "a1", "images": "CIFAR-10"}})
        saved = {"state": "done", "rows": [row], "predicted": "0123456789", "seconds": 2.0}
        write_json(head_lab.result_path("a1", Settings(dropout=0.1)), saved)

    monkeypatch.setattr(head_lab, "start", answer)
    found = ask("lab", "--dropout", "0.1")[1]
    assert found["settings"]["dropout"] == 0.1
    assert found["epochs"] == [row]
    assert head_lab.requested() is not None
    monkeypatch.setattr(head_lab, "start", lambda: 1 / 0)  # what is known needs no process
    assert ask("lab", "--dropout", "0.1")[1] == found


def test_a_lab_that_ended_is_a_sentence(ask: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_lab, "start", lambda: None)
    code, _, err = ask("lab")
    assert (code, str(head_lab.lab_dir() / "lab.log") in err) == (2, True)
    with FileLock(head_lab.lab_dir() / "lab.lock"):
        monkeypatch.setattr(head_lab, "request", lambda settings: None)
        write_json(head_lab.lab_dir() / "request.json", {"settings": {"dropout": 0.7}, "asked": 1.0})
        assert "Another request" in ask("lab")[2]
    assert ask("lab", "--dropout", "9")[0] == 2
