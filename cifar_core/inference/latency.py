"""How long a run's model takes for one picture on this machine, measured once and kept in latency.json.

The file stays here when a run is exported: it tells about a machine, not about the model.
"""

from __future__ import annotations

import time

import numpy as np

from cifar_core import machine, runs
from cifar_core.errors import RunError
from cifar_core.export import trial
from cifar_core.network.network_check import network_of
from cifar_core.runs import Run

FILE = "latency.json"


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
        answers = trial.litert_answers(network_of(run))
        found = trial.latency_ms(answers, pictures)
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
