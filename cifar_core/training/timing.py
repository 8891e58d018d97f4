"""Times a few batches of a configuration in its own process, for the cost estimate.

    python -m cifar_core.training.timing '{"schema": 1, ...}'

Feature extraction, training steps of both phases and evaluation run as in a real run, on random pixels and features.
They wait for the training slot, since a concurrent training would distort the measurement. Keras is imported after
that, so that the page, which waits until this process works, sees it at once.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from cifar_core import costs, jobs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.data import feature_cache
from cifar_core.data.augmentation import View
from cifar_core.errors import TrainingError
from cifar_core.network import architecture, pretrained
from cifar_core.training import hardware
from cifar_core.training.inputs import Pixels, litert_network
from cifar_core.training.worker import SLOT

if TYPE_CHECKING:
    from cifar_core.training.callbacks import Phase
    from cifar_core.training.keras_import import keras

_IMAGES = 1_024
_STEPS = 12
_SLOT_SECONDS = 600


@jobs.program
def main(text: str) -> None:
    """Measure the configuration in the JSON `text`."""
    config = TrainConfig.from_dict(json.loads(text))
    hardware.set_threads(config)
    with costs.measuring().working():
        asked = time.monotonic()
        busy = TrainingError("A run is training; measure again when it has ended.")
        with machine.hold_lock(runs.runs_dir() / SLOT, _SLOT_SECONDS, busy):
            costs.record(config, measured(config, time.monotonic() - asked))


def measured(config: TrainConfig, waited: float = 0.0) -> dict[str, float]:
    """Return the measured rates, as `costs.record` expects them; the process has `waited` seconds for the slot."""
    from cifar_core.training import model
    from cifar_core.training.fit import phases

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_IMAGES, 32, 32, 3), dtype=np.uint8)
    base = pretrained.load("random", config.alpha, config.image_size, config.seed).named
    network = model.build(config, base)
    ready = time.time() - psutil.Process().create_time() - waited
    rates = {phase.name: _seconds_an_image(config, network, phase, pixels) for phase in phases(config)}
    if layers := tuple(sorted(config.stored_layers.values())):
        rates["features"] = _forward(config, base, pixels, layers)
    rates["evaluate"] = _forward(config, model.named_weights(network), pixels, ("pooled", "probabilities"))
    rates["memory"] = costs.peak_memory_bytes()
    if not costs.is_known("start", config):  # the value of a real run is better
        rates["start"] = max(ready, 0.0)  # the clock may have been set back
    return rates


def _seconds_an_image(config: TrainConfig, network: keras.Model, phase: Phase, pixels: np.ndarray) -> float:
    """Return the seconds of an epoch per training image, including validation. The first epoch is a warm-up."""
    from cifar_core.training.batches import Batches
    from cifar_core.training.fit import VALIDATION_BATCH, compiled

    layer = config.stored_layers.get(phase.name)
    trained = compiled(network, config, phase, _STEPS, layer is not None)

    def batches(size: int, strength: float) -> Batches:
        rows = np.arange(_STEPS * size) % _IMAGES
        stored = _features(costs.layer_shapes(config)[layer]) if layer else None
        source = stored or Pixels(pixels, rows, View(strength, config.seed))
        return Batches(source, rows % architecture.CLASS_COUNT, size)

    sources = batches(phase.batch_size, config.augmentation), batches(VALIDATION_BATCH, 0.0)
    training, validation = (source.feed() for source in sources)
    trained.fit(training, epochs=1, shuffle=False, verbose=0)
    trained.evaluate(validation, verbose=0)
    fit = timeit.timeit(lambda: trained.fit(training, epochs=1, shuffle=False, verbose=0), number=1)
    evaluate = timeit.timeit(lambda: trained.evaluate(validation, verbose=0), number=1)
    step, forward = fit / (_STEPS * phase.batch_size), evaluate / (_STEPS * VALIDATION_BATCH)
    return step + forward * config.validation_fraction / (1 - config.validation_fraction)


def _forward(config: TrainConfig, named: pretrained.Named, pixels: np.ndarray, outputs: tuple[str, ...]) -> float:
    """Return the seconds of LiteRT per image, including augmentation if the outputs are stored features."""
    network = litert_network(config, named, outputs)
    network.run(pixels[:128])
    view = View(0.0 if "probabilities" in outputs else config.augmentation, config.seed)
    places = np.arange(_IMAGES)
    return timeit.timeit(lambda: network.run(view.of(pixels, places)), number=1) / _IMAGES


def _features(shape: tuple[int, ...]) -> Any:
    """Return a source of random features of shape `shape` with the dtype of the cache."""
    stored = np.random.default_rng(1).random((_IMAGES, *shape), np.float32).astype(feature_cache.DTYPE)
    return SimpleNamespace(begin=lambda epoch: None, take=lambda rows: stored[rows % _IMAGES].astype(np.float32))


if __name__ == "__main__":
    hardware.leave(main(sys.argv[1]))
