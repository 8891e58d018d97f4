"""Times recipe.py, the benchmark's opponent, with the settings, images and first weights of a configuration.

    python -m cifar_core.training.recipe_timing '{"config": {...}, "limit_seconds": 360}'

Prints a line of JSON for each epoch, and one for its predictions. Seconds count from the process's start.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import psutil

from cifar_core import recipe
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.export import script
from cifar_core.network import pretrained
from cifar_core.network.pretrained import Named
from cifar_core.training.model import assign

_PREDICTED_IMAGES = 2_000
_SINGLE_PREDICTIONS = 30


def main(plan: dict[str, Any]) -> None:
    """Train with the recipe until it ends or the time is over, then time its predictions."""
    config = TrainConfig.from_dict(plan["config"])
    dataset = cifar10.load(config.dataset)
    named = pretrained.load(config.weights, config.alpha, config.image_size, config.seed).named
    vars(recipe).update(script.settings(config), WEIGHTS=None, build_model=_with_weights(recipe.build_model, named))
    data = [(dataset.train_images, dataset.train_labels[:, None]), (dataset.test_images, dataset.test_labels[:, None])]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for the recipe's model and curves
        network = recipe.main(data, [_Watch(plan["limit_seconds"])])
    _print("predict", **_time_predictions(network, dataset.test_images))


def _with_weights(build: Callable[[], tuple[keras.Model, keras.Model]], named: Named) -> Callable[[], Any]:
    """Return a `build` whose backbone begins with `named`, which may be another machine's download."""

    def build_model() -> tuple[keras.Model, keras.Model]:
        network, backbone = build()
        assign(backbone, named)
        return network, backbone

    return build_model


def _time_predictions(network: keras.Model, images: np.ndarray) -> dict[str, float]:
    """Time `predict` of the backbone on many images, and of the network on one; both warm."""
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    side = backbone.input_shape[1]
    scaled = images[:_PREDICTED_IMAGES].astype(np.float32) / 127.5 - 1
    large = np.asarray(keras.ops.image.resize(scaled, (side, side)))
    backbone.predict(large[:512], batch_size=256, verbose=0)
    many = statistics.median(_seconds(lambda: backbone.predict(large, batch_size=256, verbose=0)) for _ in range(3))
    network.predict(images[:1], verbose=0)
    one = statistics.median(
        _seconds(lambda: network.predict(images[:1], verbose=0)) for _ in range(_SINGLE_PREDICTIONS)
    )
    return {"images_per_second": len(large) / many, "single_seconds": one}


def _print(what: str, **facts: Any) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class _Watch(keras.callbacks.Callback):
    """Prints each full epoch; ends both phases once the time is over, but not before the first full epoch."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__()
        self._started, self._limit = psutil.Process().create_time(), limit_seconds
        self._phases, self._epochs = iter(("head", "fine_tune")), 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go to the next phase."""
        self._phase = next(self._phases)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """End `fit` where the time is over."""
        if self._is_over:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the epoch, unless it was cut short."""
        if self._is_over:
            return
        self._epochs += 1
        facts = {"seconds": time.perf_counter() - self._epoch_start, "elapsed": time.time() - self._started}
        _print("epoch", phase=self._phase, validation_accuracy=float((logs or {})["val_accuracy"]), **facts)

    @property
    def _is_over(self) -> bool:
        return self._epochs > 0 and time.time() - self._started > self._limit


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
