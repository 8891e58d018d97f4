"""Machines with CIFAR-10 in small, or without: a cache of their own, six small batches, a place that is named."""

import os
from pathlib import Path

import cifar_files
import numpy as np
import pytest

from cifar_core.data import batch_files, cifar10, synthetic

OFFICIAL = (os.environ.get("CIFAR10_DIR"), os.environ.get("CIFAR_CACHE_DIR"))  # before any test changes them


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, nothing in memory, and few generated images."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(folder))
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(cifar10, "_loaded", {})
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 40)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 20)
    return folder


@pytest.fixture
def records(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Six small batches, whose fingerprint stands for the official one."""
    small = cifar_files.small_batches(monkeypatch)
    monkeypatch.setattr(cifar10, "OFFICIAL_FINGERPRINT", cifar10._fingerprint(batch_files.to_arrays(small)))
    return small


@pytest.fixture
def binary(records: list[np.ndarray]) -> dict[str, bytes]:
    return cifar_files.binary_files(records)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that CIFAR10_DIR names."""
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "place"))
    return tmp_path / "place"


def same(one: cifar10.Dataset, other: cifar10.Dataset) -> bool:
    fields = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(one, field), getattr(other, field)) for field in fields)


def forget() -> None:
    """Do as a new process would."""
    cifar10._loaded.clear()


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Path:
    named, own = OFFICIAL
    place = Path(named or own or "~/.cache/cifar-studio").expanduser().absolute()
    if not place.exists():
        pytest.skip("the official CIFAR-10 is neither in CIFAR10_DIR nor in the app's cache")
    return place
