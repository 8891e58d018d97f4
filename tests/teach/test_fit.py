"""The head in closed form, its cross-validation, and the warnings."""

import time

import numpy as np

from cifar_core.evaluation.predictions import confusion_counts
from cifar_core.teach import fit as fits


def made(counts, spread=0.3, seed=0, width=64):
    """Features, (n, width), around a direction for each class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), width))
    return (centres[labels] + spread * width**0.5 * rng.normal(size=(len(labels), width)) / 4).astype(
        np.float32
    ), labels


def fitted(features, labels, bursts=None, originals=None, strength=1.0, is_pretrained=True):
    names = [f"class {n}" for n in range(labels.max() + 1)]
    units = features[: len(labels)] / np.linalg.norm(features[: len(labels)], axis=1, keepdims=True)
    bursts = np.zeros_like(labels) if bursts is None else bursts
    originals = np.arange(len(labels)) if originals is None else originals
    return fits.fit(features, originals, units, labels, bursts, names, strength, is_pretrained)


def test_what_the_matrix_says_of_a_fold_is_what_a_head_fitted_without_it_says():
    features, labels = made([8, 9, 10])
    weights, folds = np.linspace(0.5, 2, len(labels)), np.arange(len(labels)) % 4
    mean, spread = features.mean(axis=0), features.std(axis=0)
    _, _, scores = fits._ridge(features, labels, 3, weights, 0.7, folds)
    spread = np.hypot(spread, 0.1 * np.abs(mean) + 1e-6) * features.shape[1] ** 0.5
    rows = np.column_stack([(features - mean) / spread, np.full(len(labels), fits._INTERCEPT)])
    for fold in range(4):
        kept, out = folds != fold, folds == fold
        w, x = weights[kept, None], rows[kept]
        head = np.linalg.solve(x.T @ (w * x) + 0.7 * np.eye(x.shape[1]), x.T @ (w * np.eye(3)[labels[kept]]))
        np.testing.assert_allclose(scores[out], rows[out] @ head, atol=1e-6)


def test_accuracy_is_that_of_pictures_which_were_left_out():
    features, labels = made([20, 20, 20], spread=0.5)
    found = fitted(features, labels)
    assert found.held_out.accuracy > 0.9 and confusion_counts(found.held_out).sum() == 60
    assert found.held_out.interval[0] < found.held_out.accuracy <= found.held_out.interval[1]
    shuffled = np.random.default_rng(3).permutation(labels)
    assert fitted(features, shuffled).held_out.accuracy < 0.6
    probabilities = found.probabilities(features)
    assert probabilities.shape == (60, 3) and np.allclose(probabilities.sum(axis=1), 1)
    assert probabilities.max() < 1


def test_frames_of_a_burst_and_near_duplicates_are_in_one_fold():
    features, labels = made([12, 12])
    features[4:8] = features[4] + 1e-3 * np.arange(4)[:, None]
    bursts = np.where(np.arange(24) % 12 < 4, 1 + labels, 0)
    found = fitted(features, labels, bursts)
    for together in (slice(0, 4), slice(12, 16), slice(4, 8)):
        assert len(set(found.folds[together])) == 1
    assert all(np.ptp(np.bincount(found.folds[labels == label], minlength=5)) <= 4 for label in (0, 1))
    assert found.warnings == ()


def test_changed_copies_stay_with_their_original():
    features, labels = made([6, 6])
    originals = np.repeat(np.arange(12), 3)
    names = ["a", "b"]
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = fits.fit(features[originals], originals, units, labels, np.zeros(12, int), names, 1.0)
    alone = fits.fit(features, np.arange(12), units, labels, np.zeros(12, int), names, 1.0)
    np.testing.assert_allclose(found.held_out.probabilities, alone.held_out.probabilities, atol=1e-4)


def test_each_oddity_is_a_sentence():
    features, labels = made([3, 12, 12])
    features[20] = features[5]
    bursts = np.where(labels == 2, 7, 0)
    said = "\n".join(fitted(features, labels, bursts).warnings)
    assert '"class 0" has 3 pictures' in said
    assert 'is in "class 1" and "class 2"' in said
    assert 'Most pictures of "class 2" look almost alike' in said
    rng = np.random.default_rng(1)
    mixed = fitted(rng.normal(size=(40, 64)).astype(np.float32), np.repeat([0, 1], 20)).warnings
    assert any("look alike" in sentence for sentence in mixed)
    alike = fitted(np.ones((20, 64), np.float32), np.repeat([0, 1], 10)).warnings
    assert len(alike) == 1 and "All pictures" in alike[0]


def test_a_class_without_pictures_is_never_the_answer():
    features, labels = made([9, 0, 9])
    found = fitted(features, labels)
    assert any('"class 1" has no pictures' in sentence for sentence in found.warnings)
    assert not (found.probabilities(features).argmax(axis=1) == 1).any()


def test_random_weights_say_nothing_of_likeness():
    assert fitted(np.ones((20, 64), np.float32), np.repeat([0, 1], 10), is_pretrained=False).held_out.accuracy <= 0.6


def test_far_from_all_own_pictures_is_beyond_the_threshold():
    features, labels = made([20, 20], spread=0.5)
    found = fitted(features, labels)
    own, far = found.units[:1], -found.units[:1]
    assert found.nearest(own, 1)[1][0, 0] < found.threshold < found.nearest(far, 1)[1][0, 0]
    assert found.nearest(own, 4)[0][0, 0] == 0


def test_two_thousand_pictures_with_all_features_take_seconds():
    features, labels = made([100] * 20, width=1280)
    start = time.monotonic()
    fitted(features, labels)
    assert time.monotonic() - start < 30
