"""The inputs of a training: the data set, its split, the initial weights, and a source of inputs for each phase.

The features of the frozen backbone are computed once per image and view and stored in the feature cache. On a CPU this
module does not use Keras, so features are computed while Keras is imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from threading import Lock
from typing import Any, Protocol

import numpy as np

from cifar_core import costs, machine
from cifar_core.config import HEAD_EPOCHS_A_VIEW, KNOBS, TrainConfig
from cifar_core.data import augmentation, cifar10, feature_cache
from cifar_core.data.augmentation import View
from cifar_core.data.cifar10 import Dataset, split
from cifar_core.data.feature_cache import Entry
from cifar_core.errors import RunError, StoreError
from cifar_core.machine import Progress
from cifar_core.network import architecture, litert, pretrained
from cifar_core.network.pretrained import Weights
from cifar_core.runs.records import Environment, Origin
from cifar_core.training import hardware, near_duplicates
from cifar_core.training.run_writer import Reporter
from cifar_core.training.teacher import Teacher

CHUNK = 512
"""Images per write to the cache and per check for a stop."""
_AHEAD = 2  # concurrent chunks: one is augmented or rounded while the other is computed

Forward = Callable[[np.ndarray], dict[str, np.ndarray]]


def views(config: TrainConfig) -> list[View]:
    """Return the views that the epochs of `config` cycle through."""
    if config.augmentation == 0:
        return [View()]
    return [View(config.augmentation, config.seed, number) for number in range(config.views)]


def stored_layers(config: TrainConfig) -> dict[str, str]:
    """Return the stored layer of each phase: phase -> "pooled" or "cut". A phase that is missing learns from pixels."""
    if config.views == 0 and config.augmentation > 0:
        return {}
    layers = {"head": "pooled"} if config.head_epochs else {}
    if config.fine_tunes and architecture.cut_block(config.fine_tune_blocks) is not None:
        layers["fine_tune"] = "cut"
    return layers


def layer_shapes(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Return the feature shape of one image for each layer that can be stored."""
    cut = architecture.cut_shape(config.alpha, config.image_size, config.fine_tune_blocks)
    return {"pooled": (architecture.top_channels(config.alpha),), **({"cut": cut} if cut else {})}


class FeatureExtractor:
    """Computes features of the frozen backbone of one configuration and stores them in the feature cache.

    Uses LiteRT, which on a CPU is several times faster than Keras, or Keras if there is a GPU. While `is_importing()`
    is true, LiteRT leaves one CPU core to the thread that imports Keras.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset, weights: Weights, is_importing: Callable[[], bool] = lambda: False
    ) -> None:
        self._config, self._dataset, self._weights, self._is_importing = config, dataset, weights, is_importing
        self._layers = sorted(set(stored_layers(config).values()))
        self._networks: dict[int, litert.Network] = {}  # threads -> network; only the newest
        self._making = Lock()
        self._gpu_network: Forward | None = None

    def entries(self, view: View) -> dict[str, Entry]:
        """Return the cache entries of `view`: layer -> entry."""
        config = self._config
        about = {
            "data": self._dataset.fingerprint,
            "weights": self._weights.fingerprint,
            "alpha": config.alpha,
            "image_size": config.image_size,
            "scaling": config.scaling,
            **view.about(),
        }
        names = {"pooled": "pooled", "cut": f"block {architecture.cut_block(config.fine_tune_blocks)}"}
        shapes, rows = layer_shapes(config), len(self._images(view))
        return {
            layer: feature_cache.entry({**about, "layer": names[layer]}, rows, shapes[layer]) for layer in self._layers
        }

    def all_entries(self) -> list[Entry]:
        """Return the cache entries of all views, including the unaugmented images. Raises StoreError."""
        return [entry for view in {View(), *views(self._config)} for entry in self.entries(view).values()]

    def fill(self, view: View, positions: np.ndarray, progress: Progress) -> dict[str, Entry]:
        """Compute the missing features of the images `positions` of `view`, and return the entries.

        `progress(done, total)` is called before each chunk is stored. An exception in it ends the computation; stored
        chunks are kept. Raises StoreError if there is not enough room.
        """
        entries = self.entries(view)
        with ExitStack() as locks:
            for layer in sorted(entries):  # a fixed order avoids a deadlock between two processes
                locks.enter_context(feature_cache.filling(entries[layer]))
            self._compute(entries, view, positions, progress)
        return entries

    def _compute(self, entries: dict[str, Entry], view: View, positions: np.ndarray, progress: Progress) -> None:
        missing = np.unique(np.concatenate([entry.missing(positions) for entry in entries.values()]))
        parts = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        for number, (part, outputs) in enumerate(zip(parts, self._ahead(view, parts), strict=True)):
            progress(number * CHUNK, len(missing))
            for layer, entry in entries.items():
                entry.write(part, outputs[layer])
        if len(missing):
            progress(len(missing), len(missing))

    def _ahead(self, view: View, parts: list[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the outputs of each of `parts` while the next parts are computed."""
        with ThreadPoolExecutor(1 if hardware.has_gpu() else _AHEAD) as pool:
            waiting: deque[Future[dict[str, np.ndarray]]] = deque()
            for part in parts:
                waiting.append(pool.submit(self._outputs, view, part))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _outputs(self, view: View, part: np.ndarray) -> dict[str, np.ndarray]:
        images = view.of(self._images(view), part)
        return {layer: values.astype(feature_cache.DTYPE) for layer, values in self._network()(images).items()}

    def _network(self) -> Forward:
        """Return a function that maps uint8 (n, 32, 32, 3) to the outputs of the stored layers, float32 (n, ...)."""
        if hardware.has_gpu():
            self._gpu_network = self._gpu_network or self._on_gpu()
            return self._gpu_network
        available = machine.threads()
        threads = max(1, available - 1) if self._is_importing() else available
        with self._making:
            if threads not in self._networks:
                self._networks = {threads: self._on_cpu(threads)}
            return self._networks[threads].run

    def _on_gpu(self) -> Forward:
        from cifar_core.training import model
        from cifar_core.training.keras_import import keras

        network = model.build(self._config, self._weights.named)
        names = {"pooled": "pooled", "cut": model.first_trained_layer(self._config, "fine_tune")}
        outputs = {layer: network.get_layer(names[layer]).output for layer in self._layers}
        frozen = keras.Model(network.input, outputs)
        return lambda images: frozen.predict(images.astype(np.float32), batch_size=CHUNK, verbose=0)

    def _on_cpu(self, threads: int) -> litert.Network:
        config = self._config
        cut = architecture.cut_block(config.fine_tune_blocks) if "cut" in self._layers else None
        named = self._weights.named
        content = litert.build(named, config.alpha, config.image_size, config.scaling, self._layers, cut)
        return litert.Network(content, threads)

    def _images(self, view: View) -> np.ndarray:
        return self._dataset.test_images if view.test else self._dataset.train_images


def resolve_auto(config: TrainConfig, before: Environment | None) -> TrainConfig:
    """Replace "auto" in `config` by the data set and weights of `before`, the environment of a resumed run, or None.

    CIFAR-10 or ImageNet weights may have been downloaded since the run began; a resumed run must not switch to them.
    """
    if before is None:
        return config
    origins = {"dataset": before.data.name, "weights": before.weights.kind}
    known: dict[str, Any] = {name: value for name, value in origins.items() if value in KNOBS[name].choices}
    return replace(config, **{name: value for name, value in known.items() if getattr(config, name) == "auto"})


class Source(Protocol):
    """The inputs of a phase, epoch by epoch."""

    def begin(self, epoch: int) -> None:
        """Start `epoch`, counted from 0."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the inputs `rows` (int (n,)) of the current epoch, float32 (n, ...)."""


class Pixels:
    """Images, augmented again in each epoch if `strength` is above 0."""

    def __init__(self, images: np.ndarray, positions: np.ndarray, strength: float = 0.0, seed: int = 0) -> None:
        self._images, self._positions, self._strength, self._seed = images, positions, strength, seed
        self._epoch = 0

    def begin(self, epoch: int) -> None:
        """Start `epoch`, which selects the random numbers."""
        self._epoch = epoch

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return pixels in 0..255, float32 (n, 32, 32, 3)."""
        positions = self._positions[rows]
        changed = augmentation.augment(self._images[positions], positions, self._strength, self._seed, self._epoch)
        return changed.astype(np.float32)

    def teacher_answers(self, teacher: Teacher, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the teacher's probabilities for the pixels `inputs`, float32 (n, 10)."""
        return teacher.probabilities(inputs.astype(np.uint8))


class Stored:
    """Features of one layer from the cache. Epochs cycle through the views; a view is computed when first needed.

    `epochs_a_view` consecutive epochs use the same view.
    """

    def __init__(
        self, inputs: Inputs, layer: str, view_list: list[View], positions: np.ndarray, epochs_a_view: int = 1
    ) -> None:
        self._inputs, self._layer, self._views, self._positions = inputs, layer, view_list, positions
        self._epochs_a_view = epochs_a_view
        self._rows = np.empty(0, feature_cache.DTYPE)

    def begin(self, epoch: int) -> None:
        """Open the view of `epoch`."""
        self._view = self._views[epoch // self._epochs_a_view % len(self._views)]
        self._rows = self._inputs.features(self._view, self._positions)[self._layer].open()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return features, float32 (n, ...)."""
        return self._rows[self._positions[rows]].astype(np.float32)

    def teacher_answers(self, teacher: Teacher, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the teacher's probabilities for the current view, from the feature cache, float32 (n, 10)."""
        return teacher.stored(self._view, self._positions)[self._positions[rows]].astype(np.float32)


class _Imported(Exception):  # noqa: N818 - not an error
    """Raised when Keras is imported and the training can start."""


class Inputs:
    """The data, the split and the weights of one configuration.

    `end_to_end_reason` is the reason why no phase learns from cached features, or "" if one does. While
    `is_importing()` is true, one CPU core is left to the thread that imports Keras.
    Raises DataError, WeightsError or ConfigError if the data or weights cannot be loaded.
    """

    def __init__(
        self, config: TrainConfig, reporter: Reporter, is_importing: Callable[[], bool] = lambda: False
    ) -> None:
        self.config, self.reporter, since = config, reporter, reporter.seconds
        self._is_importing = is_importing
        self.dataset = cifar10.load(config.dataset, lambda done, total: reporter.progress("draw", done, total, since))
        self.weights = pretrained.load(config.weights, config.alpha, config.image_size, config.seed)
        self.train_rows, self.validation_rows = split(
            self.dataset.train_labels, config.train_images, config.validation_fraction, config.seed
        )
        if config.split == "grouped":
            self.train_rows, self.validation_rows = near_duplicates.kept_together(
                self.dataset, self.train_rows, self.validation_rows
            )
        self.teacher = Teacher(config.teacher, self.dataset, reporter) if config.distils else None
        self._extractor = FeatureExtractor(config, self.dataset, self.weights, is_importing)
        self._filled: dict[tuple[View, int], dict[str, feature_cache.Entry]] = {}
        self._layers = stored_layers(config)
        self.end_to_end_reason = self._make_room()

    def check_unchanged(self, before: Environment) -> None:
        """Raise RunError if the images, weights or teacher have changed since the run began."""
        pairs: list[tuple[Origin, Dataset | Weights | Teacher]] = [
            (before.data, self.dataset),
            (before.weights, self.weights),
        ]
        if before.teacher and self.teacher:
            pairs.append((before.teacher, self.teacher))
        for then, now in pairs:
            if then.fingerprint != now.fingerprint:
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
                Stored(self, layer, views(self.config), self.train_rows, epochs_a_view),
                Stored(self, layer, [View()], self.validation_rows),
            )
        images = self.dataset.train_images
        return (
            Pixels(images, self.train_rows, self.config.augmentation, self.config.seed),
            Pixels(images, self.validation_rows),
        )

    def test_features(self, phase: str) -> np.ndarray | None:
        """Return the cached inputs of `phase` for all test images, float16 (n, ...); compute missing ones.

        Returns None if `phase` learns from pixels. Raises StoreError or Stopped.
        """
        layer = self.stored_layer(phase)
        if layer is None:
            return None
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
            self.reporter.progress("features", done, total, since)

        since = self.reporter.seconds
        with suppress(_Imported):
            for view in views(self.config)[1 : self.config.views_used] if self._layers else []:
                self._extractor.fill(view, self.train_rows, progress)

    def features(self, view: View, positions: np.ndarray) -> dict[str, feature_cache.Entry]:
        """Return the cache entries of `view`, complete for `positions`. Raises StoreError or Stopped."""
        key = (view, id(positions))
        if key not in self._filled:
            since = self.reporter.seconds
            self._filled[key] = self._extractor.fill(
                view, positions, lambda done, total: self.reporter.progress("features", done, total, since)
            )
        return self._filled[key]

    def _reserve(self, test_images: int = 0) -> None:
        """Make room in the cache for all epochs and `test_images` test images. Raises StoreError."""
        images = costs.cached_images(self.config, len(self.train_rows), len(self.validation_rows)) + test_images
        entries = self._extractor.all_entries()
        if test_images:
            entries += self._extractor.entries(View(test=True)).values()
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
