"""*Learn* in its states: all lessons, guess then see, stored and own results, running, without images; the preview."""

import json
import re
from dataclasses import asdict
from urllib.parse import parse_qs

import numpy as np
import pytest
from app_pages import (
    APP,
    button,
    charts_of,
    images_of,
    links_of,
    living_worker,
    make_finished_run,
    open_app,
    says_synthetic,
    sound,
    texts,
    tiles_of,
)
from corpus import encoded, scene
from filelock import FileLock
from lesson_outcomes import MADE, made_up

from cifar_core import glossary, jobs, runs
from cifar_core.charts import pictures
from cifar_core.config import KNOBS
from cifar_core.data import augmentation, cifar10
from cifar_core.errors import RunError
from cifar_core.inference import activations
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import LESSONS
from cifar_core.lessons.experiments import CONDITIONS
from cifar_core.lessons.layer_probe import Layers, Probed
from cifar_core.runs import Run, labels, write_json
from pages.components import formatting

LEARN = str(next(APP.parent.glob("*/learn.py")).relative_to(APP.parent))


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """Made-up stored results of two lessons: scaling costs 5 points, and of the probe."""
    import streamlit as st

    st.cache_resource.clear()
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(experiments, "RESULTS", folder)
    found = {"right": made_up(0.8), "wrong": made_up(0.75), "wild": made_up(0.5)}
    write_json(folder / "scaling.json", {"arms": {key: one.to_dict() for key, one in found.items()}})
    names = [layer_probe.PIXELS, *activations.layer_names(0.5)]
    networks = [Probed(name, names, [0.7] * 20, [1] * 20) for name in ("ImageNet", "random numbers (seed 1)")]
    write_json(folder / "layers.json", Layers(networks, 800, 200, 31.0, MADE).to_dict())
    return folder


def guess(app, lesson: str, option: int):
    return sound(app.radio(key=f"guess_{lesson}").set_value(option).run())


def press(app, key: str):
    return sound(button(app, key).click().run())


def test_every_lesson_is_a_card_with_a_picture_and_a_symptom_that_opens_it():
    for name, lesson in LESSONS.items():
        app = open_app(LEARN)
        assert [image.alt for image in images_of(app)] == [pictures.alt(one.picture) for one in LESSONS.values()]
        assert lesson.symptom in button(app, f"open_{name}").label
        press(app, f"open_{name}")
        assert app.title[0].value == lesson.title and app.query_params["lesson"] in (name, [name])


def test_the_glossary_is_one_folded_list():
    shown = open_app(LEARN).expander[0]
    assert not shown.proto.expanded
    assert all(f"**{term}**" in shown.markdown[0].value for term in glossary.TERMS)


def test_nothing_is_given_away_before_the_guess():
    app = open_app(LEARN, lesson="scaling")
    assert LESSONS["scaling"].question in app.radio(key="guess_scaling").label
    assert not charts_of(app) and not app.dataframe
    assert "5.0 points" not in texts([*app.markdown, *app.success, *app.info])


def test_a_wrong_guess_gets_what_was_measured_and_all_else_is_folded():
    app = guess(open_app(LEARN, lesson="scaling"), "scaling", 2)
    assert LESSONS["scaling"].options[1] in texts(app.info) and "5\\.0 points" in texts(app.info)
    assert set(charts_of(app)) == {"accuracy", "loss", "histogram", "norms"}
    folded = next(found for found in app.expander if found.label.startswith("Conditions"))
    drawn = [found.proto for found in folded.get("bidi_component") if found.proto.component_name == "live_chart"]
    assert not folded.proto.expanded and len(drawn) == 2
    assert all(json.loads(chart.bytes)["about"]["alt"] for chart in drawn)
    rows = folded.dataframe[0].value
    assert list(rows["Validation (best)"]) == ["80.0%", "75.0%", "50.0%"]
    assert list(rows[KNOBS["image_size"].label]) == ["96 px", "96 px", "32 px"]


def test_progress_is_in_the_session_and_in_the_address():
    app = guess(open_app(LEARN, lesson="scaling"), "scaling", 1)
    assert app.success and app.query_params["guesses"] in ("scaling.1", ["scaling.1"])
    press(app, "next")
    assert app.title[0].value == LESSONS["freezing"].title
    press(app, "all_lessons")
    assert f"1 of {len(LESSONS)}" in texts_of_progress(app)
    assert button(app, "continue").label == f"Continue: {LESSONS['inside'].title}"
    assert app.query_params["guesses"] in ("scaling.1-freezing", ["scaling.1-freezing"])
    other = open_app(LEARN, guesses="scaling.1-width.0-dropout-nothing.1-phases.9")
    assert f"2 of {len(LESSONS)}" in texts_of_progress(other)
    press(other, "open_scaling")
    assert other.radio(key="guess_scaling").value == 1


@pytest.mark.bundled
def test_the_first_lesson_looks_inside_the_bundled_network(monkeypatch):
    monkeypatch.setattr(activations, "IMAGES", 40)
    app = open_app(LEARN)
    assert button(app, "continue").label == f"Start: {LESSONS['inside'].title}"
    press(app, "continue")
    assert not tiles_of(app, "inside_channels") and not app.expander
    app = guess(app, "inside", 1)
    assert LESSONS["inside"].options[1] in texts(app.success)
    assert len(tiles_of(app, "inside_channels")) == 8 and len(tiles_of(app, "inside_images")) == 9
    sound(app.select_slider(key="inside_block").set_value(2).run())
    assert re.search(r"\b16 .*32×32", texts(app.caption))
    assert "classify?view=inside" in [*links_of(app).values()]
    press(app, "next")
    assert app.title[0].value == LESSONS["scaling"].title


def test_without_a_bundled_network_the_first_lesson_says_so():
    app = guess(open_app(LEARN, lesson="inside"), "inside", 0)
    with pytest.raises(RunError) as refused:
        open_classifier(BUNDLED)
    assert formatting.plain(refused.value) in texts(app.error) and button(app, "next")


def test_the_last_lesson_leads_to_all_of_them():
    app = open_app(LEARN, lesson=[*LESSONS][-1])
    press(app, "next")
    assert app.query_params.get("lesson") is None and button(app, "open_scaling")


def test_every_condition_can_be_tried_on_train():
    links = links_of(guess(open_app(LEARN, lesson="scaling"), "scaling", 1))
    for condition in CONDITIONS["scaling"].values():
        query = parse_qs(links[condition.label].partition("?")[2])
        app = open_app("", **{word: value[0] for word, value in query.items()})
        assert {name: app.session_state[name] for name in KNOBS} == {
            name: getattr(condition.config, name) for name in KNOBS
        }


def test_stored_results_say_who_made_them():
    app = guess(open_app(LEARN, lesson="scaling"), "scaling", 1)
    assert MADE.command in texts(app.markdown)
    assert says_synthetic(app)  # the stored results rest on CIFAR-10, which is not here


@pytest.mark.parametrize("lesson", ["", "<b>../x"])
def test_an_address_without_a_lesson_opens_all(lesson):
    app = open_app(LEARN, lesson=lesson)
    assert all(button(app, f"open_{name}") for name in LESSONS)


def test_a_lesson_without_results_says_what_to_do():
    app = guess(open_app(LEARN, lesson="width"), "width", 0)
    assert app.info and not charts_of(app)
    assert button(app, "go").label.startswith("Run all 4")


def finish(lesson: str, **found: float) -> None:
    """Leave a finished run for every condition of `lesson`, with these validation accuracies."""
    for key, condition in CONDITIONS[lesson].items():
        run = runs.create(condition.config, f"learn{lesson}{key}")
        write_json(run.path / "status.json", {"state": "finished", "result": {"validation_accuracy": found[key]}})


def test_runs_of_this_machine_replace_the_stored_ones(monkeypatch):
    def played(lesson: str, run: Run):
        return made_up(run.result["validation_accuracy"])

    monkeypatch.setattr(experiments, "outcome_of", played)
    finish("scaling", right=0.9, wrong=0.6, wild=0.5)
    app = guess(open_app(LEARN, lesson="scaling"), "scaling", 0)
    assert "30\\.0 points" in texts(app.info)
    assert button(app, "go").label.startswith("Run all 3 again")


def test_what_the_figures_rest_on_is_said_beside_them(monkeypatch):
    made = MADE.__class__(**asdict(MADE) | {"data": cifar10.LABELS["generated"], "weights": "random numbers (seed 1)"})
    monkeypatch.setattr(
        experiments, "outcome_of", lambda *_: made_up().__class__(**{**vars(made_up(0.8)), "made": made})
    )
    finish("scaling", right=0.8, wrong=0.8, wild=0.8)
    app = guess(open_app(LEARN, lesson="scaling"), "scaling", 0)
    assert formatting.plain(made.weights) in texts(app.warning)
    assert made.sentence in texts(app.markdown)


def test_run_here_queues_every_arm_and_shows_how_far_they_are(monkeypatch):
    started: list[str] = []

    def start(config, name):
        started.append(name)
        return runs.create(config, name)

    monkeypatch.setattr(jobs, "start_run", start)
    app = open_app(LEARN, lesson="scaling")
    sound(button(app, "go").click().run())
    assert started == ["learnscalingright", "learnscalingwrong", "learnscalingwild"]
    assert "0 of 3" in texts_of_progress(app)
    assert button(app, "stop") and not button(app, "go")


def texts_of_progress(app) -> str:
    return "\n".join(element.proto.text for element in app.get("progress"))


def test_stop_all_stops_what_lives(monkeypatch):
    stopped: list[str] = []
    monkeypatch.setattr(jobs, "stop_run", lambda run: stopped.append(run.id))
    live = runs.create(CONDITIONS["scaling"]["right"].config, "learnscalingright")
    with living_worker(live):
        app = open_app(LEARN, lesson="scaling")
        sound(button(app, "stop").click().run())
    assert stopped == [live.id]


def test_a_run_that_cannot_start_is_told_of(monkeypatch):
    def refuse(*_):
        raise RunError("There is no room for <b>runs</b>.")

    monkeypatch.setattr(jobs, "start_run", refuse)
    app = open_app(LEARN, lesson="scaling")
    sound(button(app, "go").click().run())
    assert "There is no room" in texts(app.error) and "<b>" not in texts(app.error)


def test_a_failed_arm_says_why_and_can_be_run_again():
    run = runs.create(CONDITIONS["scaling"]["right"].config, "learnscalingright")
    write_json(run.path / "status.json", {"state": "failed", "error": {"message": "The weights are gone."}})
    app = open_app(LEARN, lesson="scaling")
    assert "The weights are gone" in texts(app.error)
    assert button(app, "go").label.startswith("Run all 3")


def test_the_probe_is_started_watched_and_stopped(monkeypatch):
    started: list[bool] = []
    monkeypatch.setattr(jobs.Job, "start", lambda job: started.append(True))
    app = guess(open_app(LEARN, lesson="layers"), "layers", 0)
    assert app.success and set(charts_of(app)) == {"layers"}
    assert "31 s" in button(app, "go").label
    sound(button(app, "go").click().run())
    assert started
    job = layer_probe.job()
    job.folder.mkdir(parents=True)
    with FileLock(job.file(".lock"), thread_local=False):
        job.write("working", done=10, total=40, seconds_left=30.0)
        sound(app.run())
        assert "10 of 40" in texts_of_progress(app)
        sound(button(app, "stop").click().run())
        assert job.file(".stop").exists()
        assert button(app, "stop_1").disabled  # it is stopping


def test_broken_images_are_told_of_and_the_lesson_can_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "nowhere"))
    app = open_app(LEARN, lesson="scaling")
    assert "CIFAR10" in texts(app.error)
    assert app.radio(key="guess_scaling")


# The strip


def with_strip(page: str):
    """The app at `page` with the panel of the strip open, as a click opens it."""
    app = open_app(page, **({"lesson": "augmentation"} if page else {}))
    if page:
        return app  # its lesson opens it
    assert not strip_of(app), "it is not computed for those who do not look"
    app.session_state["preview_panel"] = True
    return sound(app.run())


def strip_of(app) -> str:
    return next((h.proto.body for h in app.get("html") if 'class="preview"' in h.proto.body), "")


@pytest.mark.parametrize("page", [LEARN, ""])
def test_without_a_model_the_strip_shows_every_strength_and_says_what_is_missing(page):
    app = with_strip(page)
    shown = strip_of(app)
    assert shown.count("<img") == len(augmentation.PREVIEW_STRENGTHS) and "strength <b>3</b>" in shown
    assert "Train a model" in texts(app.caption)
    assert not any(name in shown for name in cifar10.CLASSES)


def test_below_each_strength_stands_what_the_best_run_says(model):
    make_finished_run(model, validation_accuracy=0.5)
    best = make_finished_run(model, validation_accuracy=0.9)
    labels.change(best, name="the best one")
    make_finished_run(model, validation_accuracy=0.7)
    app = with_strip(LEARN)
    shown = strip_of(app)
    assert shown.count("%") == len(augmentation.PREVIEW_STRENGTHS)
    assert any(name in shown for name in cifar10.CLASSES)
    assert "the best one" in texts(app.caption)


def test_another_draw_keeps_the_picture_and_changes_what_is_done_to_it():
    app = with_strip(LEARN)
    before = strip_of(app)
    sound(button(app, "preview_draw").click().run())
    after = strip_of(app)
    assert before != after
    assert before.split("<figure>")[1] == after.split("<figure>")[1]  # strength 0
    sound(button(app, "preview_picture").click().run())
    assert strip_of(app).split("<figure>")[1] != after.split("<figure>")[1]


def test_the_strip_takes_a_drawing_or_ones_own_picture():
    app = with_strip(LEARN)
    first = strip_of(app)
    sound(app.segmented_control(key="preview_source").set_value("drawing").run())
    assert strip_of(app) and strip_of(app) != first
    sound(app.segmented_control(key="preview_source").set_value("own").run())
    assert not strip_of(app)
    picture = encoded(scene(size=(60, 60), seed=1), "PNG")
    sound(app.file_uploader(key="preview_file").set_value(("mine.png", picture, "image/png")).run())
    assert strip_of(app).count("<img") == len(augmentation.PREVIEW_STRENGTHS)
    sound(app.file_uploader(key="preview_file").set_value(("bad.png", b"no picture", "image/png")).run())
    assert not strip_of(app) and app.error


def test_a_strip_begins_with_the_picture_itself_and_uses_one_draw():
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    strip = augmentation.preview(image, 5)
    assert strip.shape == (len(augmentation.PREVIEW_STRENGTHS), 32, 32, 3)
    assert np.array_equal(strip[0], image)
    assert np.array_equal(strip, augmentation.preview(image, 5))
    assert not np.array_equal(strip[-1], augmentation.preview(image, 6)[-1])
