"""The data of the data map: predictions of a run after each epoch, and its images placed by their features.

    runs/<id>/epochs.f16    probabilities, float16 (epochs, images, 10), one epoch after the other, both phases
    runs/<id>/map.npz       positions in the validation set; coordinates after and before fine-tuning

Each epoch has a fixed position in its file, so a resumed run overwrites incomplete epochs. Incomplete epochs and zeros
(epochs trained by an older version) are skipped. Confidence and variability are from Swayamdipta et al. 2020 (Dataset
Cartography), forgetting is from Toneva et al. 2019.

The map is computed as a job, by t-SNE (van der Maaten & Hinton 2008). If the run fine-tuned, the images are also placed
by the features of the initial weights. That map is computed first and initializes the other, so images move only if
their features changed.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import phase_summary, predictions
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.jobs import Job, Stopped
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run, curves, records

EPOCHS_FILE, MAP_FILE = "epochs.f16", "map.npz"
IMAGES = 2_000
"""Maximum number of images on the map."""
_DTYPE = np.dtype("<f2")
_MOST_EPOCH_BYTES, _MOST_MAP_BYTES = 2**28, 2**20
_ROUNDED = 0.01  # tolerance for the sum of ten float16 probabilities
_COMPONENTS, _PERPLEXITY = 50, 30.0


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Labels, uint8 (n,), and probabilities after e epochs, float32 (e, n, 10), with the epochs' `names`."""

    labels: np.ndarray
    probabilities: np.ndarray
    names: Sequence[str]

    @property
    def confidence(self) -> np.ndarray:
        """The mean probability of the label over the epochs, float (n,), 0..1."""
        return self._likely.mean(axis=0)

    @property
    def variability(self) -> np.ndarray:
        """The standard deviation of the label's probability over the epochs, float (n,), 0..0.5."""
        return self._likely.std(axis=0)

    @property
    def right(self) -> np.ndarray:
        """Whether the most probable class is the label, bool (e, n)."""
        return self.probabilities.argmax(axis=2) == self.labels

    @property
    def forgotten(self) -> np.ndarray:
        """How often a prediction was right after one epoch and wrong after the next, int (n,)."""
        right = self.right
        return (right[:-1] & ~right[1:]).sum(axis=0)

    def after(self, epoch: int) -> Predictions:
        """Return the predictions after epoch number `epoch`, counted from 0."""
        return Predictions(self.labels, self.probabilities[epoch])

    @property
    def _likely(self) -> np.ndarray:
        return self.probabilities[:, np.arange(len(self.labels)), self.labels]


def write_epoch(folder: Path, epoch: int, probabilities: np.ndarray) -> None:
    """Write the probabilities (n, 10) after `epoch`, counted from 0 over both phases. Raises OSError."""
    content = probabilities.astype(_DTYPE).tobytes()
    (folder / EPOCHS_FILE).touch()
    with (folder / EPOCHS_FILE).open("r+b") as file:
        file.seek(epoch * len(content))
        file.write(content)


def load_dynamics(run: Run) -> Dynamics | None:
    """Return the dynamics of `run`, or None if fewer than two epochs are complete (older versions, imported runs).

    Raises RunError if the run is not finished or its predictions are damaged.
    """
    labels = predictions.load(run).validation.labels
    rows = phase_summary.epoch_rows(run.metrics())
    names = [f"{curves.PHASE_NAMES[row['phase']]}, epoch {row['epoch']}" for row in rows]
    try:
        if (run.path / EPOCHS_FILE).stat().st_size > _MOST_EPOCH_BYTES:
            return None
        values = np.fromfile(run.path / EPOCHS_FILE, _DTYPE)
    except OSError:
        return None
    one = len(labels) * len(CLASSES)
    whole = values[: len(values) // one * one].reshape(-1, len(labels), len(CLASSES))
    probabilities = whole[: len(names)].astype(np.float32)
    with np.errstate(invalid="ignore"):  # an untrusted file may contain NaN
        sound = ((probabilities >= 0).all(axis=2) & (np.abs(probabilities.sum(axis=2) - 1) < _ROUNDED)).all(axis=1)
    if sound.sum() < 2:
        return None
    return Dynamics(labels, probabilities[sound], [name for name, good in zip(names, sound, strict=False) if good])


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


def load_map(run: Run, images: int) -> FeatureMap | None:
    """Return the map of `run` with `images` validation images, or None. Raises RunError if it is damaged."""
    path = run.path / MAP_FILE
    if not path.exists():
        return None
    try:
        arrays = untrusted.load_arrays(path, _MOST_MAP_BYTES)
        positions, after, before = arrays["positions"], arrays["after"], arrays.get("before")
        if positions.dtype.kind != "i" or positions.ndim != 1 or not 0 <= positions.min() <= positions.max() < images:
            raise ValueError("its positions are not those of images")
        for places in (after, before):
            if places is not None and (places.shape != (len(positions), 2) or not np.isfinite(places).all()):
                raise ValueError("its places do not fit its images")
        return FeatureMap(positions, after, before, float(arrays["seconds"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{MAP_FILE} is damaged ({str(error)[:100]}); make the map again.") from None


def make_map(run: Run, report: machine.Progress = lambda done, total: None) -> FeatureMap | None:
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
        images, _, _ = predictions.validation_images(run)
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
        machine.save_arrays(run.path / MAP_FILE, **arrays | {"seconds": np.array(made.seconds)})
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
