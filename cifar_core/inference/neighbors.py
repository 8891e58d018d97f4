"""Index of training images for nearest-neighbor search in a model's feature space.

It is built at the end of a run and stored beside the model. It contains pooled features of training images, normalized
to length 1 and reduced to principal components; 10,000 images take 2 MB. The part of a picture outside these components
is added to the distance: without it, 77% of noise images are out-of-distribution, with it 100%.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError

FILE = "neighbours.npz"
MOST_IMAGES = 10_000
"""Maximum number of training images in an index."""
NEIGHBOR = 10
"""The distance to this neighbor is the out-of-distribution score (Sun et al. 2022)."""
_COMPONENTS = 64
_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Index:
    """Features of n training images.

    mean: float32 (f,). components: float32 (c, f). codes: float32 (n, c). labels: uint8 (n,). rows: int32 (n,),
    positions in the training set with the fingerprint `data`.
    """

    mean: np.ndarray
    components: np.ndarray
    codes: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    data: str

    def nearest(self, features: np.ndarray, count: int = NEIGHBOR) -> tuple[np.ndarray, np.ndarray]:
        """Return the `count` nearest training images of each picture, nearest first.

        features: float32 (m, f), from `Classifier.features`. Returns positions in `labels` and `rows`, int (m,
        count), and distances between features of length 1, float32 (m, count), 0 to 2. The part of a training
        image outside the components is not stored, so its distance to itself is small, not 0.
        """
        places = np.empty((len(features), count), np.int64)
        distances = np.empty((len(features), count), np.float32)
        norms = (self.codes**2).sum(axis=1)
        for start in range(0, len(features), 256):  # 256 × 10,000 distances: 10 MB
            part = slice(start, start + 256)
            centered = unit(features[part]) - self.mean  # (b, f)
            codes = centered @ self.components.T  # (b, c)
            squared = (centered**2).sum(axis=1)[:, None] + norms - 2 * codes @ self.codes.T  # (b, n)
            first = np.argpartition(squared, count - 1, axis=1)[:, :count]
            order = np.take_along_axis(squared, first, axis=1).argsort(axis=1, kind="stable")
            places[part] = np.take_along_axis(first, order, axis=1)
            distances[part] = np.sqrt(np.maximum(np.take_along_axis(squared, places[part], axis=1), 0))
        return places, distances

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the out-of-distribution score of each picture, float32 (m,): its distance to neighbor NEIGHBOR."""
        return self.nearest(features, min(NEIGHBOR, len(self.labels)))[1][:, -1]

    def save(self, path: Path) -> None:
        """Write the index to `path` atomically."""
        halves = {"components": self.components.astype(np.float16), "codes": self.codes.astype(np.float16)}
        machine.save_arrays(path, **vars(self) | halves | {"data": np.array(self.data)})


def build(features: np.ndarray, labels: np.ndarray, rows: np.ndarray, data: str) -> Index:
    """Return the index of images with pooled `features`, float32 (n, f); for the others see Index."""
    units = unit(features)
    mean = units.mean(axis=0)
    centered = units - mean
    components = _directions(centered).astype(np.float16).astype(np.float32)  # same precision as after loading
    codes = (centered @ components.T).astype(np.float16).astype(np.float32)
    return Index(mean, components, codes, labels.astype(np.uint8), rows.astype(np.int32), data)


def _directions(centered: np.ndarray) -> np.ndarray:
    """Return the first principal components of (n, f), float (c, f), by Lanczos: all f take seconds."""
    from scipy.sparse.linalg import eigsh  # needed only at the end of a run

    features = centered.shape[1]
    count = min(_COMPONENTS, features - 1)
    _, directions = eigsh(centered.T @ centered, count, v0=np.ones(features))  # ascending
    return np.asarray(directions[:, ::-1].T)


def unit(features: np.ndarray) -> np.ndarray:
    """Return features, (n, f), normalized to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def index_rows(rows: np.ndarray) -> np.ndarray:
    """Return at most MOST_IMAGES of the training rows, evenly spaced, for an index."""
    return rows[evenly(len(rows), MOST_IMAGES)]


def evenly(count: int, most: int) -> np.ndarray:
    """Return at most `most` positions below `count`, evenly spaced, int32 (m,)."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int32)


def load(path: Path) -> Index | None:
    """Return the index in `path`, or None if there is no file. Raises RunError if it is damaged."""
    if not path.exists():
        return None
    try:
        return _checked(untrusted.load_arrays(path, _LIMIT_BYTES))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise RunError(f"{path} is damaged ({reason}); delete the file, or train the run again.") from error


def _checked(arrays: Mapping[str, np.ndarray]) -> Index:
    mean, components, codes = (np.asarray(arrays[name], np.float32) for name in ("mean", "components", "codes"))
    labels, rows, data = arrays["labels"], arrays["rows"], arrays["data"]
    count, width = codes.shape
    fits = components.shape == (width, *mean.shape) and labels.shape == (count,) and rows.shape == (count,)
    if count < 1 or mean.ndim != 1 or not fits:
        raise ValueError("its parts do not fit each other")
    if labels.dtype != np.uint8 or rows.dtype != np.int32 or labels.max() >= len(CLASSES) or rows.min() < 0:
        raise ValueError("its labels are not classes")
    if not all(np.isfinite(part).all() for part in (mean, components, codes)):
        raise ValueError("it contains values that are not numbers")
    return Index(mean, components, codes, labels, rows, str(data))
