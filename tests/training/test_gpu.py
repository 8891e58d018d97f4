"""The frozen part in Keras, which serves where a graphics card is visible, computes what LiteRT does on a CPU."""

import dataclasses

import keras
import numpy as np
import pytest

from cifar_core import machine
from cifar_core.data import cifar10
from cifar_core.network import pretrained
from cifar_core.training import hardware
from cifar_core.training.inputs import View, backbone_outputs, litert_network

IMAGES = 40


def extractor(config):
    """What fills the store, and what LiteRT computes."""
    loaded = pretrained.load("random", config.alpha, config.image_size, 1)
    network = litert_network(config, loaded.named, ("cut", "pooled"), threads=2)
    return backbone_outputs(config, cifar10.load("generated"), loaded), network.run


@pytest.mark.parametrize("alpha", [0.35, 1.3])
def test_both_paths_agree_to_a_thousandth(alpha, tiny_config, small_data):
    frozen, litert = extractor(dataclasses.replace(tiny_config, alpha=alpha, image_size=64))
    images = cifar10.load("generated").train_images[:IMAGES]
    here, there = litert(images), frozen._compute.on_gpu(images)
    assert set(here) == set(there) == {"cut", "pooled"}
    for layer, expected in here.items():
        assert there[layer].shape == expected.shape
        assert np.linalg.norm(there[layer] - expected) <= 1e-3 * np.linalg.norm(expected)


def test_where_a_graphics_card_is_visible_it_fills_the_store(tiny_config, small_data, monkeypatch):
    filled = []
    monkeypatch.setattr(hardware, "has_gpu", lambda: True)
    frozen, litert = extractor(tiny_config)
    run = frozen._compute.on_gpu
    monkeypatch.setattr(frozen._compute, "on_gpu", lambda images: filled.append(len(images)) or run(images))
    entries = frozen.fill(View(), np.arange(IMAGES), lambda done, total: None)
    expected = litert(cifar10.load("generated").train_images[:IMAGES])
    assert filled == [IMAGES]
    for layer, entry in entries.items():
        stored = entry.open()[:IMAGES].astype(np.float32)
        assert np.linalg.norm(stored - expected[layer]) <= 2e-3 * np.linalg.norm(expected[layer])


@pytest.mark.parametrize(("has_driver", "visible"), [(False, False), (True, True)])
def test_keras_is_asked_for_graphics_cards_only_where_a_driver_is(has_driver, visible, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: asked.append(kind) or ["gpu:0"])
    driver = tmp_path / "driver"
    if has_driver:
        driver.touch()
    monkeypatch.setattr(machine, "_GPU_DRIVERS", (str(driver),))
    assert hardware.has_gpu() is visible
    assert asked == (["gpu"] if has_driver else [])
