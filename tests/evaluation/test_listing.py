import csv
import io
import time
from dataclasses import replace
from typing import Any

import pytest
from counting import counted, many_finished

from cifar_core import runs
from cifar_core.config import TrainConfig, differing_knobs
from cifar_core.evaluation import listing
from cifar_core.evaluation.listing import Row
from cifar_core.runs import Run, labels, write_json


def finish(config: TrainConfig, accuracy: float, **figures: Any) -> Run:
    """Make a finished run."""
    run = runs.create(config, f"run{accuracy * 100:.0f}")
    result = {"validation_accuracy": accuracy, "validation_images": 1_000, "test_accuracy": 0.5, **figures}
    write_json(run.path / "status.json", {"state": "finished", "result": result})
    return run


def ids(rows: list[Row]) -> list[str]:
    return [row.run.id for row in rows]


@pytest.fixture
def three(tiny_config: TrainConfig) -> list[Run]:
    """The worst on validation images, which is the best on test images; the best; a failed one."""
    worst = finish(tiny_config, 0.7, test_accuracy=0.9, elapsed_seconds=30.0, model_bytes=2e6)
    best = finish(replace(tiny_config, dropout=0.1), 0.8, test_accuracy=0.6, elapsed_seconds=60.0, model_bytes=1e6)
    failed = runs.create(replace(tiny_config, dropout=0.2), "zbroken")  # last of ids made in one millisecond
    write_json(failed.path / "status.json", {"state": "failed"})
    return [worst, best, failed]


def test_the_best_validation_accuracy_comes_first_whatever_the_test_images_say(three: list[Run]) -> None:
    worst, best, failed = three
    assert ids(listing.sort_rows(listing.rows())) == [best.id, worst.id, failed.id]


@pytest.mark.parametrize(
    ("order", "reverse", "expected"),
    [
        ("newest", False, [2, 1, 0]),
        ("newest", True, [0, 1, 2]),
        ("time", False, [0, 1, 2]),
        ("time", True, [1, 0, 2]),
        ("size", False, [1, 0, 2]),
        ("test", False, [0, 1, 2]),
        ("latency", False, [2, 1, 0]),
        ("dropout", False, [1, 2, 0]),
        ("state", False, [1, 0, 2]),
    ],
)
def test_orders_put_the_unknown_last(three: list[Run], order: str, reverse: bool, expected: list[int]) -> None:
    assert ids(listing.sort_rows(listing.rows(), order, reverse)) == [three[number].id for number in expected]


def test_every_order_sorts_runs_of_every_kind(three: list[Run], run: Run) -> None:
    (run.path / "config.json").write_text("{")
    for order in listing.ORDERS:
        for reverse in (False, True):
            assert len(listing.sort_rows(listing.rows(), order, reverse)) == 4


def test_a_row_tells_accuracy_with_its_interval(three: list[Run]) -> None:
    row = next(row for row in listing.rows() if row.run == three[1])
    assert row.validation_accuracy == 0.8
    assert row.interval == pytest.approx((0.774, 0.824), abs=0.001)  # scipy's binomtest(800, 1000).proportion_ci
    assert (row.seconds, row.model_bytes, row.state) == (60.0, 1e6, "finished")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 3), ("dropout=0.1", 1), ("BROKEN", 1), ("wide net", 1), ("wide broken", 0), ("finished alpha=0.35", 2)],
)
def test_the_filter_wants_every_word(three: list[Run], text: str, expected: int) -> None:
    labels.change(three[0], name="Wide", note="the net of Monday")
    assert len(listing.filter_rows(listing.rows(), text)) == expected


def test_the_filter_knows_stars(three: list[Run]) -> None:
    labels.change(three[2], starred=True)
    assert ids(listing.filter_rows(listing.rows(), starred_only=True)) == [three[2].id]


def test_a_change_on_the_disk_is_seen(three: list[Run]) -> None:
    listing.rows()
    labels.change(three[0], name="new")
    write_json(three[2].path / "status.json", {"state": "stopped"})
    found = {row.run: row for row in listing.rows()}
    assert (found[three[0]].name, found[three[2]].state) == ("new", "stopped")


def test_a_file_written_into_in_place_is_seen_after_a_while(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder then looks as before, and for some seconds only that is looked at."""
    write_json(run.path / "status.json", {"state": "finished"})
    now = time.time_ns() + 5_000_000_000
    monkeypatch.setattr(listing.time, "time_ns", lambda: now)
    assert listing.rows()[0].state == "finished"
    (run.path / "status.json").write_text('{"state": "failed"}')
    now += 11_000_000_000
    assert listing.rows()[0].state == listing.row(run).state == "failed"


def test_the_newest_runs_alone_are_those_at_the_top(three: list[Run]) -> None:
    assert ids(listing.rows(2)) == ids(listing.rows())[:2] == [three[2].id, three[1].id]


def test_only_knobs_that_differ_are_named(three: list[Run]) -> None:
    assert differing_knobs(row.config for row in listing.rows()) == ["dropout"]


@pytest.mark.parametrize(
    "result", [7, {"validation_accuracy": "x"}, {"validation_accuracy": 7.0}, {"elapsed_seconds": -1}]
)
def test_a_damaged_result_leaves_its_cells_empty(run: Run, result: Any) -> None:
    write_json(run.path / "status.json", {"state": "finished", "result": result})
    (row,) = listing.rows()
    assert (row.validation_accuracy, row.interval, row.seconds) == (None, None, None)


def test_csv_has_every_figure_and_no_formula(three: list[Run]) -> None:
    labels.change(three[1], name='=HYPERLINK("https://example.org")', note="@SUM(A1)")
    lines = list(csv.DictReader(io.StringIO(listing.to_csv(listing.sort_rows(listing.rows())), newline="")))
    assert [line["id"] for line in lines][:2] == [three[1].id, three[0].id]
    assert lines[0]["name"] == '\'=HYPERLINK("https://example.org")'
    assert lines[0]["note"] == "'@SUM(A1)"
    assert (lines[0]["validation_accuracy"], lines[0]["dropout"], lines[2]["test_accuracy"]) == ("0.8", "0.1", "")


def test_500_runs_cost_two_files_each_at_first_and_then_one_look_at_the_folder(tiny_config: TrainConfig) -> None:
    """The seconds are the load test's to tell; what they are made of is counted here."""
    many_finished(500, tiny_config)
    with counted() as first:
        assert len(listing.sort_rows(listing.rows())) == 500
    assert (first["files opened"], first["JSON read"]) == (1_000, 1_000)  # configuration and status
    assert first["folders read"] == 501
    assert first["files looked at"] <= 5_000
    with counted() as again:
        assert len(listing.sort_rows(listing.rows())) == 500
    assert (again["files opened"], again["JSON read"], again["folders read"]) == (0, 0, 1)
    assert again["files looked at"] <= 2_500  # whether they changed


def test_runs_that_have_settled_are_not_looked_at_for_a_while(
    tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_finished(50, tiny_config)
    now = time.time_ns() + 5_000_000_000
    monkeypatch.setattr(listing.time, "time_ns", lambda: now)
    listing.rows()
    with counted() as settled:
        assert len(listing.rows()) == 50
    assert settled == {"folders read": 1}
