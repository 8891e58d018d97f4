"""What the lab holds fixed: its name, its words, the places on its map. Needs no Keras."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from cifar_core.search import head_lab_map
from cifar_core.search.head_lab_map import GRID, Map
from cifar_core.training.inputs import Inputs

_COMPONENTS = 50
_ROUNDS = 500
_NEIGHBOURS = 15
_FAR = 0.035  # of the map's width: farther from every image the ground has no colour


def key(inputs: Inputs) -> str:
    """Return what names the fixed part: images, split and weights."""
    config = inputs.config
    parts = (inputs.dataset.fingerprint, inputs.weights.fingerprint, config.train_images, config.seed, "map 3")
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def describe(inputs: Inputs) -> dict[str, Any]:
    """Return in words and numbers what is held fixed."""
    return {
        "key": key(inputs),
        "images": inputs.dataset.label,
        "weights": inputs.weights.label,
        "train_images": len(inputs.train_rows),
        "validation_images": len(inputs.validation_rows),
    }


def make_map(inputs: Inputs) -> None:
    """Find the place of every validation image on the map and keep it; takes some seconds, once for a base.

    Principal components, then the linear discriminants that pull the true classes apart (LDA), then t-SNE (van der
    Maaten and Hinton 2008): neighbours there stay neighbours; distances between far groups mean nothing.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    _, validation = inputs.sources("head")
    validation.begin(0)
    features = validation.take(np.arange(len(inputs.validation_rows)))  # (n, 1280)
    seed, labels = inputs.config.seed, inputs.dataset.train_labels[inputs.validation_rows]
    components = min(_COMPONENTS, *features.shape)
    with threadpool_limits(1):  # on a busy machine its threads would wait for each other ten times longer than work
        kept = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(features)
        apart = LinearDiscriminantAnalysis().fit_transform(kept, labels)  # (n, 9)
        points = TSNE(init="pca", max_iter=_ROUNDS, random_state=seed).fit_transform(apart)
    head_lab_map.save(key(inputs), _with_ground(points.astype(np.float32), labels))


def _with_ground(points: np.ndarray, labels: np.ndarray) -> Map:
    from scipy.spatial import cKDTree

    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID, dtype=np.float32) for i in (0, 1))
    cells = np.stack([axis.ravel() for axis in np.meshgrid(x, y)], axis=1)  # (GRID * GRID, 2), rows of y first
    distances, nearest = cKDTree(points).query(cells, k=_NEIGHBOURS)
    nearest[distances[:, 0] > _FAR * (high - low).max()] = -1
    return Map(points, labels, x, y, nearest.astype(np.int32))
