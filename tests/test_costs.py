import json
from dataclasses import replace

import numpy as np
import pytest

from cifar_core import costs
from cifar_core.config import TrainConfig
from cifar_core.inference import neighbors

IMAGES, TEST_IMAGES = 12_000, 2_000
CONFIG = TrainConfig(train_images=5_000, head_epochs=6, fine_tune_epochs=4)
TRAINING, VALIDATION = 4_000, 1_000

# Seconds an image (whole seconds for the start) of a machine like no other.
MEMORY = 1_200_000_000
START, FEATURES, HEAD, FINE_TUNE, EVALUATE = 7.0, 1 / 800, 1 / 5_000, 1 / 1_000, 1 / 900


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(tmp_path))
    return tmp_path


class SyntheticRun:
    """The rows that a run of CONFIG writes on that machine, and its whole time."""

    def __init__(self, slower=1.0):
        self.rows, self.seconds, self.slower = [], 0.0, slower
        self.wait(START)
        self.progress("features", VALIDATION, FEATURES)
        for epoch in range(CONFIG.head_epochs):
            if epoch < CONFIG.views:
                self.progress("features", TRAINING, FEATURES)
            self.epoch("head", HEAD)
        for _ in range(CONFIG.fine_tune_epochs):
            self.epoch("fine_tune", FINE_TUNE)
        self.progress("neighbours", TRAINING, EVALUATE)
        self.progress("validation", VALIDATION, EVALUATE)
        self.progress("phase 1", VALIDATION, EVALUATE)
        self.progress("test", TEST_IMAGES, EVALUATE)

    def wait(self, seconds):
        self.seconds += seconds * self.slower

    def progress(self, stage, total, seconds_an_image):
        for done in range(0, total + 1, 200):
            self.row("progress", stage=stage, done=done, total=total)
            if done < total:
                self.wait(200 * seconds_an_image)

    def epoch(self, phase, seconds_an_image):
        self.wait(TRAINING * seconds_an_image)
        spent = TRAINING * seconds_an_image * self.slower
        self.row("epoch", phase=phase, epoch_seconds=spent, images=TRAINING)

    def row(self, kind, **values):
        self.rows.append({"kind": kind, **values, "elapsed_seconds": self.seconds})


def learn(run):
    costs.record_run(CONFIG, run.rows, run.seconds, MEMORY)


def estimate(**changes):
    """What CONFIG with `changes` would take."""
    return costs.estimate(replace(CONFIG, **changes), IMAGES, TEST_IMAGES)


def test_what_a_run_taught_is_what_the_next_is_estimated_to_take():
    run = SyntheticRun()
    learn(run)
    guess = estimate()
    assert guess.measured
    assert guess.seconds == pytest.approx(run.seconds, rel=0.05)
    assert guess.stages == pytest.approx(
        {
            "start": START,
            "features": (4 * TRAINING + VALIDATION) * FEATURES,
            "head": 6 * TRAINING * HEAD,
            "fine_tune": 4 * TRAINING * FINE_TUNE,
            "evaluate": (TRAINING + 2 * VALIDATION + TEST_IMAGES) * EVALUATE,
        },
        rel=0.05,
    )


def test_the_index_of_a_run_has_as_many_images_as_estimated_and_a_trial_has_none():
    learn(SyntheticRun())
    most = costs.estimate(replace(CONFIG, train_images=50_000, fine_tune_epochs=0), 50_000, TEST_IMAGES)
    images = len(neighbors.index_rows(np.arange(40_000))) + 10_000 + TEST_IMAGES
    assert most.stages["evaluate"] == pytest.approx(images * EVALUATE, rel=0.01)
    assert costs.estimate(CONFIG, IMAGES, 0).stages["evaluate"] == pytest.approx(VALIDATION * EVALUATE, rel=0.01)


def test_a_run_of_another_length_is_estimated_within_30_percent():
    learn(SyntheticRun())
    guess = estimate(train_images=10_000, head_epochs=12, fine_tune_epochs=8)
    features, trained = (4 * 8_000 + 2_000) * FEATURES, 8_000 * (12 * HEAD + 8 * FINE_TUNE)
    assert guess.measured
    assert guess.seconds == pytest.approx(START + features + trained + 14_000 * EVALUATE, rel=0.3)


def test_what_was_never_run_here_is_called_unmeasured():
    guess = estimate()
    assert not guess.measured
    assert guess.memory_bytes is None
    assert guess.seconds == sum(guess.stages.values()) > 0


@pytest.mark.parametrize(
    "other",
    [{"alpha": 0.75}, {"image_size": 64}, {"fine_tune_blocks": 8}, {"batch_size": 32}, {"head_batch_size": 32}],
)
def test_a_run_of_another_shape_teaches_nothing_about_this_one(other):
    learn(SyntheticRun())
    assert not estimate(**other).measured


@pytest.mark.parametrize("bigger", [{"alpha": 1.0}, {"image_size": 224}, {"train_images": 10_000}, {"head_epochs": 60}])
def test_more_work_takes_longer(bigger):
    assert estimate(**bigger).seconds > estimate().seconds


def test_training_end_to_end_costs_far_more_in_both_phases_and_stores_nothing():
    stored, fresh = estimate(), estimate(views=0)
    assert all(fresh.stages[phase] > 2 * stored.stages[phase] for phase in ("head", "fine_tune"))
    assert "features" not in fresh.stages
    assert (fresh.store_bytes, stored.store_bytes > 0) == (0, True)


def test_what_was_measured_from_stored_features_says_nothing_about_end_to_end():
    learn(SyntheticRun())
    assert not estimate(views=0).measured


def test_without_augmentation_every_image_is_computed_once():
    learn(SyntheticRun())
    assert estimate(augmentation=0.0).stages["features"] == pytest.approx(5_000 * FEATURES, rel=0.05)


def test_views_that_no_epoch_reaches_are_not_computed():
    learn(SyntheticRun())
    guess = estimate(views=16)
    assert guess.stages["features"] == pytest.approx((4 * TRAINING + VALIDATION) * FEATURES, rel=0.05)
    many = estimate(views=16, head_epochs=20)  # two epochs a view
    assert many.stages["features"] == pytest.approx((10 * TRAINING + VALIDATION) * FEATURES, rel=0.05)


def test_a_phase_that_does_not_happen_costs_nothing():
    assert "fine_tune" not in estimate(fine_tune_blocks=0).stages
    assert "head" not in estimate(head_epochs=0).stages


def test_no_more_images_are_counted_than_there_are():
    assert estimate(train_images=50_000).seconds == estimate(train_images=IMAGES).seconds


def test_memory_is_that_of_earlier_runs_of_the_shape():
    learn(SyntheticRun())
    assert estimate(head_epochs=1).memory_bytes == MEMORY
    assert estimate(alpha=1.0).memory_bytes is None


def test_a_few_timed_batches_count_like_a_run():
    seconds = {"start": START, "features": FEATURES, "head": HEAD, "fine_tune": FINE_TUNE, "evaluate": EVALUATE}
    costs.record(CONFIG, seconds | {"memory": MEMORY})
    guess = estimate()
    assert guess.measured
    assert guess.memory_bytes == MEMORY
    assert guess.seconds == pytest.approx(SyntheticRun().seconds, rel=0.05)
    assert costs.is_known("head", CONFIG)
    assert not costs.is_known("head", replace(CONFIG, alpha=1.0))


def test_the_memory_of_this_process_is_more_than_an_array_in_it():
    array = bytearray(50_000_000)
    assert len(array) < costs.peak_memory_bytes() < 100_000_000_000


def test_slow_runs_do_not_spoil_the_estimate():
    for slower in (9, 1, 9, 9):
        learn(SyntheticRun(slower))
    assert estimate().seconds == pytest.approx(SyntheticRun().seconds, rel=0.05)


def test_a_machine_that_became_slower_is_learnt():
    for slower in (1, 1, 1, 1, 1, 3, 3, 3, 3, 3):
        learn(SyntheticRun(slower))
    assert estimate().seconds == pytest.approx(SyntheticRun(3).seconds, rel=0.05)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00 no JSON",
        b"[1, 2]",
        b'{"start": 5}',
        b'{"start": ["soon", null, -4, 1e300, NaN]}',
        b'{"start": []}',
        b'{"start": [[1]], "fine_tune 0.5 96 4 64 True": {"a": 1}}',
    ],
)
def test_a_damaged_file_is_as_good_as_none_and_mended_by_the_next_run(content, cache):
    nothing_known = estimate()
    (cache / "costs.json").write_bytes(content)
    assert estimate() == nothing_known
    learn(SyntheticRun())
    assert estimate().measured
    assert estimate().seconds == pytest.approx(SyntheticRun().seconds, rel=0.05)
    json.loads((cache / "costs.json").read_text())


def test_a_run_without_rows_teaches_nothing():
    costs.record_run(CONFIG, [], 40.0, MEMORY)
    assert not estimate().measured


def test_a_cache_that_cannot_be_written_is_no_error(cache, monkeypatch):
    (cache / "file").write_bytes(b"")
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(cache / "file"))
    learn(SyntheticRun())
    assert not estimate().measured
