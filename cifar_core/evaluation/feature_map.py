"""Map of a run's validation images by their features in two dimensions, as a job.

    runs/<id>/map.npz    positions in the validation set; coordinates after and before fine-tuning

The method is t-SNE (van der Maaten & Hinton 2008). If the run fine-tuned, the images are also placed by the features of
the initial weights. That map is computed first and initializes the other, so images move only if their features
changed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import predictions
from cifar_core.inference import neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.jobs import Job, Stopped
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run, records

FILE = "map.npz"
IMAGES = 2_000
_COMPONENTS, _PERPLEXITY = 50, 30.0
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Coordinates of m images.

    positions: int32 (m,), in the validation set. after, before: float32 (m, 2); before is None if the run did not
    change the backbone or if the initial weights are not on this machine. seconds: duration of the computation.
    """

    positions: np.ndarray
    after: np.ndarray
    before: np.ndarray | None
    seconds: float


def job(run: Run) -> Job:
    """Return the job that computes the map of `run`."""
    return Job(run.path, "map", ("cifar_core", "evaluate", run.id, "--map", "--json"), f"The map of run {run.id}")


def load(run: Run, images: int) -> FeatureMap | None:
    """Return the map of `run` with `images` validation images, or None. Raises RunError if it is damaged."""
    path = run.path / FILE
    if not path.exists():
        return None
    try:
        arrays = untrusted.load_arrays(path, _LIMIT_BYTES)
        positions, after, before = arrays["positions"], arrays["after"], arrays.get("before")
        if positions.dtype.kind != "i" or not 0 <= positions.min() <= positions.max() < images:
            raise ValueError("its positions are not those of images")
        for places in (after, before):
            if places is not None and (places.shape != (len(positions), 2) or not np.isfinite(places).all()):
                raise ValueError("its places do not fit its images")
        return FeatureMap(positions, after, before, float(arrays["seconds"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{FILE} is damaged ({str(error)[:100]}); make the map again.") from None


def make(run: Run, report: machine.Progress = lambda done, total: None) -> FeatureMap | None:
    """Compute the map of `run`, store it in the run's folder and return it, or None if its job is stopped.

    Raises RunError if the run is not finished or damaged, if its images are not on this machine, or if another
    process computes the map.
    """
    task, start = job(run), time.monotonic()

    def check(done: int) -> None:
        task.check_stop()
        task.write("working", done=done, total=3)
        report(done, 3)

    with suppress(Stopped), task.working():
        images = predictions.validation_images(run)
        positions = neighbors.evenly(len(images), IMAGES)
        check(0)
        initial = _initial_features(run, images[positions])
        features = open_classifier(run.id).features(images[positions])
        check(1)
        before = _embedded(initial) if initial is not None else None
        check(2)
        after = _embedded(features, before)
        made = FeatureMap(positions, after, before, time.monotonic() - start)
        arrays = {name: value for name, value in vars(made).items() if value is not None}
        machine.save_arrays(run.path / FILE, **arrays | {"seconds": np.array(made.seconds)})
        return made
    return None


def _initial_features(run: Run, images: np.ndarray) -> np.ndarray | None:
    """Return the features of the initial weights, float32 (m, f), or None if the run did not change them."""
    config, known = run.config, records.environment(run.path)
    if known is None or run.result.get("best_phase") != "fine_tune":
        return None
    with suppress(CifarError):
        weights = pretrained.load(known.weights.kind, config.alpha, config.image_size, config.seed)
        if weights.fingerprint == known.weights.fingerprint:
            content = litert.build(weights.named, config.alpha, config.image_size, config.scaling, ("pooled",))
            return litert.Network(content).run(images)["pooled"]
    return None


def _embedded(features: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """Return coordinates of features (m, f), normalized to length 1: float32 (m, 2); `first` initializes t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    count = len(features)
    rows = PCA(min(_COMPONENTS, count, features.shape[1]), random_state=0).fit_transform(normalize(features))
    begin: Any = "pca" if first is None else first / first.std() * 1e-4
    perplexity = min(_PERPLEXITY, max((count - 1) / 3, 1.0))
    with threadpool_limits(1):  # on a busy machine, several threads are many times slower
        return TSNE(perplexity=perplexity, init=begin, random_state=0).fit_transform(rows).astype(np.float32)
