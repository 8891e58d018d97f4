"""The benchmark's table holds what was measured; docs/benchmarks.md holds the table."""

import copy
from pathlib import Path

import pytest

from cifar_core import bench
from cifar_core.cli.parser import main

ROOT = Path(__file__).resolve().parent.parent
MEASURED = {
    "quick": False,
    "data": "CIFAR-10",
    "machine": {
        "date": "2026-01-02", "processor": "some processor", "cores": 2, "memory_gib": 24, "load_before": 0.1,
        "python": "3.11.7", "packages": {"tensorflow": "2.21.0"},
    },
    "quick_run": {"first_point_seconds": 8.0, "seconds": 29.0, "estimated_seconds": 40.0, "test_accuracy": 0.83,
                  "probe_seconds": 3.0, "probe_accuracy": 0.8},
    "standard_run": {"first_point_seconds": 20.0, "seconds": 140.0, "estimated_seconds": 150.0, "test_accuracy": 0.91,
                     "probe_seconds": 20.0, "probe_accuracy": 0.85},
    "twin_run": {"epoch_seconds": {"head": [5.0, 2.0], "fine_tune": [20.0, 10.0]}, "goal_seconds": 25.0},
    "limit_seconds": 360,
    "recipe": {
        "epoch_seconds": {"head": [50.0, 40.0], "fine_tune": []}, "goal_seconds": None,
        "validation_accuracy": 0.84, "images_per_second": 800.0, "single_seconds": 0.05,
    },
    "recipe_batch_64": {"epoch_seconds": {"head": [90.0, 80.0], "fine_tune": []}},
    "inference": {"images_per_second": 4_000.0, "single_seconds": 0.0005},
    "teach": {"feature_seconds": 1.0, "fit_seconds": 0.3},
    "inside_seconds": 0.02,
    "starts": {"predict_seconds": 0.5, "tensorflow_seconds": 6.0},
    "browser": {"unavailable": "Chromium is not installed"},
}  # fmt: skip


def cells(name: str, measured: bench.Found = MEASURED) -> list[str]:
    (row,) = (each for each in bench.rows(measured) if each[0] == name)
    return row[1:]


def test_an_epoch_is_compared_with_the_same_batches_and_with_those_of_tutorials() -> None:
    assert cells("one epoch of phase 1, features cached") == ["2.00 s", "40 s (20×)", "80 s (40×)"]


def test_a_rate_is_compared_the_other_way_round() -> None:
    assert cells("frozen backbone")[:2] == ["4,000 images/s", "800 images/s (5.0×)"]


def test_what_was_not_measured_or_not_reached_is_no_figure() -> None:
    assert cells("time to 85% validation accuracy") == ["25 s", "not reached", ""]
    assert cells("one epoch of phase 2, top 4 blocks") == ["10 s", "", ""]
    assert cells("first page drawn") == ["not measured", "", ""]
    never = copy.deepcopy(MEASURED)
    never["twin_run"]["goal_seconds"] = None
    assert cells("time to 85% validation accuracy", never) == ["not reached", "not reached", ""]


def test_a_quick_benchmark_has_no_standard_run() -> None:
    quick = {name: value for name, value in MEASURED.items() if name != "standard_run"}
    assert not [row for row in bench.rows(quick) if "`standard`" in row[0]]
    assert cells("`standard`: test accuracy") == ["91.0%", "", ""]


def test_the_section_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
    for _ in range(2):
        bench.write_section(file, MEASURED)
        text = file.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
        assert text.count("one epoch of phase 1") == 1


def test_the_table_in_the_documentation_has_the_rows_that_the_benchmark_writes() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = text.split(bench.BEGIN)[1].split(bench.END)[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    labels = [row[0] for row in bench.rows(MEASURED)]
    assert [row[0] for row in table] == ["figure", "---", *labels]
    assert all(row[1] for row in table)


@pytest.mark.parametrize("file", ["README.md", "missing.md"])
def test_a_file_without_marks_is_refused_before_anything_is_measured(capsys, tmp_path: Path, file: str) -> None:
    (tmp_path / "README.md").write_text("no marks")
    assert main(["bench", "--output", str(tmp_path), "--readme", str(tmp_path / file)]) == 2
    assert bench.BEGIN in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused_before_anything_is_measured(capsys, tmp_path: Path) -> None:
    assert main(["bench", "--output", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
