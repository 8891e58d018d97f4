"""The benchmark's report says what was measured, and what was not reached; the README holds the report."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from cifar_core.bench import report, trials
from cifar_core.cli import main

ROOT = Path(__file__).resolve().parent.parent
MEASURED = {
    "quick": False,
    "data": "CIFAR-10",
    "machine": {
        "date": "2026-01-02", "processor": "some <processor>", "cores": 2, "memory_gib": 24, "load_before": 0.1,
        "python": "3.11.7", "packages": {"tensorflow": "2.21.0"},
    },
    "quick_run": {"first_point_seconds": 8.0, "seconds": 29.0, "estimated_seconds": 40.0},
    "standard_run": {
        "seconds": 140.0, "estimated_seconds": 150.0, "test_accuracy": 0.91,
        "reached": {"0.85": 40.0, "0.9": 120.0},
    },
    "best": {"test_accuracy": 0.93, "seconds": 4_000.0},
    "best_cut_run": {"seconds": 100.0, "estimated_seconds": 120.0},
    "twin_run": {"epoch_seconds": {"head": [5.0, 2.0], "fine_tune": [20.0, 10.0]}},
    "plain": {
        "limit_seconds": 900, "epoch_seconds": {"head": [90.0, 80.0], "fine_tune": [120.0]},
        "reached": {"0.85": 300.0, "0.9": None}, "trunk_images_per_second": 800.0, "single_seconds": 0.05,
    },
    "inference": {
        "trunk_images_per_second": 4_000.0, "single_seconds": 0.0005,
        "operations_per_second": 1e11, "peak_operations_per_second": 2e11,
    },
    "starts": {"predict_seconds": 0.5, "tensorflow_seconds": 6.0},
    "browser": {"unavailable": "Chromium is not installed"},
}  # fmt: skip


def found(name, measured=MEASURED):
    (figure,) = (each for each in report.figures(measured) if each.name == name)
    return figure


def test_a_ratio_compares_the_last_epochs():
    figure = found("one epoch of the head, store built")
    assert (figure.ours, figure.plain, figure.result, figure.is_reached) == ("2.00 s", "80 s", "40×", True)


def test_what_the_plain_recipe_did_not_reach_is_said_and_counts_its_limit():
    figure = found("time to 0.90 validation accuracy")
    assert (figure.plain, figure.value, figure.is_reached) == ("not reached in 900 s", 120.0, False)


def test_what_we_did_not_reach_is_no_success():
    slow = copy.deepcopy(MEASURED)
    slow["standard_run"]["reached"] = {"0.85": None, "0.9": None}
    for goal in ("0.85", "0.90"):
        figure = found(f"time to {goal} validation accuracy", slow)
        assert (figure.ours, figure.value, figure.is_reached) == ("not reached", None, False)


def test_a_target_that_was_missed_is_marked():
    (line,) = (line for line in report.table(MEASURED) if "test accuracy" in line and "`best`" in line)
    assert "0.9300 | at least 0.9400 **no** |" in line


def test_what_could_not_be_measured_is_said():
    figure = found("first page drawn")
    assert (figure.result, figure.is_reached) == ("not measured", False)


def test_the_estimate_is_compared_with_what_happened():
    assert found("`quick`: error of the estimate").value == pytest.approx(40 / 29 - 1)
    assert not found("`quick`: error of the estimate").is_reached
    assert found("`standard`: error of the estimate").is_reached
    assert found("`best`, 10,000 images and one epoch: error of the estimate").value == pytest.approx(0.2)


def test_the_section_replaces_itself_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_section(readme, MEASURED)
        text = readme.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
        assert text.count("one epoch of the head") == 1


def test_the_drawing_is_sound_xml_with_a_bar_for_each_ratio():
    from xml.etree import ElementTree

    root = ElementTree.fromstring(report.drawing(MEASURED))
    ratios = [figure for figure in report.figures(MEASURED) if figure.unit == "×"]
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 1 + len(ratios) > 4


def test_the_readme_holds_the_report_of_the_recorded_benchmark():
    recorded = json.loads((ROOT / "docs" / "bench.json").read_text())
    assert report.section(recorded) in (ROOT / "README.md").read_text()
    assert report.drawing(recorded) == (ROOT / "docs" / "bench.svg").read_text()


def test_a_folder_that_is_not_there_is_said_before_anything_is_measured(capsys, tmp_path):
    assert main(["bench", "--output", str(tmp_path / "none")]) == 2
    assert "expected a folder that exists" in capsys.readouterr().err


def test_a_readme_without_marks_is_said_before_anything_is_measured(capsys, tmp_path):
    (tmp_path / "README.md").write_text("no marks")
    assert main(["bench", "--output", str(tmp_path), "--readme", str(tmp_path / "README.md")]) == 2
    assert "expected a file that holds" in capsys.readouterr().err


def test_a_trial_that_was_ended_early_counts_neither_as_one_nor_with_its_time():
    def trial(minute, state):
        state = SimpleNamespace(name=state)
        return SimpleNamespace(datetime_complete=datetime(2026, 1, 1, 0, minute, tzinfo=UTC), state=state)

    ended = [trial(10, "COMPLETE"), trial(12, "COMPLETE"), trial(13, "PRUNED"), trial(15, "COMPLETE")]
    assert trials.rate(ended) == 0.5
