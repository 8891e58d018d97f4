"""`runs`, and the whole way of one run with real workers."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import (  # noqa: F401 - fixtures among them
    EPOCH,
    RESULT,
    Ask,
    ask,
    ask_json,
    cat,
    finished,
    home,
    model,
    run_python,
    set_status,
    workers_do,
)
from counting import counted, many_finished
from filelock import FileLock

from cifar_core import runs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.runs import Run


def test_list_tells_of_every_run_newest_first(ask_json: Callable[..., Any], ask: Ask, finished: Run) -> None:
    damaged = runs.create(TrainConfig(), "damaged")
    (damaged.path / "config.json").write_text("{")
    failed = runs.create(PRESETS["quick"], "failed")
    set_status(failed, state="failed")
    answer = ask_json("runs", "list")
    assert [item["id"] for item in answer] == [failed.id, damaged.id, finished.id]
    unwritten = {"name": "", "note": "", "starred": False, "latency_ms": None}
    assert answer[0] == {"id": failed.id, "status": "failed", "config": PRESETS["quick"].to_dict()} | unwritten
    assert answer[1]["config"] is None
    known = {"id": finished.id, "status": "finished", "config": finished.config.to_dict()}
    assert answer[2] == RESULT | known | unwritten
    lines = ask("runs", "list")[1].splitlines()
    assert lines[0].split() == ["id", "state", "α", "size", "images", "validation", "test", "data", "name"]
    assert lines[1].split() == [failed.id, "failed", "0.5", "96", "px", "5,000", "images", "-", "-", "-"]
    words = [finished.id, "finished", "0.35", "32", "px", "all", "87.5%", "85.0%", "CIFAR-10"]
    assert lines[3].split() == words


def test_no_runs_are_an_empty_list_and_a_sentence(ask_json: Callable[..., Any], ask: Ask) -> None:
    assert ask_json("runs", "list") == []
    assert "There are no runs" in ask("runs", "list")[1]


def test_500_runs_are_listed_with_a_few_files_read_of_each(ask: Ask) -> None:
    many_finished(500, TrainConfig())
    for form in ([], ["--json"]):
        with counted() as work:
            assert ask("runs", "list", *form)[0] == 0
        assert work["JSON read"] <= 2_000  # configuration and status, for the order and for the words
        assert work["files opened"] <= 2_100
        assert work["folders read"] <= 510
        assert work["files looked at"] <= 7_000


def test_show_adds_what_differs_and_where_it_stands(ask_json: Callable[..., Any], ask: Ask, finished: Run) -> None:
    answer = ask_json("runs", "show", finished.id)
    assert RESULT.items() <= answer.items()
    assert answer["differences"] == {"alpha": 0.35, "image_size": 32, "dense_units": 16}
    assert answer["config"] == finished.config.to_dict()
    assert (answer["stage"], answer["error"]) == ("done", None)
    assert answer["progress"] == answer["last_epoch"] == EPOCH
    assert answer["environment"]["python"] == "3.11.7"
    out = ask("runs", "show", finished.id)[1]
    assert "Width α: 0.35 (preset standard: 0.5)" in out
    assert "python 3.11.7" in out


def test_show_of_a_run_that_has_just_begun(ask_json: Callable[..., Any], ask: Ask) -> None:
    run = runs.create(TrainConfig())
    answer = ask_json("runs", "show", run.id)
    assert [answer[key] for key in ("stage", "progress", "last_epoch", "error", "environment")] == [None] * 5
    assert ask("runs", "show", run.id)[0] == 0


def test_run_of_a_stranger_is_shown_as_plain_text(ask: Ask, ask_json: Callable[..., Any], finished: Run) -> None:
    hostile = "\x1b[2J\u202e\n" * 9
    result = dict.fromkeys(RESULT, hostile) | {"id": "x", "status": "y", "test_images": 10**12, "nan": float("nan")}
    set_status(finished, state="failed", stage=[hostile], error={"type": hostile, "message": hostile}, result=result)
    runs.write_json(
        finished.path / "environment.json",
        {
            "python": hostile,
            "packages": {hostile: hostile},
            "data": {"label": hostile, "fingerprint": "d"},
            "weights": {"label": hostile, "fingerprint": "w"},
        },
    )
    for words in (["runs", "list"], ["runs", "show", finished.id]):
        code, out, err = ask(*words)
        assert (code, err) == (0, "")
        assert all(line.isprintable() for line in out.split("\n"))
    answer = ask_json("runs", "show", finished.id)
    assert (answer["id"], answer["status"]) == (finished.id, "failed")
    assert "nan" not in answer  # no number that a run can have


def test_stop_of_a_run_that_has_ended_changes_nothing(ask_json: Callable[..., Any], finished: Run) -> None:
    assert ask_json("runs", "stop", finished.id) == {"id": finished.id, "status": "finished"}


def test_resume_lets_a_stopped_run_go_on(ask_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs.create(TrainConfig())
    set_status(run, state="stopped")
    workers_do(monkeypatch, lambda run: set_status(run, state="finished"))
    assert ask_json("runs", "resume", run.id) == {"id": run.id, "status": "finished"}


def test_resume_of_a_finished_run_is_a_mistake(ask: Ask, finished: Run) -> None:
    code, _, err = ask("runs", "resume", finished.id)
    assert code == 2
    assert f"{finished.id} is finished" in err and "stopped, failed or lost" in err


def test_delete_removes_a_run(ask_json: Callable[..., Any], finished: Run) -> None:
    assert ask_json("runs", "delete", finished.id) == {"id": finished.id, "status": "deleted"}
    assert not finished.path.exists()


def test_living_run_is_not_deleted(ask: Ask) -> None:
    run = runs.create(TrainConfig())
    with FileLock(run.path / "lock"):
        code, _, err = ask("runs", "delete", run.id)
    assert code == 2
    assert "stop it first" in err
    assert run.path.exists()


@pytest.mark.slow
def test_train_stop_resume_predict_evaluate_delete(cat: Path, small_data: Path) -> None:
    tiny = ["--dataset", "generated", "--train-images", "1000", "--image-size", "32", "--alpha", "0.35"]
    tiny += ["--weights", "random"]
    short = [*tiny, "--head-epochs", "1", "--fine-tune-epochs", "1"]

    def command(*words: str) -> Any:
        ended = run_python("-m", "cifar_core", *words, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    first = command("train", *short)
    assert first["status"] == "finished"
    assert first["dataset"] == cifar10.LABELS["generated"]
    assert 0 <= first["test_accuracy"] <= 1

    second = command("train", *tiny, "--head-epochs", "100", "--early-stopping-patience", "100", "--detach")
    wait_until(lambda: "epoch" in {row["kind"] for row in runs.get(second["id"]).metrics()})
    assert command("runs", "show", second["id"])["last_epoch"]["phase"] == "head"
    assert command("runs", "stop", second["id"]) == {"id": second["id"], "status": "stopped"}
    assert command("runs", "resume", second["id"])["status"] in ("queued", "running")
    before = runs.get(second["id"]).metrics()
    wait_until(lambda: len(runs.get(second["id"]).metrics()) > len(before))
    command("runs", "stop", second["id"])
    worker = runs.get(second["id"]).status["pid"]
    wait_until(lambda: not psutil.pid_exists(worker))  # TensorFlow's own end may never come

    assert command("predict", str(cat))[0]["label"] in CLASSES
    assert command("evaluate", first["id"])["accuracy"] == first["test_accuracy"]
    assert [item["status"] for item in command("runs", "list")] == ["stopped", "finished"]
    for run in (first, second):
        command("runs", "delete", run["id"])
    assert command("runs", "list") == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
