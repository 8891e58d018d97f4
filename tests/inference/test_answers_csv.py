import codecs
import csv
import io
import os

import numpy as np
import pytest

from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference.classifier import UNUSUAL, Answers, answer_row, answers_csv, disagreement, picture_order

NAMES = ["b.png", "A.png", "c.png", "d.png"]


@pytest.fixture
def answers() -> Answers:
    """cat 90%, dog 60%, cat 50%, and a cat that is out-of-distribution."""
    said = np.full((4, 10), 0.01, np.float32)
    for row, (label, share) in enumerate([(3, 0.9), (5, 0.6), (3, 0.5), (3, 0.7)]):
        said[row, label] = share
        said[row, 0] += 1 - said[row].sum()
    return Answers(
        said, np.array([0.1, 0.2, 0.3, 0.9], np.float32), np.array([False, False, False, True]), np.full(4, False)
    )


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("given", [0, 1, 2, 3]),
        ("unsure", [2, 1, 3, 0]),
        ("sure", [0, 3, 1, 2]),
        ("class", [0, 3, 2, 1]),
        ("name", [1, 0, 2, 3]),
        ("unlike", [3, 2, 1, 0]),
    ],
)
def test_pictures_are_sorted(answers, by, expected):
    assert picture_order(NAMES, answers, by) == expected


def test_pictures_are_filtered_by_class_and_by_being_unusual(answers):
    assert picture_order(NAMES, answers, "given", ["cat"]) == [0, 2, 3]
    assert picture_order(NAMES, answers, "given", ["dog", UNUSUAL]) == [1, 3]
    assert picture_order(NAMES, answers, "given", ["ship"]) == []


def test_where_models_disagree_comes_first():
    same, differs = np.full((2, 10), 0.05), np.full((2, 10), 0.05)
    same[:, 1] = 0.55
    differs[0, 1] = differs[1, 2] = 0.55
    near = same.copy()
    near[1, 1], near[1, 3] = 0.45, 0.15
    found = disagreement(np.stack([same, near, differs], axis=1))
    assert found.argsort().tolist() == [0, 1, 2]
    assert found[2] > 1 > found[1] > found[0]


def test_the_csv_holds_answers_and_errors(answers):
    rows = [answer_row(name, answers, i) for i, name in enumerate(NAMES)]
    rows.append({"file": "bad.png", "error": "It is empty."})
    read = list(csv.DictReader(io.StringIO(answers_csv(rows).decode("utf-8-sig"))))
    assert [row["file"] for row in read] == [*NAMES, "bad.png"]
    assert (read[0]["label"], read[0]["probability"], read[0]["cat"]) == ("cat", "0.9", "0.9")
    assert [row["none_of_the_ten"] for row in read] == ["no", "no", "no", "yes", ""]
    assert read[4]["error"] == "It is empty."
    assert set(CLASSES) < set(read[0])


@pytest.mark.parametrize("name", ["=1+1.png", "+x", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_a_formula_in_a_name_is_inert(answers, name):
    text = answers_csv([answer_row(name, answers, 0), {"file": "x", "error": name}]).decode("utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert first["file"].startswith("'")
    assert second["error"].startswith("'")


def test_the_csv_opens_in_excel_and_has_names_that_are_no_utf8(answers):
    names = ["Müller.jpg", os.fsdecode(b"M\xfcller.jpg"), os.fsdecode(b"M\xfdller.jpg")]
    data = answers_csv([answer_row(name, answers, 0) for name in names])
    assert data.startswith(codecs.BOM_UTF8)
    read = [row["file"] for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig")))]
    assert read == ["Müller.jpg", "M\\xfcller.jpg", "M\\xfdller.jpg"]
