"""The features of the frozen backbone, computed once for each image and view and stored in the feature cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.data import augmentation, feature_cache
from cifar_core.data.cifar10 import Dataset
from cifar_core.data.feature_cache import Entry
from cifar_core.network import architecture, litert
from cifar_core.network.pretrained import Weights
from cifar_core.training import hardware

CHUNK = 512
"""Images computed between two writes to the cache, and two looks at whether to stop."""
_AHEAD = 2  # chunks under way at a time: one is augmented or rounded while the other is computed

Progress = Callable[[int, int], None]
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class View:
    """One version of the training images: as they are, or augmented at `strength` by `seed`, as number `number`.

    With `test` it is the test images as they are.
    """

    strength: float = 0.0
    seed: int = 0
    number: int = 0
    test: bool = False

    def about(self) -> dict[str, Any]:
        """Return what decides the pixels: nothing for the training images as they are."""
        if self.strength == 0:
            return {"images": "test"} if self.test else {}
        return {
            "augmentation": augmentation.VERSION,
            "strength": self.strength,
            "seed": self.seed,
            "view": self.number,
        }


def views(config: TrainConfig) -> list[View]:
    """Return the views that the epochs of `config` take turns with."""
    if config.augmentation == 0:
        return [View()]
    return [View(config.augmentation, config.seed, number) for number in range(config.views)]


def stored_layers(config: TrainConfig) -> dict[str, str]:
    """Return what the phases of `config` learn from: phase -> "pooled" or "cut". A missing phase learns from pixels."""
    if config.views == 0 and config.augmentation > 0:
        return {}
    layers = {"head": "pooled"} if config.head_epochs else {}
    if config.fine_tunes and architecture.cut_block(config.fine_tune_blocks) is not None:
        layers["fine_tune"] = "cut"
    return layers


def layer_shapes(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of one image's features at each layer that can be stored."""
    cut = architecture.cut_shape(config.alpha, config.image_size, config.fine_tune_blocks)
    return {"pooled": (architecture.top_channels(config.alpha),), **({"cut": cut} if cut else {})}


class FeatureExtractor:
    """The frozen backbone of one configuration, with the feature cache around it.

    LiteRT computes it, which on a CPU is several times faster than Keras; Keras does where there is a graphics card.
    LiteRT leaves a processor to the thread that imports Keras while `is_importing()`.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset, weights: Weights, is_importing: Callable[[], bool] = lambda: False
    ) -> None:
        self._config, self._dataset, self._weights, self._is_importing = config, dataset, weights, is_importing
        self._layers = sorted(set(stored_layers(config).values()))
        self._networks: dict[int, litert.Network] = {}  # the newest one, by its threads
        self._making = Lock()
        self._on_card: Run | None = None

    def entries(self, view: View) -> dict[str, Entry]:
        """Return the cache's entries of the images of `view`: layer -> entry."""
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
        """Return the cache's entries of all views, the images as they are among them. Raises StoreError."""
        return [entry for view in {View(), *views(self._config)} for entry in self.entries(view).values()]

    def fill(self, view: View, positions: np.ndarray, progress: Progress) -> dict[str, Entry]:
        """Compute what the cache lacks of the images `positions` of `view`, and return the entries.

        `progress(done, total)` is called before each chunk is stored; what it raises ends the work, and what was
        stored stays. Raises StoreError if there is no room.
        """
        entries = self.entries(view)
        with ExitStack() as locks:
            for layer in sorted(entries):  # always in this order, so that two processes cannot wait for each other
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
        """Yield the outputs of each of `parts`, while the next are augmented and computed."""
        with ThreadPoolExecutor(1 if hardware.has_gpu() else _AHEAD) as pool:
            waiting: deque[Future[dict[str, np.ndarray]]] = deque()
            for part in parts:
                waiting.append(pool.submit(self._outputs, view, part))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _outputs(self, view: View, part: np.ndarray) -> dict[str, np.ndarray]:
        images = augmentation.augment(self._images(view)[part], part, view.strength, view.seed, view.number)
        return {layer: values.astype(feature_cache.DTYPE) for layer, values in self._network()(images).items()}

    def _network(self) -> Run:
        """Return what maps uint8 (n, 32, 32, 3) to the stored layers' outputs, float32 (n, ...) each."""
        if hardware.has_gpu():
            self._on_card = self._on_card or self._on_gpu()
            return self._on_card
        every = machine.threads()
        threads = max(1, every - 1) if self._is_importing() else every
        with self._making:
            if threads not in self._networks:
                self._networks = {threads: self._on_cpu(threads)}
            return self._networks[threads].run

    def _on_gpu(self) -> Run:
        import keras

        from cifar_core.training import model

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
