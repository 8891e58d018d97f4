import json

import numpy as np
import pytest

from cifar_core.inference import pins
from cifar_core.inference.pins import Pin


def pin(seed: int = 0, name: str = "a cat") -> Pin:
    return Pin(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8), name)


def probe(phase: str, epoch: float, *said: tuple[Pin, float]) -> str:
    shares = {one.key: [share, *[(1 - share) / 9] * 9] for one, share in said}
    return json.dumps({"phase": phase, "epoch": epoch, "pins": shares}) + "\n"


def test_pins_are_read_back_with_their_names(run):
    chosen = [pin(1, "one"), pin(2, "Katze \N{CAT FACE}")]
    pins.save(run, chosen)
    found = pins.load(run.path)
    assert [one.name for one in found] == ["one", "Katze \N{CAT FACE}"]
    assert [one.key for one in found] == [one.key for one in chosen]
    pins.save(run, [])
    assert pins.load(run.path) == []


def test_a_run_without_pins_has_none(run):
    assert pins.load(run.path) == []
    assert pins.watch(run).watched == ()


def test_rows_beyond_those_of_a_run_are_not_read(run):
    """Pages draw a frame for each of them."""
    pins.save(run, [pin()])
    (run.path / pins.PROBES).write_text("".join(probe("head", number, (pin(), 0.5)) for number in range(1_500)))
    assert len(pins.watch(run).watched[0].epochs) == 1_000


def test_there_is_room_for_six_and_each_picture_once(run):
    chosen: list[Pin] = []
    for seed in range(pins.MOST):
        chosen = pins.added(chosen, pin(seed))
    assert pins.added(chosen, pin(3, "another name")) == chosen
    assert [one.key for one in pins.added(chosen, pin(7))] == [one.key for one in (*chosen[1:], pin(7))]


@pytest.mark.parametrize("damage", ["words", "pickle", "shape", "many"])
def test_a_file_that_is_not_of_ours_holds_no_pins(run, damage):
    path = run.path / pins.FILE
    if damage == "words":
        path.write_text("no pins")
    else:
        count = 9 if damage == "many" else 1
        names = np.array([{}] if damage == "pickle" else ["x"] * count, dtype=object if damage == "pickle" else None)
        side = 33 if damage == "shape" else 32
        np.savez(path, images=np.zeros((count, side, side, 3), np.uint8), names=names)
    assert pins.load(run.path) == []


def test_a_name_is_shown_short_and_on_one_line(run):
    pins.save(run, [pin(1, "a\nb" + "x" * 500)])
    assert pins.load(run.path)[0].name.startswith("a b")
    assert len(pins.load(run.path)[0].name) <= 60


def test_what_was_recorded_is_put_on_one_axis_over_both_phases(run):
    one, two = pin(1), pin(2)
    pins.save(run, [one, two])
    rows = [
        probe("head", 0, (one, 0.1)),
        probe("head", 0.25, (one, 0.3)),
        probe("head", 2, (one, 0.5), (two, 0.2)),  # the second was pinned later
        probe("fine_tune", 0, (one, 0.5), (two, 0.2)),
        probe("fine_tune", 1, (one, 0.9), (two, 0.3)),
    ]
    (run.path / pins.PROBES).write_text("".join(rows) + '{"phase": "head"')
    found = pins.watch(run)
    assert found.boundary == 2
    first, second = found.watched
    assert first.epochs.tolist() == [0, 0.25, 2, 2, 3]
    assert first.probabilities[:, 0].tolist() == [0.1, 0.3, 0.5, 0.5, 0.9]
    assert second.epochs.tolist() == [2, 2, 3]


def test_damaged_rows_are_left_out(run):
    one = pin(1)
    pins.save(run, [one])
    bad = [{"phase": "x", "epoch": 1, "pins": {}}, {"phase": "head", "epoch": "1", "pins": {}}, {}, [], 3]
    bad += [{"phase": "head", "epoch": 1, "pins": {one.key: values}} for values in (None, [1], ["x"] * 10, [7] * 10)]
    bad += [{"phase": "head", "epoch": -1, "pins": {one.key: [0.1] * 10}}]
    lines = "".join(json.dumps(row) + "\n" for row in bad)
    (run.path / pins.PROBES).write_text(lines + probe("head", 1, (one, 0.4)))
    assert pins.watch(run).watched[0].epochs.tolist() == [1]
