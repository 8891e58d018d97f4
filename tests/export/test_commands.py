"""`export` and `import` on the command line."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.export.exports import FORMATS, MODELS
from cifar_core.inference import pins
from cifar_core.inference.pins import Pin
from cifar_core.runs import labels


@pytest.fixture
def whole_run(finished_run) -> runs.Run:
    with zipfile.ZipFile(finished_run.path / "best.keras", "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("model.weights.h5", "")
        file.writestr("config.json", '{"class_name": "Functional"}')
    return finished_run


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in MODELS])
def test_each_format_has_a_file_of_its_own_name(whole_run, name, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    pin = Pin(np.zeros((32, 32, 3), np.uint8), "cat")
    pins.save(whole_run, [pin])
    row = {"phase": "head", "epoch": 0, "pins": {pin.key: [0.1] * 10}}
    (whole_run.path / pins.PROBES).write_text(json.dumps(row) + "\n")
    assert parser.main(["export", whole_run.id, "--format", name, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["file"] == f"{labels.file_stem(whole_run)}{FORMATS[name].suffix}"
    assert answer["bytes"] == Path(answer["file"]).stat().st_size > 100


def test_a_second_export_replaces_no_file(whole_run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert parser.main(["export", whole_run.id, "--format", "script"]) == 0
    stem = labels.file_stem(whole_run)
    assert sorted(path.name for path in tmp_path.glob("*.py")) == [f"{stem}-2.py", f"{stem}.py"]


def test_a_model_is_tried_once_and_written_where_it_is_wanted(whole_run, tmp_path, capsys) -> None:
    answers = []
    for output in (tmp_path / "here.onnx", tmp_path):
        assert parser.main(["export", whole_run.id, "--format", "onnx", "--output", str(output), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / f"{labels.file_stem(whole_run)}.onnx").read_bytes()
    assert answers[0]["agreement"] >= 0.99
    assert answers[0]["latency_ms"] == answers[1]["latency_ms"]


def test_a_poor_file_is_complained_of(whole_run, tmp_path, capsys) -> None:
    folder = whole_run.path / "exports"
    folder.mkdir()
    record = {"state": "done", "bytes": 1, "agreement": 0.9, "images": 200, "latency_ms": 1.0, "against": "the run"}
    (folder / "litert.json").write_text(json.dumps(record))
    (folder / "model.tflite").write_bytes(b"x")
    assert parser.main(["export", whole_run.id, "--format", "litert", "--output", str(tmp_path)]) == 0
    assert "90.0% agree, expected 99.0%" in capsys.readouterr().err


def test_an_exported_run_is_imported_and_listed(whole_run, tmp_path, capsys) -> None:
    target = tmp_path / "run.zip"
    assert parser.main(["export", whole_run.id, "--format", "zip", "--output", str(target)]) == 0
    capsys.readouterr()
    assert parser.main(["import", str(target), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "finished"
    assert answer["imported"]["id"] == whole_run.id != answer["id"]
    assert parser.main(["runs", "show", answer["id"]]) == 0
    assert whole_run.id in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["export", "{unfinished}", "--format", "zip"],
        ["export", "../etc", "--format", "zip"],
        ["export", "{finished}", "--format", "exe"],
        ["export", "{finished}", "--format", "csv", "--output", "/no/such/folder/x"],
        ["import", "/no/such.zip"],
        ["import", "{conftest}"],
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_exit_code_2(whole_run, make_run, words, capsys) -> None:
    names = {"{unfinished}": make_run().id, "{finished}": whole_run.id, "{conftest}": str(Path(__file__))}
    assert parser.main([names.get(word, word) for word in words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
