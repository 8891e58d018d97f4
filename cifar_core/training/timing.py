"""Times a configuration in its own process: a few batches for the estimate, or recipe.py for the benchmark.

    python -m cifar_core.training.timing '{"schema": 1, ...}'                        a few batches
    python -m cifar_core.training.timing '{"config": {...}, "limit_seconds": 360}'   recipe.py

Batches: feature extraction, training steps of both phases and evaluation run as in a real run, on random pixels and
features. They wait for the training slot, since a concurrent training would distort the measurement.

recipe.py: with the settings, images and initial weights of the configuration. Prints a line of JSON for each epoch and
one for the predictions; seconds count from the start of the process.
"""

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
from filelock import Timeout

from cifar_core import costs, jobs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.data import augmentation, cifar10, feature_cache
from cifar_core.errors import TrainingError
from cifar_core.export import script
from cifar_core.inference import model_file
from cifar_core.network import architecture, pretrained
from cifar_core.training import hardware, model
from cifar_core.training.batches import Batches
from cifar_core.training.callbacks import Phase
from cifar_core.training.fit import VALIDATION_BATCH, compiled, phases
from cifar_core.training.inputs import Pixels, litert_network
from cifar_core.training.keras_import import keras
from cifar_core.training.worker import SLOT

_IMAGES = 1_024
_STEPS = 12
_SLOT_SECONDS = 600
_PREDICTED_IMAGES = 2_000


@jobs.program
def main(text: str) -> None:
    """Run the measurement in the JSON `text`."""
    plan = json.loads(text)
    if "limit_seconds" in plan:
        _time_recipe(TrainConfig.from_dict(plan["config"]), plan["limit_seconds"])
        return
    config = TrainConfig.from_dict(plan)
    with costs.measuring().working():
        try:
            with machine.hold_lock(runs.runs_dir() / SLOT, _SLOT_SECONDS):
                costs.record(config, measured(config))
        except Timeout:
            raise TrainingError("A run is training; measure again when it has ended.") from None


def measured(config: TrainConfig) -> dict[str, float]:
    """Return the measured rates, as `costs.record` expects them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_IMAGES, 32, 32, 3), dtype=np.uint8)
    base = pretrained.load("random", config.alpha, config.image_size, config.seed).named
    network = model.build(config, base)
    ready = max(time.time() - psutil.Process().create_time(), 0.0)  # the clock may have been set back
    rates = {phase.name: _seconds_an_image(config, network, phase, pixels) for phase in phases(config)}
    if layers := tuple(sorted(config.stored_layers.values())):
        rates["features"] = _forward(config, base, pixels, layers)
    rates["evaluate"] = _forward(config, model.named_weights(network), pixels, ("pooled", "probabilities"))
    rates["memory"] = costs.peak_memory_bytes()
    if not costs.is_known("start", config):  # the value of a real run is better
        rates["start"] = ready
    return rates


def _seconds_an_image(config: TrainConfig, network: keras.Model, phase: Phase, pixels: np.ndarray) -> float:
    """Return the seconds of an epoch per training image, including validation. The first epoch is a warm-up."""
    layer = config.stored_layers.get(phase.name)
    trained = compiled(network, config, phase, _STEPS, layer is not None)

    def batches(size: int, strength: float) -> Batches:
        rows = np.arange(_STEPS * size) % _IMAGES
        stored = _features(costs.layer_shapes(config)[layer]) if layer else None
        return Batches(stored or Pixels(pixels, rows, strength, config.seed), rows % architecture.CLASS_COUNT, size)

    sources = batches(phase.batch_size, config.augmentation), batches(VALIDATION_BATCH, 0.0)
    training, validation = (source.feed() for source in sources)
    trained.fit(training, epochs=1, shuffle=False, verbose=0)
    trained.evaluate(validation, verbose=0)
    step = _seconds(lambda: trained.fit(training, epochs=1, shuffle=False, verbose=0)) / (_STEPS * phase.batch_size)
    forward = _seconds(lambda: trained.evaluate(validation, verbose=0)) / (_STEPS * VALIDATION_BATCH)
    return step + forward * config.validation_fraction / (1 - config.validation_fraction)


def _forward(config: TrainConfig, named: pretrained.Named, pixels: np.ndarray, outputs: tuple[str, ...]) -> float:
    """Return the seconds of LiteRT per image, including augmentation if the outputs are stored features."""
    network = litert_network(config, named, outputs)
    network.run(pixels[:128])
    strength = 0.0 if "probabilities" in outputs else config.augmentation
    places = np.arange(_IMAGES)
    return _seconds(lambda: network.run(augmentation.augment(pixels, places, strength, config.seed, 0))) / _IMAGES


def _features(shape: tuple[int, ...]) -> Any:
    """Return a source of random features of shape `shape` with the dtype of the cache."""
    stored = np.random.default_rng(1).random((_IMAGES, *shape), np.float32).astype(feature_cache.DTYPE)
    return SimpleNamespace(begin=lambda epoch: None, take=lambda rows: stored[rows % _IMAGES].astype(np.float32))


def _time_recipe(config: TrainConfig, limit_seconds: float) -> None:
    """Train with the recipe until it ends or the time limit is reached, then time its predictions."""
    from cifar_core import recipe

    dataset, build = cifar10.load(config.dataset), recipe.build_model
    named = pretrained.load(config.weights, config.alpha, config.image_size, config.seed).named

    def build_model() -> tuple[keras.Model, keras.Model]:
        network, backbone = build()
        model.assign(backbone, named)  # avoids the recipe's own download
        return network, backbone

    vars(recipe).update(script.settings(config), WEIGHTS=None, build_model=build_model)
    data = [(dataset.train_images, dataset.train_labels[:, None]), (dataset.test_images, dataset.test_labels[:, None])]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for the recipe's model and curves
        network = recipe.main(data, [_EpochTimes(limit_seconds)])
    _print_line("predict", **_time_predictions(network, dataset.test_images))


def _time_predictions(network: keras.Model, images: np.ndarray) -> dict[str, float]:
    """Time `predict` of the backbone on many images and of the network on one image, both after a warm-up."""
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    side = backbone.input_shape[1]
    scaled = images[:_PREDICTED_IMAGES].astype(np.float32) / 127.5 - 1
    large = np.asarray(keras.ops.image.resize(scaled, (side, side)))
    backbone.predict(large[:512], batch_size=256, verbose=0)
    many = statistics.median(_seconds(lambda: backbone.predict(large, batch_size=256, verbose=0)) for _ in range(3))
    one = model_file.latency_ms(lambda image: network.predict(image, verbose=0), images) / 1000
    return {"images_per_second": len(large) / many, "single_seconds": one}


def _print_line(what: str, **facts: Any) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
        facts = {"seconds": time.perf_counter() - self._epoch_start, "elapsed": time.time() - self._started}
        _print_line("epoch", phase=self._phase, validation_accuracy=float((logs or {})["val_accuracy"]), **facts)

    @property
    def _is_over(self) -> bool:
        return self._epochs > 0 and time.time() - self._started > self._limit


if __name__ == "__main__":
    hardware.leave(main(sys.argv[1]))
