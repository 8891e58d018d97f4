"""Fit a linear head in closed form, with cross-validation and warnings about the pictures.

The method is ridge regression to one-hot classes on standardized features. Its held-out predictions follow from the
same matrix (Hastie, Tibshirani & Friedman 2009, 7.10 and 5.5.1), so cross-validation is almost free. A temperature,
fitted on these predictions, converts scores to probabilities.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cifar_core.evaluation.predictions import Predictions, confusion_counts
from cifar_core.inference.calibration import softmax
from cifar_core.untrusted import quoted

FOLDS = 5
ALIKE = 0.9
"""Cosine similarity above which two pictures of a class are near-duplicates: frames of a burst, not CIFAR-10."""
SAME = 0.97
"""Cosine similarity above which two pictures are the same to the network."""
FEWEST = 5
"""A class with fewer pictures gets a warning."""
_INTERCEPT = 10.0  # constant feature, so large that its weight is hardly regularized
_LEVEL = 0.95  # share of the user's pictures within the threshold
_NEAREST_THRESHOLD = 0.6  # distance of unit features, 0 to 1.41; a single burst would give 0.2
_MOST_OF_ONE = 2 / 3  # a larger share of a class in one group is split into single pictures
_MIXED = 0.25  # above this share of confused pictures, two classes look alike


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted head and its evaluation.

    kernel, bias: float64 (f, k) and (k,), from features to logits. held_out: the predictions for the n pictures by
    cross-validation. folds: int (n,), the fold in which each picture is held out. units: float32 (n, f), features of
    the layer above the blocks, normalized to length 1. threshold: distance of these features above which a picture is
    unlike all others. warnings: sentences.
    """

    kernel: np.ndarray
    bias: np.ndarray
    held_out: Predictions
    folds: np.ndarray
    units: np.ndarray
    threshold: float
    warnings: tuple[str, ...]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities, float (m, k), for features, float (m, f)."""
        return softmax(features @ self.kernel + self.bias)

    def nearest(self, units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and distances, (m, count), of the user's pictures nearest to unit features (m, f)."""
        cosines = units @ self.units.T
        places = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return places, _distance(np.take_along_axis(cosines, places, axis=1))


def fit(
    features: np.ndarray,
    originals: np.ndarray,
    units: np.ndarray,
    labels: np.ndarray,
    bursts: np.ndarray,
    names: Sequence[str],
    strength: float,
    is_pretrained: bool = True,
) -> Fit:
    """Fit a head for the classes `names`.

    features: float32 (m, f), of pictures and changed copies. originals: int (m,), the picture of each row. For the
    n pictures: units, float32 (n, g), and labels and bursts, int (n,). Without `is_pretrained`, cosine similarities
    are meaningless and not used. At least two classes have pictures.
    """
    counts = np.bincount(labels, minlength=len(names))
    cosines = units @ units.T if is_pretrained else np.eye(len(labels))
    groups, moments = _groups(cosines, labels, bursts)
    folds = _folds(groups, labels)
    weights = (len(labels) / len(names) / np.maximum(counts, 1))[labels]
    weights = (weights / np.bincount(originals))[originals]
    kernel, bias, scores = _ridge(features, labels[originals], len(names), weights, strength, folds[originals])
    first = np.unique(originals, return_index=True)[1]
    scale = _inverse_temperature(scores[first], labels)
    held_out = Predictions(labels, softmax(scale * scores[first]))
    warnings = tuple(_warnings(held_out, cosines, moments, counts, names))
    return Fit(scale * kernel, scale * bias, held_out, folds, units, _threshold(cosines, groups, labels), warnings)


def _ridge(
    features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray, strength: float, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kernel (f, k), bias (k,) and the held-out scores of each row, (m, k)."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.hypot(spread, 0.1 * np.abs(mean) + 1e-6) * np.sqrt(features.shape[1])  # row length of about 1
    roots = np.sqrt(weights)[:, None]
    rows = roots * np.column_stack([(features - mean) / spread, np.full(len(features), _INTERCEPT)])
    targets = roots * np.eye(classes)[labels]
    inverse = np.linalg.inv(rows @ rows.T + strength * np.eye(len(rows)))
    dual = inverse @ targets
    scores = np.empty_like(targets)
    for fold in np.unique(folds):
        out = np.flatnonzero(folds == fold)
        scores[out] = targets[out] - np.linalg.solve(inverse[np.ix_(out, out)], dual[out])
    solved = rows.T @ dual
    kernel = solved[:-1] / spread[:, None]
    return kernel, _INTERCEPT * solved[-1] - mean @ kernel, scores / roots


def _inverse_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor of the scores that fits the labels best, with confidence limited as in Platt 1999."""
    smoothing = 1 / (len(labels) + 2)
    target = np.full(scores.shape, smoothing / (scores.shape[1] - 1))
    target[np.arange(len(labels)), labels] = 1 - smoothing
    factors = np.geomspace(0.1, 100, 90)
    losses = [-(target * np.log(np.maximum(softmax(f * scores), 1e-12))).sum() for f in factors]
    return float(factors[int(np.argmin(losses))])


def _groups(cosines: np.ndarray, labels: np.ndarray, bursts: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the group of each picture (near-duplicates share one), and the classes dominated by one group.

    Such a group is split into single pictures; otherwise too few would be left to learn the class.
    """
    same_burst = (bursts[:, None] == bursts) & (bursts > 0)
    linked = (labels[:, None] == labels) & (same_burst | (cosines >= ALIKE))
    groups = _components(linked)
    moments = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        largest = places[groups[places] == np.bincount(groups[places]).argmax()]
        if len(places) > 1 and len(largest) > _MOST_OF_ONE * len(places):
            groups[largest] = groups.max() + 1 + np.arange(len(largest))
            moments.append(int(label))
    return groups, moments


def _components(linked: np.ndarray) -> np.ndarray:
    """Return the number of each node's connected component, int (n,), in a graph, linked: bool (n, n)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    return connected_components(csr_array(linked), directed=False)[1]


def _folds(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the fold of each picture, int (n,): one for each group, with each class spread evenly."""
    folds = np.zeros(len(labels), int)
    most = max(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    rng = np.random.default_rng(1)
    for turn, label in enumerate(np.unique(labels)):
        is_label = labels == label
        members, sizes = np.unique(groups[is_label], return_counts=True)
        filled = np.zeros(min(FOLDS, most))
        for place in sorted(rng.permutation(len(members)), key=lambda place: -sizes[place]):
            fold = int(np.argmin(np.roll(filled, -turn)) + turn) % len(filled)  # small classes start at different folds
            filled[fold] += sizes[place]
            folds[is_label & (groups == members[place])] = fold
    return folds


def _threshold(cosines: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> float:
    """Return the distance within which most pictures have another of their class that is no near-duplicate."""
    others = (labels[:, None] == labels) & (groups[:, None] != groups)
    nearest = np.where(others, cosines, -1).max(axis=1)[others.any(axis=1)]
    return max(_NEAREST_THRESHOLD, float(np.quantile(_distance(nearest), _LEVEL))) if len(nearest) else 1.0


def _distance(cosines: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * cosines, 0))


def _warnings(
    held_out: Predictions, cosines: np.ndarray, moments: Sequence[int], counts: np.ndarray, names: Sequence[str]
) -> list[str]:
    warnings = []
    for name, count in zip(names, counts, strict=True):
        if count == 0:
            warnings.append(f"{quoted(name)} has no pictures yet, so it is never predicted.")
        elif count < FEWEST:
            few = f"{count} picture{'s' if count > 1 else ''}"
            warnings.append(f"{quoted(name)} has {few} only; ten or more, from different places, are better.")
    labels = held_out.labels
    if len(labels) > 2 and len(np.unique(_components(cosines >= SAME))) == 1:
        return [*warnings, "All pictures are nearly the same to the network: it cannot learn from them what differs."]
    twice = np.argwhere(np.triu((cosines >= SAME) & (labels[:, None] != labels)))
    for one, other in {(int(labels[a]), int(labels[b])) for a, b in twice}:
        warnings.append(
            f"The same picture, or nearly, is in {quoted(names[one])} and {quoted(names[other])}; remove one."
        )
    if moments:
        warnings.append(
            f"Most pictures of {' and of '.join(quoted(names[label]) for label in moments)} look almost "
            "alike, so the accuracy is too high; take more in another place."
        )
    confused = confusion_counts(held_out)
    for one, other in itertools.combinations(range(len(names)), 2):
        mixed, total = confused[one, other] + confused[other, one], counts[one] + counts[other]
        if mixed > 2 and mixed >= _MIXED * total:
            warnings.append(
                f"{quoted(names[one])} and {quoted(names[other])} look alike to the network: {mixed} of {total} "
                "pictures were mixed up. More pictures, or a larger input, may help."
            )
    return warnings
