"""*Evaluate* in its states: empty, bad address, unfinished, finished with and without images, measuring."""

import json
import re
import shutil

import numpy as np
import pytest
from app_pages import (
    APP,
    MARKUP,
    RESULT,
    TRAIN,
    bars_of,
    button,
    charts_of,
    component,
    is_inert,
    links_of,
    living_worker,
    make_evaluated_run,
    make_finished_run,
    make_run,
    metrics,
    open_app,
    press_tile,
    says_synthetic,
    sound,
    texts,
    tiles_of,
    trigger,
    went_back,
)
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, diagnosis, phase_summary, robustness
from cifar_core.evaluation.robustness import CORRUPTIONS
from cifar_core.inference import calibration, neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.jobs import Job
from cifar_core.runs import Run, labels, write_json
from pages.components import dataset_notice, formatting

EVALUATE = TRAIN.replace("train", "evaluate")
CAT, DOG = CLASSES.index("cat"), CLASSES.index("dog")


@pytest.fixture
def run(model: bytes) -> Run:
    """A finished run on the generated images: every cat is taken for a dog, a quarter of the rest is wrong."""
    return make_evaluated_run(model)


def measure(run: Run, clean: float = 0.9) -> None:
    accuracies = {name: [0.8, 0.7, 0.6, 0.5, 0.4] for name in CORRUPTIONS}
    record = {"version": 1, "images": 50, "clean": clean, "accuracies": accuracies, "seconds": 12.0}
    write_json(run.path / robustness.FILE, record)


def twin(run: Run, model: bytes) -> Run:
    """Another run with the same predictions."""
    other = make_finished_run(model, validation_images=50)
    for file in ("evaluation.npz", "environment.json"):
        shutil.copy(run.path / file, other.path / file)
    return other


def cards_of(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def rules_shown(app: AppTest, run: Run) -> set[str]:
    """The rules of the diagnosis of `run` whose findings the page shows."""
    return {one.rule for one in diagnosis.diagnose(run) if formatting.plain(one.title) in texts(app.markdown)}


def test_without_a_finished_run_the_page_says_what_to_do():
    app = open_app(EVALUATE)
    assert len(app.info) == 1
    sound(app.button[0].click().run())
    assert button(app, "start")


@pytest.mark.parametrize("asked", ["nosuch", "../../etc", "20990101-000000000-x", MARKUP])
def test_an_unknown_run_is_a_sentence_and_the_newest_is_shown(run, asked):
    app = open_app(EVALUATE, run=asked)
    assert formatting.plain(repr(asked[:60])) in texts(app.error)
    assert is_inert(texts(app.error).split("; ")[0])
    assert run.id in [box.value for box in app.selectbox]


def test_a_run_that_goes_on_is_told_of_with_what_its_metrics_say_already():
    rows = [
        row | {"validation_accuracy": 0.1, "accuracy": 0.1} if row["kind"] == "epoch" else row for row in metrics(3, 0)
    ]
    going = make_run("running", rows)
    with living_worker(going):
        app = open_app(EVALUATE, run=going.id)
        assert going.state in texts(app.info)
        assert rules_shown(app, going) == {"nothing_learned"}
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
    assert says_synthetic(app)
    assert re.search(r"\*\*cat\*\*.*\*\*dog\*\*", texts(app.markdown))
    assert {tile["note"] for tile in tiles_of(app, "tiles-cell-validation-3-5-0")} == {"labeled cat"}
    assert [tile["note"] for tile in tiles_of(app, "examples0")] == ["", "", *["labeled cat"] * 3]


def test_nothing_folded_is_computed_until_it_is_opened(run):
    assert set(charts_of(open_app(EVALUATE))) == {"confusion0"}
    app = open_app(EVALUATE, classes="true")
    assert {trace["name"] for trace in charts_of(app)["classes_figure0"]["data"]} == {"precision", "recall", "F1"}


def test_two_runs_are_side_by_side_with_a_verdict(run, model):
    other = twin(run, model)
    app = open_app(EVALUATE, run=run.id, beside=other.id, sure="true", story="true", extremes="true", classes="true")
    assert {"confusion0", "confusion1", "classes_figure1", "story_accuracy1", "reliability0"} <= set(charts_of(app))
    assert len(app.metric) == 4
    assert "No difference between" in texts(app.markdown)
    labels.change(other, name="renamed")
    said = next(one.value for one in app.run().markdown if "No difference between" in one.value)
    assert "renamed" in said
    sound(app.selectbox(key="beside").set_value("").run())
    assert "confusion1" not in charts_of(app)
    assert "beside" not in app.query_params
    assert open_app(EVALUATE, run=run.id, beside="nosuch").selectbox(key="beside").value == ""
    app = open_app(EVALUATE, run=run.id, beside=run.id)  # as after the other run was opened
    assert app.selectbox(key="beside").value == "" and not any("The address" in one.value for one in app.warning)


def test_the_diagnosis_is_said_in_words(run):
    assert "small_validation_set" in rules_shown(open_app(EVALUATE), run)


def test_the_worst_confusion_is_open_with_its_images(run):
    app = open_app(EVALUATE)
    assert (app.selectbox(key="cell_label").value, app.selectbox(key="cell_answer").value) == ("cat", "dog")
    counts = int((cifar10.load("generated").train_labels[np.arange(0, 100, 2)] == CAT).sum())
    assert re.search(rf"\*\*{counts} of {counts}\*\*.*\(100\.0%\)", texts(app.markdown))
    assert len(tiles_of(app, f"tiles-cell-validation-{CAT}-{DOG}-0")) == min(counts, 12)
    assert not bars_of(app)  # those of an image that is chosen
    press_tile(app, f"tiles-cell-validation-{CAT}-{DOG}-0", 0)
    assert len(bars_of(app)) == 10


def test_a_click_on_a_cell_of_the_matrix_shows_its_images(run):
    app = open_app(EVALUATE)
    trigger(app, "confusion0", "clicked", 10 * DOG + DOG)
    assert app.query_params["cell"] == "dog-dog"
    assert app.selectbox(key="cell_label").value == "dog"
    assert tiles_of(app, f"tiles-cell-validation-{DOG}-{DOG}-0")
    for bad in (100, -1, "x", None):
        trigger(app, "confusion0", "clicked", bad)
        assert app.query_params["cell"] == "dog-dog"
    assert went_back(app, run=run.id).selectbox(key="cell_label").value == "cat"
    assert went_back(app, run=run.id, cell="ship-truck").selectbox(key="cell_answer").value == "truck"


def test_the_address_names_split_section_and_cell(run):
    app = open_app(EVALUATE, split="test", cell="ship-truck")
    assert app.selectbox(key="cell_label").value == "ship"
    assert app.segmented_control(key="split").value == "test"
    sound(app.selectbox(key="cell_answer").set_value("ship").run())
    assert app.query_params["cell"] == "ship-ship"
    ship = CLASSES.index("ship")
    assert tiles_of(app, f"tiles-cell-test-{ship}-{ship}-0")


@pytest.mark.parametrize(
    "bad", [{"extremes": "nosuch"}, {"split": "train"}, {"cell": "cat"}, {"cell": MARKUP}, {"kind": "x"}]
)
def test_a_bad_address_gives_the_defaults(run, bad):
    app = open_app(EVALUATE, **bad)
    assert app.segmented_control(key="split").value == "validation"
    assert not app.error


def test_an_image_is_explained_at_a_click(run):
    app = open_app(EVALUATE, extremes="true")
    assert "CIFAR" not in texts(app.markdown)  # nothing of CIFAR-10's labels beside generated images
    key = "mistakes-validation-0"
    assert json.loads(component(app, f"tiles-{key}").json)["chosen"] == []
    press_tile(app, f"tiles-{key}", 2)
    first = tiles_of(app, f"mistake-{key}")
    press_tile(app, f"tiles-{key}", 3)
    assert json.loads(component(app, f"tiles-{key}").json)["chosen"] == [3]
    assert tiles_of(app, f"mistake-{key}") != first


def test_lucky_hits_are_right_answers(run):
    def notes(kind: str) -> set[str]:
        return {
            tile["note"]
            for tile in tiles_of(open_app(EVALUATE, extremes="true", kind=kind), f"tiles-{kind}-validation-0")
        }

    assert notes("lucky") == {""}
    mistakes = notes("mistakes")
    assert mistakes and all(note.startswith("labeled") for note in mistakes)


def test_hits_against_their_neighbours_need_an_index(run):
    app = open_app(EVALUATE, extremes="true", kind="outvoted")
    assert "index of training images" in texts(app.caption)
    dataset = cifar10.load("generated")
    features = open_classifier(run.id).features(dataset.train_images[:30])
    wrong = (dataset.train_labels[:30] + 5) % 10
    neighbors.build(features, wrong, np.arange(30), dataset.fingerprint).save(run.path / neighbors.FILE)
    app = open_app(EVALUATE, extremes="true", kind="outvoted")
    assert "agree" in tiles_of(app, "tiles-outvoted-validation-0")[0]["note"]


def test_without_the_images_the_figures_are_there_all_the_same(run):
    write_json(
        run.path / "environment.json",
        {
            "data": {"name": "cifar10", "label": "CIFAR-10", "fingerprint": "elsewhere"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    app = open_app(EVALUATE)
    assert dataset_notice.no_pictures() in texts(app.info)
    assert "confusion0" in charts_of(app)
    assert len(app.dataframe) == 1


def test_reliability_is_drawn_before_and_after_temperature(run):
    app = open_app(EVALUATE, sure="true")
    assert [trace["name"][:5] for trace in charts_of(app)["reliability0"]["data"]] == ["perfe", "uncal", "calib"]
    assert "2.00" in texts(app.markdown)


def test_a_run_without_calibration_says_so(run):
    (run.path / calibration.FILE).unlink()
    app = open_app(EVALUATE, sure="true")
    assert len(app.info) == 1 and "reliability0" not in charts_of(app)


def test_a_damaged_run_is_a_sentence(run):
    (run.path / "evaluation.npz").write_bytes(b"PK\x03\x04")
    app = open_app(EVALUATE)
    assert "evaluation.npz" in texts(app.error).replace("\\", "")


def test_robustness_is_measured_at_the_press_of_a_button_followed_and_stopped(run, monkeypatch):
    lock = FileLock(run.path / "robustness.lock", thread_local=False)  # AppTest runs the page in a thread

    def start(job: Job) -> None:  # as the process would
        lock.acquire()
        job.write("working", done=410, total=2050, seconds_left=12.4)

    monkeypatch.setattr(Job, "start", start)
    app = open_app(EVALUATE, robust="true")
    assert "robustness" not in charts_of(app)
    assert not app.session_state["polled__measures"]
    sound(button(app, f"measure_{run.id}").click().run())
    assert app.session_state["polled__measures"]  # so the page looks again by itself
    assert app.get("progress")[0].proto.text == "20%, 12 s left"
    button(app, f"stop_{run.id}").click().run()
    assert (run.path / "robustness.stop").exists()
    assert button(app, f"stop_{run.id}_1").disabled  # it is stopping
    lock.release()
    measure(run)
    sound(app.run())
    assert not app.session_state["polled__measures"]
    assert "robustness" in charts_of(app)


def test_robustness_of_several_runs_is_compared(run, model):
    other = twin(run, model)
    measure(run)
    measure(other, clean=0.7)
    app = open_app(EVALUATE, run=run.id, robust="true", beside=other.id)
    assert app.selectbox(key="beside").value == other.id
    drawn_lines = charts_of(app)["robustness"]["data"]
    assert len(drawn_lines) == 2 * len(CORRUPTIONS)
    table = app.dataframe[0].value
    assert table.iloc[0, 1:].tolist() == [90.0, 70.0]
    assert table.iloc[1, 1:].tolist() == pytest.approx([60.0, 60.0])


def test_the_story_tells_phases_and_the_gap_and_says_what_is_not_known(run):
    app = open_app(EVALUATE, story="true")
    known = assessment.assess(run)
    head, fine_tuning, gap = known.sentences
    for sentence in (head, fine_tuning, gap):
        assert sentence and formatting.plain(sentence) in texts(app.markdown)
    assert {"story_accuracy0", "story_loss0"} <= charts_of(app).keys()
    assert "is unknown" in texts(app.caption)
    assert button(app, "keep_head0") is None


def test_phase_1_is_kept_at_the_press_of_a_button(run, monkeypatch):
    with np.load(run.path / "evaluation.npz") as file:
        said = file["validation_probabilities"]
    np.savez(run.path / phase_summary.PHASES_FILE, head_validation_probabilities=np.roll(said, 1, axis=1))
    (run.path / phase_summary.HEAD_FILE).write_bytes(b"x")
    other = make_run("queued", [])
    monkeypatch.setattr(phase_summary, "keep_head", lambda one: other)
    app = open_app(EVALUATE, run=run.id, story="true")
    assert "changes0" in charts_of(app)
    changes = phase_summary.changes_of(run)
    fixed, broken = sum(one.corrected for one in changes), sum(one.broken for one in changes)
    assert re.search(rf"\*\*{fixed}\*\*.*\*\*{broken}\*\*", texts(app.markdown))
    sound(button(app, "keep_head0").click().run())
    assert app.success and links_of(app)["Open it"] == f"train?run={other.id}"


def test_where_phase_1_is_the_model_already_there_is_nothing_to_undo(run):
    write_json(run.path / "status.json", {"state": "finished", "result": RESULT | {"best_phase": "head"}})
    app = open_app(EVALUATE, story="true")
    assert len(app.info) == 1
    assert button(app, "keep_head0") is None


def test_the_export_panel_is_the_same_as_on_train(run):
    def offered(page: str) -> set[str]:
        app = AppTest.from_file(str(APP), default_timeout=30)
        app.switch_page(page)
        app.query_params["run"] = run.id
        app.session_state["export_panel"] = True  # as a click on it does
        return {found.key for found in sound(app.run()).get("download_button") if "share" not in found.key}

    tables = {"download_confusion0", "download_predictions0"}
    assert offered(EVALUATE) == offered(TRAIN) | tables
    assert "download_report" in offered(TRAIN)


def test_train_shows_the_diagnosis_of_a_run_that_ended(run):
    app = open_app(TRAIN, run=run.id)
    assert any("Diagnosis" in found.label for found in app.expander)
    assert "small_validation_set" in rules_shown(app, run)
    failed = make_run(
        "failed",
        metrics(3, 0),
        error={"type": "TrainingError", "message": "in epoch 1 of phase head the loss became nan"},
    )
    assert "not_a_number" in rules_shown(open_app(TRAIN, run=failed.id), failed)


def test_names_in_a_run_are_shown_as_text(run):
    write_json(run.path / "status.json", {"state": "finished", "result": RESULT | {"dataset": f"generated {MARKUP}"}})
    write_json(run.path / phase_summary.PARENT_FILE, {"id": "20260101-000000000-other"})
    app = open_app(EVALUATE, story="true")
    assert "20260101\\-000000000\\-other" in texts(app.caption)
    write_json(run.path / phase_summary.PARENT_FILE, {"id": MARKUP})
    app = open_app(EVALUATE, story="true")
    assert "onerror" not in texts(app.caption)
