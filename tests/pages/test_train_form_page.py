"""The Train page before a run: the first visit, the knobs, which images it would learn from."""

import re
from dataclasses import replace

import cifar_files
import pytest
from app_pages import (  # noqa: F401 - fixtures among them
    CLASSIFY,
    CONFIG,
    TRAIN,
    button,
    charts_of,
    drawn,
    living_worker,
    make_run,
    open_app,
    small_set,
    sound,
    texts,
)

from cifar_core import costs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.jobs import launch


def test_the_first_visit_welcomes_and_shows_what_a_run_would_be():
    app = open_app()
    assert "Start training" in texts(app.markdown)
    plan = {metric.label: metric.value for metric in app.metric}
    assert set(plan) == {"Parameters", "Multiply-adds an image", "Model file", "Estimated time"}
    assert plan["Parameters"] == "876,602"  # of Keras's MobileNetV2 at 0.5 and the head
    assert not button(app, "start").disabled
    assert not app.error


def test_before_there_is_a_curve_the_first_page_holds_no_chart():
    app = open_app()
    assert not charts_of(app), "Plotly's code alone takes the browser longer than the rest of the page"
    bar = next(html.proto.body for html in app.get("html") if 'class="stages"' in html.proto.body)
    for stage in ("Start", "Frozen features", "Head", "Fine-tuning", "Evaluation"):
        assert re.search(rf"{stage} <b>\d+ (s|min)", bar)


def test_a_shape_that_is_new_to_the_machine_can_be_measured_before_a_run(monkeypatch):
    asked = []
    monkeypatch.setattr(launch, "measure", asked.append)
    app = open_app()
    assert "not yet measured" in texts(app.sidebar.caption)
    button(app, "measure").click()
    sound(app.run())
    assert asked == [PRESETS["quick"]]
    stages = ("start", "features", "head", "fine_tune", "evaluate")
    costs.remember(PRESETS["quick"], dict.fromkeys(stages, 0.001) | {"memory": 1.5e9})
    app = open_app()
    said = texts(app.sidebar.caption)
    assert re.search(r"About .*, \d+ MB of disk, 1\.5 GB of memory: measured on this machine", said)
    assert button(app, "measure") is None


def test_the_first_visit_says_that_the_images_are_not_cifar10():
    app = open_app()
    assert "generated images, not cifar-10" in texts([*app.warning, *app.markdown]).lower()


def test_widths_that_cannot_be_had_are_not_offered_and_the_reason_is_shown():
    app = open_app()
    assert app.selectbox(key="knob_alpha").options == ["0.35", "0.5", "0.75", "1"]
    assert "Width 1.3, 1.4 cannot be chosen" in texts(app.caption)


def test_quick_is_the_preset_of_the_first_visit():
    app = open_app()
    assert app.segmented_control(key="preset").value == "quick"
    assert app.select_slider(key="knob_train_images").value == PRESETS["quick"].train_images


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_sets_every_knob(name):
    app = open_app()
    app.slider(key="knob_dropout").set_value(0.1).run()
    sound(app.segmented_control(key="preset").set_value(name).run())
    shown = {knob: app.session_state[f"knob_{knob}"] for knob in PRESETS[name].to_dict() if knob != "schema"}
    assert TrainConfig(**shown) == PRESETS[name]


def test_an_own_choice_is_no_preset():
    app = open_app()
    sound(app.slider(key="knob_dropout").set_value(0.1).run())
    assert app.segmented_control(key="preset").value is None


def test_a_wider_network_is_shown_to_cost_more():
    app = open_app()
    before = next(metric.value for metric in app.metric if metric.label == "Parameters")
    sound(app.selectbox(key="knob_alpha").set_value(1.0).run())
    after = next(metric.value for metric in app.metric if metric.label == "Parameters")
    assert (before, after) == ("876,602", "2.4 million")


def test_knobs_that_leave_nothing_to_train_say_so_and_cannot_be_started():
    app = open_app()
    app.slider(key="knob_head_epochs").set_value(0)
    sound(app.slider(key="knob_fine_tune_blocks").set_value(0).run())
    assert "Nothing would be trained" in texts(app.error)
    assert button(app, "start").disabled
    sound(app.slider(key="knob_head_epochs").set_value(1).run())
    assert not app.error
    assert not button(app, "start").disabled


def test_knobs_survive_a_page_change():
    app = open_app()
    app.slider(key="knob_dropout").set_value(0.3)
    app.selectbox(key="knob_image_size").set_value(64).run()
    sound(app.switch_page(CLASSIFY).run())
    sound(app.switch_page(TRAIN).run())
    assert app.slider(key="knob_dropout").value == 0.3
    assert app.selectbox(key="knob_image_size").value == 64


def test_a_wrong_place_of_cifar10_is_said_in_a_sentence_and_nothing_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    app = open_app()
    assert "holds no CIFAR-10" in texts(app.error).replace("\\", "")
    assert button(app, "start") is None or button(app, "start").disabled


def test_generated_images_can_be_chosen_where_the_place_of_cifar10_is_wrong(tmp_path, monkeypatch):
    app = open_app()
    app.selectbox(key="knob_dataset").set_value("generated").run()
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    sound(app.run())
    assert "holds no CIFAR-10" in texts(app.error).replace("\\", "")


def test_generated_images_chosen_by_name_are_said_not_to_be_cifar10(tmp_path, monkeypatch):
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    app = open_app()
    assert "generated images, not cifar-10" not in texts([*app.warning, *app.markdown]).lower()
    sound(app.selectbox(key="knob_dataset").set_value("generated").run())
    assert "generated images, not cifar-10" in texts([*app.warning, *app.markdown]).lower()


def test_a_running_training_on_generated_images_says_so_where_cifar10_is_at_hand(tmp_path, monkeypatch):
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    run = make_run("running", config=replace(CONFIG, dataset="generated"), stage="head")
    with living_worker(run):
        app = open_app()
    assert "generated images, not cifar-10" in texts([*app.warning, *app.markdown, *app.caption]).lower()


def test_cifar10_chosen_where_it_is_not_is_said_in_a_sentence_and_can_be_undone():
    app = open_app()
    sound(app.selectbox(key="knob_dataset").set_value("cifar10").run())
    assert "CIFAR-10 is not on this machine" in texts(app.error).replace("\\", "")
    sound(app.selectbox(key="knob_dataset").set_value("auto").run())
    assert not app.error
