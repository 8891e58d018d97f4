"""The pages in their states: empty, bad input, good, running. No browser; the worker is played by the tests."""

import base64
import contextlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from corpus import NOT_PICTURES, encoded, scene, zipped
from streamlit.testing.v1 import AppTest

from cifar_core import costs, launch, runs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.images import data, generated
from cifar_core.network import litert, weights
from cifar_core.runs import Run, write_json

APP = Path(__file__).resolve().parent.parent / "app.py"
TRAIN, CLASSIFY = (str(next(APP.parent.glob(f"*/{name}.py")).relative_to(APP.parent)) for name in ("train", "classify"))
CONFIG = TrainConfig(
    alpha=0.35, image_size=32, dense_units=16, weights="random", train_images=1_000, head_epochs=3, fine_tune_epochs=2
)
RESULT = {
    "validation_accuracy": 0.825,
    "test_accuracy": 0.8,
    "test_images": 1_000,
    "best_phase": "fine_tune",
    "best_epoch": 2,
    "elapsed_seconds": 75.0,
    "model_bytes": 1_900_000,
    "dataset": "generated images, not CIFAR-10",
    "weights": "random numbers (seed 1)",
}
MARKUP = "<img src=x onerror=alert(1)> **bold** [link](https://example.org) :red[red] $x$"
MARKDOWN_SIGNS = "*[]<>:$"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A cache folder, so that the small set is drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def small_set(own_folders, drawn, monkeypatch):
    """A small set of generated images, no CIFAR-10, no ImageNet weights and no network."""
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(drawn))
    monkeypatch.setattr(generated, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(generated, "TEST_IMAGES", 50)
    monkeypatch.setattr(weights, "_host_answers", lambda: False)


@pytest.fixture(scope="module")
def model():
    """A LiteRT file with random weights, as a finished run has it."""
    rng = np.random.default_rng(3)
    # Kernels of Glorot's size let a signal die on its way through 17 blocks; six times that size keeps it.
    named = {
        name: value * 6 if name.endswith("/kernel") else value
        for name, value in weights.load("random", 0.35, 32, 1).named.items()
    }
    for name, value in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
        named[f"head_norm/{name}"] = np.full(1280, value, np.float32)
    for name, shape in {"head_dense": (1280, 16), "head_output": (16, 10)}.items():
        named[f"{name}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        named[f"{name}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


def open_app(page: str = "", **query: str) -> AppTest:
    """Return the app after its first run, at `page`, as the address `query` asks."""
    app = AppTest.from_file(str(APP), default_timeout=30)
    if page:
        app.run()
        app.switch_page(page)
    app.query_params.update(query)
    return sound(app.run())


def sound(app: AppTest) -> AppTest:
    """Return `app`, which must not have crashed."""
    assert not app.exception, app.exception[0].message
    return app


def make_run(state: str, rows: list[dict] | None = None, config: TrainConfig = CONFIG, **status) -> Run:
    """Write a run as its worker would have left it, at its end unless `rows` says otherwise."""
    run = runs.create(config, "test")
    write_json(run.path / "status.json", {"state": state, **status})
    rows = metrics(CONFIG.head_epochs, CONFIG.fine_tune_epochs) if rows is None else rows
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def make_finished_run(model: bytes, **changes) -> Run:
    run = make_run("finished", result={**RESULT, **changes})
    (run.path / "model.tflite").write_bytes(model)
    (run.path / "summary.txt").write_text("block_16_project (Conv2D)")
    return run


def metrics(head_epochs: int, fine_tune_epochs: int) -> list[dict]:
    rows = []
    for phase, epochs in (("head", head_epochs), ("fine_tune", fine_tune_epochs)):
        for epoch in range(1, epochs + 1):
            known = {"phase": phase, "epoch": epoch, "loss": 1.5, "accuracy": 0.5, "learning_rate": 1e-3}
            known |= {"images_per_second": 900.0, "seconds_left": 40.0, "elapsed_seconds": 60.0}
            rows += [{"kind": "step", "step": step, "steps": 4, **known} for step in (1, 2, 3, 4)]
            validation = {"validation_loss": 1.0, "validation_accuracy": 0.75, "images": 800, "epoch_seconds": 2.0}
            rows.append({"kind": "epoch", "epochs": epochs, **known, **validation})
    return rows


@contextlib.contextmanager
def living_worker(run: Run, obeys: bool = False):
    """Let another process hold the run's lock as its worker does; one that `obeys` ends when it is asked to stop."""
    wait = f"while not Path({str(run.path / 'stop')!r}).exists(): time.sleep(0.02)" if obeys else "sys.stdin.read()"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom filelock import FileLock\n"
        f"with FileLock({str(run.path / 'lock')!r}):\n    print('held', flush=True)\n    {wait}\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        try:
            assert worker.stdout.readline() == b"held\n"
            yield
        finally:
            worker.kill()


def charts_of(app: AppTest) -> dict[str, dict]:
    """Return the page's Plotly figures by the key of their element."""
    return {chart.key: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def numbers(values) -> list[float]:
    """Return the numbers of a trace, which Plotly may send in base 64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def texts(elements) -> str:
    """Return what the elements say."""
    return "\n".join(str(element.value) for element in elements)


def is_inert(shown: str) -> bool:
    """Whether every sign of MARKUP that markdown would act upon is escaped."""
    rest = shown.replace("\\\\", "")
    for sign in MARKDOWN_SIGNS:
        rest = rest.replace("\\" + sign, "")
    return not any(sign in rest for sign in MARKDOWN_SIGNS)


def button(app: AppTest, key: str):
    """Return the button called `key`, None where the page has none."""
    return next((found for found in app.button if found.key == key), None)


# Train: empty


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
    assert re.search(r"About .*, 0\.\d GB of disk, 1\.5 GB of memory: measured on this machine", said)
    assert button(app, "measure") is None


def test_the_first_visit_says_that_the_images_are_not_cifar10():
    app = open_app()
    assert "generated images, not cifar-10" in texts([*app.warning, *app.markdown]).lower()


def test_widths_that_cannot_be_had_are_not_offered_and_the_reason_is_shown():
    app = open_app()
    assert app.selectbox(key="knob_alpha").options == ["0.35", "0.5", "0.75", "1"]
    assert "Width 1.3, 1.4 cannot be chosen" in texts(app.caption)


# Train: knobs


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


# Train: bad input


@pytest.mark.parametrize("asked", ["../../etc/passwd", "20260101-000000000-gone", MARKUP, "", "x" * 5_000])
def test_an_address_that_names_no_run_is_answered_with_a_sentence(asked):
    app = open_app(run=asked)
    assert [("There is no run" in error.value) for error in app.error] == [True] * bool(asked)
    assert all(is_inert(error.value) for error in app.error)
    assert not button(app, "start").disabled


def test_an_unknown_run_in_the_address_does_not_hide_the_known_ones(model):
    run = make_finished_run(model)
    app = open_app(run="20260101-000000000-gone")
    assert "There is no run" in texts(app.error)
    assert app.selectbox(key="run_choice").value == run.id


DAMAGES = {
    "nothing at all": {},
    "no JSON": {"config.json": "{", "status.json": "{", "metrics.jsonl": "{"},
    "other JSON": {"config.json": "[]", "status.json": "[]", "metrics.jsonl": "[]\n3\nnull\n"},
    "an unknown state": {"status.json": '{"state": "asleep", "error": 7, "result": 7}'},
    "a finished run without figures": {"status.json": '{"state": "finished"}'},
    "half of the figures": {"status.json": '{"state": "finished", "result": {"test_accuracy": 0.5}}'},
    "figures of other types": {"status.json": json.dumps({"state": "finished", "result": dict.fromkeys(RESULT, "x")})},
    "a failure without words": {"status.json": '{"state": "failed", "error": {}}'},
    "rows of another version": {"metrics.jsonl": '{"kind": "step"}\n{"kind": "epoch", "phase": "head"}\n'},
    "a torn last row": {"metrics.jsonl": json.dumps(metrics(1, 0)[0]) + '\n{"kind": "st'},
    "another version's knobs": {"config.json": '{"schema": 99}'},
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_run_does_not_take_the_page_with_it(damage):
    run = runs.create(CONFIG, "damaged")
    if not DAMAGES[damage]:
        (run.path / "config.json").unlink()
    for name, content in DAMAGES[damage].items():
        (run.path / name).write_text(content)
    app = open_app(run=run.id)
    assert app.selectbox(key="run_choice").value == run.id
    assert not button(app, "start").disabled


def test_a_folder_of_runs_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "runs").write_text("a file")
    app = open_app()
    sound(button(app, "start").click().run())
    assert len(app.error) == 1
    assert "CIFAR_RUNS_DIR" in app.error[0].value.replace("\\", "")


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


def test_what_a_run_says_of_itself_is_text_never_markup(model):
    failed = make_run("failed", error={"type": "X", "message": MARKUP})
    assert is_inert(open_app(run=failed.id).error[0].value)
    finished = make_finished_run(model, dataset=MARKUP, weights=MARKUP)
    caption = next(c.value for c in open_app(run=finished.id).caption if "onerror" in c.value)
    assert is_inert(caption.replace("Images:", "").replace("First weights:", ""))


# Train: good


def test_a_finished_run_shows_its_figures_with_the_interval_and_its_model(model):
    run = make_finished_run(model)
    app = open_app()
    figures = {metric.label: metric for metric in app.metric}
    assert figures["Test accuracy"].value == "80.0%"
    assert figures["Test accuracy"].delta == "77.4% to 82.4%"  # Wilson's 95 % of 800 in 1,000
    assert figures["Validation accuracy"].value == "82.5%"
    assert figures["Time"].value == "75 s"
    assert "block_16_project" not in texts(app.code), "a closed panel is not sent"
    app.session_state["summary_panel"] = True  # as a click on it does
    assert "block_16_project" in texts(sound(app.run()).code)
    assert app.query_params["run"] == run.id
    assert "generated images, not CIFAR-10" in texts(app.caption).replace("\\", "")


def test_the_curves_hold_both_phases(model):
    make_finished_run(model)
    drawn = charts_of(open_app())
    assert {"accuracy", "loss", "learning_rate", "images_per_second"} <= set(drawn)
    training, validation = drawn["accuracy"]["data"]
    assert len(numbers(training["x"])) == 4 * (3 + 2)
    assert numbers(validation["x"]) == [1, 2, 3, 4, 5]


def test_an_earlier_run_can_be_raced_against(model):
    earlier = make_finished_run(model, validation_accuracy=0.5)
    make_finished_run(model)
    app = open_app()
    assert len(charts_of(app)["loss"]["data"]) == 2
    sound(app.selectbox(key="ghost").set_value(earlier.id).run())
    assert len(charts_of(app)["loss"]["data"]) == 3
    sound(app.selectbox(key="run_choice").set_value(earlier.id).run())  # nobody races against itself
    assert len(charts_of(app)["loss"]["data"]) == 2


def test_the_address_decides_which_run_is_shown(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    assert open_app().selectbox(key="run_choice").value == newer.id
    app = open_app(run=older.id)
    assert app.selectbox(key="run_choice").value == older.id
    sound(app.selectbox(key="run_choice").set_value(newer.id).run())
    assert app.query_params["run"] == newer.id


def test_runs_that_look_alike_can_be_told_apart(model):
    chosen = [make_finished_run(model).id for _ in range(3)]
    app = open_app()
    assert len(set(app.selectbox(key="run_choice").options)) == 3
    for run_id in chosen:
        sound(app.selectbox(key="run_choice").set_value(run_id).run())
        assert app.query_params["run"] == run_id


def test_the_settings_of_a_run_can_be_taken_over(other_knobs, monkeypatch):
    run, started = runs.create(other_knobs), []
    write_json(run.path / "status.json", {"state": "stopped"})
    monkeypatch.setattr(launch, "start", lambda config, *_: started.append(config) or run)
    app = open_app()
    sound(button(app, "clone").click().run())
    sound(button(app, "start").click().run())
    assert started == [other_knobs]


# Train: running and waiting


def test_a_running_run_shows_where_it_stands_and_can_be_stopped():
    run = make_run("running", rows=metrics(2, 0)[:-1], stage="head")
    with living_worker(run):
        app = open_app()
        assert "Phase 1" in texts(app.markdown)
        assert "epoch 2" in texts(app.markdown)
        assert "40 s left" in texts(app.markdown)
        assert (button(app, "stop").disabled, button(app, "resume")) == (False, None)
        assert len(numbers(charts_of(app)["accuracy"]["data"][0]["x"])) == 8


def test_a_live_run_comes_before_newer_ones_that_ended(model):
    run = make_run("running", stage="head")
    make_finished_run(model)
    with living_worker(run):
        assert open_app().selectbox(key="run_choice").value == run.id


def test_stop_is_one_press_and_the_run_can_then_be_resumed():
    run = make_run("running", stage="head")
    with living_worker(run, obeys=True):
        app = open_app()
        sound(button(app, "stop").click().run())
    assert run.state == "stopped"
    assert "Stopped" in texts(app.markdown)
    assert (button(app, "stop"), button(app, "resume").disabled) == (None, False)


def test_a_run_whose_process_is_gone_says_so_and_can_be_resumed():
    make_run("running", stage="head")
    app = open_app()
    assert "ended unexpectedly" in texts(app.markdown)
    assert button(app, "resume") is not None


def test_queued_runs_show_their_place():
    first = make_run("running", stage="head")
    second, third = make_run("queued", rows=[]), make_run("queued", rows=[])
    with living_worker(first), living_worker(second), living_worker(third):
        app = open_app(run=third.id)
        assert "2 before it" in texts(app.markdown)
        assert "1 before it" in texts(open_app(run=second.id).markdown)


def test_a_failed_run_says_why():
    make_run("failed", error={"type": "StoreError", "message": "There is no room for the features; free 2 GB."})
    app = open_app()
    assert "no room for the features" in texts(app.error)
    assert button(app, "resume") is not None


# Classify


def test_without_a_model_classify_says_what_to_do_next():
    app = open_app(CLASSIFY)
    assert "Start training" in texts(app.info)
    assert not app.file_uploader


@pytest.fixture
def classify(model):
    """The page with one finished run to choose."""
    make_finished_run(model)
    return open_app(CLASSIFY)


def upload(app: AppTest, **files: bytes) -> AppTest:
    return sound(app.file_uploader(key="pictures").set_value([(n, c, "") for n, c in files.items()]).run())


def test_a_picture_is_answered_with_ten_sorted_probabilities(classify):
    upload(classify, **{"photo.jpg": encoded(scene(size=(90, 60)), "JPEG")})
    bars = charts_of(classify)["bars0"]["data"][0]
    probabilities = numbers(bars["x"])
    assert sorted(probabilities) == probabilities
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert sorted(bars["y"]) == sorted(data.CLASSES)
    assert f"{bars['y'][-1]}, {probabilities[-1]:.0%}" in texts(classify.markdown)
    assert not classify.error


def test_a_model_of_generated_images_says_so(classify):
    assert "generated images, not CIFAR-10" in texts(classify.warning)


def test_a_model_of_cifar10_has_no_such_warning(model):
    make_finished_run(model, dataset="CIFAR-10")
    assert not open_app(CLASSIFY).warning


def test_before_an_upload_test_images_are_shown_and_others_at_a_press(classify):
    def shown():
        return [image.value for image in classify.get("image")]

    first = shown()
    assert len(first) == 6
    sound(next(b for b in classify.button if "Other test images" in b.label).click().run())
    assert len(shown()) == 6
    assert shown() != first


def test_bad_files_are_named_with_their_reason_and_the_good_one_is_answered(classify):
    upload(classify, **NOT_PICTURES, **{"good.png": encoded(scene(), "PNG")})
    assert len(classify.error) == len(NOT_PICTURES)
    for name, error in zip(NOT_PICTURES, classify.error, strict=True):
        assert name in error.value.replace("\\", "")
    assert set(charts_of(classify)) == {"bars0"}


def test_a_zip_is_answered_picture_by_picture(classify):
    members = [("a/one.png", encoded(scene(), "PNG")), ("two.png", encoded(scene(seed=1), "PNG")), ("words.png", b"no")]
    upload(classify, **{"pictures.zip": zipped(members)})
    assert [text for text in ("a/one.png", "two.png") if text not in texts(classify.caption).replace("\\", "")] == []
    assert "bars0" in charts_of(classify)  # of the one that is looked at closer
    assert ["words.png" in error.value.replace("\\", "") for error in classify.error] == [True]


def test_a_files_name_is_text_never_markup(classify):
    upload(classify, **{f"{MARKUP}.png": b"no picture", f"{MARKUP}.bmp": encoded(scene(), "BMP")})
    assert "onerror" in classify.error[0].value
    # The page's own bold name and its colon remain.
    assert is_inert(classify.error[0].value.replace("**", "", 1).replace("**: ", "", 1))
    captions = [caption for image in classify.get("image") for caption in image.captions if "onerror" in caption]
    assert len(captions) == 1
    assert is_inert(captions[0])


def test_the_crop_changes_what_the_network_sees(classify):
    upload(classify, **{"wide.png": encoded(scene(size=(200, 40)), "PNG")})
    centre = charts_of(classify)["bars0"]["data"][0]["x"]
    sound(classify.segmented_control(key="crop").set_value("squeeze").run())
    assert charts_of(classify)["bars0"]["data"][0]["x"] != centre


def test_the_newest_run_classifies_unless_the_address_names_another(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    assert open_app(CLASSIFY).selectbox(key="model").value == newer.id
    assert open_app(CLASSIFY, model=older.id).selectbox(key="model").value == older.id
    assert open_app(CLASSIFY, model="../../etc").selectbox(key="model").value == newer.id


def test_a_damaged_model_is_said_in_a_sentence_and_another_can_be_chosen(model):
    good = make_finished_run(model)
    make_finished_run(b"no model", validation_accuracy=0.5)
    app = open_app(CLASSIFY)
    assert "not a usable LiteRT model" in texts(app.error)
    sound(app.selectbox(key="model").set_value(good.id).run())
    assert not app.error
    assert app.file_uploader


def test_a_stopped_run_cannot_be_chosen(model):
    make_run("stopped")
    assert not open_app(CLASSIFY).selectbox
