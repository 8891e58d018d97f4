"""The plain recipe, written as the tutorials do it: what `bench` compares this app with. It shares no training code.

    python -m cifar_core.training.plain '{"config": {...}, "limit_seconds": 900}'

Every augmented batch goes through the whole network in `model.fit`, frozen or not, and `model.predict` classifies.
Prints one line of JSON for each thing measured; seconds count from the process's start.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import keras
import numpy as np
import psutil
from tensorflow.keras.preprocessing.image import ImageDataGenerator

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import Dataset
from cifar_core.network import pretrained
from cifar_core.training.model import assign

_HEAD_EPOCHS = 2
_MOST_EPOCHS = 100
_ENOUGH = 0.90
_PREDICTED_IMAGES = 2_000
_SINGLE_PREDICTIONS = 30


def main(plan: dict[str, Any]) -> None:
    """Train until validation accuracy 0.90 or the time is over, then time `predict`; or the plan's "epochs" alone."""
    config = TrainConfig.from_dict(plan["config"])
    dataset = cifar10.load(config.dataset)
    network, base = build(config)
    training, validation = generators(config, dataset)
    watch = _Watch(plan["limit_seconds"])
    keras.utils.set_random_seed(config.seed)

    epochs = plan.get("epochs") or {"head": _HEAD_EPOCHS, "fine_tune": _MOST_EPOCHS}
    base.trainable = False
    fit(network, training, validation, config.head_learning_rate, epochs["head"], watch.of("head"))
    if not epochs["fine_tune"]:
        return
    unfreeze_top(base, config.fine_tune_blocks)
    if not watch.is_over:
        fit(network, training, validation, config.fine_tune_learning_rate, epochs["fine_tune"], watch.of("fine_tune"))
    if "epochs" not in plan:
        time_predictions(network, base, dataset.test_images)


def build(config: TrainConfig) -> tuple[keras.Model, keras.Model]:
    """Return the network, float32 (n, 32, 32, 3) in [-1, 1] -> probabilities (n, 10), and its base."""
    side = config.image_size
    base = keras.applications.MobileNetV2(
        input_shape=(side, side, 3), alpha=config.alpha, include_top=False, weights=None
    )
    assign(base, pretrained.load(config.weights, config.alpha, side, config.seed).named)
    network = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Resizing(side, side),
            base,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(config.dropout),
            keras.layers.Dense(config.dense_units, "relu", kernel_regularizer=keras.regularizers.L2(config.l2)),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    return network, base


def generators(config: TrainConfig, dataset: Dataset) -> tuple[Any, Any]:
    """Return the generators of training and validation batches, one-hot labels beside."""
    rows, validation_rows = cifar10.split(
        dataset.train_labels, config.train_images, config.validation_fraction, config.seed
    )

    def scaled(image: np.ndarray) -> np.ndarray:
        return image / 127.5 - 1

    augmenting = ImageDataGenerator(
        rotation_range=10,
        width_shift_range=0.1,
        height_shift_range=0.1,
        horizontal_flip=True,
        zoom_range=0.1,
        brightness_range=(0.9, 1.1),
        preprocessing_function=scaled,
    )
    plain = ImageDataGenerator(preprocessing_function=scaled)
    labels = keras.utils.to_categorical(dataset.train_labels, 10)
    images, size = dataset.train_images, config.batch_size
    return (
        augmenting.flow(images[rows], labels[rows], batch_size=size, seed=config.seed),
        plain.flow(images[validation_rows], labels[validation_rows], batch_size=size, shuffle=False),
    )


def unfreeze_top(base: keras.Model, blocks: int) -> None:
    """Make the last `blocks` inverted residual blocks and what follows trainable, but batch norm."""
    base.trainable = True
    first = next(i for i, layer in enumerate(base.layers) if layer.name.startswith(f"block_{17 - blocks}_"))
    for i, layer in enumerate(base.layers):
        layer.trainable = i >= first and not isinstance(layer, keras.layers.BatchNormalization)


def fit(network: keras.Model, training: Any, validation: Any, rate: float, epochs: int, watch: Any) -> None:
    """Compile and fit."""
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"])
    network.fit(training, validation_data=validation, epochs=epochs, callbacks=[watch], verbose=0)


def time_predictions(network: keras.Model, base: keras.Model, images: np.ndarray) -> None:
    """Time `predict` of the base on many images, and of the network on one; both warm."""
    scaled = images[:_PREDICTED_IMAGES].astype(np.float32) / 127.5 - 1
    side = base.input_shape[1]
    large = np.asarray(keras.ops.image.resize(scaled, (side, side)))
    rates = []
    for batch_size in (32, 256):  # Keras's default, and what suits it here
        base.predict(large[:512], batch_size=batch_size, verbose=0)
        times = [_seconds(lambda size=batch_size: base.predict(large, batch_size=size, verbose=0)) for _ in range(3)]
        rates.append(len(large) / statistics.median(times))
    network.predict(scaled[:1], verbose=0)
    single = [_seconds(lambda: network.predict(scaled[:1], verbose=0)) for _ in range(_SINGLE_PREDICTIONS)]
    say("predict", trunk_images_per_second=max(rates), single_seconds=statistics.median(single))


def say(what: str, **facts: float | str) -> None:
    """Print one line of JSON."""
    print(json.dumps({"what": what, **facts}), flush=True)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class _Watch(keras.callbacks.Callback):
    """Tells of each epoch; ends `fit` once it is good enough or the time is over, in the middle of an epoch too."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__()
        self._started, self._limit = psutil.Process().create_time(), limit_seconds
        self.is_over, self._phase = False, ""

    def of(self, phase: str) -> _Watch:
        """Go on in `phase`."""
        self._phase = phase
        return self

    @property
    def _elapsed(self) -> float:
        return time.time() - self._started

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look whether the time is over."""
        if self._elapsed > self._limit:
            self.is_over = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell, unless the epoch was cut short."""
        accuracy = (logs or {})["val_accuracy"]
        if not self.is_over:
            say(
                "epoch",
                phase=self._phase,
                seconds=time.perf_counter() - self._epoch_start,
                validation_accuracy=float(accuracy),
                elapsed=self._elapsed,
            )
        if accuracy >= _ENOUGH or self._elapsed > self._limit:
            self.is_over = self.model.stop_training = True


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
