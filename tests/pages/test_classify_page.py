"""What *Classify* explains, and pins: the states of the page beyond the plain answer."""

import json
import re

import numpy as np
import pytest
from app_pages import (
    CLASSIFY,
    MARKUP,
    TRAIN,
    bars_of,
    button,
    charts_of,
    component,
    is_inert,
    living_worker,
    make_finished_run,
    make_run,
    open_app,
    press_tile,
    sound,
    texts,
    tiles_of,
    upload,
)
from corpus import NOT_PICTURES, encoded, scene
from streamlit.testing.v1 import AppTest

from cifar_core.data import cifar10
from cifar_core.inference import activations, calibration, explain, neighbors, pins
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.pins import Pin
from cifar_core.runs import Run
from pages.components import dataset_notice

PICTURES = {f"{i}.png": encoded(scene(size=(90, 60), seed=i), "PNG") for i in range(3)}
ONE = {"photo.png": PICTURES["0.png"]}


def calibrate(run: Run, images: np.ndarray, limit: float) -> None:
    """Leave in `run` what its worker would have: an index of `images`, and an out-of-distribution threshold."""
    features = open_classifier(run.id).features(images)
    labels = np.arange(len(images)) % 10
    neighbors.build(features, labels, np.arange(len(images)), "other images").save(run.path / neighbors.FILE)
    rule = calibration.OutOfDistribution(limit, 0.95, {"drawings": 0.9, "noise": 1.0}, 10)
    calibration.Calibration(2.0, 60, (0.1, 0.05), (1.0, 0.9), rule).save(run.path / calibration.FILE)
    labels = np.arange(50, dtype=np.uint8) % 10
    said = np.eye(10, dtype=np.float32)[labels] * 0.9 + 0.01
    np.savez(
        run.path / "evaluation.npz",
        **{f"{name}_labels": labels for name in ("validation", "test")},
        **{f"{name}_probabilities": said for name in ("validation", "test")},
    )


@pytest.fixture
def run(model: bytes) -> Run:
    return make_finished_run(model)


@pytest.fixture
def calibrated(run: Run) -> Run:
    calibrate(run, np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), 10.0)
    return run


def view(app: AppTest, name: str) -> AppTest:
    return sound(app.segmented_control(key="view").set_value(name).run())


def images_of(app: AppTest) -> list:
    return [image.value for image in app.get("image")]


def test_evidence_for_another_class_is_another_picture(run):
    app = upload(open_app(CLASSIFY), **ONE)
    first = images_of(app)
    sound(app.selectbox(key="class").set_value("ship").run())
    assert images_of(app) != first
    assert app.query_params["class"] == "ship"


def test_the_nearest_training_images_have_labels_and_why_there_is_no_picture(calibrated):
    app = upload(open_app(CLASSIFY), **ONE)
    assert len(re.findall(r"\w+ \d\.\d\d", texts(app.markdown))) == 8
    assert dataset_notice.no_pictures() in texts(app.caption)


def test_a_run_of_an_earlier_version_explains_what_it_can(run):
    app = upload(open_app(CLASSIFY), **ONE)
    assert "no index of training images" in texts(app.caption)
    assert "not calibrated" in texts(view(app, "sure").caption)


def test_a_damaged_index_is_said_in_a_sentence(calibrated):
    (calibrated.path / neighbors.FILE).write_bytes(b"no index")
    app = open_app(CLASSIFY)
    assert neighbors.FILE in texts(app.warning).replace("\\", "")


def test_an_unusual_picture_has_its_answer_first_and_a_note_under_it(calibrated):
    app = upload(open_app(CLASSIFY), **ONE)
    assert "nusual" not in texts(app.markdown)
    answer = next(block.value for block in app.markdown if block.value.startswith("##"))
    known = json.loads((calibrated.path / calibration.FILE).read_text())
    known["unlike"]["threshold"] = 0.0
    (calibrated.path / calibration.FILE).write_text(json.dumps(known))
    sound(app.run())
    shown = [block.value for block in app.markdown]
    assert "Unusual for this model" in shown[shown.index(answer) + 1]  # the same headline as before, then the note
    known["unlike"] |= {"level": 0.99, "highest": 0.0}
    (calibrated.path / calibration.FILE).write_text(json.dumps(known))
    assert "Very unusual for this model" in texts(sound(app.run()).markdown)


def test_how_sure_shows_temperature_reliability_and_rates(calibrated):
    app = view(upload(open_app(CLASSIFY), **ONE), "sure")
    assert "2.00" in texts(app.markdown)
    assert "50 test images" in texts(app.markdown)  # none of which fitted the temperature
    assert "90% of drawings, 100% of noise" in texts(app.caption)
    names = [trace["name"] for trace in charts_of(app)["reliability0"]["data"]]
    assert [name.partition(":")[0] for name in names] == ["perfectly calibrated", "uncalibrated", "calibrated"]


def test_what_if_answers_the_changed_picture_and_goes_back(run):
    app = view(upload(open_app(CLASSIFY), **ONE), "whatif")
    before = bars_of(app, 1)
    sound(app.slider(key="whatif_light").set_value(0.1).run())
    assert bars_of(app, 1) != before
    sound(button(app, "whatif_reset").click().run())
    assert app.slider(key="whatif_light").value == 1
    assert bars_of(app, 1) == before
    assert {f"sweep_{name}" for name in explain.CHANGES} <= set(charts_of(app))


def test_inside_shows_channels_what_excites_them_and_how_alike_another_model_is(run, model, monkeypatch):
    monkeypatch.setattr(activations, "IMAGES", 60)
    make_finished_run(model, validation_accuracy=0.5)  # the newest, so the chosen one
    app = view(upload(open_app(CLASSIFY), **ONE), "inside")
    assert len(tiles_of(app, "inside_channels")) == activations.CHANNELS
    excited = [tile["image"] for tile in tiles_of(app, "inside_images")]
    assert len(excited) == activations.NEAREST
    app = press_tile(app, "inside_channels", 3)
    assert [tile["image"] for tile in tiles_of(app, "inside_images")] != excited
    first = tiles_of(app, "inside_channels")
    app = sound(app.select_slider(key="inside_block").set_value(2).run())
    assert tiles_of(app, "inside_channels") != first
    app = sound(app.selectbox(key="inside_with").set_value(run.id).run())
    assert charts_of(app)["inside_alike"]["data"][0]["y"] == pytest.approx([1] * 17, abs=1e-4)


def test_runs_are_compared_side_by_side(run, model):
    make_finished_run(model, validation_accuracy=0.5)
    app = view(upload(open_app(CLASSIFY), **ONE), "compare")
    assert f"**{next(iter(bars_of(app, 1)))}**" in texts(app.markdown)  # the answer of both
    assert len(bars_of(app, 1)) == len(bars_of(app, 2)) == 10
    assert "with" not in app.query_params  # the newest other run goes without saying


def test_an_address_that_names_too_many_runs_is_cut(run, model):
    others = [make_finished_run(model, validation_accuracy=0.5).id for _ in range(4)]
    app = open_app(CLASSIFY, view="compare", **{"with": [others[0], *others]})
    view(upload(app, **ONE), "compare")
    assert app.multiselect(key="with").value == others[:3]


def test_where_there_are_fewer_pages_than_before_one_of_them_is_shown():
    def gallery() -> None:
        import streamlit as st

        from pages.components import tiles

        st.text(str(tiles.page(range(st.session_state.get("count", 9)), 3, "page")))

    app = AppTest.from_function(gallery).run()
    app.pagination(key="page").set_value(3).run()
    assert app.text[0].value == "range(6, 9)"
    app.session_state["count"] = 6
    assert sound(app.run()).text[0].value in ("range(0, 3)", "range(3, 6)")


def test_one_run_alone_has_nothing_to_be_compared_with(run):
    assert "no other model yet" in texts(view(upload(open_app(CLASSIFY), **ONE), "compare").caption)


def test_several_pictures_are_a_gallery_to_filter_sort_and_look_closer_at(run):
    app = upload(open_app(CLASSIFY), **PICTURES)
    captions = [caption.value for caption in app.caption]  # in the order of the page, which is that of a phone
    answer = next(i for i, words in enumerate(captions) if "Green" in words)
    assert answer < next(i for i, words in enumerate(captions) if "3 of 3" in words)
    said = next(iter(bars_of(app)))
    other = next(name for name in cifar10.CLASSES if name != said)
    first = bars_of(app)
    press_tile(app, "gallery_tiles", 2)
    assert bars_of(app) != first
    assert json.loads(component(app, "gallery_tiles").json)["chosen"] == [2]
    sound(app.multiselect(key="only").set_value([other]).run())
    assert "3 of 3" not in texts(app.caption)
    sound(app.multiselect(key="only").set_value([]).run())
    sound(app.selectbox(key="classify:sort").set_value("unsure").run())
    assert app.query_params["sort"] == "unsure"


def test_where_runs_disagree_comes_first_and_their_choice_is_asked_once(run, model):
    make_finished_run(model, validation_accuracy=0.5)
    app = upload(open_app(CLASSIFY), **PICTURES)
    sound(app.selectbox(key="classify:sort").set_value("disagree").run())
    assert "of 3**" in texts(app.markdown)
    view(app, "compare")
    assert len(app.multiselect) == 2


def test_names_in_the_gallery_are_text_never_markup(run):
    app = upload(open_app(CLASSIFY), **{f"{MARKUP}{i}.png": content for i, content in enumerate(PICTURES.values())})
    assert sum("onerror" in tile["note"] for tile in tiles_of(app, "gallery_tiles")) == 3  # which is set as text
    shown = [caption.value for caption in app.caption if "onerror" in caption.value]
    assert len(shown) == 1
    assert is_inert(shown[0])


def test_the_pictures_and_the_view_survive_a_page_change(run):
    app = view(upload(open_app(CLASSIFY), **ONE), "whatif")
    sound(app.switch_page(TRAIN).run())
    sound(app.switch_page(CLASSIFY).run())
    assert bars_of(app)
    assert app.segmented_control(key="view").value == "whatif"
    sound(button(app, "clear").click().run())
    assert not bars_of(app)


def test_the_address_reproduces_the_view(run):
    app = upload(open_app(CLASSIFY, model=run.id, view="why", crop="squeeze", **{"class": "dog"}), **ONE)
    assert app.segmented_control(key="crop").value == "squeeze"
    assert app.selectbox(key="class").value == "dog"
    odd = upload(open_app(CLASSIFY, view="../x", crop="<b>", sort="y" * 500, **{"class": "9"}), **ONE)
    assert odd.segmented_control(key="crop").value == "centre"


def test_a_test_image_can_be_looked_at_closer(run):
    app = open_app(CLASSIFY)
    press_tile(app, "example_tiles", 2)
    assert bars_of(app)
    assert "test image" in texts(app.caption)


# Pins


def probes(run: Run, pin: Pin) -> None:
    rows = [{"phase": "head", "epoch": epoch, "pins": {pin.key: [0.1] * 10}} for epoch in (0, 0.5, 1)]
    (run.path / pins.PROBES).write_text("".join(json.dumps(row) + "\n" for row in rows))


def a_pin(seed: int = 0) -> Pin:
    return Pin(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8), MARKUP)


def test_a_finished_run_with_pins_can_be_scrubbed_through_and_a_live_one_moves(model):
    finished, live = make_finished_run(model), make_run("running", stage="head")
    for run in (finished, live):
        pins.save(run, [a_pin()])
        probes(run, a_pin())
    with living_worker(live):
        for run, scrubs in ((finished, True), (live, False)):
            figure = charts_of(open_app(run=run.id))["watch"]
            assert len(figure.get("frames") or []) == (3 if scrubs else 0)
            assert len(figure["layout"]["images"]) == 1


def test_pins_of_test_images_reach_a_run_that_is_live():
    live = make_run("running", stage="head")
    with living_worker(live):
        app = open_app(run=live.id)
        sound(button(app, "pin_live").click().run())
    found = pins.load(live.path)
    assert len(found) == pins.MOST
    assert len({pin.name for pin in found}) == pins.MOST  # of different classes


def test_six_test_images_are_watched_and_a_pinned_picture_takes_the_place_of_one(run):
    app = open_app()
    first = app.session_state["pins"]
    assert len(first) == pins.MOST == len({pin.name for pin in first})  # of different classes
    app = upload(open_app(CLASSIFY), **ONE)
    before = [pin.key for pin in app.session_state["pins"]]
    sound(button(app, "pin").click().run())
    watched = [pin.key for pin in app.session_state["pins"]]
    assert watched[:-1] == before[1:] and watched[-1] not in before
    sound(app.switch_page(TRAIN).run())
    sound(button(app, "off5").click().run())
    assert [pin.key for pin in app.session_state["pins"]] == before[1:]


def test_each_bad_file_is_said_where_pictures_are_pinned(run):
    app = open_app()
    uploader = next(found for found in app.file_uploader if found.key.startswith("pin_files"))
    bad = [(name, content, "") for name, content in NOT_PICTURES.items()]
    sound(uploader.set_value([*bad, ("photo", ONE["photo.png"], "")]).run())
    assert [name for name in NOT_PICTURES if name in texts(app.error).replace("\\", "")] == list(NOT_PICTURES)
    assert "photo" in [pin.name for pin in app.session_state["pins"]]


def test_a_run_without_pins_has_no_watch_panel(run):
    assert "watch" not in charts_of(open_app(run=run.id))
