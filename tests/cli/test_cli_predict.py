"""`predict`."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import (  # noqa: F401 - fixtures among them
    REPOSITORY,
    Ask,
    ask,
    cat,
    finish,
    finished,
    home,
    model,
    picture,
    run_python,
)

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.runs import Run


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
    assert out.rstrip().endswith("cat.png  cat 69.1%  (airplane 3.4%, automobile 3.4%)")
    assert err.count("\n") == 1 and finished.id in err and "CIFAR-10" in err


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


def test_a_name_that_is_no_utf8_costs_no_answer(ask: Ask, finished: Run, home: Path) -> None:
    folder = home / "photos"
    folder.mkdir()
    for name in (b"M\xfcller.jpg", b"Thumbs.db", b"desktop.ini"):
        (folder / os.fsdecode(name)).write_bytes(picture() if name.endswith(b"jpg") else b"\xd0\xcf\x11\xe0")
    code, out, err = ask("predict", folder, "--csv", home / "answers.csv", "--json")
    assert (code, err) == (0, "")
    (answer,) = json.loads(out)
    assert os.fsencode(answer["file"]) == os.fsencode(folder) + b"/M\xfcller.jpg"
    assert "M\\xfcller.jpg,cat," in (home / "answers.csv").read_text(encoding="utf-8-sig")


def test_predict_takes_the_newest_finished_run_unless_told(ask: Ask, finished: Run, model: bytes, cat: Path) -> None:
    newer = finish(runs.create(TrainConfig()), model, dataset=cifar10.LABELS["generated"])
    runs.create(TrainConfig())
    assert newer.id in ask("predict", cat)[2]
    assert finished.id in ask("predict", cat, "--run", finished.id)[2]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_predict_says_when_the_model_knows_synthetic_images_only(
    ask: Ask, model: bytes, cat: Path, form: list[str]
) -> None:
    finish(runs.create(TrainConfig()), model, dataset=cifar10.LABELS["generated"])
    code, _, err = ask("predict", cat, *form)
    assert code == 0
    assert "synthetic images, not CIFAR-10" in err


def test_bundled_model_answers_where_there_is_one(ask: Ask, home: Path, model: bytes, cat: Path) -> None:
    (home / "bundled.tflite").write_bytes(model)
    for words in ([], ["--run", "bundled"]):
        code, out, err = ask("predict", cat, *words)
        assert (code, err.count("\n"), "bundled model" in err) == (0, 1, True)
        assert "cat 69.1%" in out


def test_damaged_model_is_a_sentence(ask: Ask, finished: Run, cat: Path) -> None:
    (finished.path / "model.tflite").write_bytes(b"TFL3" * 50)
    code, out, err = ask("predict", cat)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_predict_as_a_process_is_clean_and_imports_nothing_slow(finished: Run, cat: Path) -> None:
    """Its seconds are the benchmark's to tell; the packages that would cost them are not even imported."""
    script = (
        "import sys\nfrom cifar_core.cli.parser import main\ncode = main(sys.argv[1:])\n"
        "slow = {'tensorflow', 'keras', 'streamlit', 'pandas', 'sklearn', 'scipy', 'optuna', 'onnx'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\nsys.exit(code)"
    )
    ended = run_python("-c", script, "predict", str(cat), "--json")
    assert (ended.returncode, ended.stderr) == (0, "")  # no greeting of LiteRT either
    assert json.loads(ended.stdout)[0]["label"] == "cat"


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
