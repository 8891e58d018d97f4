"""All pages where CIFAR10_DIR names no usable data: why in a sentence, and all that needs no data still works."""

from pathlib import Path

import numpy as np
import pytest
from app_pages import CLASSIFY, TRAIN, bars_of, button, charts_of, make_finished_run, open_app, sound, texts, upload
from corpus import encoded, scene
from streamlit.testing.v1 import AppTest

from cifar_core.data import batch_files
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference import neighbors
from cifar_core.runs import Run
from cifar_core.search import head_lab

REASONS = {"empty": "does not contain CIFAR-10", "damaged": "is not an official archive"}
PICTURE = {"photo.png": encoded(scene(size=(90, 60), seed=1), "PNG")}
EXPLORE, EVALUATE, LEARN = (TRAIN.replace("train", name) for name in ("explore", "evaluate", "learn"))


@pytest.fixture(params=REASONS)
def reason(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the page must say of a CIFAR10_DIR that holds nothing, or half an archive."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("CIFAR10_DIR", str(place))
    if request.param == "damaged":
        (place / batch_files.BINARY_ARCHIVE).write_bytes(b"\x1f\x8b\x08half an archive")
    return REASONS[request.param]


@pytest.fixture(scope="module")
def index() -> neighbors.Index:
    """What a run knows of its training images: labels, and where they lie for the network."""
    features = np.random.default_rng(1).random((50, 1280), np.float32)
    return neighbors.build(features, np.arange(50, dtype=np.uint8) % 10, np.arange(50), "x")


@pytest.fixture
def run(model: bytes, index: neighbors.Index) -> Run:
    run = make_finished_run(model, dataset="CIFAR-10", validation_images=50)
    index.save(run.path / neighbors.FILE)
    labels = np.arange(50, dtype=np.uint8) % 10
    said = np.full((50, 10), 0.02, np.float32)
    said[np.arange(50), np.where(labels == 3, 5, labels)] = 0.82
    arrays = {f"{name}_labels": labels for name in ("validation", "test")}
    np.savez(
        run.path / "evaluation.npz",
        **arrays,
        **{f"{name}_probabilities": said for name in ("validation", "test")},
        validation_rows=np.arange(50),
    )
    return run


def said(app: AppTest) -> str:
    """What the page says, markdown's signs unescaped."""
    return texts([*app.error, *app.warning, *app.info, *app.caption]).replace("\\", "")


def test_a_picture_is_classified_and_explained(run: Run, reason: str) -> None:
    app = open_app(CLASSIFY)
    assert said(app).count(reason) == 1
    assert all(name in said(app) for name in CLASSES)
    app = upload(app, **PICTURE)
    assert len(bars_of(app)) == 10
    assert app.get("image"), "what speaks for the answer"
    assert said(app).count(reason) == 1, "where the nearest training images would be"
    for view in ("whatif", "sure"):
        sound(app.segmented_control(key="view").set_value(view).run())


def test_a_run_is_shown_and_none_can_be_started_but_on_generated_images(run: Run, reason: str) -> None:
    app = open_app(TRAIN)
    assert said(app).count(reason) == 1
    assert {"accuracy", "loss"} <= set(charts_of(app))
    assert button(app, "start").disabled
    sound(button(app, "pin_random").click().run())
    assert said(app).count(reason) == 2, "the press is answered, too"
    sound(app.selectbox(key="dataset").set_value("generated").run())
    assert not button(app, "start").disabled


@pytest.mark.parametrize("section", ("lab", "search"))
def test_explore_says_why_nothing_can_be_trained(
    run: Run, reason: str, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_lab, "start", lambda: pytest.fail("there is nothing to train on"))
    app = open_app(EXPLORE, section=section)
    assert said(app).count(reason) == 1
    if section == "search":
        assert button(app, "search_start").disabled


def test_explore_lists_the_runs(run: Run, reason: str) -> None:
    app = open_app(EXPLORE)
    assert len(app.dataframe[0].value) == 1
    assert reason not in said(app)


def test_evaluate_shows_the_figures_and_says_why_there_are_no_pictures(run: Run, reason: str) -> None:
    app = open_app(EVALUATE)
    assert said(app).count(reason) == 1
    assert "confusion0" in charts_of(app)
    assert len(app.dataframe[0].value) == 5, "the cats that were called dogs"


@pytest.mark.parametrize("lesson", ("scaling", "layers"))
def test_a_lesson_shows_what_was_measured_elsewhere(reason: str, lesson: str) -> None:
    app = open_app(LEARN, lesson=lesson)
    assert said(app).count(reason) == 1
    assert button(app, "go").disabled
    sound(app.radio(key=f"guess_{lesson}").set_value(0).run())
    assert charts_of(app)
