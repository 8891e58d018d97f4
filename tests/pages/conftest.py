"""Fixtures of the pages."""

import numpy as np
import pytest

from cifar_core.data import download, synthetic
from cifar_core.network import litert, pretrained
from cifar_core.search import head_lab


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A cache folder, so that the small set is drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def small_set(request, own_folders, drawn, monkeypatch):
    """A small set of generated images, no CIFAR-10, no ImageNet weights and no network, except in a browser."""
    if request.node.get_closest_marker("browser"):
        return
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(drawn))
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)


@pytest.fixture(scope="module")
def model():
    """A LiteRT file with random weights, as a finished run has it."""
    rng = np.random.default_rng(3)
    # Kernels of Glorot's size let a signal die on its way through 17 blocks; six times that size keeps it.
    named = {
        name: value * 6 if name.endswith("/kernel") else value
        for name, value in pretrained.load("random", 0.35, 32, 1).named.items()
    }
    for name, value in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
        named[f"head_norm/{name}"] = np.full(1280, value, np.float32)
    for name, shape in {"head_dense": (1280, 16), "head_output": (16, 10)}.items():
        named[f"{name}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        named[f"{name}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, 0.35, 32, "minus_one_to_one", ("pooled", "probabilities"))


@pytest.fixture(autouse=True)
def played_models(any_model):
    """The runs of these tests have a small network, whatever their configuration."""


@pytest.fixture(autouse=True)
def no_lab(request, monkeypatch):
    """No process of the head lab, which would outlive the test, except in a browser."""
    if not request.node.get_closest_marker("browser"):
        monkeypatch.setattr(head_lab, "start", lambda: None)
