"""A growing metrics file, read on from where the last look ended."""

import gc
import json
import tracemalloc

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.charts import training as training_charts
from cifar_core.runs.curves import MOST_POINTS, CurveReader, curves

ROW = {"loss": 0.5, "accuracy": 0.8, "learning_rate": 1e-3, "images_per_second": 900.0, "elapsed_seconds": 1.0}
LOOKS = 3_000  # half an hour of one viewer


def step(number: int, phase: str = "head", epoch: int = 1, steps: int = 100, **changes) -> dict:
    return {"kind": "step", "phase": phase, "epoch": epoch, "step": number, "steps": steps, **ROW, **changes}


def epoch(number: int, phase: str = "head") -> dict:
    return {"kind": "epoch", "phase": phase, "epoch": number, "validation_accuracy": 0.7, "validation_loss": 1.0, **ROW}


def write(run: runs.Run, rows: list[dict], mode: str = "a") -> None:
    with (run.path / "metrics.jsonl").open(mode) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_what_is_read_in_many_looks_equals_what_is_read_at_once(run):
    rows = [row for number in (1, 2, 3) for row in (step(50, epoch=number), step(100, epoch=number), epoch(number))]
    rows += [row for number in (1, 2) for row in (step(70, "fine_tune", number), epoch(number, "fine_tune"))]
    rows.insert(4, {"kind": "step", "phase": "head", "epoch": "damaged"})
    track = CurveReader(run)
    for row in rows:
        write(run, [row])
        found, last, epochs = track.read({"fine_tune": 9})
    at_once = curves(rows, {"fine_tune": 9})
    assert (found.boundary, found.planned, last, epochs) == (3, 12, rows[-1], 5)
    assert (at_once.boundary, at_once.planned) == (3, 12)
    for name, curve in at_once.curves.items():
        assert np.array_equal(found.curves[name].x, curve.x) and np.array_equal(found.curves[name].y, curve.y)
    assert list(found.curves["validation_accuracy"].x) == [1, 2, 3, 4, 5]


def test_a_torn_last_line_is_read_when_it_is_whole(run):
    track = CurveReader(run)
    line, torn = (json.dumps(step(number)) + "\n" for number in (1, 2))
    (run.path / "metrics.jsonl").write_text(line + torn[:20])
    assert len(track.read()[0].curves["loss"].x) == 1
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(torn[20:])
    assert len(track.read()[0].curves["loss"].x) == 2


def test_a_file_that_a_resume_rewrote_is_read_anew(run):
    track = CurveReader(run)
    write(run, [step(number) for number in range(1, 11)])
    assert track.read()[1]["step"] == 10
    shorter = run.path / "shorter"
    shorter.write_text("".join(json.dumps(step(number, loss=9.0)) + "\n" for number in range(1, 12)))
    shorter.replace(run.path / "metrics.jsonl")  # longer than before, but another file
    found, last, _ = track.read()
    assert last["step"] == 11
    assert set(found.curves["loss"].y) == {9.0}


def test_before_anything_is_written_there_is_nothing(run):
    found, last, epochs = CurveReader(run).read({"head": 3})
    assert (last, epochs, found.boundary, found.planned) == (None, 0, None, 3)
    assert all(len(curve.x) == 0 for curve in found.curves.values())


@pytest.mark.parametrize("steps", [100, 30_000])
def test_a_line_has_at_most_500_points_however_long_the_run(run, steps):
    write(run, [step(number, steps=steps) for number in range(1, steps + 1)])
    curves = CurveReader(run).read()[0]
    drawn = training_charts.metric_figure(curves, "accuracy", curves)
    assert 80 < max(len(line.x) for line in drawn.data) <= MOST_POINTS


def test_watching_for_long_without_news_takes_no_memory(run):
    write(run, [step(number) for number in range(1, 101)])
    track = CurveReader(run)
    track.read()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(LOOKS // 10):
            track.read()
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(LOOKS):
            track.read()
        grown = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    assert grown < LOOKS, f"{grown} bytes in {LOOKS} looks: more than a byte each is a leak"


def test_a_long_run_takes_bytes_rather_than_dictionaries(run):
    """A row is about a kilobyte when it is parsed, and two hours of training write 40,000."""
    count, track = 10_000, CurveReader(run)
    for start in range(0, count, 2_000):
        write(run, [step(number, steps=count) for number in range(start + 1, start + 2_001)])
        if start == 0:
            track.read()
            gc.collect()
            tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        track.read()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 150 * count
