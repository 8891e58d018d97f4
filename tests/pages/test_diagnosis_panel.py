"""A finding leads to its lesson, and to *Train* with the setting changed."""

from dataclasses import replace

import pytest
from app_pages import CONFIG, links_of, make_finished_run, open_app, sound
from streamlit.testing.v1 import AppTest

from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.lessons.catalogue import LESSONS
from pages.components import run_history


def test_a_finding_leads_to_its_lesson_and_to_train_with_the_setting_changed(model: bytes) -> None:
    run = make_finished_run(model)
    app = open_app("", run=run.id)
    assert links_of(app)[LESSONS["resolution"].title] == "learn?lesson=resolution"
    sound(next(found for found in app.button if found.label == "Try it: Input size 96").click().run())
    assert chosen_in(app) == replace(CONFIG, image_size=96)


def test_a_link_of_an_older_version_names_a_run_and_changes(model: bytes) -> None:
    app = open_app("", settings=make_finished_run(model).id, image_size="96")
    assert chosen_in(app) == replace(CONFIG, image_size=96)
    assert "settings" not in app.query_params


def chosen_in(app: AppTest) -> TrainConfig:
    """The settings that the knobs have."""
    return TrainConfig(**{name: app.session_state[name] for name in KNOBS})


def test_settings_that_are_none_are_a_sentence() -> None:
    app = open_app("", settings="quick", head_epochs="0", fine_tune_epochs="0")
    assert app.error


@pytest.mark.parametrize(
    ("changes", "lesson"),
    [({}, "phases"), ({"alpha": 0.35}, "width"), ({"dropout": 0.1}, "dropout"), ({"image_size": 32}, "resolution")],
)
def test_learn_why_opens_the_lesson_on_what_was_found_or_changed(model: bytes, monkeypatch, changes, lesson) -> None:
    monkeypatch.setattr(run_history, "_findings", lambda *_: [])
    run = make_finished_run(model, replace(PRESETS["quick"], **changes))
    assert links_of(open_app("", run=run.id))["Learn why"] == f"learn?lesson={lesson}"
