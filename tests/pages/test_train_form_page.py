"""The Train page before a run: the first visit, the knobs, which images it would learn from."""

import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import cifar_files
import pytest
from app_pages import (
    CLASSIFY,
    CONFIG,
    MARKUP,
    TRAIN,
    button,
    charts_of,
    images_of,
    is_inert,
    living_worker,
    make_finished_run,
    make_run,
    open_app,
    says_synthetic,
    sound,
    texts,
)

from cifar_core import costs, glossary, jobs, runs
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data import cifar10, download
from cifar_core.jobs import Job
from cifar_core.network import pretrained
from cifar_core.runs import labels
from pages.components import knobs, progress


def costs_of(app):
    """What the page says of the network's size, in the help beside the times."""
    return "\n".join(caption.help for caption in app.caption)


def test_the_first_visit_welcomes_and_shows_what_a_run_would_be():
    app = open_app()
    assert "876,602" in costs_of(app)  # parameters of Keras's MobileNetV2 at 0.5 and the head
    assert "3.4 MB" in texts(app.caption)
    assert not button(app, "start").disabled and button(app, "download_and_train") is None
    assert not app.error


def test_before_there_is_a_curve_the_first_page_holds_no_chart():
    app = open_app()
    assert not charts_of(app), "Plotly's code alone takes the browser longer than the rest of the page"
    bar = next(html.proto.body for html in app.get("html") if 'class="stages"' in html.proto.body)
    for stage in progress.PARTS.values():
        assert re.search(rf"{stage} <b>\d+ (s|min)", bar)


def test_a_shape_that_is_new_to_the_machine_can_be_measured_before_a_run(monkeypatch):
    asked = []
    monkeypatch.setattr(costs, "measure", asked.append)
    app = open_app()
    button(app, "measure").click()
    sound(app.run())
    assert asked == [PRESETS["quick"]]
    stages = ("start", "features", "head", "fine_tune", "evaluate")
    costs.record(PRESETS["quick"], dict.fromkeys(stages, 0.001) | {"memory": 1.5e9})
    app = open_app()
    assert re.search(r"\d+ MB\b.* 1\.5 GB", costs_of(app))
    assert button(app, "measure") is None


def test_the_first_visit_says_that_the_images_are_not_cifar10():
    app = open_app()
    assert says_synthetic(app)


def test_a_width_without_weights_starts_from_random_ones_or_is_answered_with_the_reason() -> None:
    app = open_app()
    sound(app.select_slider(key="alpha").set_value(1.3).run())
    assert "random numbers" in texts(app.caption)
    assert not app.error and not button(app, "start").disabled
    app = open_app(alpha="1.3", weights="imagenet")
    assert "1.3" in texts(app.error).replace("\\", "")
    assert button(app, "start").disabled
    sound(app.select_slider(key="alpha").set_value(1.0).run())


def shown_settings(app) -> TrainConfig:
    return TrainConfig(**{name: app.session_state[name] for name in KNOBS})


def test_quick_is_the_preset_of_the_first_visit():
    assert shown_settings(open_app()) == PRESETS["quick"]


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_sets_every_knob(name):
    app = open_app()
    app.slider(key="dropout").set_value(0.1).run()
    sound(button(app, f"preset_{name}").click().run())
    assert shown_settings(app) == PRESETS[name]


def test_the_address_holds_what_differs_from_quick_and_opens_it_again():
    app = open_app()
    app.slider(key="dropout").set_value(0.1)
    sound(app.select_slider(key="alpha").set_value(0.35).run())
    wanted = replace(PRESETS["quick"], dropout=0.1, alpha=0.35)
    assert shown_settings(app) == wanted
    assert shown_settings(open_app(dropout="0.1", alpha="0.35")) == wanted
    assert shown_settings(open_app(dropout="7", alpha="0.36", nosuch="1")) == PRESETS["quick"]


def test_a_number_in_the_address_may_be_written_in_any_way_and_a_wrong_value_is_said():
    assert shown_settings(open_app(alpha="1.0", dropout="0.10")) == replace(PRESETS["quick"], alpha=1.0, dropout=0.1)
    app = open_app(optimizer=MARKUP, train_images="-5")
    assert shown_settings(app) == PRESETS["quick"]
    [said] = [one.value for one in app.warning]
    assert all(KNOBS[name].label in said for name in ("train_images", "optimizer")) and is_inert(said)
    assert not open_app(alpha="1.0").warning


def test_settings_keep_their_values_while_their_panel_is_closed(monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start_run", lambda config, *_, **__: started.append(config) or make_run("queued"))
    app = open_app()
    app.select_slider(key="dense_units").set_value(32).run()
    app.session_state["all_settings"] = False  # as a click on it does
    sound(app.run())
    assert "dense_units" not in {one.key for one in app.select_slider}
    sound(button(app, "start").click().run())
    assert started == [replace(PRESETS["quick"], dense_units=32)]
    app.session_state["all_settings"] = True
    assert shown_settings(sound(app.run())) == started[0]


@pytest.mark.parametrize("rate", [3e-4, 0.000123456789, 1 / 3000])
def test_a_setting_has_every_digit_in_the_address(rate):
    text = knobs._text("head_learning_rate", rate)
    assert KNOBS["head_learning_rate"].parse(text) == rate


def test_every_setting_of_every_preset_has_a_place_on_its_slider():
    app = open_app()
    app.session_state["all_settings"] = True
    app.run()
    for name in (name for name, knob in KNOBS.items() if knob.log):
        steps = app.select_slider(key=name).options
        assert {knobs._plain(getattr(config, name)) for config in PRESETS.values()} <= set(steps)


def test_a_wider_network_is_shown_to_cost_more():
    app = open_app()
    assert "876,602" in costs_of(app)
    sound(app.select_slider(key="alpha").set_value(1.0).run())
    assert "2.4 million" in costs_of(app)


def test_each_main_slider_has_a_picture_that_follows_it():
    app = open_app()
    pictures = lambda: [image for image in images_of(app) if "svg" in image.url]  # noqa: E731
    before = pictures()
    assert len(before) == 3
    app.select_slider(key="alpha").set_value(1.0)
    app.slider(key="dropout").set_value(0.75)
    sound(app.slider(key="augmentation").set_value(2.0).run())
    after = pictures()
    assert all(new.url != old.url for new, old in zip(after, before, strict=True))
    assert after[1].caption.startswith("75 of 100")
    assert all(image.caption and image.alt for image in after)


def test_a_term_in_a_label_is_explained_by_its_help():
    assert glossary.TERMS["dropout"] in open_app().slider(key="dropout").help


def test_a_run_is_named_by_its_person_or_by_what_differs(monkeypatch):
    monkeypatch.setattr(jobs, "spawn_worker", lambda run: None)
    app = open_app(alpha="0.35")
    assert app.text_input(key="run_name").placeholder == "quick, α 0.35"
    sound(button(app, "start").click().run())
    (first,) = runs.list_runs()
    assert labels.load(first).name == "quick, α 0.35"
    assert app.query_params["run"] == first.id
    app = open_app(alpha="0.35")
    assert app.text_input(key="run_name").placeholder == "quick, α 0.35 2"
    labels.change(first, name="")  # its name is still that of its settings
    assert open_app(alpha="0.35").text_input(key="run_name").placeholder == "quick, α 0.35 2"
    app.text_input(key="run_name").set_value("  small one ")
    sound(button(app, "start").click().run())
    assert {labels.load(run).name for run in runs.list_runs()} == {"", "small one"}


def test_knobs_that_leave_nothing_to_train_say_so_and_cannot_be_started():
    app = open_app()
    app.slider(key="head_epochs").set_value(0)
    sound(app.slider(key="fine_tune_blocks").set_value(0).run())
    assert "head_epochs" in texts(app.error).replace("\\", "")
    assert button(app, "start").disabled
    sound(app.slider(key="head_epochs").set_value(1).run())
    assert not app.error
    assert not button(app, "start").disabled


def test_knobs_survive_a_page_change():
    app = open_app()
    app.slider(key="dropout").set_value(0.3)
    app.selectbox(key="image_size").set_value(64).run()
    sound(app.switch_page(CLASSIFY).run())
    sound(app.switch_page(TRAIN).run())
    assert app.slider(key="dropout").value == 0.3
    assert app.selectbox(key="image_size").value == 64


def test_a_wrong_place_of_cifar10_is_said_in_a_sentence_and_nothing_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    app = open_app()
    assert str(tmp_path) in texts(app.error).replace("\\", "")
    assert button(app, "start") is None or button(app, "start").disabled


def test_generated_images_can_be_chosen_where_the_place_of_cifar10_is_wrong(tmp_path, monkeypatch):
    app = open_app()
    app.selectbox(key="dataset").set_value("generated").run()
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    sound(app.run())
    assert str(tmp_path) in texts(app.error).replace("\\", "")


def test_generated_images_chosen_by_name_are_said_not_to_be_cifar10(tmp_path, monkeypatch):
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    app = open_app()
    assert not says_synthetic(app)
    sound(app.selectbox(key="dataset").set_value("generated").run())
    assert says_synthetic(app)


def test_the_bundled_model_has_seen_validation_images_of_cifar10_and_no_drawn_ones(tmp_path, monkeypatch):
    def said(**query: str) -> tuple[bool, bool]:
        words = texts(open_app(**query).info)
        return "bundled model" in words, "your validation images" in words

    path = pretrained.bundled_path(0.5)
    path.parent.mkdir(parents=True)
    path.touch()
    assert said() == (True, False)
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path / "batches")
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "batches"))
    assert said() == (True, True)
    assert said(dataset="generated images") == (True, False)


def test_a_run_on_cifar10_from_elsewhere_is_not_said_to_use_generated_images(model):
    app = open_app(run=make_finished_run(model, dataset="CIFAR-10").id)
    assert "what you train here uses pictures drawn by the app" in texts(app.markdown)


def test_a_running_training_on_generated_images_says_so_where_cifar10_is_at_hand(tmp_path, monkeypatch):
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    run = make_run("running", config=replace(CONFIG, dataset="generated"), stage="head")
    with living_worker(run):
        app = open_app()
    assert says_synthetic(app)


def test_cifar10_chosen_where_it_is_not_is_said_in_a_sentence_and_can_be_undone():
    app = open_app()
    sound(app.selectbox(key="dataset").set_value("cifar10").run())
    assert "CIFAR10_DIR" in texts(app.error).replace("\\", "")
    sound(app.selectbox(key="dataset").set_value("auto").run())
    assert not app.error


def test_with_internet_the_main_button_downloads_cifar10_and_trains_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "answers", lambda url: True)
    monkeypatch.setattr(jobs, "spawn_worker", lambda run: None)
    monkeypatch.setattr(Job, "start", lambda job: asked.append("download"))
    asked: list[str] = []
    app = open_app(alpha="0.35")
    assert "synthetic" in button(app, "start").label
    sound(button(app, "download_and_train").click().run())
    assert asked == ["download"]
    assert not runs.list_runs()  # it has not arrived: nothing may train on other images
    app = open_app(alpha="0.35")
    now, status = [True], cifar10.status
    monkeypatch.setattr(cifar10, "status", lambda: status() | {"download": status()["download"] | {"running": now[0]}})
    sound(button(app, "download_and_train").click().run())
    cifar_files.write_files(cifar_files.binary_files(cifar_files.small_batches(monkeypatch)), tmp_path)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    now[0] = False
    sound(app.run())
    sound(app.run())
    (run,) = runs.list_runs()
    assert labels.load(run).name == "quick, α 0.35"


def test_a_link_to_the_settings_holds_what_differs_from_quick():
    app = open_app(alpha="0.75", views="0")
    (link,) = [block.value for block in app.code if "alpha=" in block.value]
    assert dict(parse_qsl(urlsplit(link).query)) == {"alpha": "0.75", "views": "0"}


def test_the_last_run_is_one_click_away(model):
    run = make_finished_run(model)
    app = sound(button(open_app(), "open_last").click().run())
    assert app.query_params["run"] in (run.id, [run.id])


def test_settings_of_a_link_are_named_as_changes_of_a_preset():
    said = texts(open_app(alpha="0.35", dropout="0.2").caption)
    assert all(words in said for words in ("Quick", r"width α 0\.35", r"dropout 0\.2"))
    assert "none changed" in texts(open_app().caption)
