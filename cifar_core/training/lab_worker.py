"""The process of the head lab: trains the head of the newest request and exits after five idle minutes.

    python -m cifar_core.training.lab_worker

A lock in the lab's folder (see `cifar_core.search.head_lab`) allows one process per machine. The process holds the
training slot only while it computes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, StoreError, TrainingError
from cifar_core.inference import calibration
from cifar_core.search import head_lab
from cifar_core.search.head_lab import GRID, Map, Settings
from cifar_core.training import hardware
from cifar_core.training.inputs import Inputs
from cifar_core.training.worker import SLOT

if TYPE_CHECKING:
    from cifar_core.training.fit import NetworkCache
    from cifar_core.training.keras_import import keras

_KERAS_PART = "cifar_core.training.fit"  # imported during the preparations
IDLE_SECONDS = 300.0
_POLL_SECONDS = 0.02
_MOST_RESULTS = 500
_COMPONENTS = 50
_ROUNDS = 500
_NEIGHBORS = 15
_FAR = 0.035  # of the map's width; cells farther from each image have no color


Report = Callable[[Mapping[str, float], np.ndarray], None]
"""Called after each epoch with its metrics and the predicted class of each validation image, int (n,)."""


@jobs.program
def main(idle_seconds: float = IDLE_SECONDS) -> None:
    """Process the requests to the lab until `idle_seconds` pass without one."""
    before = (head_lab.requested() or (None, 0.0))[1]  # a request to an earlier process
    with head_lab.job().working():
        _Worker().run(idle_seconds, before)


class _Worker:
    """The state of the process."""

    def __init__(self) -> None:
        self._base: dict[str, Any] = {}  # images, split and weights that all heads share, after `_prepare`

    def _progress(self, stage: str, done: int, total: int) -> None:
        """Write the progress of the preparation to the status."""
        self._update_status("preparing", done=done, total=total)

    def run(self, idle_seconds: float, before: float) -> None:
        """Prepare, then process the newest request in a loop; ignore the request with the number `before`."""
        self._update_status("starting")
        threading.Thread(target=importlib.import_module, args=(_KERAS_PART,), daemon=True).start()
        try:
            inputs = self._prepare()
        except (CifarError, OSError) as error:
            self._update_status("failed", message=str(error))
            return
        importlib.import_module(_KERAS_PART)
        self._update_status("ready")
        done, idle_since = before, time.monotonic()
        while time.monotonic() - idle_since < idle_seconds:
            wanted = head_lab.requested()
            if wanted is None or wanted[1] == done:
                self._idle(inputs)
                continue
            settings, done = wanted
            self._answer(settings, done, inputs)
            self._update_status("ready")
            idle_since = time.monotonic()

    def _idle(self, inputs: Inputs) -> None:
        """Make the map if there is none, then sleep briefly."""
        if head_lab.load_map(base_key(inputs)) is None:
            with self._slot():
                self._update_status("mapping")
                make_map(inputs)
            self._update_status("ready")
        time.sleep(_POLL_SECONDS)

    def _prepare(self) -> Inputs:
        """Return the inputs with all features in the cache."""
        inputs = Inputs(head_lab.BASE, self._progress)
        if inputs.end_to_end_reason:
            raise StoreError(inputs.end_to_end_reason)
        with self._slot():
            self._update_status("preparing")
            inputs.prepare()
            about = {
                "key": base_key(inputs),
                "images": inputs.dataset.label,
                "weights": inputs.weights.label,
                "train_images": len(inputs.train_rows),
                "validation_images": len(inputs.validation_rows),
            }
            self._base = {"base": about}
        results = sorted(head_lab.lab_dir().glob("*-*.json"), key=lambda file: file.stat().st_mtime)
        for old in results[:-_MOST_RESULTS]:
            old.unlink(missing_ok=True)
        return inputs

    def _answer(self, settings: Settings, number: float, inputs: Inputs) -> None:
        """Train one head and write its result after each epoch."""
        path = head_lab.result_path(base_key(inputs), settings)
        rows: list[Mapping[str, float]] = []
        status: dict[str, Any] = {"state": "computing", "rows": rows, "predicted": ""}

        def write(state: str, **more: Any) -> None:
            status.update(state=state, seconds=max(time.time() - number, 0.0), **more)
            runs.write_json(path, status)

        def report(figures: Mapping[str, float], predicted: np.ndarray) -> None:
            rows.append(figures)
            write("computing", predicted="".join(map(str, predicted)))

        def is_cancelled() -> bool:
            newest = head_lab.requested()
            return newest is not None and newest[1] != number

        write("computing")
        try:
            with self._slot(is_cancelled) as has_slot:
                self._update_status("computing")
                finished = has_slot and train_head(settings.config, inputs, report, is_cancelled)
            write("done" if finished else "cancelled")
        except (CifarError, OSError) as error:
            write("failed", message=str(error))

    @contextmanager
    def _slot(self, is_cancelled: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Hold the training slot and yield True, or yield False if `is_cancelled` before it is free."""
        slot = FileLock(runs.runs_dir() / SLOT)
        while not is_cancelled():
            with suppress(Timeout):
                slot.acquire(timeout=0)
                break
            self._update_status("waiting")
            time.sleep(5 * _POLL_SECONDS)
        try:
            yield slot.is_locked
        finally:
            slot.release()

    def _update_status(self, state: str, **more: Any) -> None:
        status = {"pid": os.getpid(), "state": state, **self._base, **more}
        runs.write_json(head_lab.lab_dir() / "status.json", status)


def base_key(inputs: Inputs) -> str:
    """Return a hash of the images, split and weights that all heads share, 16 characters."""
    config = inputs.config
    parts = (inputs.dataset.fingerprint, inputs.weights.fingerprint, config.train_images, config.seed, "map 3")
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def make_map(inputs: Inputs) -> None:
    """Compute the map of the validation images and save it; takes a few seconds, once per base.

    PCA, then linear discriminants, which separate the true classes (LDA), then t-SNE (van der Maaten and Hinton 2008):
    neighbors stay neighbors, but distances between distant groups have no meaning.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features, labels = _held_out(inputs)
    seed = inputs.config.seed
    components = min(_COMPONENTS, *features.shape)
    with threadpool_limits(1):  # on a busy machine, threads wait for each other ten times longer than they compute
        principal = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(features)
        separated = LinearDiscriminantAnalysis().fit_transform(principal, labels)  # (n, 9)
        points = TSNE(init="pca", max_iter=_ROUNDS, random_state=seed).fit_transform(separated)
    head_lab.save_map(base_key(inputs), _with_areas(points.astype(np.float32), labels))


def _held_out(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Return features, float32 (n, 1280), and labels, (n,), of the validation images."""
    _, source = inputs.sources("head")
    source.begin(0)
    rows = inputs.validation_rows
    return source.take(np.arange(len(rows))), inputs.dataset.train_labels[rows]


def _with_areas(points: np.ndarray, labels: np.ndarray) -> Map:
    from scipy.spatial import cKDTree

    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID, dtype=np.float32) for i in (0, 1))
    cells = np.stack([axis.ravel() for axis in np.meshgrid(x, y)], axis=1)  # (GRID * GRID, 2), rows of y first
    distances, nearest = cKDTree(points).query(cells, k=_NEIGHBORS)
    nearest[distances[:, 0] > _FAR * (high - low).max()] = -1
    return Map(points, labels, x, y, nearest.astype(np.int32))


def train_head(config: TrainConfig, inputs: Inputs, report: Report, is_cancelled: Callable[[], bool]) -> bool:
    """Train the head of `config`, checking `is_cancelled` before each step; return whether it was completed.

    A loop replaces `fit`, which takes a second to start. The last, smaller batch of an epoch is dropped; its images
    occur in other epochs. Raises TrainingError if the loss is not finite.
    """
    from cifar_core.training.fit import Batches
    from cifar_core.training.keras_import import keras

    training, _ = inputs.sources("head")
    labels = inputs.dataset.train_labels[inputs.train_rows]
    batches = Batches(training, labels, config.head_batch_size, config.seed)
    steps = len(inputs.train_rows) // config.head_batch_size  # the last, smaller batch would need another trace
    head = _new_head(config, steps)
    features, truth = _held_out(inputs)
    for epoch in range(config.head_epochs):
        batches.begin(epoch)
        total = np.zeros(3)  # loss, cross-entropy and accuracy, summed over steps
        for step in range(steps):
            if is_cancelled():
                return False
            images, one_hot = batches[step]
            logs = head.train_on_batch(images, one_hot, return_dict=True)  # of this batch only
            total += [float(logs[name]) for name in ("loss", "cross_entropy", "accuracy")]
        probabilities = keras.ops.convert_to_numpy(head(features, training=False))  # (n, 10)
        loss, cross_entropy, accuracy = (total / steps).tolist()
        if not math.isfinite(loss) or not np.isfinite(probabilities).all():
            raise TrainingError(
                f"Training failed: in epoch {epoch + 1} the loss became {loss}, expected a number; lower the rate."
            )
        predicted = probabilities.argmax(axis=1)
        figures = {
            "epoch": epoch + 1,
            "accuracy": min(accuracy, 1.0),
            "loss": loss,
            "cross_entropy": cross_entropy,
            "validation_accuracy": float((predicted == truth).mean()),
            **dict.fromkeys(("validation_loss", "validation_cross_entropy"), calibration.loss(probabilities, truth)),
        }
        report(figures, predicted)
    return True


def _new_head(config: TrainConfig, steps: int) -> keras.Model:
    """Return the untrained head of `config`; a head with the same number of units is reused with its graph."""
    from cifar_core.training.fit import compiled, phases
    from cifar_core.training.keras_import import keras

    config = replace(config, schedule="plateau", optimizer="adam")  # a constant rate: nothing here reduces it
    keras.utils.set_random_seed(config.seed)
    network = _networks().build(config, {})
    return compiled(network, config, phases(config)[0], steps, is_stored=True)


@functools.cache
def _networks() -> NetworkCache:
    from cifar_core.training import fit, model

    return fit.NetworkCache(lambda config, _: model.build_head(config))


if __name__ == "__main__":
    hardware.leave(main())
