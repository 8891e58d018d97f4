"""`train`, and what is a person's mistake in any command."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import (  # noqa: F401 - fixtures among them
    EPOCH,
    RESULT,
    Ask,
    ask,
    ask_json,
    finish,
    finished,
    home,
    model,
    set_status,
    workers_do,
)

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.cli.terminal import Screen
from cifar_core.cli.train import follow
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.runs import Run


def test_rows_of_another_version_or_program_are_followed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lesson takes a finished run with its settings, which may be imported."""
    run = runs.create(TrainConfig())
    step = {"kind": "step", "phase": "head", "epoch": 1, "step": 1, "steps": 2, "accuracy": 0.1, "loss": 2.0}
    step |= {"learning_rate": 1.0, "images_per_second": 9.0, "cross_entropy": None}
    epoch = {"kind": "epoch", "phase": "head", "epoch": 1, "validation_accuracy": 0.5, "validation_loss": 2.0}
    rows = [step, epoch, {"kind": "progress", "done": 1, "total": 0}, {"kind": "song"}, {}]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    set_status(run, state="finished")
    follow(run, Screen())
    assert "validation loss 2.0000  accuracy 50.0%" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["trian"],
        ["runs"],
        ["runs", "show"],
        ["runs", "show", "../../etc"],
        ["runs", "stop", "20260101-000000000-none"],
        ["runs", "delete", "\x1b[2J\n\0" + "x" * 500],
        ["evaluate", "a/b"],
        ["evaluate", "bundled"],
        ["predict", "cat.png"],
        ["predict", "cat.png", "--run", "../x"],
        ["data", "cache", "--clear\nall"],
        ["train", "--preset", "quickest"],
        ["train", "--alpha", "0.4"],
        ["train", "--alpha", "nan"],
        ["train", "--train-images", "many"],
        ["train", "--dropout"],
        ["train", "--train-image", "5000"],
        ["train", "--head-epochs", "0", "--fine-tune-epochs", "0"],
        ["train", "--sede\n\x1b[31m", "1"],
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_mistake_is_one_line_on_standard_error(ask: Ask, words: list[str], form: list[str], home: Path) -> None:
    code, out, err = ask(*words, *form)
    assert (code, out) == (2, "")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert not (home / "runs").exists()


def test_bug_is_a_traceback(ask: Ask, monkeypatch: pytest.MonkeyPatch, finished: Run) -> None:
    monkeypatch.setattr(runs, "stamped", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask("runs", "list")


def test_every_knob_is_a_flag(ask_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    workers_do(monkeypatch, lambda run: None)
    other = TrainConfig(
        **{
            name: next(
                value for value in (*knob.choices, knob.low, knob.high, "bundled") if value not in (None, knob.default)
            )
            for name, knob in KNOBS.items()
            if name not in ("head_epochs", "fine_tune_epochs")
        }
    )
    flags = [word for knob in KNOBS.values() for word in (knob.flag, getattr(other, knob.name))]
    answer = ask_json("train", *flags, "--detach")
    assert answer == {"id": answer["id"], "status": "queued"}
    assert runs.get(answer["id"]).config == other


def test_help_tells_every_flag_with_its_choices_or_range(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser.main(["train", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for knob in KNOBS.values():
        assert knob.flag in words
        assert knob.help.replace(" ", "") in words.replace(" ", "")  # a line may end at a hyphen
    assert "0.35, 0.5, 0.75, 1.0, 1.3, 1.4" in words
    assert "1,000 to 50,000 images" in words


def test_preset_is_the_base_of_what_is_given(ask_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    workers_do(monkeypatch, lambda run: None)
    answer = ask_json("train", "--preset", "quick", "--seed", 7, "--detach")
    assert answer["id"].endswith("-quick")
    assert runs.get(answer["id"]).config.differences(PRESETS["quick"]) == {"seed": (7, PRESETS["quick"].seed)}


def test_train_answers_with_the_figures_of_the_finished_run(
    ask: Ask, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_do(monkeypatch, lambda run: finish(run, model))
    code, out, err = ask("train", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer == RESULT | {"id": runs.list_runs()[0].id, "status": "finished", "error": None}


def test_train_prints_a_line_an_epoch_and_says_what_the_figures_rest_on(
    ask: Ask, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_do(monkeypatch, lambda run: finish(run, model, dataset=cifar10.LABELS["generated"]))
    code, out, err = ask("train")
    assert code == 0
    assert "\r" not in err
    start, origin, epoch = err.splitlines()
    assert runs.list_runs()[0].id in start
    assert "CIFAR-10" in origin and "random numbers (seed 1)" in origin
    assert " ".join(epoch.split()).startswith("head 1/10 loss 1.2500 accuracy 50.0% validation loss 1.5000")
    assert all(figure in out for figure in ("85.0%", "84.3% to 85.7%", "0.5000", "synthetic images, not CIFAR-10"))


def test_train_prints_the_cross_entropy_where_it_is_recorded(
    ask: Ask, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(run: Run) -> None:
        finish(run, model)
        row = EPOCH | {"cross_entropy": 0.75, "validation_cross_entropy": 0.875}
        (run.path / "metrics.jsonl").write_text(json.dumps(row) + "\n")

    workers_do(monkeypatch, work)
    line = " ".join(ask("train")[2].splitlines()[-1].split())
    assert "cross-entropy 0.7500 accuracy 50.0% validation cross-entropy 0.8750 accuracy 75.0%" in line


def test_bar_is_drawn_in_a_terminal_and_taken_away(ask: Ask, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    workers_do(monkeypatch, lambda run: finish(run, model))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("cifar_core.cli.terminal._REDRAW_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "70")
    _, _, err = ask("train", "--head-epochs", "10")
    drawn = [part for part in err.split("\r") if "[" in part]
    assert "512/1,024  0:03 left" in drawn[0]
    assert "head 1/10 [############............]" in drawn[1]
    assert all(len(part) < 70 for part in drawn)
    assert err.split("\r")[-1].startswith("head ")  # the epoch's line, with nothing of the bar behind it


@pytest.mark.parametrize(("kind", "expected"), [("WeightsError", 2), ("StoreError", 2), ("ValueError", 1), ("os", 1)])
def test_failure_of_the_worker_is_told_in_one_line(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, kind: str, expected: int
) -> None:
    error = {"type": kind, "message": "It is\nnot there;\x1b[31m get it."}
    workers_do(monkeypatch, lambda run: set_status(run, state="failed", error=error))
    code, out, err = ask("train", "--json")
    assert code == expected
    assert json.loads(out)["error"] == error
    assert "It is not there; [31m get it." in err
    assert err[:-1].isprintable()


@pytest.mark.parametrize(("status", "expected"), [({"state": "stopped"}, 2), ({"state": "running"}, 1)])
def test_run_ended_from_outside_says_how_to_go_on(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, status: dict[str, str], expected: int
) -> None:
    workers_do(monkeypatch, lambda run: set_status(run, **status))
    code, _, err = ask("train")
    assert code == expected
    assert f"runs resume {runs.list_runs()[0].id}" in err.splitlines()[-1]


def test_ctrl_c_stops_the_run_and_says_how_to_go_on(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    workers_do(monkeypatch, lambda run: None)
    monkeypatch.setattr("cifar_core.cli.train.follow", interrupted)
    code, out, err = ask("train", "--json")
    run = runs.list_runs()[0]
    assert (code, run.state, json.loads(out)["status"]) == (130, "stopped", "stopped")
    assert f"runs resume {run.id}" in err
