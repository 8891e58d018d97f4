"""The head lab's page; its process is played by the tests."""

from collections.abc import Iterator

import numpy as np
import pytest
from app_pages import charts_of, open_explore, sound, texts, went_back
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.config import PRESETS
from cifar_core.errors import RunError
from cifar_core.search import head_lab
from cifar_core.search.head_lab import GRID, Map, Settings
from pages.components import head_lab as lab_view

BASE_KEY = "0123456789abcdef"


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lab's process that is open and does nothing by itself."""
    monkeypatch.setattr(head_lab, "start", lambda: None)
    head_lab.lab_dir().mkdir(parents=True)
    say("ready")
    axis = np.linspace(0, 1, GRID, dtype=np.float32)
    points = np.random.default_rng(1).random((50, 2), np.float32)
    places = Map(points, np.arange(50, dtype=np.uint8) % 10, axis, axis, np.zeros((GRID * GRID, 1), np.int32))
    head_lab.save_map(BASE_KEY, places)
    with FileLock(head_lab.lab_dir() / "lab.lock"):
        yield


def say(state: str, **more: object) -> None:
    base = {
        "key": BASE_KEY,
        "images": "CIFAR-10 <b>",
        "weights": "ImageNet",
        "train_images": 4000,
        "validation_images": 1000,
    }
    runs.write_json(head_lab.lab_dir() / "status.json", {"state": state, "base": base, **more})


def answer(settings: Settings, accuracy: float, state: str = "done", epochs: int = 10) -> None:
    """Write a result as the lab's process does; 50 images."""
    rows = [
        {
            "epoch": n,
            "accuracy": 0.9,
            "cross_entropy": 0.5,
            "validation_accuracy": accuracy,
            "validation_loss": 0.6,
            "validation_cross_entropy": 0.6,
        }
        for n in range(1, epochs + 1)
    ]
    predicted = "".join(str(n % 10) for n in range(50))
    saved = {"state": state, "rows": rows, "predicted": predicted, "seconds": 1.8}
    runs.write_json(head_lab.result_path(BASE_KEY, settings), saved)


def open_lab(**query: str) -> AppTest:
    return open_explore(section="lab", **query)


def test_opening_the_lab_opens_its_process_and_asks_for_a_first_head(process: None, monkeypatch) -> None:
    opened: list[bool] = []
    monkeypatch.setattr(head_lab, "start", lambda: opened.append(True))
    open_lab()
    assert opened
    assert head_lab.requested() is not None
    assert head_lab.requested()[0] == Settings()


def test_a_stored_result_is_shown_before_the_first_own_one(process: None) -> None:
    stored = head_lab.stored()
    assert (stored.state, len(stored.rows), len(stored.predicted)) == ("done", head_lab.BASE.head_epochs, 1_000)
    app = open_lab()
    assert charts_of(app)["lab_accuracy"]["data"][-1]["y"] == [row["validation_accuracy"] for row in stored.rows]
    answer(Settings(), 0.5)
    assert charts_of(open_lab())["lab_accuracy"]["data"][-1]["y"] == [0.5] * 10
    assert not charts_of(open_lab(lab_dropout="0.6"))["lab_accuracy"]["data"][-1]["y"], (
        "it is of the usual settings only"
    )


def test_it_says_on_screen_what_is_held_fixed(process: None) -> None:
    answer(Settings(), 0.8)
    said = texts(open_lab().caption).replace("\\", "")
    for words in (
        "MobileNetV2 α 0.5 at 96 px",
        "ImageNet",
        "4,000 for training",
        "CIFAR-10 <b>",
        "no augmentation",
        "seed 1",
    ):
        assert words in said
    assert "<b>" not in texts(open_lab().caption)


def test_a_released_slider_asks_for_its_value_and_the_address_says_so(process: None) -> None:
    answer(Settings(), 0.8)
    app = open_lab()
    sound(app.slider(key="lab_dropout").set_value(0.6).run())
    assert head_lab.requested()[0] == Settings(dropout=0.6)
    assert app.query_params["lab_dropout"] == "0.6"
    assert app.query_params["tried"] == Settings().text


def test_the_curve_moves_epoch_by_epoch(process: None) -> None:
    for epochs in (1, 4):
        answer(Settings(), 0.5 + epochs / 10, "computing", epochs)
        head_lab.request(Settings())
        say("computing")
        app = open_lab()
        assert len(charts_of(app)["lab_accuracy"]["data"][-1]["y"]) == epochs
        assert f"epoch {epochs} of {head_lab.BASE.head_epochs}" in texts(app.caption)


def test_the_address_opens_the_same_lab(process: None) -> None:
    shown, before = Settings(dropout=0.6, dense_units=64, l2=0.001, label_smoothing=0.1), Settings(dropout=0.1)
    answer(shown, 0.8)
    answer(before, 0.9)
    words = {"dropout": "0.6", "dense_units": "64", "l2": "0.001", "label_smoothing": "0.1"}
    query = {f"lab_{name}": word for name, word in words.items()} | {"tried": before.text}
    app = open_lab(**query)
    assert head_lab.requested() is None  # what is known is not computed again
    assert {key: app.query_params[key] for key in query} == query
    assert "80.0%" in texts(app.header)
    assert "90.0%" in texts(app.caption)
    assert len(charts_of(app)["lab_accuracy"]["data"]) == 3
    assert sum(len(trace["x"]) for trace in _signs(app)) == 50
    app = went_back(app, section="lab", lab_dropout="0.5")
    assert (app.slider(key="lab_dropout").value, app.query_params["lab_dropout"]) == (0.5, "0.5")


def _signs(app: AppTest) -> list[dict]:
    """The map's traces with at least one image; their numbers may come in base 64."""
    found = charts_of(app)["lab_map"]["data"]
    return [{"x": trace["text"]} for trace in found if trace["type"] == "scatter" and trace.get("text")]


@pytest.mark.parametrize(
    "query",
    [
        {"lab_dropout": "99", "lab_l2": "-1", "lab_dense_units": "many"},
        {"lab_dropout": "nan", "lab_head_learning_rate": "1e400", "tried": "_____,<b>,0.3"},
        {"tried": "0.3_128_0.0001_0.001_0," * 2_000},
        {"lab_label_smoothing": "\0", "tried": "é" * 5_000},
    ],
)
def test_an_address_of_anything_opens_the_usual_lab(process: None, query: dict[str, str]) -> None:
    answer(Settings(), 0.8)
    app = open_lab(**query)
    assert not app.error
    assert "80.0%" in texts(app.header)
    assert set(app.query_params) <= {"section", "tried"}
    assert len(app.query_params.get("tried", "")) < 300


@pytest.mark.parametrize("state", ["starting", "waiting"])
def test_it_says_what_the_process_does(process: None, state: str) -> None:
    say(state)
    assert lab_view._STATES[state] in texts(open_lab().caption)


def test_preparations_show_how_far_they_are(process: None) -> None:
    say("preparing", done=512, total=5000)
    app = open_lab()
    assert "512 of 5,000" in app.get("progress")[0].proto.text


def test_a_head_that_broke_down_says_what_to_do(process: None) -> None:
    failed = {"state": "failed", "rows": [], "predicted": "", "message": "Training failed; lower the rate."}
    runs.write_json(head_lab.result_path(BASE_KEY, Settings()), failed)
    head_lab.request(Settings())
    say("computing")
    assert "lower the rate" in texts(open_lab().warning)


def test_a_lab_that_has_ended_can_be_opened_again(process: None, monkeypatch) -> None:
    monkeypatch.setattr(head_lab, "is_open", lambda: False)
    app = open_lab()
    assert app.warning
    opened: list[bool] = []
    monkeypatch.setattr(head_lab, "start", lambda: opened.append(True))
    sound(next(button for button in app.button if button.key == "lab_again").click().run())
    assert opened


def test_a_lab_that_cannot_be_opened_is_a_sentence(monkeypatch) -> None:
    def refuse() -> None:
        raise RunError("The lab cannot be kept in <x>; make it writable.")

    monkeypatch.setattr(head_lab, "start", refuse)
    assert "cannot be kept in" in open_lab().error[0].value


def test_forgetting_takes_earlier_curves_away(process: None) -> None:
    answer(Settings(), 0.8)
    answer(Settings(dropout=0.1), 0.9)
    app = open_lab(tried=Settings(dropout=0.1).text)
    sound(next(button for button in app.button if button.key == "lab_forget").click().run())
    assert "tried" not in app.query_params
    assert len(charts_of(app)["lab_accuracy"]["data"]) == 2


def test_a_whole_run_is_prepared_with_this_head(process: None) -> None:
    answer(Settings(dropout=0.6), 0.8)
    app = open_lab(lab_dropout="0.6")
    sound(next(button for button in app.button if button.key == "lab_train").click().run())
    assert app.slider(key="dropout").value == 0.6
    assert app.slider(key="fine_tune_epochs").value == PRESETS["quick"].fine_tune_epochs
