"""The inputs of a training: the data set, its split, the initial weights, and a source of inputs for each phase.

The features of the frozen backbone are computed once per image and view and stored in the feature cache. On a CPU this
module does not use Keras, so features are computed while Keras is imported.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, partial
from threading import Lock
from typing import Any

import numpy as np

from cifar_core import costs, machine
from cifar_core.config import HEAD_EPOCHS_A_VIEW, KNOBS, TrainConfig
from cifar_core.data import cifar10, feature_cache
from cifar_core.data.augmentation import View
from cifar_core.data.cifar10 import Dataset, split
from cifar_core.data.feature_cache import Entry
from cifar_core.errors import RunError, StoreError
from cifar_core.inference.classifier import open_classifier
from cifar_core.machine import Progress
from cifar_core.network import architecture, litert, pretrained
from cifar_core.network.pretrained import Named, Weights
from cifar_core.runs.records import Environment
from cifar_core.training import hardware, near_duplicates

CHUNK = 512
"""Images per write to the cache and per check for a stop."""
_AHEAD = 2  # concurrent chunks: one is augmented while the other is computed

Outputs = dict[str, np.ndarray]
Compute = Callable[[np.ndarray], Outputs]
StageProgress = Callable[[str, int, int], object]


def views(config: TrainConfig) -> list[View]:
    """Return the views that the epochs of `config` cycle through."""
    if config.augmentation == 0:
        return [View()]
    return [View(config.augmentation, config.seed, number) for number in range(config.views)]


def litert_network(
    config: TrainConfig, named: Named, outputs: Collection[str], threads: int | None = None
) -> litert.Network:
    """Return the network of `config` with the weights `named` in LiteRT; `outputs` as in `litert.build`."""
    cut = architecture.cut_block(config.fine_tune_blocks)
    content = litert.build(named, config.alpha, config.image_size, config.scaling, outputs, cut)
    return litert.Network(content, threads)


class CachedOutputs:
    """Outputs of a network that is not trained, for the views of a data set, in the feature cache.

    `outputs`: name -> what its values depend on besides the images, and the shape for one image. `compute` returns them
    for uint8 images (n, 32, 32, 3); several threads call it.
    """

    def __init__(
        self, dataset: Dataset, outputs: Mapping[str, tuple[dict[str, Any], tuple[int, ...]]], compute: Compute
    ) -> None:
        self._dataset, self._outputs, self._compute = dataset, outputs, compute
        self._complete: dict[tuple[View, int], dict[str, Entry]] = {}

    def entries(self, view: View) -> dict[str, Entry]:
        """Return the cache entries of `view`: output -> entry."""
        shared, rows = {"data": self._dataset.fingerprint, **view.about()}, len(self._images(view))
        return {
            name: feature_cache.entry({**shared, **about}, rows, shape)
            for name, (about, shape) in self._outputs.items()
        }

    def fill(self, view: View, positions: np.ndarray, progress: Progress) -> dict[str, Entry]:
        """Compute the missing outputs of the images `positions`, int (n,), of `view`, and return the entries.

        `progress(done, total)` is called before each chunk is stored. An exception in it ends the computation; stored
        chunks are kept. Raises StoreError if there is not enough room.
        """
        entries, images = self.entries(view), self._images(view)
        with ExitStack() as locks:
            for name in sorted(entries):  # a fixed order avoids a deadlock between two processes
                locks.enter_context(feature_cache.filling(entries[name]))
            missing = np.unique(np.concatenate([entry.missing(positions) for entry in entries.values()]))
            parts = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
            chunks = _ahead(lambda part: self._compute(view.of(images, part)), parts)
            for number, (part, values) in enumerate(zip(parts, chunks, strict=True)):
                progress(number * CHUNK, len(missing))
                for name, entry in entries.items():
                    entry.write(part, values[name])
            if len(missing):
                progress(len(missing), len(missing))
        return entries

    def complete(self, view: View, positions: np.ndarray, progress: Progress) -> dict[str, Entry]:
        """Return the result of `fill`, called once for the same arguments.

        `positions` must live as long as this object.
        """
        key = view, id(positions)
        if key not in self._complete:
            self._complete[key] = self.fill(view, positions, progress)
        return self._complete[key]

    def _images(self, view: View) -> np.ndarray:
        return self._dataset.test_images if view.test else self._dataset.train_images


def _ahead(outputs: Compute, parts: list[np.ndarray]) -> Iterator[Outputs]:
    """Yield the outputs of each of `parts` while the next parts are computed."""
    with ThreadPoolExecutor(1 if hardware.has_gpu() else _AHEAD) as pool:
        waiting: deque[Future[Outputs]] = deque()
        for part in parts:
            waiting.append(pool.submit(outputs, part))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def backbone_outputs(
    config: TrainConfig, dataset: Dataset, weights: Weights, is_importing: Callable[[], bool] = lambda: False
) -> CachedOutputs:
    """Return the cached features of the frozen backbone of `config`: those of "pooled" and "cut" that a phase needs."""
    backbone = {name: getattr(config, name) for name in ("alpha", "image_size", "scaling")}
    names = {"pooled": "pooled", "cut": f"block {architecture.cut_block(config.fine_tune_blocks)}"}
    outputs = {
        layer: ({"weights": weights.fingerprint, **backbone, "layer": names[layer]}, costs.layer_shapes(config)[layer])
        for layer in config.stored_layers.values()
    }
    return CachedOutputs(dataset, outputs, _Backbone(config, weights.named, is_importing))


class _Backbone:
    """Computes the stored layers of one configuration: uint8 (n, 32, 32, 3) -> layer -> float32 (n, ...).

    Uses LiteRT, which on a CPU is several times faster than Keras, or Keras if there is a GPU. While `is_importing()`
    is true, LiteRT leaves one CPU core to the thread that imports Keras.
    """

    def __init__(self, config: TrainConfig, named: Named, is_importing: Callable[[], bool]) -> None:
        self._config, self._named, self._is_importing = config, named, is_importing
        self._networks: dict[int, litert.Network] = {}  # threads -> network; only the newest
        self._making = Lock()

    def __call__(self, images: np.ndarray) -> Outputs:
        if hardware.has_gpu():
            return self.on_gpu(images)
        threads = max(1, machine.threads() - self._is_importing())
        with self._making:
            if threads not in self._networks:
                layers = self._config.stored_layers.values()
                self._networks = {threads: litert_network(self._config, self._named, layers, threads)}
            network = self._networks[threads]
        return network.run(images)

    @cached_property
    def on_gpu(self) -> Compute:
        """The same function in Keras."""
        from cifar_core.training import model
        from cifar_core.training.keras_import import keras

        network = model.build(self._config, self._named)
        names = {"pooled": "pooled", "cut": model.first_trained_layer(self._config, "fine_tune")}
        outputs = {layer: network.get_layer(names[layer]).output for layer in self._config.stored_layers.values()}
        frozen = keras.Model(network.input, outputs)
        return lambda images: frozen.predict(images.astype(np.float32), batch_size=CHUNK, verbose=0)


class Teacher:
    """The teacher of a distillation: a finished run (`name` is its ID) or the bundled model ("bundled"), in LiteRT.

    As in Beyer et al. 2022 (arXiv:2106.05237), teacher and student see the same augmented image. Raises RunError if it
    does not exist.

    `progress` is called while the probabilities of a view are computed; an exception in it ends that.
    """

    def __init__(self, name: str, dataset: Dataset, progress: Progress) -> None:
        classifier = open_classifier(name)
        self.label, self.fingerprint = name, hashlib.sha256(classifier.content).hexdigest()[:24]
        self.probabilities = classifier.probabilities
        outputs = {"teacher": ({"teacher": self.fingerprint}, (len(cifar10.CLASSES),))}
        self._cached = CachedOutputs(dataset, outputs, lambda images: {"teacher": classifier.probabilities(images)})
        self._progress = progress

    def stored(self, view: View, positions: np.ndarray) -> np.ndarray:
        """Return the probabilities of a view of all images, float16 (m, 10), from the feature cache.

        Missing rows among `positions`, int (n,), are computed and stored; other rows are undefined. Raises StoreError.
        """
        return self._cached.complete(view, positions, self._progress)["teacher"].open()


def resolve_auto(config: TrainConfig, before: Environment | None) -> TrainConfig:
    """Replace "auto" in `config` by the data set and weights of `before`, the environment of a resumed run, or None.

    CIFAR-10 or ImageNet weights may have been downloaded since the run began; a resumed run must not switch to them.
    """
    if before is None:
        return config
    origins: dict[str, Any] = {"dataset": before.data.name, "weights": before.weights.kind}
    autos = [name for name in origins if getattr(config, name) == "auto" and origins[name] in KNOBS[name].choices]
    return replace(config, **{name: origins[name] for name in autos})


class Pixels:
    """A source of images; the first epoch of the phase has the version `view`, each later epoch the next."""

    def __init__(self, images: np.ndarray, positions: np.ndarray, view: View, teacher: Teacher | None = None) -> None:
        self._images, self._positions, self._teacher = images, positions, teacher
        self._first = self._view = view

    def begin(self, epoch: int) -> None:
        """Start `epoch` of the phase, which selects the random numbers."""
        self._view = replace(self._first, number=self._first.number + epoch)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return pixels in 0..255, float32 (n, 32, 32, 3)."""
        return self._view.of(self._images, self._positions[rows]).astype(np.float32)

    def teacher_answers(self, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the teacher's probabilities for the pixels `inputs`, float32 (n, 10)."""
        assert self._teacher is not None
        return self._teacher.probabilities(inputs.astype(np.uint8))


class Stored:
    """A source of features of one layer from the cache.

    Epochs cycle through the views, `epochs_a_view` at a time. An epoch computes its view and the teacher's
    probabilities for it when it begins: TensorFlow would hide a stop while it fetches a batch.
    """

    def __init__(
        self,
        inputs: Inputs,
        layer: str,
        view_list: list[View],
        positions: np.ndarray,
        epochs_a_view: int = 1,
        teacher: Teacher | None = None,
    ) -> None:
        self._inputs, self._layer, self._views, self._positions = inputs, layer, view_list, positions
        self._epochs_a_view, self._teacher = epochs_a_view, teacher

    def begin(self, epoch: int) -> None:
        """Open the view of `epoch`. Raises StoreError or Stopped."""
        view = self._views[epoch // self._epochs_a_view % len(self._views)]
        self._rows = self._inputs.features(view, self._positions)[self._layer].open()
        if self._teacher:
            self._answers = self._teacher.stored(view, self._positions)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return features, float32 (n, ...)."""
        return self._rows[self._positions[rows]].astype(np.float32)

    def teacher_answers(self, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the teacher's probabilities for the current view, from the feature cache, float32 (n, 10)."""
        return self._answers[self._positions[rows]].astype(np.float32)


class _Imported(Exception):  # noqa: N818 - not an error
    """Raised when Keras is imported and the training can start."""


class Inputs:
    """The data, the split and the weights of one configuration.

    `progress(stage, done, total)` is called during the preparation; an exception in it ends that.
    `end_to_end_reason` is the reason why no phase learns from cached features, or "" if one does. While
    `is_importing()` is true, one CPU core is left to the thread that imports Keras.
    Raises DataError, WeightsError or ConfigError if the data or weights cannot be loaded.
    """

    def __init__(
        self, config: TrainConfig, progress: StageProgress, is_importing: Callable[[], bool] = lambda: False
    ) -> None:
        self.config, self._progress, self._is_importing = config, progress, is_importing
        self.dataset = cifar10.load(config.dataset, partial(progress, "draw"))
        self.weights = pretrained.load(config.weights, config.alpha, config.image_size, config.seed)
        self.train_rows, self.validation_rows = split(
            self.dataset.train_labels, config.train_images, config.validation_fraction, config.seed
        )
        if config.split == "grouped":
            self.train_rows, self.validation_rows = near_duplicates.kept_together(
                self.dataset, self.train_rows, self.validation_rows
            )
        self.teacher = Teacher(config.teacher, self.dataset, partial(progress, "teacher")) if config.distils else None
        self._backbone = backbone_outputs(config, self.dataset, self.weights, is_importing)
        self._layers = config.stored_layers
        self.end_to_end_reason = self._make_room()

    def check_unchanged(self, before: Environment) -> None:
        """Raise RunError if the images, weights or teacher have changed since the run began."""
        pairs = (before.data, self.dataset), (before.weights, self.weights), (before.teacher, self.teacher)
        for then, now in pairs:
            if then and now and then.fingerprint != now.fingerprint:
                raise RunError(
                    f"The run began with {then.label[:200]} (fingerprint {then.fingerprint[:80]}) and would continue "
                    f"with {now.label} ({now.fingerprint}); restore the first and resume, or start it again."
                )

    def stored_layer(self, phase: str) -> str | None:
        """Return the layer with the cached inputs of `phase`, or None if it learns from pixels."""
        return self._layers.get(phase)

    def sources(self, phase: str) -> tuple[Stored | Pixels, Stored | Pixels]:
        """Return the sources of the training and validation inputs of `phase`."""
        layer = self.stored_layer(phase)
        if layer:
            epochs_a_view = HEAD_EPOCHS_A_VIEW if phase == "head" else 1
            return (
                Stored(self, layer, views(self.config), self.train_rows, epochs_a_view, self.teacher),
                Stored(self, layer, [View()], self.validation_rows),
            )
        images, config = self.dataset.train_images, self.config
        first = View(config.augmentation, config.seed, config.epochs_before(phase))
        return (
            Pixels(images, self.train_rows, first, self.teacher),
            Pixels(images, self.validation_rows, View()),
        )

    def test_inputs(self, phase: str) -> np.ndarray:
        """Return the inputs of `phase` for all test images: pixels, or features, float16 (n, ...), from the cache.

        Missing features are computed. Raises StoreError or Stopped.
        """
        layer = self.stored_layer(phase)
        if layer is None:
            return self.dataset.test_images
        rows = np.arange(len(self.dataset.test_labels))
        self._reserve(len(rows))
        return self.features(View(test=True), rows)[layer].open()

    def prepare(self) -> None:
        """Compute the features of the first epoch and of validation. Raises StoreError or Stopped."""
        if self._layers:
            self.features(View(), self.validation_rows)
            self.features(views(self.config)[0], self.train_rows)

    def prepare_later_epochs(self) -> None:
        """Compute the features of later epochs until Keras is imported. Raises StoreError or Stopped."""

        def progress(done: int, total: int) -> None:
            if not self._is_importing():
                raise _Imported
            self._progress("features", done, total)

        with suppress(_Imported):
            for view in views(self.config)[1 : self.config.views_used] if self._layers else ():
                self._backbone.fill(view, self.train_rows, progress)

    def features(self, view: View, positions: np.ndarray) -> dict[str, Entry]:
        """Return the cache entries of `view`, complete for `positions`. Raises StoreError or Stopped."""
        return self._backbone.complete(view, positions, partial(self._progress, "features"))

    def _reserve(self, test_images: int = 0) -> None:
        """Make room in the cache for all epochs and `test_images` test images. Raises StoreError."""
        images = costs.cached_images(self.config, len(self.train_rows), len(self.validation_rows)) + test_images
        used = {View(), *views(self.config), *([View(test=True)] if test_images else [])}
        entries = [entry for view in used for entry in self._backbone.entries(view).values()]
        feature_cache.make_room(costs.store_bytes(self.config, images), entries)

    def _make_room(self) -> str:
        if self.config.augmentation > 0 and self.config.views == 0:
            return "every batch is augmented again"
        if not self._layers:
            return "the whole network is trained"
        try:
            self._reserve()
        except StoreError as error:
            self._layers = {}
            return str(error)
        return ""
