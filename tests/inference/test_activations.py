"""Inside a network: the strongest channels, what excites them, what a place of a map sees."""

import numpy as np
import pytest

from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.inference import activations
from cifar_core.inference.classifier import Classifier
from cifar_core.network import litert, pretrained
from cifar_core.network.litert import Network

IMAGES = 40


def model(tmp_path, alpha: float = 0.35, size: int = 64, seed: int = 3) -> Classifier:
    """A network with random weights, as if it were a run's."""
    named = pretrained.load("random", alpha, size, seed).named
    content = litert.build(named, alpha, size, "minus_one_to_one", ("pooled",))

    class Random(Classifier):
        @property
        def alpha(self) -> float:
            return alpha

    return Random("random", Network(content), tmp_path)


@pytest.fixture
def few(monkeypatch, small_data):
    monkeypatch.setattr(activations, "IMAGES", IMAGES)
    images, _ = cifar10.samples(IMAGES)
    return images


def maps_of(one: Classifier, images: np.ndarray) -> dict[str, np.ndarray]:
    return Network(activations.with_layer_outputs(one.content, one.alpha)).run(images)


def test_the_images_that_excite_a_channel_most_are_found_once(few, tmp_path, monkeypatch):
    one = model(tmp_path)
    calls: list[int] = []
    found = activations.top_images(one, lambda done, total: calls.append(done))
    highest = maps_of(one, few)["block_5"].max(axis=(1, 2))
    assert calls == [*range(0, IMAGES, activations._CHUNK)]
    assert found.rows[5].shape == (highest.shape[1], activations.NEAREST)
    assert (found.rows[5][:, 0] == highest.argmax(axis=0)).all()
    assert np.allclose(found.means[5], highest.mean(axis=0), atol=1e-5)
    calls.clear()
    again = activations.top_images(one, lambda done, total: calls.append(done))
    assert calls == []
    assert all((a == b).all() for a, b in zip(found.rows, again.rows, strict=True))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"0" * 1000])
def test_a_damaged_file_is_made_anew(few, tmp_path, content):
    one = model(tmp_path)
    first = activations.top_images(one)
    (file,) = (cifar10.cache_dir() / "inside").iterdir()
    file.write_bytes(content)
    assert all((a == b).all() for a, b in zip(first.rows, activations.top_images(one).rows, strict=True))


def test_the_eight_channels_are_the_strongest_of_each_block(few, tmp_path):
    one = model(tmp_path)
    known = activations.top_images(one)
    views = activations.views(one, few[7], known)
    assert len(views) == 17
    values = maps_of(one, few[7:8])["block_9"][0]
    scores = (values.max(axis=(0, 1)) - known.means[9]) / known.spreads[9]
    view = views[9]
    assert (view.count, view.side) == (values.shape[2], values.shape[0])
    assert list(view.channels) == list(np.argsort(-scores, kind="stable")[:8])
    assert np.allclose(view.strengths, np.sort(scores)[::-1][:8], atol=1e-3)
    assert np.allclose(view.maps.max(axis=(1, 2)), view.strengths, atol=1e-4)


def test_the_last_place_sees_491_pixels_and_a_place_sees_nothing_beyond_its_field(few, tmp_path):
    last = activations.receptive_fields(model(tmp_path, size=32))[-1]
    assert last == 491  # by hand: 3, then twice the step for each depthwise kernel
    one = model(tmp_path, size=96)
    known = activations.top_images(one)
    view = activations.views(one, few[0], known)[1]  # 24 places a side
    left, top, side = view.place(0)
    changed = few[0].copy()
    rows, columns = np.indices((32, 32)) / 32
    margin = 2 / 32  # the resize mixes neighbouring pixels
    outside = (columns < left - margin) | (columns > left + side + margin)
    outside |= (rows < top - margin) | (rows > top + side + margin)
    assert 0.2 < outside.mean() < 0.99
    changed[outside] = 255 - changed[outside]
    before, after = (maps_of(one, image[None])["block_1"][0] for image in (few[0], changed))
    row, column = np.unravel_index(int(view.maps[0].argmax()), (view.side, view.side))
    assert np.allclose(before[row, column], after[row, column], atol=1e-5)
    assert not np.allclose(before, after, atol=1e-2)


def test_a_model_is_like_itself_and_not_comparable_with_another_size(few, tmp_path):
    one = model(tmp_path)
    assert np.allclose(activations.similarities([one, model(tmp_path)], few[0]), 1, atol=1e-5)
    assert activations.similarities([one, model(tmp_path, seed=4)], few[0]).min() < 0.9
    with pytest.raises(RunError, match="widths or input sizes"):
        activations.similarities([one, model(tmp_path, size=96)], few[0])
