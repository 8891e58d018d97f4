"""A project of two kinds of pictures, and no ImageNet weights."""

import pytest
from teach_pictures import drawn

from cifar_core.data import download
from cifar_core.inference.pictures import Picture
from cifar_core.teach import project as projects


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(download, "answers", lambda url: False)


@pytest.fixture
def two_kinds():
    """A project called kinds, with a dozen pictures of each of two classes."""
    projects.create("kinds")
    pairs = [(kind, Picture(f"{n}.png", drawn(kind, n))) for kind in ("stripes", "spots") for n in range(12)]
    assert projects.add("kinds", pairs) == []
    return "kinds"
