import re
import threading
from pathlib import Path

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.inference import classifier
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run

pytestmark = pytest.mark.usefixtures("any_model")

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def model(seed: int) -> bytes:
    """A small network with a head of random numbers."""
    rng = np.random.default_rng(seed)
    named = dict(pretrained.load("random", 0.35, 32, seed).named)
    named |= {f"head_norm/{name}": np.ones(1280, np.float32) for name in ("gamma", "beta", "moving_variance")}
    named["head_norm/moving_mean"] = np.zeros(1280, np.float32)
    for layer, shape in (("head_dense", (1280, 16)), ("head_output", (16, 10))):
        named[f"{layer}/kernel"] = rng.normal(0, 1, shape).astype(np.float32)
        named[f"{layer}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


def finish(run: Run, seed: int = 0) -> Run:
    runs.write_json(run.path / "status.json", {"state": "finished"})
    (run.path / "model.tflite").write_bytes(model(seed))
    return run


@pytest.fixture
def no_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the models that ship with the app, without any."""
    monkeypatch.setattr(pretrained, "BUNDLED_FOLDER", tmp_path)
    return tmp_path


def test_a_finished_run_classifies_one_picture_or_many(run: Run) -> None:
    opened = classifier.open_classifier(finish(run).id)
    assert opened.name == run.id
    probabilities = opened.probabilities(IMAGES)
    assert probabilities.shape == (3, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert opened.probabilities(IMAGES[1:2]) == pytest.approx(probabilities[1:2], abs=1e-6)
    assert opened.features(IMAGES).shape == (3, 1280)


def test_the_newest_finished_run_comes_first(tiny_config: TrainConfig, no_bundled: Path) -> None:
    _, newest, running = (runs.create(tiny_config) for _ in range(3))
    trial, lesson = runs.create(tiny_config, "searcht3"), runs.create(tiny_config, "learndropout03")
    runs.write_json(trial.path / runs.TRIAL_FILE, {"sweep": "search", "trial": 2})
    assert (trial.is_trial, lesson.is_trial) == (True, False)
    runs.delete(lesson)
    for each in runs.list_runs():
        if each != running:
            finish(each)
    assert classifier.open_classifier().name == newest.id


def test_without_a_run_the_bundled_model_answers(no_bundled: Path) -> None:
    assert not classifier.has_bundled()
    with pytest.raises(RunError, match="no bundled model ships with this version; train a model first"):
        classifier.open_classifier()
    (no_bundled / "mobilenet_v2_0.5.tflite").write_bytes(model(0))
    assert classifier.has_bundled()
    assert classifier.open_classifier().name == "bundled"
    assert classifier.open_classifier("bundled").probabilities(IMAGES).shape == (3, 10)


def test_a_run_that_has_no_model_yet_is_a_sentence(run: Run) -> None:
    with pytest.raises(RunError, match=f"{run.id} is queued"):
        classifier.open_classifier(run.id)


@pytest.mark.parametrize("name", ["", "../secret", "20260101-000000000-none", "Bundled"])
def test_a_run_that_does_not_exist_is_a_sentence(name: str) -> None:
    with pytest.raises(RunError, match=re.escape(repr(name))):
        classifier.open_classifier(name)


def test_a_damaged_model_is_a_sentence(run: Run) -> None:
    finish(run)
    content = (run.path / "model.tflite").read_bytes()
    for damaged in (b"", b"junk" * 100, content[:1_000]):
        (run.path / "model.tflite").write_bytes(damaged)
        with pytest.raises(RunError, match=r"model\.tflite"):
            classifier.open_classifier(run.id)


def test_a_model_that_was_replaced_is_read_anew(run: Run) -> None:
    before = classifier.open_classifier(finish(run, 1).id).probabilities(IMAGES)
    (run.path / "model.tflite").unlink()
    finish(run, 2)
    assert not np.allclose(classifier.open_classifier(run.id).probabilities(IMAGES), before)


def test_people_who_classify_at_once_get_their_own_answers(run: Run) -> None:
    opened = classifier.open_classifier(finish(run).id)
    expected = opened.probabilities(IMAGES)
    wrong = []

    def ask(row: int) -> None:
        for _ in range(20):
            if not np.allclose(opened.probabilities(IMAGES[row : row + 1]), expected[row : row + 1], atol=1e-6):
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
