"""Assessment, tables, figures and the HTML report of a finished run."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.charts import answers as answer_charts
from cifar_core.charts import style
from cifar_core.cli import parser
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, phase_summary, robustness
from cifar_core.evaluation.predictions import class_figures
from cifar_core.evaluation.robustness import CORRUPTIONS
from cifar_core.export import report
from cifar_core.inference import calibration
from cifar_core.runs import Run, write_json

MARKUP = '<script>alert("x")</script>&"'
RESULT = {
    "validation_accuracy": 0.75,
    "validation_images": 40,
    "test_accuracy": 0.75,
    "test_images": 20,
    "best_phase": "head",
    "dataset": f"CIFAR-10 {MARKUP}",
    "weights": MARKUP,
}
ROW = {
    "kind": "epoch",
    "phase": "head",
    "epochs": 2,
    "loss": 1.0,
    "validation_loss": 1.0,
    "learning_rate": 1e-3,
    "epoch_seconds": 1.0,
}


@pytest.fixture
def finished(run: Run, small_data: Path) -> Run:
    """A finished run on generated images, calibrated and measured; every fourth answer is wrong."""
    dataset, arrays = cifar10.load("generated"), {}
    for name, rows in (("validation", np.arange(40)), ("test", np.arange(20))):
        labels = (dataset.test_labels if name == "test" else dataset.train_labels)[rows]
        said = np.full((len(rows), 10), 0.01, np.float32)
        said[rows, np.where(rows % 4 == 3, (labels + 1) % 10, labels)] = 0.91
        arrays |= {f"{name}_labels": labels, f"{name}_probabilities": said}
    if len(dataset.test_labels) > 20:
        arrays["validation_rows"] = np.arange(40)
    np.savez(run.path / "evaluation.npz", **arrays)
    rows = [ROW | {"epoch": epoch, "accuracy": 0.8, "validation_accuracy": 0.7 + epoch / 40} for epoch in (1, 2)]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(
        run.path / "environment.json",
        {
            "data": {"name": "generated", "label": "synthetic", "fingerprint": dataset.fingerprint},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    write_json(run.path / "status.json", {"state": "finished", "result": RESULT})
    calibration.Calibration(2.0, 40, (0.1, 0.05), (1.0, 0.9)).save(run.path / calibration.FILE)
    accuracies = {name: [0.8, 0.7, 0.6, 0.5, 0.4] for name in CORRUPTIONS}
    record = {"version": 1, "images": 40, "clean": 0.75, "accuracies": accuracies, "seconds": 3}
    write_json(run.path / robustness.FILE, record)
    return run


class Page(HTMLParser):
    """Counts the tags of a page and keeps what they point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]


def test_answers_are_the_same_before_and_after_temperature(finished: Run) -> None:
    found = assessment.assess(finished)
    for split in assessment.SPLITS:
        before, after = found.stored.split(split), found.calibrated.split(split)
        assert np.array_equal(before.probabilities.argmax(axis=1), after.probabilities.argmax(axis=1))
        assert before.probabilities.max() > after.probabilities.max()  # a temperature of 2 makes it less sure
    before, after = found.reliability("validation")
    assert after.ece != before.ece


def test_everything_is_plain_data_validation_first(finished: Run) -> None:
    answer = json.loads(json.dumps(assessment.to_json(assessment.assess(finished))))
    assert list(answer)[:2] == ["validation", "test"]
    assert answer["validation"]["accuracy"] == 0.75
    assert sum(map(sum, answer["test"]["confusion"])) == 20
    assert answer["robustness"]["faults"]["jpeg"] == {
        "unit": "",
        "strengths": [80, 60, 40, 20, 10],
        "accuracies": [0.8, 0.7, 0.6, 0.5, 0.4],
    }
    assert answer["calibration"]["temperature"] == 2.0
    assert answer["story"]["phases"][0]["name"] == "head"
    assert [finding["rule"] for finding in answer["diagnosis"]] == ["small_input", "small_validation_set"]


def test_the_report_is_one_page_that_reaches_for_nothing_and_shows_strange_names_as_text(finished: Run) -> None:
    text = report.build(finished)
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "default-src 'none'" in text
    assert text.count("alert(") == text.count("alert(&quot;x&quot;)") == 2
    assert page.tags.count("img") > 16
    figures = len(re.findall(r'class="plotly-graph-div"', text))
    assert figures == 5  # accuracy, loss, confusion, reliability, robustness
    assert text.count("plotly.js v") == 1
    assert "validation accuracy, best in epoch 2 of 2" in text
    assert "66.7 %" not in text


def test_the_report_without_images_calibration_and_measures_says_so(finished: Run) -> None:
    for name in ("environment.json", calibration.FILE, robustness.FILE):
        (finished.path / name).unlink()
    text = report.build(finished)
    for words_of_it in ("were not on the machine", "was not calibrated", "Not measured yet"):
        assert words_of_it in text


def test_tables_can_be_read_back(finished: Run) -> None:
    found = assessment.assess(finished)
    classes = list(csv.DictReader(io.StringIO(assessment.classes_csv(found.stored.validation))))
    assert [row["class"] for row in classes] == list(CLASSES)
    assert sum(int(row["images"]) for row in classes) == 40
    confusion = list(csv.reader(io.StringIO(assessment.confusion_csv(found.stored.validation))))
    assert confusion[0] == ["label", *CLASSES]
    assert sum(int(cell) for row in confusion[1:] for cell in row[1:]) == 40
    lines = list(
        csv.DictReader(io.StringIO(assessment.predictions_csv(found.stored, "validation", found.calibrated.validation)))
    )
    assert [int(line["position"]) for line in lines] == list(range(40))
    right = [line["label"] == line["answer"] for line in lines]
    assert sum(right) == 30
    assert sum(float(lines[0][name]) for name in CLASSES) == pytest.approx(1, abs=1e-4)
    assert (
        assessment.changes_csv([phase_summary.ClassChange("cat", 0.5, 0.6, 3, 1)]).splitlines()[1] == "cat,0.5,0.6,3,1"
    )


def test_a_run_named_like_a_formula_is_inert_in_a_table(finished: Run) -> None:
    measured = robustness.load(finished)
    assert measured is not None
    lines = list(csv.DictReader(io.StringIO(assessment.robustness_csv({"=1+1": measured}))))
    assert {line["run"] for line in lines} == {"'=1+1"}
    assert len(lines) == 1 + 8 * 5
    assert (lines[0]["fault"], float(lines[0]["accuracy"])) == ("none", 0.75)


def test_the_confusion_figure_has_a_point_for_each_cell_in_the_order_of_the_rows() -> None:
    counts = np.arange(100).reshape(10, 10)
    figure = answer_charts.confusion_figure(counts, (3, 5))
    points = figure.data[-1]
    assert (points.y[35], points.x[35], points.text[35]) == ("cat", "dog", "35")
    assert figure.layout.shapes[0].x0 == 4.5
    assert not np.isnan(figure.data[0].z.diagonal()).any()
    assert np.isnan(figure.data[1].z.diagonal()).all()


def test_two_confusion_matrices_share_a_scale_and_a_small_share_is_not_zero() -> None:
    good, bad = np.eye(10, dtype=int) * 1000, np.eye(10, dtype=int) * 1000
    good[3, 5], bad[3, 5] = 4, 250
    top = max(map(answer_charts.highest_mistake, (good, bad)))
    figures = [answer_charts.confusion_figure(counts, shares=True, top=top) for counts in (good, bad)]
    assert [figure.data[1].zmax for figure in figures] == [0.2, 0.2]
    assert [figure.data[-1].text[35] for figure in figures] == ["&lt;1", "20"]
    assert figures[0].data[-1].text[36] == ""


@pytest.mark.parametrize("theme", style.BACKGROUNDS)
@pytest.mark.parametrize("diagonal", [0, 20, 40, 60, 80, 100])
def test_the_digits_of_the_confusion_matrix_stand_out_from_their_cells(diagonal: int, theme: str) -> None:
    counts = np.full((10, 10), 2) + np.arange(100).reshape(10, 10) % 7
    np.fill_diagonal(counts, diagonal)
    figure = answer_charts.confusion_figure(counts, shares=True)
    points, rates = figure.data[-1], counts / counts.sum(axis=1, keepdims=True)
    assert points.text[35] == f"{100 * rates[3, 5]:.0f}"

    def luminance(color: np.ndarray) -> float:
        parts = color / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    inks = points.textfont.color if theme == "light" else points.meta[theme]["textfont"]["color"]
    ground = np.array(style.BACKGROUNDS[theme])
    for place, ink in enumerate(inks):
        row, column = divmod(place, 10)
        heat = figure.data[0 if row == column else 1]
        empty, full = ([float(part) for part in color[5:-1].split(",")] for _, color in heat.colorscale)
        assert (empty[3], full[3]) == (0, 1)  # an empty cell is the background
        cell = luminance(ground + (np.array(full[:3]) - ground) * rates[row, column] / heat.zmax)
        text = luminance(np.array([0, 0, 0] if ink == "#000000" else [255, 255, 255]))
        assert (max(cell, text) + 0.05) / (min(cell, text) + 0.05) >= 4.5


def test_worse_is_to_the_right_in_every_robustness_chart(finished: Run) -> None:
    measured = robustness.load(finished)
    assert measured is not None
    figure = answer_charts.robustness_figure({"one": measured, "two": measured})
    assert len(figure.data) == 16
    for place, corruption in enumerate(CORRUPTIONS.values()):
        axis = getattr(figure.layout, f"xaxis{place + 1 if place else ''}")
        left, right = axis.range
        assert (left > right) == (corruption.name == "jpeg")
        for shown in (corruption.neutral, *corruption.strengths):  # also before they are measured
            assert min(axis.range) < shown < max(axis.range)
    assert figure.data[0].y[0] == 0.75


def test_class_and_change_figures_show_what_they_are_given(finished: Run) -> None:
    figures = class_figures(assessment.assess(finished).stored.validation)
    drawn = answer_charts.class_figure(figures)
    assert list(drawn.data[1].y) == [one.recall for one in figures]
    changes = answer_charts.change_figure([phase_summary.ClassChange("cat", 0.5, 0.6, 3, 1)])
    assert (list(changes.data[0].y), list(changes.data[1].y)) == ([3], [-1])


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = parser.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_line_tells_it_all(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "evaluate", finished.id)
    assert code == 0
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith(("validation ", "test "))]
    assert rows == [["validation", "75.0%"], ["test", "75.0%"]]
    assert "on 40 validation images" in out
    assert "[hint] The validation set is small." in out
    answer = json.loads(ask(capsys, "evaluate", finished.id, "--json")[1])
    assert answer["accuracy"] == answer["test"]["accuracy"] == 0.75


def test_the_command_line_writes_report_and_tables(
    finished: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, _ = ask(capsys, "evaluate", finished.id, "--html", str(tmp_path / "r.html"), "--csv", str(tmp_path / "t"))
    assert code == 0
    assert "</html>" in (tmp_path / "r.html").read_text()
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        *(f"{split}-{table}.csv" for split in assessment.SPLITS for table in ("classes", "confusion", "predictions")),
        "robustness.csv",
    }
    code, out, err = ask(capsys, "evaluate", finished.id, "--html", str(tmp_path / "no" / "such" / "r.html"))
    assert (code, out) == (2, "")
    assert "r.html" in err


def test_keeping_phase_1_of_a_run_without_one_is_a_sentence(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "runs", "keep-phase1", finished.id)
    assert (code, out) == (2, "")
    assert finished.id in err and "fine_tune_epochs 0" in err
    assert len(runs.list_runs()) == 1
