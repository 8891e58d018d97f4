"""Times recipe.py in its own process, for the benchmark.

    python -m cifar_core.training.recipe_timing '{"config": {...}, "limit_seconds": 360}'

It has the settings, images and initial weights of the configuration. Prints a line of JSON for each epoch and one for
the predictions; seconds count from the start of the process.
"""

import contextlib
import json
import statistics
import sys
import tempfile
import time
import timeit
from typing import Any

import numpy as np
import psutil

from cifar_core import jobs, recipe
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.export import script
from cifar_core.inference import model_file
from cifar_core.network import pretrained
from cifar_core.training import hardware, model
from cifar_core.training.keras_import import keras

_PREDICTED_IMAGES = 2_000


@jobs.program
def main(text: str) -> None:
    """Train with the recipe until it ends or the time limit is reached, then time its predictions."""
    plan = json.loads(text)
    config = TrainConfig.from_dict(plan["config"])
    dataset, build = cifar10.load(config.dataset), recipe.build_model
    named = pretrained.load(config.weights, config.alpha, config.image_size, config.seed).named

    def build_model() -> tuple[keras.Model, keras.Model]:
        network, backbone = build()
        model.assign(backbone, named)  # avoids the recipe's own download
        return network, backbone

    vars(recipe).update(script.settings(config), WEIGHTS=None, build_model=build_model)
    data = [(dataset.train_images, dataset.train_labels[:, None]), (dataset.test_images, dataset.test_labels[:, None])]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for the recipe's model and curves
        network = recipe.main(data, [_EpochTimes(plan["limit_seconds"])])
    _print_line("predict", **_time_predictions(network, dataset.test_images))


def _time_predictions(network: keras.Model, images: np.ndarray) -> dict[str, float]:
    """Time `predict` of the backbone on many images and of the network on one image, both after a warm-up."""
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    side = backbone.input_shape[1]
    scaled = images[:_PREDICTED_IMAGES].astype(np.float32) / 127.5 - 1
    large = np.asarray(keras.ops.image.resize(scaled, (side, side)))
    backbone.predict(large[:512], batch_size=256, verbose=0)
    many = statistics.median(
        timeit.repeat(lambda: backbone.predict(large, batch_size=256, verbose=0), number=1, repeat=3)
    )
    one = model_file.latency_ms(lambda image: network.predict(image, verbose=0), images) / 1000
    return {"images_per_second": len(large) / many, "single_seconds": one}


def _print_line(what: str, **facts: Any) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


class _EpochTimes(keras.callbacks.Callback):
    """Prints each full epoch. Ends both phases after the time limit, but not before the first full epoch."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__()
        self._started, self._limit = psutil.Process().create_time(), limit_seconds
        self._phases, self._epochs = iter(("head", "fine_tune")), 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the next phase."""
        self._phase = next(self._phases)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop training if the time limit is reached."""
        if self._is_over:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the epoch, unless it is incomplete."""
        if self._is_over:
            return
        self._epochs += 1
        epoch_seconds, elapsed = time.perf_counter() - self._epoch_start, time.time() - self._started
        facts = {"epoch_seconds": epoch_seconds, "elapsed_seconds": elapsed}
        _print_line("epoch", phase=self._phase, validation_accuracy=float((logs or {})["val_accuracy"]), **facts)

    @property
    def _is_over(self) -> bool:
        return self._epochs > 0 and time.time() - self._started > self._limit


if __name__ == "__main__":
    hardware.leave(main(sys.argv[1]))
