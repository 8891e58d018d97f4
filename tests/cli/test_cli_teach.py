"""`teach`, and `predict` and `export` of what it made."""

import json

import pytest
from command_line import *  # noqa: F403
from teach_pictures import drawn, png, zipped

from cifar_core.cli import parser
from cifar_core.data import download
from cifar_core.teach import project as projects


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "answers", lambda url: False)
    for kind in ("stripes", "spots"):
        (tmp_path / "Two.kinds" / kind).mkdir(parents=True)
        for n in range(6):
            (tmp_path / "Two.kinds" / kind / f"{n}.png").write_bytes(png(drawn(kind, n)))
    return tmp_path / "Two.kinds"


def said(capsys, *arguments, code=0):
    assert parser.main([*map(str, arguments), "--json"]) == code
    out = capsys.readouterr()
    return json.loads(out.out) if out.out else out.err


def test_a_folder_is_taught_asked_and_exported(folder, tmp_path, capsys):
    (folder / "stripes" / "notes.txt").write_text("no picture")
    assert parser.main(["teach", str(folder), "--image-size", "128"]) == 0
    out = capsys.readouterr()
    assert "stripes 6" in out.out and "spots 6" in out.out
    assert "notes.txt" in out.err
    assert said(capsys, "teach") == [{"id": "teach/two-kinds", "pictures": 12}]
    (tmp_path / "new.png").write_bytes(png(drawn("spots", 77)))
    (tmp_path / "bad.png").write_bytes(b"")
    rows = said(capsys, "predict", "--run", "teach/two-kinds", tmp_path / "new.png", "--nearest", "9")
    assert rows[0]["label"] == "spots" and len(rows[0]["nearest"]) == 9 and rows[0]["none_of_these"] is False
    rows = said(capsys, "predict", "--run", "teach/two-kinds", tmp_path / "new.png", tmp_path / "bad.png", code=2)
    assert "error" in rows[1]
    assert parser.main(["predict", "--run", "teach/two-kinds", str(tmp_path / "new.png"), "--nearest", "1"]) == 0
    assert "new.png  spots 89" in (out := capsys.readouterr().out) and "nearest training images: spots (" in out
    found = said(capsys, "export", "teach/two-kinds", "--format", "html", "--output", tmp_path)
    assert (tmp_path / "two-kinds.html").stat().st_size == found["bytes"]


def test_a_zip_of_a_project_is_taught_again(folder, tmp_path, capsys):
    first = said(capsys, "teach", folder)
    found = said(capsys, "export", first["id"], "--format", "zip", "--output", tmp_path / "taken.zip")
    again = said(capsys, "teach", found["file"], "--alpha", "0.35")
    assert (again["id"], again["alpha"]) == ("teach/taken", 0.35) and again["classes"] == first["classes"]
    found = said(capsys, "export", again["id"], "--format", "zip", "--output", tmp_path)
    kept = said(capsys, "teach", found["file"])
    assert (kept["id"], kept["alpha"], kept["image_size"]) == ("teach/taken-2", 0.35, 96)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "--run", "teach/none", "x.png"], "no project"),
        (["predict", "--run", "teach/../x", "x.png"], "expected a name"),
        (["predict", "--run", "teach/none", "--what-if", "x.png"], "--what-if"),
        (["export", "teach/none", "--format", "html"], "no project"),
        (["teach", "nowhere"], "cannot be read"),
        (["teach", "x", "--alpha", "7"], "alpha"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, arguments, sentence, capsys):
    assert parser.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_one_class_or_none_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "one.zip").write_bytes(zipped({"a/1.png": png(drawn("spots", 1)), "a/2.png": png(drawn("spots", 2))}))
    assert "Two classes need pictures" in said(capsys, "teach", tmp_path / "one.zip", code=2)
    (tmp_path / "none.zip").write_bytes(zipped({"1.png": png(drawn("spots", 1))}))
    assert "no picture is added" in said(capsys, "teach", tmp_path / "none.zip", code=2)
    projects.create("damaged")
    (projects.folder("damaged") / "classes.json").write_text("{")
    assert said(capsys, "teach") == [{"id": "teach/one", "pictures": 2}]
