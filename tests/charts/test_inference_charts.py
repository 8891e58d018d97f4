import numpy as np
import pytest

from cifar_core.charts import answers as answer_charts
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference import calibration, explain
from cifar_core.inference.pins import Pin, Watch, Watched


def watched(seed: int, epochs: list[float]) -> Watched:
    rng = np.random.default_rng(seed)
    pin = Pin(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), f"picture {seed}")
    return Watched(pin, np.array(epochs), rng.dirichlet(np.ones(10), len(epochs)).reshape(-1, 10))


@pytest.fixture
def watch() -> Watch:
    """Two pins over both phases, the second pinned later."""
    return Watch((watched(1, [0, 0.5, 1, 2, 2.5, 3]), watched(2, [2, 2.5, 3])), boundary=2)


def lines(figure, column: int):
    axis = "x" if column == 1 else f"x{column}"
    return [t for t in figure.data if t.type == "scatter" and t.xaxis == axis and len(t.x) != 2]


def test_each_pin_has_its_picture_its_ten_lines_and_its_ten_bars(watch):
    figure = answer_charts.watch_figure(watch)
    assert len(figure.layout.images) == 2
    for column, one in enumerate(watch.watched, 1):
        found = lines(figure, column)
        assert len(found) == len(CLASSES)
        for label, line in enumerate(found):
            assert list(line.x) == one.epochs.tolist()
            assert list(line.y) == one.probabilities[:, label].tolist()
    bars = [t for t in figure.data if t.type == "bar"]
    assert [list(bar.x) for bar in bars] == [one.probabilities[-1].tolist() for one in watch.watched]
    assert not figure.frames


def test_on_a_phone_the_pictures_stand_in_rows_of_three():
    figure = answer_charts.watch_figure(Watch(tuple(watched(n, [0, 1]) for n in range(5)), None))
    narrow = figure.layout.meta["narrow"]
    assert narrow["height"] > figure.layout.height
    for layout, rows in ((figure.layout, (5,)), (narrow, (3, 2))):
        places = [(round(image["x"], 3), round(image["y"], 3)) for image in layout["images"]]
        tops = [y for _, y in places]
        assert tuple(tops.count(top) for top in sorted(set(tops), reverse=True)) == rows
        assert len(set(places)) == 5
    lefts = [narrow[f"xaxis{number or ''}"]["domain"][0] for number in ("", 2, 3, 4, 5)]
    assert lefts[0] == lefts[3] == 0 and lefts[1] == lefts[4]
    labelled = [number for number in ("", 2, 3, 4, 5) if narrow[f"yaxis{number}"]["showticklabels"]]
    assert labelled == ["", 4]


def test_scrubbing_goes_through_all_moments_in_the_browser(watch):
    figure = answer_charts.watch_figure(watch, scrubs=True)
    assert [frame.name for frame in figure.frames] == ["0", "0.5", "1", "2", "2.5", "3"]
    assert len(figure.layout.meta["moments"]) == 6
    first, last = figure.frames[0], figure.frames[-1]
    assert [figure.data[place].type for place in first.traces] == ["scatter", "bar", "scatter"] * 2
    assert list(first.data[1].x) == watch.watched[0].probabilities[0].tolist()
    assert list(first.data[4].x) == [0] * 10  # not pinned yet
    assert list(last.data[4].x) == watch.watched[1].probabilities[-1].tolist()
    assert [frame.data[5].text[0] == "<b></b>" for frame in figure.frames] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("name", "expected"), [("cat", "correct"), ("test image 7, labeled frog", "frog"), ("cat.png", "")]
)
def test_a_prediction_is_compared_with_the_label_of_a_test_image(name, expected):
    one = Watched(Pin(np.zeros((32, 32, 3), np.uint8), name), np.array([1.0]), np.eye(10)[3:4])
    words = answer_charts.watch_figure(Watch((one,), None)).data[-1].text[0]
    assert words.startswith("<b>cat</b>")
    assert expected in words and ("span" in words) == bool(expected)
    assert ("red" in words) == (expected == "frog")


@pytest.mark.parametrize("scrubs", (False, True))
def test_pins_of_which_nothing_is_known_are_shown_too(scrubs):
    """With True found by mutation: the probes were gone, and the slider had no place to stand at."""
    figure = answer_charts.watch_figure(Watch((watched(1, []),), None), planned=10, scrubs=scrubs)
    assert not figure.frames
    assert len(figure.layout.images) == 1
    assert figure.layout.xaxis.range[1] >= 10


def test_the_axis_reaches_as_far_as_planned_so_that_nothing_jumps(watch):
    assert answer_charts.watch_figure(watch, planned=16).layout.xaxis.range[1] == pytest.approx(16, rel=0.05)
    assert answer_charts.watch_figure(watch).layout.xaxis.range[1] == pytest.approx(3, rel=0.05)


def test_an_effect_shows_the_value_and_each_flip():
    change = explain.CHANGES["light"]
    said = np.tile(np.eye(10, dtype=np.float32)[3], (len(change.values), 1))
    effect = explain.Effect(change.values, said, ((0.4, 5), (1.7, 8)))
    figure = answer_charts.effect_figure(change, effect, 1.0, 3)
    assert sorted(shape.x0 for shape in figure.layout.shapes) == [0.4, 1.0, 1.7]
    assert [note.text for note in figure.layout.annotations] == ["dog at 0.4×", "ship at 1.7×"]
    assert list(figure.data[0].y) == [1] * len(change.values)


def test_the_reliability_diagram_names_both_lines_and_the_images():
    said = np.full((50, 10), 0.04)
    said[:, 2] = 0.64
    found = calibration.reliability(said, np.arange(50) % 10)
    figure = answer_charts.reliability_figure(found, found, "50 validation images")
    assert [trace.name for trace in figure.data][1:] == ["uncalibrated", "calibrated"]
    assert "50 validation images" in figure.layout.title.text
