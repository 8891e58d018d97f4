import json
from dataclasses import asdict

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from cifar_core import runs
from cifar_core.charts import search as search_charts
from cifar_core.config import KNOBS, PRESETS
from cifar_core.errors import ConfigError, RunError
from cifar_core.search import head_lab
from cifar_core.search.head_lab import BASE, GRID, Map, Settings

BASE_KEY = "0123456789abcdef"
ROW = {"epoch": 1, "accuracy": 0.5, "cross_entropy": 1.5, "validation_accuracy": 0.6, "validation_cross_entropy": 1.2}


def say(**status: object) -> None:
    """Write a status as the lab's process does."""
    head_lab.lab_dir().mkdir(parents=True, exist_ok=True)
    runs.write_json(head_lab.lab_dir() / "status.json", {"base": {"key": BASE_KEY}, **status})


def small_map() -> Map:
    """Three images: two left, one right; the ground's right half is far from all."""
    nearest = np.zeros((GRID * GRID, 3), np.int32) + np.array([0, 1, 2], np.int32)
    nearest[GRID * GRID // 2 :] = -1
    axis = np.linspace(0, 1, GRID, dtype=np.float32)
    points = np.array([[0, 0], [0, 1], [1, 1]], np.float32)
    return Map(points, np.array([3, 3, 5], np.uint8), axis, axis, nearest)


# settings


def test_only_the_sliders_differ_from_what_is_held_fixed() -> None:
    settings = Settings(dropout=0.1, dense_units=64)
    assert set(settings.config.differences(BASE)) == {"dropout", "dense_units"}
    assert BASE.augmentation == 0
    assert not BASE.fine_tunes
    assert set(settings.run_config.differences(PRESETS["quick"])) == {"dropout", "dense_units"}


def test_settings_go_through_an_address_and_back() -> None:
    settings = Settings(0.35, 64, 0.0002, 0.005, 0.1)
    assert settings.text == "0.35_64_0.0002_0.005_0.1"
    assert Settings.parse(settings.text) == settings
    assert Settings.parse(settings.text).key == settings.key != Settings().key


@pytest.mark.parametrize(
    "text", ["", "_", "1_2_3_4", "0.3_128_0.0001_0.001_0_0", "nan_128_0_0.001_0", "9_128_0_0.001_0"]
)
def test_an_address_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Settings.parse(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        assert Settings.parse(text)
    except ConfigError as error:
        assert len(str(error)) < 300


def test_differences_name_each_changed_knob_with_its_value() -> None:
    dropout, units = Settings(dropout=0.1, dense_units=64).differences(Settings()).split(", ")
    assert KNOBS["dropout"].label.lower() in dropout and "0.1" in dropout
    assert KNOBS["dense_units"].label.lower() in units and "64" in units
    assert Settings().differences(Settings()) == "the same"


# the channel


def test_the_newest_request_counts() -> None:
    assert head_lab.requested() is None
    head_lab.request(Settings(dropout=0.1))
    head_lab.request(Settings(dropout=0.2))
    settings, asked = head_lab.requested() or (None, 0)
    assert settings == Settings(dropout=0.2)
    assert asked > 1.7e9


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"settings": 7, "asked": 1}', '{"settings": {"dropout": 99}, "asked": 1}',
     '{"settings": {"seed": 2}, "asked": 1}', json.dumps({"settings": asdict(Settings()), "asked": "now"})],
)  # fmt: skip
def test_a_damaged_request_is_none(content: str) -> None:
    head_lab.lab_dir().mkdir(parents=True)
    (head_lab.lab_dir() / "request.json").write_text(content)
    assert head_lab.requested() is None


def test_a_folder_that_cannot_hold_the_lab_is_a_sentence() -> None:
    runs.runs_dir().write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        head_lab.request(Settings())


def test_without_its_process_the_lab_is_off() -> None:
    assert head_lab.status() == {"state": "starting"} | {"state": "off"}
    say(state="ready")
    assert head_lab.status()["state"] == "off"
    with FileLock(head_lab.lab_dir() / "lab.lock"):
        assert head_lab.is_open()
        assert head_lab.status()["state"] == "ready"
    say(state="failed", message="no weights")
    assert head_lab.status()["message"] == "no weights"


def test_a_result_is_read_as_far_as_it_is_written() -> None:
    say(state="computing")
    assert head_lab.result(Settings()) is None
    saved = {"state": "computing", "rows": [ROW, {"epoch": 2}], "predicted": "0123", "seconds": 1.5}
    runs.write_json(head_lab.result_path(BASE_KEY, Settings()), saved)
    found = head_lab.result(Settings())
    assert found is not None
    assert (found.accuracy, list(found.rows), found.predicted) == (0.6, [ROW], [0, 1, 2, 3])
    assert found.interval == pytest.approx((0.150, 0.850), abs=1e-3)  # 2 of 4, Wilson
    assert head_lab.result(Settings(dropout=0.1)) is None


@pytest.mark.parametrize("saved", [{}, {"rows": 7, "predicted": ""}, {"rows": [], "predicted": "abc"}, {"rows": []}])
def test_a_damaged_result_is_none(saved: dict) -> None:
    say(state="ready")
    runs.write_json(head_lab.result_path(BASE_KEY, Settings()), saved)
    assert head_lab.result(Settings()) is None


@pytest.mark.parametrize("odd", [-1, 2.5, 2**31, True, "x", float("nan")])
def test_found_by_mutation_an_accuracy_that_is_none(odd: object) -> None:
    """2.5 was more images right than there were, and ValueError."""
    say(state="ready")
    saved = {"state": "done", "rows": [ROW, ROW | {"validation_accuracy": odd}], "predicted": "0123"}
    runs.write_json(head_lab.result_path(BASE_KEY, Settings()), saved)
    found = head_lab.result(Settings())
    assert found is not None
    assert list(found.rows) == [ROW]
    assert found.interval[1] <= 1


def test_a_base_that_is_no_name_is_none() -> None:
    say(state="ready")
    runs.write_json(head_lab.lab_dir() / "status.json", {"base": {"key": "../../x"}})
    assert head_lab.base_key() == ""


# the map


def test_the_ground_takes_the_class_of_most_images_nearby() -> None:
    ground = head_lab.background_classes(small_map(), np.array([4, 7, 7]))
    assert ground.shape == (GRID, GRID)
    assert set(ground[: GRID // 2].ravel()) == {7.0}
    assert np.isnan(ground[GRID // 2 :]).all()


def test_a_map_is_kept_and_a_damaged_one_is_none() -> None:
    head_lab.lab_dir().mkdir(parents=True)
    assert head_lab.load_map(BASE_KEY) is None
    head_lab.save_map(BASE_KEY, small_map())
    found = head_lab.load_map(BASE_KEY)
    assert found is not None
    assert all(np.array_equal(value, vars(small_map())[name]) for name, value in vars(found).items())
    head_lab.map_path(BASE_KEY).write_bytes(head_lab.map_path(BASE_KEY).read_bytes()[:300])
    assert head_lab.load_map(BASE_KEY) is None


def test_the_drawn_map_shows_every_image_once_and_mistakes_as_crosses() -> None:
    figure = search_charts.decision_map(small_map(), np.array([3, 5, 5]))
    signs = {trace.name: list(trace.marker.symbol) for trace in figure.data if trace.type == "scatter" and len(trace.x)}
    assert signs == {"cat": ["circle"], "dog": ["circle", "x-thin"]}


# curves


def test_earlier_curves_fade_with_age() -> None:
    earlier = [("dropout 0.1", [ROW]), ("dropout 0.2", [ROW]), ("dropout 0.4", [ROW])]
    figure = search_charts.lab_curves([ROW], earlier, "accuracy", 10)
    old = [trace.opacity for trace in figure.data[:3]]
    assert old == sorted(set(old))
    assert [trace.name for trace in figure.data[3:]] == ["training", "validation"]
    assert figure.data[4].y == (0.6,)
    assert "dropout 0.1" in figure.data[0].hovertemplate


@pytest.mark.parametrize("metric", ["accuracy", "cross_entropy"])
def test_before_the_first_epoch_the_axes_are_drawn(metric: str) -> None:
    figure = search_charts.lab_curves([], [], metric, 10)
    assert figure.layout.yaxis.range[0] == 0
    assert figure.layout.xaxis.range == (0.7, 10.3)


@pytest.mark.parametrize("content", ['{"state": "rea', "", "[]"], ids=["cut", "empty", "other type"])
def test_a_damaged_status_says_so(content: str) -> None:
    assert head_lab.status() == {"state": "off"}
    head_lab.lab_dir().mkdir(parents=True)
    (head_lab.lab_dir() / "status.json").write_text(content)
    found = head_lab.status()
    assert found["state"] == "failed"
    assert "status.json" in found["message"]
