"""A finding leads to its lesson, and to *Train* with the setting changed."""

from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from app_pages import CONFIG, links_of, make_finished_run, open_app

from cifar_core.config import KNOBS, preset
from cifar_core.lessons.catalogue import LESSONS
from pages.components import run_story


def test_a_finding_leads_to_its_lesson_and_to_train_with_the_setting_changed(model: bytes) -> None:
    run = make_finished_run(model)
    links = links_of(open_app("", run=run.id))
    assert links[LESSONS["resolution"].title] == "learn?lesson=resolution"
    query = parse_qs(links["Try it: Input size 96"].partition("?")[2])
    assert query == {"settings": [run.id], "image_size": ["96"]}
    app = open_app("", **{word: value[0] for word, value in query.items()})
    changed = replace(CONFIG, image_size=96)
    assert {name: app.session_state[name] for name in KNOBS} == {name: getattr(changed, name) for name in KNOBS}
    assert "settings" not in app.query_params


def test_settings_that_are_none_are_a_sentence() -> None:
    app = open_app("", settings="quick", head_epochs="0", fine_tune_epochs="0")
    assert app.error


@pytest.mark.parametrize(
    ("changes", "lesson"),
    [({}, "phases"), ({"alpha": 0.35}, "width"), ({"dropout": 0.1}, "dropout"), ({"image_size": 32}, "resolution")],
)
def test_learn_why_opens_the_lesson_on_what_was_found_or_changed(model: bytes, monkeypatch, changes, lesson) -> None:
    monkeypatch.setattr(run_story, "_findings", lambda *_: [])
    run = make_finished_run(model, preset("quick", **changes))
    assert links_of(open_app("", run=run.id))["Learn why"] == f"learn?lesson={lesson}"
