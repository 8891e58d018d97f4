"""The data map on *Evaluate*: its four parts, with and without what they need."""

import numpy as np
import pytest
from app_pages import (
    TRAIN,
    button,
    charts_of,
    make_evaluated_run,
    numbers,
    open_app,
    sound,
    texts,
    tiles_of,
    trigger,
)
from filelock import FileLock

from cifar_core import machine
from cifar_core.data import cifar10
from cifar_core.evaluation import data_map, predictions
from cifar_core.inference import neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.jobs import Job
from cifar_core.runs import Run

EVALUATE = TRAIN.replace("train", "evaluate")


@pytest.fixture
def run(model: bytes) -> Run:
    """A finished run that recorded five epochs: image 0 is forgotten twice, the others answer as at the end."""
    run = make_evaluated_run(model)
    said = predictions.load(run).validation
    assert said.is_correct[0]
    for number in range(5):
        own = said.probabilities.copy()
        if number in (1, 3):
            own[0] = np.roll(own[0], 1)
        data_map.write_epoch(run.path, number, own)
    return run


def open_map(part: str, **query: str):
    return open_app(EVALUATE, map="true", part=part, **query)


def test_easy_and_hard_images_are_dots_that_open_their_images(run):
    app = open_map("hard")
    dots = charts_of(app)["map_hard"]["data"]
    assert sorted(i for trace in dots for i in trace["customdata"]) == list(range(50))
    assert {trace["name"]: len(trace["x"]) if isinstance(trace["x"], list) else 0 for trace in dots}.keys() == {
        "correct at the end",
        "wrong at the end",
    }
    right = next(trace for trace in dots if trace["name"].startswith("correct"))
    assert right["customdata"][0] == 0 and numbers(right["x"])[0] == pytest.approx(
        np.std([0.82, 0.02] * 2 + [0.82]), abs=1e-3
    )
    assert tiles_of(app, "tiles-map-first")[0]["alt"] == "Image 1"  # the most ambiguous
    trigger(app, "map_hard", "selected", [7, 3])
    assert [tile["alt"] for tile in tiles_of(app, "tiles-map-chosen")] == ["Image 8", "Image 4"]
    for bad in (["x"], "x", None, 3):
        trigger(app, "map_hard", "selected", bad)
        assert len(tiles_of(app, "tiles-map-chosen")) == 2
    trigger(app, "map_hard", "selected", [10**9, -1])
    assert not tiles_of(app, "tiles-map-chosen")


def test_mislabeled_images_have_the_answer_and_the_labels_of_their_neighbors(run):
    app = open_map("labels")
    shown = tiles_of(app, "tiles-labels-validation")
    assert shown and all(tile["note"].startswith("labeled ") for tile in shown)
    assert f"{len(predictions.possibly_mislabeled(predictions.load(run).validation))} of 50" in texts(app.markdown)
    dataset = cifar10.load("generated")
    features = open_classifier(run.id).features(dataset.train_images[:30])
    neighbors.build(features, np.full(30, 4, np.uint8), np.arange(30), dataset.fingerprint).save(
        run.path / neighbors.FILE
    )
    (run.path / "model.tflite").touch()
    app = open_map("labels", split="test")
    assert tiles_of(app, "tiles-labels-test")[0]["note"].endswith("nearest: 10 deer")


def test_forgotten_images_come_most_often_first_and_the_matrix_follows_the_slider(run):
    app = open_map("forgotten")
    assert "**1 of 50**" in texts(app.markdown)
    assert [tile["note"] for tile in tiles_of(app, "tiles-forgotten")] == ["forgotten 2 times"]

    def right() -> int:
        texts_of_cells = charts_of(app)["map_confusion"]["data"][-1]["text"]
        return sum(int(text or 0) for text in texts_of_cells[:: 10 + 1])

    at_the_end = right()
    slider = app.select_slider(key="map_epoch")
    sound(slider.set_value(slider.options[1]).run())
    assert right() == at_the_end - 1


@pytest.mark.parametrize("part", ["hard", "forgotten"])
def test_a_run_without_recorded_epochs_says_so(run, part):
    (run.path / data_map.EPOCHS_FILE).unlink()
    app = open_map(part)
    assert len(app.info) == 1 and not app.error
    assert not {"map_hard", "map_confusion"} & set(charts_of(app))


def test_the_map_is_made_at_the_press_of_a_button_and_both_sides_share_what_is_chosen(run, monkeypatch):
    lock = FileLock(run.path / "map.lock", thread_local=False)  # AppTest runs the page in a thread

    def start(own: Job) -> None:  # as the process would
        lock.acquire()
        own.write("working", done=1, total=3)

    monkeypatch.setattr(Job, "start", start)
    app = open_map("alike")
    sound(button(app, "make_map").click().run())
    assert app.get("progress")[0].proto.value == 33
    button(app, "stop_map").click().run()
    assert (run.path / "map.stop").exists()
    lock.release()
    positions, places = np.arange(0, 50, 2, dtype=np.int32), np.random.default_rng(1).normal(0, 9, (2, 25, 2))
    arrays = {"after": places[0].astype(np.float32), "before": places[1].astype(np.float32)}
    machine.save_arrays(run.path / data_map.MAP_FILE, positions=positions, seconds=np.array(9.0), **arrays)
    sound(app.run())
    before, after = (charts_of(app)[f"map_{title}"] for title in ("Before training", "After fine-tuning"))
    assert [trace["customdata"] for trace in before["data"]] == [trace["customdata"] for trace in after["data"]]
    rings = sum(sum(width > 0 for width in trace["marker"]["line"]["width"]) for trace in after["data"])
    assert rings == (~predictions.load(run).validation.is_correct[positions]).sum() > 0
    trigger(app, "map_After fine-tuning", "selected", [4, 8])
    for title in ("Before training", "After fine-tuning"):
        data = charts_of(app)[f"map_{title}"]["data"]
        assert sorted(t["customdata"][i] for t in data for i in t["selectedpoints"]) == [4, 8]
    assert len(tiles_of(app, "tiles-map-chosen")) == 2


def test_a_damaged_map_is_a_sentence_and_can_be_made_again(run):
    (run.path / data_map.MAP_FILE).write_bytes(b"PK\x03\x04")
    app = open_map("alike")
    assert data_map.MAP_FILE in texts(app.error).replace("\\", "")
    assert button(app, "make_map") is not None
