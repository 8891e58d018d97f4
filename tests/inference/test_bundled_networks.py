"""The networks in the box are whole, and as good as their card says."""

import json

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.data import cifar10
from cifar_core.export import bundle
from cifar_core.inference import classifier
from cifar_core.network import litert, pretrained

pytestmark = pytest.mark.bundled

ALPHAS = ("0.35", "0.5", "0.75", "1")
CARDS = json.loads((pretrained.BUNDLED_FOLDER / bundle.CARD).read_text())
LIMIT_BYTES = 20_000_000
SAMPLE = 1_000


def test_every_width_of_the_slider_is_there():
    assert sorted(CARDS) == sorted(ALPHAS)
    assert sum(path.stat().st_size for path in pretrained.BUNDLED_FOLDER.iterdir()) < LIMIT_BYTES


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_base_is_trained_throughout_and_runs(alpha):
    config = CARDS[alpha]["config"]
    assert config["fine_tune_blocks"] == 17
    loaded = pretrained.load("bundled", float(alpha), 96, 1)
    assert {name: array.shape for name, array in loaded.named.items()} == pretrained.base_shapes(float(alpha))
    assert all(np.isfinite(array).all() for array in loaded.named.values())
    network = litert.Network(litert.build(loaded.named, float(alpha), 32, "minus_one_to_one", ("pooled",)))
    pooled = network.run(cifar10.samples(4, "generated")[0])["pooled"]
    assert pooled.std(axis=0).max() > 0.01


def test_the_card_in_words_is_the_card(tmp_path):
    text = (pretrained.BUNDLED_FOLDER / "MODEL_CARD.md").read_text()
    assert text == bundle.model_card(CARDS)
    accuracy = CARDS["0.5"]["test"]["accuracy"]
    assert f"{accuracy:.1%}" in text


def test_a_visitor_without_a_run_is_answered_by_it():
    assert not runs.finished_runs()
    opened = classifier.open_classifier()
    said = opened.answer(cifar10.samples(8, "generated")[0])
    assert opened.name == classifier.BUNDLED
    assert said.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert opened.calibration and opened.index


@pytest.mark.real_images
def test_it_is_as_good_on_test_images_as_the_card_says():
    if not cifar10.status()["official"]:
        pytest.skip("the official CIFAR-10 is not on this machine")
    images, labels = cifar10.samples(SAMPLE, "cifar10", test=True)
    share = float(
        (classifier.open_classifier(classifier.BUNDLED).probabilities(images).argmax(axis=1) == labels).mean()
    )
    stated = CARDS["0.5"]["test"]["accuracy"]
    assert share == pytest.approx(stated, abs=4 * (stated * (1 - stated) / SAMPLE) ** 0.5)
