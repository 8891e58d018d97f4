"""`predict --explain`, `--csv` and `--crop`, and what a calibrated model answers."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from corpus import encoded, scene, zipped
from PIL import Image

from cifar_core import runs
from cifar_core.cli import parser, predict
from cifar_core.data import synthetic
from cifar_core.inference import calibration, neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.pictures import prepare
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run

pytestmark = pytest.mark.usefixtures("any_model")


@pytest.fixture(scope="module")
def model() -> bytes:
    """A small network with random weights."""
    rng = np.random.default_rng(3)
    named = dict(pretrained.load("random", 0.35, 32, 1).named)
    named |= {f"head_norm/{name}": np.ones(1280, np.float32) for name in ("gamma", "moving_variance")}
    named |= {f"head_norm/{name}": np.zeros(1280, np.float32) for name in ("beta", "moving_mean")}
    for name, shape in {"head_dense": (1280, 16), "head_output": (16, 10)}.items():
        named[f"{name}/kernel"] = rng.normal(0, 0.3, shape).astype(np.float32)
        named[f"{name}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


@pytest.fixture
def finished(run: Run, model: bytes) -> Run:
    """A finished run without calibration."""
    runs.write_json(run.path / "status.json", {"state": "finished", "result": {"dataset": "CIFAR-10"}})
    (run.path / "model.tflite").write_bytes(model)
    return run


@pytest.fixture
def calibrated(finished: Run) -> Run:
    """The same with a temperature of 2, and noise as what it has learned from."""
    images = synthetic.other_images("noise", 60)
    index = neighbors.build(
        open_classifier(finished.id).features(images), np.arange(60) % 10, np.arange(60), "a fingerprint"
    )
    index.save(finished.path / neighbors.FILE)
    limit = float(index.scores(open_classifier(finished.id).features(images)).max())
    rule = calibration.OutOfDistribution(limit, 0.95, {"drawings": 1.0}, 10)
    calibration.Calibration(2.0, 60, (0.1, 0.05), (1.0, 0.9), rule).save(finished.path / calibration.FILE)
    return finished


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(scene(size=(90, 60)), "PNG"))
    return path


def answers(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict]:
    assert parser.main(["predict", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_without_calibration_answers_as_its_network_does(finished, cat, capsys):
    answer = answers(capsys, cat)[0]
    assert set(answer) == {"file", "label", "probability", "probabilities"}


def test_a_calibrated_run_answers_at_its_temperature(calibrated, cat, capsys):
    answer = answers(capsys, cat)[0]
    seen = np.asarray(Image.open(cat).convert("RGB").crop((15, 0, 75, 60)).resize((32, 32), Image.Resampling.BICUBIC))
    raw = open_classifier(calibrated.id).probabilities(seen[None])
    assert list(answer["probabilities"].values()) == pytest.approx(calibration.scaled(raw, 2.0)[0].tolist(), abs=1e-4)


def test_what_is_like_none_of_the_ten_is_told(calibrated, cat, tmp_path, capsys):
    noise = tmp_path / "noise.png"
    noise.write_bytes(encoded(Image.fromarray(synthetic.other_images("noise", 5)[4]), "PNG"))
    opened = open_classifier(calibrated.id)
    scores = opened.answer(np.stack([prepare(Image.open(path).convert("RGB")) for path in (cat, noise)])).scores
    assert scores[0] != scores[1]
    path = calibrated.path / calibration.FILE
    known = json.loads(path.read_text())
    known["unlike"]["threshold"] = float(scores.mean())
    runs.write_json(path, known)
    found = [answer["none_of_the_ten"] for answer in answers(capsys, cat, noise)]
    assert found == (scores > scores.mean()).tolist()
    assert parser.main(["predict", str(cat), str(noise)]) == 0
    assert capsys.readouterr().out.count("unusual for this model") == 1


def test_the_crop_decides_what_is_looked_at(finished, cat, capsys):
    assert answers(capsys, cat)[0] != answers(capsys, cat, "--crop", "squeeze")[0]
    assert answers(capsys, cat)[0] == answers(capsys, cat, "--crop", "center")[0]
    assert answers(capsys, cat)[0] == answers(capsys, cat, "--crop", "centre")[0]  # the name in earlier versions
    assert parser.main(["predict", str(cat), "--crop", "corner"]) == 2


def test_csv_holds_every_file_with_inert_names(finished, tmp_path, capsys):
    archive = tmp_path / "pictures.zip"
    archive.write_bytes(zipped([("one.png", encoded(scene(), "PNG")), ("bad.png", b"no")]))
    formula = tmp_path / "=1+1.png"
    formula.write_bytes(encoded(scene(), "PNG"))
    table = tmp_path / "out.csv"
    assert parser.main(["predict", str(archive), "--csv", str(table)]) == 2  # for the bad one
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    assert [(Path(row["file"]).name, bool(row["error"])) for row in rows] == [("one.png", False), ("bad.png", True)]


def test_the_explanation_is_a_png_with_a_row_for_each_picture(finished, cat, tmp_path, capsys):
    drawing = tmp_path / "why.png"
    answers(capsys, cat, cat, "--explain", drawing)
    with Image.open(drawing) as found:
        assert found.format == "PNG"
        assert found.height == 2 * 176 + 16
        pixels = np.asarray(found)
    original = scene(size=(90, 60)).crop((15, 0, 75, 60)).resize((160, 160), Image.Resampling.BICUBIC)
    assert np.abs(pixels[16:176, 16:176].astype(int) - np.asarray(original)).mean() < 1
    assert pixels[16:176, 3 * 176 + 20 :].min() < 100  # words


def test_files_that_cannot_be_written_are_said_in_a_line(finished, cat, tmp_path, capsys):
    for flag in ("--csv", "--explain"):
        assert parser.main(["predict", str(cat), flag, str(tmp_path / "no folder" / "x")]) == 2
        assert "no folder/x" in capsys.readouterr().err


def test_too_many_pictures_for_a_sheet_are_said_in_a_line(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(predict, "MOST_EXPLAINED", 2)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(encoded(scene(seed=number), "PNG"))
    pictures = [str(tmp_path / f"{number}.png") for number in range(4)]
    assert parser.main(["predict", *pictures, "--explain", str(tmp_path / "why.png")]) == 2
    assert "2 pictures" in capsys.readouterr().err
    assert not (tmp_path / "why.png").exists()


def predict_json(capsys, *words):
    code = parser.main(["predict", *map(str, words), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else captured.err


def test_nearest_training_images_are_told(cat, calibrated, capsys) -> None:
    code, answers = predict_json(capsys, cat, "--run", calibrated.id, "--nearest", 3)
    near = answers[0]["nearest"]
    assert code == 0 and len(near) == 3
    assert [item["distance"] for item in near] == sorted(item["distance"] for item in near)
    assert set(near[0]) == {"label", "distance", "training_image"}


def test_a_model_without_training_images_says_so(cat, finished, capsys) -> None:
    code, said = predict_json(capsys, cat, "--run", finished.id, "--nearest", 3)
    assert code == 2 and "has no index of training images" in said


def test_flips_are_other_answers_than_the_pictures_own(cat, calibrated, capsys) -> None:
    _, answers = predict_json(capsys, cat, "--run", calibrated.id, "--what-if")
    flips = answers[0]["what_if"]
    assert set(flips) == {"rotate", "zoom", "light", "blur", "noise"}
    shown = [flip for found in flips.values() for flip in found]
    assert shown and all(flip["label"] != answers[0]["label"] for flip in shown)


def test_other_models_answer_too_and_bad_files_are_still_told(cat, calibrated, finished, tmp_path, capsys) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    code, answers = predict_json(capsys, bad, cat, "--run", calibrated.id, "--compare", finished.id)
    assert code == 2
    assert answers[0]["compared"][finished.id]["label"] == answers[0]["label"]  # the same network
    assert "error" in answers[1]


def test_a_square_of_ones_own_is_looked_at(cat, calibrated, capsys) -> None:
    whole = predict_json(capsys, cat, "--run", calibrated.id)[1][0]["probabilities"]
    corner = predict_json(capsys, cat, "--run", calibrated.id, "--crop", "0,0,0.3")[1][0]["probabilities"]
    assert corner != whole


@pytest.mark.parametrize("words", [("--crop", "1,2"), ("--crop", "a,b,c"), ("--nearest", "0"), ("--nearest", "x")])
def test_words_that_make_no_sense_are_one_line(cat, finished, capsys, words) -> None:
    code, said = predict_json(capsys, cat, "--run", finished.id, *words)
    assert code == 2 and said.count("\n") == 1 and "expected" in said
