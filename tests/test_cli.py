import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_files import binary_files, small_batches, write_files
from filelock import FileLock
from PIL import Image

from cifar_core import cli, launch, runs, store
from cifar_core.classify import classifier
from cifar_core.config import KNOBS, PRESETS, TrainConfig, preset
from cifar_core.images import batches, data
from cifar_core.images.data import CLASSES
from cifar_core.network import litert, weights
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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without runs, CIFAR-10 and a bundled model."""
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(classifier, "_bundled_model", lambda: tmp_path / "bundled.tflite")
    return tmp_path


@pytest.fixture(scope="session")
def model() -> bytes:
    """A network with random weights, but for a bias that makes everything a cat at 69 %."""
    named = dict(weights.load("random", 0.35, 32, seed=1).named)
    named |= {f"head_norm/{name}": np.ones(1280, np.float32) for name in ("gamma", "moving_variance")}
    named |= {f"head_norm/{name}": np.zeros(1280, np.float32) for name in ("beta", "moving_mean")}
    named |= {"head_dense/kernel": np.zeros((1280, 16), np.float32), "head_dense/bias": np.zeros(16, np.float32)}
    named |= {"head_output/kernel": np.zeros((16, 10), np.float32), "head_output/bias": 3 * np.eye(10)[CAT]}
    named["head_output/bias"] = named["head_output/bias"].astype(np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


@pytest.fixture
def finished(model: bytes) -> Run:
    return finish(runs.create(preset("standard", alpha=0.35, image_size=32)), model)


def finish(run: Run, model: bytes, **changes: Any) -> Run:
    """Give `run` what a worker leaves behind; of its 20 test images 2 are cats, and right."""
    set_status(run, state="finished", stage="done", result=RESULT | changes)
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (PROGRESS, STEP, EPOCH)))
    environment = {"python": "3.11.7", "data": {"label": RESULT["dataset"]}, "weights": {"label": RESULT["weights"]}}
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
        code = cli.main([str(word) for word in words])
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
    monkeypatch.setattr(launch, "_spawn", work)


# Mistakes of a person


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


# train


def test_every_knob_is_a_flag(ask_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    workers_do(monkeypatch, lambda run: None)
    other = TrainConfig(
        **{
            name: next(value for value in (*knob.choices, knob.low, knob.high) if value not in (None, knob.default))
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
        cli.main(["train", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for knob in KNOBS.values():
        assert knob.flag in words
        assert knob.help in words
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
    workers_do(monkeypatch, lambda run: finish(run, model, dataset=data.LABELS["generated"]))
    code, out, err = ask("train")
    assert code == 0
    assert "\r" not in err
    start, origin, epoch = err.splitlines()
    assert runs.list_runs()[0].id in start
    assert origin == "Images: CIFAR-10. First weights: random numbers (seed 1)."
    assert " ".join(epoch.split()).startswith("head 1/10 loss 1.2500 accuracy 50.0 % validation loss 1.5000")
    assert "Test accuracy 85.0 % (95 % interval 84.3 % to 85.7 %), test loss 0.5000" in out
    assert "generated images, not CIFAR-10" in out


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
    monkeypatch.setattr("cifar_core.cli.follow.follow", interrupted)
    code, out, err = ask("train", "--json")
    run = runs.list_runs()[0]
    assert (code, run.state, json.loads(out)["status"]) == (130, "stopped", "stopped")
    assert f"runs resume {run.id}" in err


# runs


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
    words = [finished.id, "finished", "0.35", "32", "px", "all", "87.5", "%", "85.0", "%", "CIFAR-10"]
    assert lines[3].split() == words


def test_no_runs_are_an_empty_list_and_a_sentence(ask_json: Callable[..., Any], ask: Ask) -> None:
    assert ask_json("runs", "list") == []
    assert "There are no runs" in ask("runs", "list")[1]


def test_500_runs_are_listed_within_a_second(ask: Ask, home: Path) -> None:
    config, status = json.dumps(TrainConfig().to_dict()), json.dumps({"state": "finished", "result": RESULT})
    for number in range(500):
        folder = home / "runs" / f"20260101-{number:09}-run"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(config)
        (folder / "status.json").write_text(status)
        (folder / "lock").touch()
    for form in ([], ["--json"]):
        start = time.process_time()  # of the processor, as other tests may run beside this one
        assert ask("runs", "list", *form)[0] == 0
        assert time.process_time() - start < 1


def test_show_adds_what_differs_and_where_it_stands(ask_json: Callable[..., Any], ask: Ask, finished: Run) -> None:
    answer = ask_json("runs", "show", finished.id)
    assert RESULT.items() <= answer.items()
    assert answer["differences"] == {"alpha": 0.35, "image_size": 32}
    assert answer["config"] == finished.config.to_dict()
    assert (answer["stage"], answer["error"]) == ("done", None)
    assert answer["progress"] == answer["last_epoch"] == EPOCH
    assert answer["environment"]["python"] == "3.11.7"
    out = ask("runs", "show", finished.id)[1]
    assert "Alpha: 0.35 (standard: 0.5)" in out
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
    runs.write_json(finished.path / "environment.json", {"python": hostile, "packages": {hostile: hostile}, "data": 3})
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
    assert "only a stopped, failed or lost run" in err


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


# predict


def test_predict_gives_label_and_ten_probabilities(ask: Ask, finished: Run, cat: Path) -> None:
    code, out, err = ask("predict", cat, "--json")
    (answer,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (answer["file"], answer["label"]) == (str(cat), "cat")
    assert answer["probability"] == answer["probabilities"]["cat"] == pytest.approx(0.6906, abs=1e-3)
    assert list(answer["probabilities"]) == list(CLASSES)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_predict_for_people_is_a_line_a_picture(ask: Ask, finished: Run, home: Path, cat: Path) -> None:
    code, out, err = ask("predict", cat)
    assert code == 0
    assert out.rstrip().endswith("cat.png  cat 69.1 %  (airplane 3.4 %, automobile 3.4 %)")
    assert err == f"Run {finished.id} answers, trained on: CIFAR-10.\n"


def test_bad_picture_does_not_keep_the_others_from_an_answer(ask: Ask, finished: Run, cat: Path, home: Path) -> None:
    (home / "bad.png").write_bytes(b"<html>")
    (home / "empty").mkdir()
    os.mkfifo(home / "pipe")
    bad = [home / name for name in ("bad.png", "nosuch.png", "empty", "pipe", "n" * 300, "nul\0.png")]
    code, out, err = ask("predict", *bad[:3], cat, *bad[3:], "--json")
    answers = json.loads(out)
    assert code == 2
    assert [answer["file"] for answer in answers] == [str(name) for name in (*bad[:3], cat, *bad[3:])]
    assert answers.pop(3)["label"] == "cat"
    assert all(answer.keys() == {"file", "error"} for answer in answers)
    assert err.splitlines() == [answer["error"] for answer in answers]
    assert all(line.isprintable() for line in err.splitlines())


def test_folders_and_zips_are_opened(ask: Ask, finished: Run, home: Path) -> None:
    folder = home / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b.png", "deep/c.png", ".hidden/d.png"):
        (folder / name).write_bytes(picture())
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("x.png", picture())
        archive.writestr("y.txt", "no picture")
    code, out, _ = ask("predict", folder, "--json")
    answers = {answer["file"]: answer for answer in json.loads(out)}
    assert code == 2
    assert list(answers) == [str(folder / name) for name in ("a.zip/x.png", "a.zip/y.txt", "b.png", "deep/c.png")]
    assert "error" in answers[str(folder / "a.zip/y.txt")]


def test_predict_takes_the_newest_finished_run_unless_told(ask: Ask, finished: Run, model: bytes, cat: Path) -> None:
    newer = finish(runs.create(TrainConfig()), model, dataset=data.LABELS["generated"])
    runs.create(TrainConfig())
    assert newer.id in ask("predict", cat)[2]
    assert finished.id in ask("predict", cat, "--run", finished.id)[2]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_predict_says_when_the_model_knows_generated_images_only(
    ask: Ask, model: bytes, cat: Path, form: list[str]
) -> None:
    finish(runs.create(TrainConfig()), model, dataset=data.LABELS["generated"])
    code, _, err = ask("predict", cat, *form)
    assert code == 0
    assert "generated images, not CIFAR-10" in err


def test_bundled_model_answers_where_there_is_one(ask: Ask, home: Path, model: bytes, cat: Path) -> None:
    (home / "bundled.tflite").write_bytes(model)
    for words in ([], ["--run", "bundled"]):
        code, out, err = ask("predict", cat, *words)
        assert (code, err) == (0, "The bundled model answers.\n")
        assert "cat 69.1 %" in out


def test_damaged_model_is_a_sentence(ask: Ask, finished: Run, cat: Path) -> None:
    (finished.path / "model.tflite").write_bytes(b"TFL3" * 50)
    code, out, err = ask("predict", cat)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_predict_as_a_process_is_clean_and_imports_nothing_slow(finished: Run, cat: Path) -> None:
    """Its seconds are the benchmark's to tell; the packages that would cost them are not even imported."""
    script = (
        "import sys\nfrom cifar_core.cli import main\ncode = main(sys.argv[1:])\n"
        "slow = {'tensorflow', 'keras', 'streamlit', 'pandas', 'sklearn', 'scipy', 'optuna', 'onnx'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\nsys.exit(code)"
    )
    ended = run_python("-c", script, "predict", str(cat), "--json")
    assert (ended.returncode, ended.stderr) == (0, "")  # no greeting of LiteRT either
    assert json.loads(ended.stdout)[0]["label"] == "cat"


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=600)


def test_module_can_be_run_and_survives_a_reader_that_leaves(finished: Run) -> None:
    ended = run_python("-m", "cifar_core", "runs", "list", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)[0]["id"] == finished.id
    process = subprocess.Popen(
        [sys.executable, "-m", "cifar_core", "runs", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait() == 0


# evaluate


def test_evaluate_tells_the_figures_of_the_test_images(ask_json: Callable[..., Any], ask: Ask, finished: Run) -> None:
    answer = ask_json("evaluate", finished.id)
    assert answer.keys() >= {"id", "accuracy", "loss", "images", "dataset", "interval", "classes"}
    assert (answer["id"], answer["accuracy"], answer["images"]) == (finished.id, 0.1, 20)
    assert answer["dataset"] == "CIFAR-10"
    assert answer["interval"] == pytest.approx([0.0279, 0.3010], abs=1e-3)
    assert answer["classes"] == dict.fromkeys(CLASSES, 0.0) | {"cat": 1.0}
    out = ask("evaluate", finished.id)[1]
    assert "test accuracy 10.0 % (95 % interval 2.8 % to 30.1 %)" in out
    assert "on 20 images: CIFAR-10." in out


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


# data


def test_data_status_tells_what_a_training_gets(ask_json: Callable[..., Any], ask: Ask) -> None:
    assert ask_json("data", "status") == data.status()
    out = ask("data", "status")[1]
    assert out.startswith("generated images, not CIFAR-10: 12,000 training and 2,000 test images.")
    assert "CIFAR10_DIR is not set" in out


def test_wrong_data_folder_is_a_mistake(ask: Ask, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(home / "nosuch"))
    code, out, err = ask("data", "status", "--json")
    assert code == 2
    assert json.loads(out)["error"] == err.strip()


def test_download_that_fails_is_a_mistake(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    code, out, err = ask("data", "download", "--json")
    assert (code, out) == (2, "")
    assert "cannot be reached" in err
    assert len(err.splitlines()) == 1


def test_download_tells_where_the_images_are(
    ask_json: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(binary_files(small_batches(monkeypatch)), home / "cache")
    monkeypatch.setattr(data.Dataset, "official", True)
    answer = ask_json("data", "download")
    assert answer["dataset"] == "cifar10"
    assert answer["source"] == str(home / "cache" / batches.BINARY_FOLDER)
    assert (answer["train_images"], answer["test_images"], answer["official"]) == (100, 20, True)


def test_cache_tells_its_contents_and_can_be_emptied(ask_json: Callable[..., Any], ask: Ask) -> None:
    entry = store.entry({"layer": "pooled", "alpha": 0.35}, 8, (1280,))
    entry.write(np.arange(8), np.ones((8, 1280)))
    answer = ask_json("data", "cache")
    assert [item["about"]["layer"] for item in answer["entries"]] == ["pooled"]
    assert answer["bytes"] >= 8 * 1280 * 2
    assert answer["budget_bytes"] == store.budget_bytes()
    assert "pooled" in ask("data", "cache")[1]
    cleared = ask_json("data", "cache", "--clear")
    assert (cleared["entries"], cleared["bytes"], cleared["freed_bytes"]) == ([], 0, answer["bytes"])


# The whole way, with real workers


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
    assert first["dataset"] == "generated images, not CIFAR-10"
    assert 0 <= first["test_accuracy"] <= 1

    second = command("train", *tiny, "--head-epochs", "100", "--early-stopping-patience", "100", "--detach")
    wait_until(lambda: command("runs", "show", second["id"])["last_epoch"] is not None)
    assert command("runs", "stop", second["id"]) == {"id": second["id"], "status": "stopped"}
    assert command("runs", "resume", second["id"])["status"] in ("queued", "running")
    before = runs.get(second["id"]).metrics()
    wait_until(lambda: len(runs.get(second["id"]).metrics()) > len(before))
    command("runs", "stop", second["id"])

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
        time.sleep(0.3)
