"""Times a few batches of a configuration that this machine has not trained yet, for the estimate beside the sliders.

    python -m cifar_core.training.timing '{"schema": 1, ...}'        a configuration

Feature extraction, training steps of both phases and evaluation are those of a real run, on random pixels and features.
It waits for the training slot, since a training at the same time would falsify the figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import psutil
from filelock import Timeout

from cifar_core import costs, machine, runs
from cifar_core.config import TrainConfig
from cifar_core.data import augmentation
from cifar_core.errors import CifarError, TrainingError
from cifar_core.network import architecture, litert, pretrained
from cifar_core.network.pretrained import Named
from cifar_core.training import model
from cifar_core.training.fit import VALIDATION_BATCH, Batches, Phase, compiled, phases
from cifar_core.training.inputs import Pixels, Source, layer_shapes, stored_layers
from cifar_core.training.worker import SLOT

_IMAGES = 1_024
_STEPS = 12
_SLOT_SECONDS = 600


def main(text: str) -> int:
    """Measure the configuration in `text`; return the process's exit code."""
    config = TrainConfig.from_dict(json.loads(text))
    try:
        with costs.measuring().working():
            _measure(config)
    except CifarError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _measure(config: TrainConfig) -> None:
    try:
        with machine.hold_lock(runs.runs_dir() / SLOT, _SLOT_SECONDS):
            costs.remember(config, measured(config))
    except Timeout:
        raise TrainingError("A training is running; measure again when it has ended.") from None


def measured(config: TrainConfig) -> dict[str, float]:
    """Return what `costs.remember` takes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_IMAGES, 32, 32, 3), dtype=np.uint8)
    base = pretrained.load("random", config.alpha, config.image_size, config.seed).named
    network = model.build(config, base)
    ready = time.time() - psutil.Process().create_time()
    found = {phase.name: _seconds_an_image(config, network, phase, pixels) for phase in phases(config)}
    if layers := tuple(sorted(set(stored_layers(config).values()))):
        found["features"] = _forward(config, base, pixels, layers)
    found["evaluate"] = _forward(config, model.named_weights(network), pixels, ("pooled", "probabilities"))
    found["memory"] = costs.peak_memory_bytes()
    if not costs.is_known("start", config):  # what a run knows of it is better
        found["start"] = ready
    return found


def _seconds_an_image(config: TrainConfig, network: keras.Model, phase: Phase, pixels: np.ndarray) -> float:
    """Return what an epoch takes for each training image, the validation's share in it. The first epoch warms up."""
    layer = stored_layers(config).get(phase.name)
    trained = compiled(network, config, phase, _STEPS, layer is not None)

    def batches(size: int, strength: float) -> Batches:
        rows = np.arange(_STEPS * size) % _IMAGES
        source: Source = _Features(config, layer) if layer else Pixels(pixels, rows, strength, config.seed)
        return Batches(source, rows % architecture.CLASS_COUNT, size)

    def seconds(work: Callable[[], object], images: int) -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / images

    sources = batches(phase.batch_size, config.augmentation), batches(VALIDATION_BATCH, 0.0)
    training, validation = (source.feed() for source in sources)
    trained.fit(training, epochs=1, shuffle=False, verbose=0)
    trained.evaluate(validation, verbose=0)
    step = seconds(lambda: trained.fit(training, epochs=1, shuffle=False, verbose=0), _STEPS * phase.batch_size)
    forward = seconds(lambda: trained.evaluate(validation, verbose=0), _STEPS * VALIDATION_BATCH)
    return step + forward * config.validation_fraction / (1 - config.validation_fraction)


def _forward(config: TrainConfig, named: Named, pixels: np.ndarray, outputs: tuple[str, ...]) -> float:
    """Return the seconds that LiteRT takes for an image, its augmentation among them where outputs are stored."""
    cut = architecture.cut_block(config.fine_tune_blocks) if "cut" in outputs else None
    content = litert.build(named, config.alpha, config.image_size, config.scaling, outputs, cut)
    network = litert.Network(content)
    network.run(pixels[:128])
    strength = 0.0 if "probabilities" in outputs else config.augmentation
    start = time.perf_counter()
    network.run(augmentation.augment(pixels, np.arange(_IMAGES), strength, config.seed, 0))
    return (time.perf_counter() - start) / _IMAGES


class _Features:
    """A source of random features in the cache's type."""

    def __init__(self, config: TrainConfig, layer: str) -> None:
        shape = (_IMAGES, *layer_shapes(config)[layer])
        self._rows = np.random.default_rng(1).random(shape, np.float32).astype(np.float16)

    def begin(self, epoch: int) -> None:
        """Do nothing: there is one epoch."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return features, float32 (n, ...)."""
        return self._rows[rows % _IMAGES].astype(np.float32)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
