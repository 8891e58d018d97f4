"""Latency of a run's model for one picture on this machine, measured once and saved in latency.json.

The file is not part of an archive: it describes the machine, not the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from cifar_core import machine, runs
from cifar_core.errors import RunError
from cifar_core.inference import model_file
from cifar_core.network.litert import Network
from cifar_core.runs import Run

FILE = "latency.json"
_TIMED = 30  # single images, after as many to warm up
Answers = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, 32, 32, 3) -> probabilities float32 (n, 10)."""


def load(run: Run) -> float | None:
    """Return the milliseconds that were measured, None if they were not."""
    saved = runs.read_json(run.path / FILE).get("latency_ms")
    return float(saved) if isinstance(saved, int | float) and 0 < saved < 1e6 else None


def measure(run: Run) -> float:
    """Return the median milliseconds of model.tflite for one image on `machine.threads()` threads, and save them.

    Takes less than a second with most models. Raises RunError if the run has no model or its folder refuses.
    """
    pictures = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    try:
        network = Network(model_file.read(run))
        found = latency_ms(lambda images: network.run(images)["probabilities"], pictures)
        runs.write_json(
            run.path / FILE,
            {
                "latency_ms": found,
                "measured": time.time(),
                "cores": machine.processors(),
                "threads": machine.threads(),
                "batch": 1,
            },
        )
    except OSError as error:
        raise RunError(
            f"Run {run.id} could not be timed: {error.strerror}; expected its model.tflite, and room for {FILE}."
        ) from None
    return found


def latency_ms(answers: Answers, images: np.ndarray) -> float:
    """Return the median milliseconds of one answer, of `images` (uint8 (n, 32, 32, 3)) one at a time."""
    seconds = []
    for number in range(2 * _TIMED):
        image = images[number % len(images)][None]
        start = time.perf_counter()
        answers(image)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_TIMED:])) * 1000
