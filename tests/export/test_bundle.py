"""A finished run becomes the network in the box, with a card that says how good it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.errors import RunError
from cifar_core.export import bundle
from cifar_core.inference import calibration, classifier, neighbors
from cifar_core.network import pretrained
from cifar_core.runs import Run

CONFIG = replace(PRESETS["best"], dataset="generated", image_size=32, seed=3)


def finished(config: TrainConfig) -> Run:
    """A run that ended, with random weights and predictions."""
    run, rng = runs.create(config), np.random.default_rng(0)
    named = pretrained.load("random", config.alpha, config.image_size, 3).named
    np.savez(run.path / "checkpoint.npz", **{f"best/{name}": array for name, array in named.items()})
    labels = np.repeat(np.arange(10, dtype=np.uint8), 30)
    said = rng.dirichlet(np.ones(10), len(labels)).astype(np.float32)
    said[labels == 3] = np.eye(10, dtype=np.float32)[5]  # every cat is called a dog
    evaluation = {
        f"{part}_{what}": value
        for part in ("validation", "test")
        for what, value in (("labels", labels), ("probabilities", said))
    }
    np.savez(run.path / "evaluation.npz", **evaluation)
    unlike = calibration.OutOfDistribution(1.0, 0.95, {"noise": 0.9}, 200)
    calibration.fit(said, labels, unlike).save(run.path / calibration.FILE)
    for name in ("best.keras", "model.tflite", neighbors.FILE):
        (run.path / name).write_bytes(name.encode())
    environment = {
        "python": "3.11",
        "packages": {"tensorflow": "2.21", "keras": "3.15", "numpy": "2.4"},
        "processor": "a machine",
        "cores": 2,
        "data": {"label": "generated images, not CIFAR-10", "fingerprint": "d"},
        "weights": {"label": "random numbers", "fingerprint": "w"},
    }
    runs.write_json(run.path / "environment.json", environment)
    result = {"elapsed_seconds": 600.0, "parameters": 876_602}
    runs.write_json(run.path / "status.json", {"state": "finished", "result": result})
    return run


def test_the_base_ships_whole_and_starts_a_training(tmp_path):
    run = finished(CONFIG)
    bundle.bundle(run, pretrained.BUNDLED_FOLDER)
    loaded = pretrained.load("bundled", 0.5, 32, 1)
    assert "has seen CIFAR-10" in loaded.label
    with np.load(run.path / "checkpoint.npz") as file:
        for name, array in loaded.named.items():
            tolerance = 2e-3 if name.endswith("/kernel") else 0
            assert array == pytest.approx(file[f"best/{name}"], rel=tolerance, abs=tolerance * 1e-3)


def test_width_one_half_ships_what_classifies_and_others_do_not(tmp_path):
    for alpha in (0.5, 0.35):
        bundle.bundle(finished(replace(CONFIG, alpha=alpha)), pretrained.BUNDLED_FOLDER)
    assert sorted(path.name for path in pretrained.BUNDLED_FOLDER.iterdir()) == [
        "MODEL_CARD.md",
        "calibration.json",
        "card.json",
        "mobilenet_v2_0.35.npz",
        "mobilenet_v2_0.5.keras",
        "mobilenet_v2_0.5.npz",
        "mobilenet_v2_0.5.tflite",
        "neighbours.npz",
    ]
    assert classifier.has_bundled()
    assert sorted(json.loads((pretrained.BUNDLED_FOLDER / "card.json").read_text())) == ["0.35", "0.5"]


def test_the_card_has_recipe_machine_figures_and_what_it_is_bad_at(tmp_path):
    bundle.bundle(finished(CONFIG), pretrained.BUNDLED_FOLDER)
    text = (pretrained.BUNDLED_FOLDER / "MODEL_CARD.md").read_text()
    assert "`python -m cifar_core train --preset best --dataset generated --image-size 32 --seed 3`" in text
    for words in (
        "a machine, 2 cores",
        "Seed 3",
        "cat predicted as dog (30)",
        "| cat | 0.0% |",
        "noise 90%",
        "synthetic images, not CIFAR-10",
        "root mean square calibration error on test images",
    ):
        assert words in text


def test_the_recipe_names_what_a_plain_training_has_not(tmp_path):
    plain = bundle._recipe(CONFIG)
    other = replace(CONFIG, teacher="bundled", distillation=0.9, ema="on", mixing=0.3, views=0)
    assert "teacher" not in plain
    assert "Mixup and CutMix 0.3, averaged weights, teacher bundled with weight 0.9. Seed 3." in bundle._recipe(other)


def test_a_network_that_went_on_from_the_one_in_the_box_tells_how_that_one_came_about(tmp_path):
    bundle.bundle(finished(CONFIG), pretrained.BUNDLED_FOLDER)
    for size in (64, 96):
        run = finished(replace(CONFIG, weights="bundled", image_size=size))
        environment = runs.read_json(run.path / "environment.json")
        environment["weights"] |= {"kind": "bundled", "label": "bundled model (has seen CIFAR-10)"}
        runs.write_json(run.path / "environment.json", environment)
        bundle.bundle(run, pretrained.BUNDLED_FOLDER)
    cards = json.loads((pretrained.BUNDLED_FOLDER / "card.json").read_text())
    first, second = cards["0.5"]["before"]
    assert (first["weights"]["label"], second["weights"]["kind"]) == ("random numbers", "bundled")
    text = (pretrained.BUNDLED_FOLDER / "MODEL_CARD.md").read_text()
    assert "| 10 + 10 + 10 min" in text
    assert f"| `{first['command']}`, then, from there, `{second['command']}`, then, from there, `" in text
    assert f"from random numbers, reached a test accuracy of {first['test']['accuracy']:.1%};" in text


def test_imagenet_weights_do_not_ship(tmp_path):
    run = finished(replace(CONFIG, fine_tune_blocks=7))
    with pytest.raises(RunError, match=r"7 of 17 blocks.*--fine-tune-blocks 17"):
        bundle.bundle(run, pretrained.BUNDLED_FOLDER)
    assert not pretrained.BUNDLED_FOLDER.exists()


def test_an_unfinished_run_does_not_ship(run):
    with pytest.raises(RunError, match=f"{run.id} is {run.state}.*finished"):
        bundle.bundle(run, pretrained.BUNDLED_FOLDER)
