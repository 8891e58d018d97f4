import numpy as np
import pytest

from cifar_core.data import synthetic
from cifar_core.errors import RunError
from cifar_core.inference import neighbors
from cifar_core.inference.classifier import Classifier, open_classifier


@pytest.fixture
def features() -> np.ndarray:
    """600 images in five heaps, in 128 features of which 20 matter."""
    rng = np.random.default_rng(2)
    heaps = np.abs(rng.normal(0, 3, (5, 20)))[np.arange(600) % 5]
    found = np.zeros((600, 128), np.float32)
    found[:, :20] = np.maximum(heaps + rng.normal(0, 0.3, heaps.shape), 0)
    return found


@pytest.fixture
def index(features) -> neighbors.Index:
    return neighbors.build(features, np.arange(600) % 5, np.arange(600) * 7, "fingerprint")


def test_an_image_is_its_own_nearest_neighbour_and_the_others_are_of_its_heap(index, features):
    places, distances = index.nearest(features[:50], 5)
    assert (places[:, 0] == np.arange(50)).all()
    assert distances[:, 0].max() < 0.02  # float16
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (index.labels[places] == (np.arange(50) % 5)[:, None]).all()


def test_distances_are_those_between_features_of_length_1(index, features):
    rng = np.random.default_rng(3)
    query = features[:3] + rng.normal(0, 0.2, (3, 128)).astype(np.float32) * (np.arange(128) < 20)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    exact = np.sort(np.linalg.norm(unit(query)[:, None] - unit(features)[None], axis=2), axis=1)[:, :10]
    assert np.allclose(index.nearest(query)[1], exact, atol=0.01)


def test_what_lies_outside_of_the_components_counts_as_far(index, features):
    odd = np.zeros((1, 128), np.float32)
    odd[0, 100] = 1
    assert index.scores(odd)[0] > 1.2
    assert index.scores(features).max() < 0.5


def test_an_index_is_read_back_as_it_was(index, features, tmp_path):
    index.save(tmp_path / neighbors.FILE)
    again = neighbors.load(tmp_path / neighbors.FILE)
    assert again.data == "fingerprint"
    assert (again.rows == index.rows).all()
    assert (again.nearest(features)[0] == index.nearest(features)[0]).all()
    assert [path.name for path in tmp_path.iterdir()] == [neighbors.FILE]
    assert neighbors.load(tmp_path / "missing.npz") is None


@pytest.mark.bundled
def test_an_index_of_another_network_is_a_sentence(features, index, tmp_path):
    bundled = open_classifier("bundled")
    index.save(tmp_path / neighbors.FILE)
    mixed = Classifier("mixed", bundled._network, tmp_path)
    assert np.isnan(mixed.answer(np.zeros((1, 32, 32, 3), np.uint8)).scores).all()
    (problem,) = mixed.problems
    assert "128 features an image, expected 1280" in problem


@pytest.mark.parametrize("damage", ["empty", "cut", "pickle", "shapes", "missing", "nan"])
def test_a_damaged_index_is_said_in_a_sentence(index, tmp_path, damage):
    path = tmp_path / neighbors.FILE
    index.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        arrays |= {
            "pickle": {"labels": np.array([{}] * 600, object)},
            "shapes": {"rows": arrays["rows"][:-1]},
            "missing": {},
            "nan": {"mean": arrays["mean"] * np.nan},
        }[damage]
        if damage == "missing":
            del arrays["codes"]
        np.savez(path, **arrays)
    with pytest.raises(RunError, match=neighbors.FILE):
        neighbors.load(path)


def test_a_large_training_set_is_thinned_evenly():
    rows = np.arange(40_000) * 2
    kept = neighbors.index_rows(rows)
    assert len(kept) == neighbors.MOST_IMAGES
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (rows[0], rows[-1])
    assert neighbors.index_rows(rows[:500]) is not None
    assert len(neighbors.index_rows(rows[:500])) == 500


@pytest.mark.parametrize("kind", list(synthetic.OTHER_KINDS))
def test_unlike_pictures_are_the_same_for_a_seed_and_differ_among_themselves(kind):
    images = synthetic.other_images(kind, 12)
    assert (images.dtype, images.shape) == (np.uint8, (12, 32, 32, 3))
    assert (images == synthetic.other_images(kind, 12)).all()
    assert len(np.unique(images.reshape(12, -1), axis=0)) == 12
    assert (images != synthetic.other_images(kind, 12, seed=2)).any()
