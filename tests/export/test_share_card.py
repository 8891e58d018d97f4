import io
import json

import numpy as np
import pytest
from PIL import Image, ImageSequence

from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.export import report
from cifar_core.inference import pins
from cifar_core.inference.pins import Pin


def watched(run, moments=(0, 0.5, 1)):
    """Let `run` have watched a picture whose probability of "cat" grows."""
    pin = Pin(np.full((32, 32, 3), 200, np.uint8), "cat")
    pins.save(run, [pin])
    rows = [
        {"phase": "head", "epoch": at, "pins": {pin.key: [(1 - at / 2) / 9] * 3 + [at / 2] + [(1 - at / 2) / 9] * 6}}
        for at in moments
    ]
    (run.path / pins.PROBES).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("watches", [True, False])
def test_the_card_is_a_png_whether_or_not_pictures_were_watched(finished_run, small_data, watches, monkeypatch):
    images = cifar10.load("generated").test_images
    monkeypatch.setattr(report.predictions, "images_of", lambda run, evaluation, split: images)
    if watches:
        watched(finished_run)
    image = Image.open(io.BytesIO(report.card(finished_run)))
    assert (image.format, image.size) == ("PNG", report.CARD_SIZE)
    pictures = np.asarray(image.convert("L"))[420:570, 48:216]
    assert pictures.std() > 1 or (watches and abs(int(pictures[0, 0]) - 200) <= 1)


def test_the_card_shows_no_pictures_of_other_labels(finished_run, small_data, monkeypatch):
    """An imported run may name the images on this machine, and have other predictions."""
    monkeypatch.setattr(report.predictions, "dataset_of", lambda run: cifar10.load("generated"))
    image = Image.open(io.BytesIO(report.card(finished_run)))
    assert np.asarray(image.convert("L"))[420:570].std() == 0


def test_the_animation_moves_from_the_first_recorded_moment_to_the_last(finished_run):
    watched(finished_run)
    image = Image.open(io.BytesIO(report.animation(finished_run)))
    frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert (image.format, image.size) == ("WEBP", report.ANIMATION_SIZE)
    assert len(frames) == 2 * 4 + 1
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 100
    assert image.info["loop"] == 0


def test_the_animation_of_a_long_run_has_no_more_frames_and_the_same_ends(finished_run):
    """One of 200 epochs took 1.7 GB and minutes."""
    watched(finished_run, np.linspace(0, 1, 200).tolist())
    moments = report._moments(pins.watch(finished_run).watched)
    assert (len(moments), moments[0], moments[-1]) == (150, 0, 1)


def test_a_run_that_watched_nothing_has_no_animation(finished_run):
    with pytest.raises(RunError, match="watched no pictures"):
        report.animation(finished_run)
