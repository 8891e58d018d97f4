import json

import numpy as np
import pytest
from interruption import Interruption

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, synthetic
from cifar_core.inference import calibration, neighbors, pins
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.pins import Pin
from cifar_core.runs import Run, create
from cifar_core.training import worker

STEPS = 13  # an epoch: 800 images in batches of 64
MOMENTS = [0, 1 / STEPS, 2 / STEPS, 3 / STEPS, 6 / STEPS, 1, 2]


def pinned_run(config: TrainConfig) -> Run:
    run = create(config)
    images, _ = cifar10.samples(2, "generated", test=True)
    pins.save(run, [Pin(image, f"picture {i}") for i, image in enumerate(images)])
    return run


@pytest.mark.slow
def test_probes_come_after_every_epoch_and_within_the_first_and_survive_an_interruption(
    tiny_config: TrainConfig, small_data: object, interrupt: Interruption
) -> None:
    undisturbed, interrupted = pinned_run(tiny_config), pinned_run(tiny_config)
    assert worker.main(str(undisturbed.path)) == 0
    interrupt.in_batch(interrupted, 4)  # within the first epoch: begun anew
    interrupt.in_batch(interrupted, 2 * STEPS + 4)  # within the first of fine-tuning: probes of it are taken again
    assert worker.main(str(interrupted.path)) == 0
    rows, again = ((run.path / pins.PROBES).read_text() for run in (undisturbed, interrupted))
    assert rows == again
    found = [json.loads(line) for line in rows.splitlines()]
    for phase in ("head", "fine_tune"):
        assert [row["epoch"] for row in found if row["phase"] == phase] == pytest.approx(MOMENTS, abs=1e-3)
    first = pins.watch(undisturbed).watched[0]
    assert np.allclose(first.probabilities.sum(axis=1), 1, atol=1e-3)
    assert np.abs(first.probabilities[-1] - first.probabilities[0]).max() > 0.01

    # What the end of the run leaves behind.
    model = open_classifier(undisturbed.id)
    last = model.probabilities(first.pin.image[None])[0]
    if undisturbed.result["best_phase"] == "fine_tune" and undisturbed.result["best_epoch"] == 2:
        assert np.allclose(first.probabilities[-1], last, atol=1e-3)
    index, known = model.index, model.calibration
    assert index is not None
    assert known is not None
    assert known.out_of_distribution is not None
    dataset = cifar10.load("generated")
    assert (dataset.train_labels[index.rows] == index.labels).all()
    own = dataset.train_images[index.rows[:20]]
    nearest = index.nearest(model.features(own))[0][:, 0]
    assert (index.labels[nearest] == index.labels[:20]).all()  # itself, or the same picture again
    answers = model.answer(synthetic.other_images("noise", 5))
    assert (answers.is_unusual == (answers.scores > known.out_of_distribution.threshold)).all()
    assert known.loss[1] <= known.loss[0] + 1e-6
    assert set(known.out_of_distribution.caught) == set(synthetic.OTHER_KINDS)
    assert (undisturbed.path / calibration.FILE).exists() and (undisturbed.path / neighbors.FILE).exists()
