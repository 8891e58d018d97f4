"""*Evaluate* in its states: empty, bad address, unfinished, finished with and without images, measuring."""

import re

import numpy as np
import pytest
from app_pages import (
    MARKUP,
    RESULT,
    TRAIN,
    button,
    charts_of,
    is_inert,
    living_worker,
    make_finished_run,
    make_run,
    metrics,
    open_app,
    sound,
    texts,
)
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import robustness, story
from cifar_core.evaluation.robustness import CORRUPTIONS
from cifar_core.inference import calibration, neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.runs import Run, write_json

EVALUATE = TRAIN.replace("train", "evaluate")
CAT, DOG = CLASSES.index("cat"), CLASSES.index("dog")


@pytest.fixture
def run(model: bytes) -> Run:
    """A finished run on the generated images: every cat is taken for a dog, a quarter of the rest is wrong."""
    dataset = cifar10.load("generated")
    run = make_finished_run(model, validation_images=50)
    rows = np.arange(0, 100, 2)
    arrays = {"validation_rows": rows}
    for name, labels in (("validation", dataset.train_labels[rows]), ("test", dataset.test_labels)):
        answers = np.where(np.arange(len(labels)) % 4 == 3, (labels + 1) % 10, labels)
        answers[labels == CAT] = DOG
        said = np.full((len(labels), 10), 0.02, np.float32)
        said[np.arange(len(labels)), answers] = 0.82
        arrays |= {f"{name}_labels": labels, f"{name}_probabilities": said}
    np.savez(run.path / "evaluation.npz", **arrays)
    known = {
        "data": {"name": "generated", "label": "synthetic", "fingerprint": dataset.fingerprint},
        "weights": {"label": "random numbers", "fingerprint": "w"},
    }
    write_json(run.path / "environment.json", known)
    calibration.Calibration(2.0, 50, (0.1, 0.05), (1.0, 0.9)).save(run.path / calibration.FILE)
    return run


def measure(run: Run, clean: float = 0.9) -> None:
    accuracies = {name: [0.8, 0.7, 0.6, 0.5, 0.4] for name in CORRUPTIONS}
    record = {"version": 1, "images": 50, "clean": clean, "accuracies": accuracies, "seconds": 12.0}
    write_json(run.path / robustness.FILE, record)


def cards_of(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def section(app: AppTest, name: str) -> AppTest:
    return sound(app.segmented_control(key="evaluate:section").set_value(name).run())


def test_without_a_finished_run_the_page_says_what_to_do():
    app = open_app(EVALUATE)
    assert "no finished run yet" in texts(app.info)


@pytest.mark.parametrize("asked", ["nosuch", "../../etc", "20990101-000000000-x", MARKUP])
def test_an_unknown_run_is_a_sentence_and_the_newest_is_shown(run, asked):
    app = open_app(EVALUATE, run=asked)
    assert "There is no run" in texts(app.error)
    assert is_inert(texts(app.error).split("; ")[0])
    assert run.id in [box.value for box in app.selectbox]


def test_a_run_that_goes_on_is_told_of_with_what_its_metrics_say_already():
    rows = [
        row | {"validation_accuracy": 0.1, "accuracy": 0.1} if row["kind"] == "epoch" else row for row in metrics(3, 0)
    ]
    going = make_run("running", rows)
    with living_worker(going):
        app = open_app(EVALUATE, run=going.id)
        assert "This run is running" in texts(app.info)
        assert "learned almost nothing" in texts(app.markdown)
    assert not app.metric


def test_a_finished_run_shows_validation_first_with_its_interval(run):
    app = open_app(EVALUATE)
    shown = cards_of(app)
    assert list(shown)[:2] == ["Validation accuracy", "Test accuracy"]
    dataset = cifar10.load("generated")
    labels = dataset.train_labels[np.arange(0, 100, 2)]
    right = (np.arange(50) % 4 != 3) & (labels != CAT)
    assert shown["Validation accuracy"] == f"{right.mean():.1%}"
    assert "to" in app.metric[0].delta
    assert app.segmented_control(key="split").value == "validation"
    assert {trace["name"] for trace in charts_of(app)["classes"]["data"]} == {"precision", "recall", "F1"}
    assert "generated images, not CIFAR-10" in texts(app.warning)
    assert "to" in app.metric[3].delta
    assert "**cat** called **dog**" in texts(app.markdown)
    assert app.get("image") or app.get("imgs")


def test_the_gap_and_the_diagnosis_are_told_in_words(run):
    app = open_app(EVALUATE)
    assert "In the best epoch" in texts(app.markdown)
    assert "validation set is small" in texts(app.markdown)


def test_the_worst_confusion_is_open_with_its_very_images(run):
    app = open_app(EVALUATE, section="confusion")
    assert (app.selectbox(key="cell_label").value, app.selectbox(key="cell_answer").value) == ("cat", "dog")
    assert "images labelled cat were called dog (100.0%)" in texts(app.markdown)
    counts = int((cifar10.load("generated").train_labels[np.arange(0, 100, 2)] == CAT).sum())
    looks = [found for found in app.button if found.key.startswith("look")]
    assert len(looks) == min(counts, 16)
    assert "looked_bars" in charts_of(app)
    assert len(app.get("image")) >= counts


def test_the_address_names_split_section_and_cell(run):
    app = open_app(EVALUATE, section="confusion", split="test", cell="ship-truck")
    assert app.selectbox(key="cell_label").value == "ship"
    assert app.segmented_control(key="split").value == "test"
    sound(app.selectbox(key="cell_answer").set_value("ship").run())
    assert app.query_params["cell"] == "ship-ship"
    assert "images labelled ship were found" in texts(app.markdown)


@pytest.mark.parametrize(
    "bad", [{"section": "nosuch"}, {"split": "train"}, {"cell": "cat"}, {"cell": MARKUP}, {"kind": "x"}]
)
def test_a_bad_address_gives_the_defaults(run, bad):
    app = open_app(EVALUATE, **({"section": "confusion"} | bad))
    assert app.segmented_control(key="split").value == "validation"
    assert not app.error


def test_looking_at_another_image_shows_it_closer(run):
    app = open_app(EVALUATE, section="extremes")
    assert "CIFAR" not in texts(app.markdown)  # nothing of CIFAR-10's labels beside generated images
    first = charts_of(app)["looked_bars"]
    other = next(found for found in app.button if found.key.startswith("look") and not found.disabled)
    sound(other.click().run())
    assert button(app, other.key).disabled
    assert charts_of(app)["looked_bars"] != first


def test_lucky_hits_are_right_answers(run):
    app = open_app(EVALUATE, section="extremes", kind="lucky")
    assert button(app, next(found.key for found in app.button if found.key.startswith("look")))
    assert "labelled" not in texts(app.markdown)
    assert "labelled" in texts(open_app(EVALUATE, section="extremes", kind="mistakes").markdown)


def test_hits_against_their_neighbours_need_an_index(run):
    app = open_app(EVALUATE, section="extremes", kind="outvoted")
    assert "one of them is not here" in texts(app.caption)
    dataset = cifar10.load("generated")
    features = open_classifier(run.id).features(dataset.train_images[:30])
    wrong = (dataset.train_labels[:30] + 5) % 10
    neighbors.build(features, wrong, np.arange(30), dataset.fingerprint).save(run.path / neighbors.FILE)
    app = open_app(EVALUATE, section="extremes", kind="outvoted")
    assert "agree" in texts(app.markdown)


def test_without_the_images_the_figures_are_there_all_the_same(run):
    write_json(
        run.path / "environment.json",
        {
            "data": {"name": "cifar10", "label": "CIFAR-10", "fingerprint": "elsewhere"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    app = open_app(EVALUATE, section="confusion")
    assert "not on this machine" in texts(app.info)
    assert "confusion" in charts_of(app)
    assert len(app.dataframe) == 1


def test_reliability_is_drawn_before_and_after_temperature(run):
    app = open_app(EVALUATE, section="sure")
    assert [trace["name"][:5] for trace in charts_of(app)["reliability"]["data"]] == ["hones", "as tr", "calib"]
    assert "2.00" in texts(app.markdown)


def test_a_run_without_calibration_says_so(run):
    (run.path / calibration.FILE).unlink()
    assert "before calibration was kept" in texts(open_app(EVALUATE, section="sure").info)


def test_a_damaged_run_is_a_sentence(run):
    (run.path / "evaluation.npz").write_bytes(b"PK\x03\x04")
    app = open_app(EVALUATE)
    assert "is damaged" in texts(app.error)


def test_robustness_is_measured_at_the_press_of_a_button_followed_and_stopped(run, monkeypatch):
    lock = FileLock(run.path / "robustness.lock", thread_local=False)  # AppTest runs the page in a thread

    def start(one: Run) -> None:  # as the process would
        lock.acquire()
        robustness.job(one).say("working", done=410, total=2050, seconds_left=12.4)

    monkeypatch.setattr(robustness, "start", start)
    app = open_app(EVALUATE, section="robust")
    assert "robustness" not in charts_of(app)
    assert not app.session_state["robust_measuring"]
    sound(button(app, f"measure_{run.id}").click().run())
    assert app.session_state["robust_measuring"]  # so the page looks again by itself
    assert app.get("progress")[0].proto.text == "20%, 12 s left"
    button(app, f"stop_{run.id}").click().run()
    assert (run.path / "robustness.stop").exists()
    lock.release()
    measure(run)
    sound(app.run())
    assert not app.session_state["robust_measuring"]
    assert "robustness" in charts_of(app)


def test_robustness_of_several_runs_is_compared(run, model):
    other = make_finished_run(model, validation_accuracy=0.5)
    measure(run)
    measure(other, clean=0.7)
    app = open_app(EVALUATE, run=run.id, section="robust", beside=[other.id, other.id, "nosuch"])
    assert app.multiselect(key="beside").value == [other.id]
    drawn_lines = charts_of(app)["robustness"]["data"]
    assert len(drawn_lines) == 2 * len(CORRUPTIONS)
    table = app.dataframe[0].value
    assert table.iloc[0, 1:].tolist() == [90.0, 70.0]
    assert table.iloc[1, 1:].tolist() == pytest.approx([60.0, 60.0])


def test_the_story_tells_phases_and_says_what_is_not_known(run):
    app = open_app(EVALUATE, section="story")
    assert re.search(r"Fine\\-tuning\\:\W* from 75", texts(app.markdown))
    assert {"story_accuracy", "story_loss"} <= charts_of(app).keys()
    assert "is not known" in texts(app.caption)
    assert button(app, "keep_head") is None


def test_phase_1_is_kept_at_the_press_of_a_button(run, monkeypatch):
    with np.load(run.path / "evaluation.npz") as file:
        said = file["validation_probabilities"]
    np.savez(run.path / story.PHASES_FILE, head_validation_probabilities=np.roll(said, 1, axis=1))
    (run.path / story.HEAD_FILE).write_bytes(b"x")
    other = make_run("queued", [])
    monkeypatch.setattr(story, "keep_head", lambda one: other)
    app = open_app(EVALUATE, run=run.id, section="story")
    assert "changes" in charts_of(app)
    assert "validation images right" in texts(app.markdown)
    sound(button(app, "keep_head").click().run())
    assert "is kept as run" in texts(app.success)


def test_where_phase_1_is_the_model_already_there_is_nothing_to_undo(run):
    write_json(run.path / "status.json", {"state": "finished", "result": RESULT | {"best_phase": "head"}})
    app = open_app(EVALUATE, section="story")
    assert "already this run's model" in texts(app.info)
    assert button(app, "keep_head") is None


def test_everything_can_be_taken_away(run):
    app = open_app(EVALUATE)
    keys = {found.key for found in app.get("download_button")}
    assert {"download_report", "download_classes.csv", "download_confusion.csv", "download_predictions.csv"} <= keys
    sound(app.segmented_control(key="figure_format").set_value("svg").run())
    assert '"format": "svg"' in app.get("plotly_chart")[0].proto.config or (
        '"format":"svg"' in app.get("plotly_chart")[0].proto.config
    )


def test_train_shows_the_diagnosis_of_a_run_that_ended(run):
    app = open_app(TRAIN, run=run.id)
    assert any("Diagnosis" in found.label for found in app.expander)
    assert "validation set is small" in texts(app.markdown)
    failed = make_run(
        "failed", metrics(3, 0), error={"type": "TrainingError", "message": "the loss became nan, expected a number"}
    )
    app = open_app(TRAIN, run=failed.id)
    assert "not a number" in texts(app.markdown)


def test_names_in_a_run_are_shown_as_text(run):
    write_json(run.path / "status.json", {"state": "finished", "result": RESULT | {"dataset": f"generated {MARKUP}"}})
    write_json(run.path / story.PARENT_FILE, {"id": "20260101-000000000-other"})
    app = open_app(EVALUATE, section="story")
    assert "phase 1 of run 20260101\\-000000000\\-other" in texts(app.caption)
    write_json(run.path / story.PARENT_FILE, {"id": MARKUP})
    app = open_app(EVALUATE, section="story")
    assert "phase 1 of run" not in texts(app.caption)
