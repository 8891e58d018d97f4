"""Near-duplicates among the training images of CIFAR-10: the same scene, car or animal, often mirrored or shifted.

near_duplicates.npz contains the images with a near-duplicate: `positions` and `groups`, int32 (m,); images of one group
are near-duplicates. `python -m cifar_core.training.near_duplicates` creates it from features of the ImageNet backbone.
"""

from pathlib import Path

import numpy as np

from cifar_core.data import cifar10
from cifar_core.data.cifar10 import Dataset
from cifar_core.network import litert, pretrained

_FILE = Path(__file__).with_name("near_duplicates.npz")
_SIMILAR = 0.88  # cosine similarity: above 0.90, nearly all inspected pairs are the same object; below 0.87, few are
_CHUNK = 1000


def kept_together(dataset: Dataset, training: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move validation images with a near-duplicate in `training` to the training images; return both, int (n,).

    Synthetic images have no near-duplicates.
    """
    if not dataset.official:
        return training, validation
    with np.load(_FILE) as arrays:
        groups = np.full(len(dataset.train_labels), -1)
        groups[arrays["positions"]] = arrays["groups"]
    moving = (groups[validation] >= 0) & np.isin(groups[validation], groups[training])
    return np.sort(np.concatenate([training, validation[moving]])), validation[~moving]


def find(features: np.ndarray, similar: float = _SIMILAR) -> tuple[np.ndarray, np.ndarray]:
    """Return `positions` and `groups` of images whose `features`, float (n, f), have a cosine of at least `similar`."""
    from scipy.sparse import csr_array, vstack
    from scipy.sparse.csgraph import connected_components

    directions = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    chunks = (directions[start : start + _CHUNK] for start in range(0, len(directions), _CHUNK))
    pairs = vstack([csr_array(chunk @ directions.T >= similar) for chunk in chunks])
    _, groups = connected_components(pairs, directed=False)
    positions = np.flatnonzero(pairs.sum(axis=1) > 1)  # each image is also similar to itself
    return positions.astype(np.int32), np.unique(groups[positions], return_inverse=True)[1].astype(np.int32)


if __name__ == "__main__":
    images = cifar10.load("cifar10").train_images
    weights = pretrained.load("imagenet", 0.5, 96, seed=1)
    network = litert.Network(litert.build(weights.named, 0.5, 96, "minus_one_to_one", ("pooled",)))
    features = [network.run(images[start : start + _CHUNK])["pooled"] for start in range(0, len(images), _CHUNK)]
    positions, groups = find(np.concatenate(features))
    np.savez_compressed(_FILE, positions=positions, groups=groups)
    print(f"{len(positions):,} of {len(images):,} images in {groups.max() + 1:,} groups of near-duplicates.")
