"""Memory of the head lab's process after each move of a slider.

    python -m tests.lab_memory [MOVES]

Opens the lab in a temporary folder, changes one of its five sliders a move, and prints a line of JSON a move, then
what a move after the tenth added.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import replace

import numpy as np
import psutil

from cifar_core.search import head_lab
from cifar_core.search.head_lab import Settings

CHOICES = {
    "dropout": (0.0, 0.8),
    "dense_units": (32, 64, 128, 256),
    "l2": (0.0, 1e-4, 1e-3),
    "head_learning_rate": (1e-4, 1e-2),
    "label_smoothing": (0.0, 0.2),
}
SECONDS = 300


def _moved(settings: Settings, rng: np.random.Generator) -> Settings:
    """Return `settings` with another value of one slider: a choice, or a number between two bounds."""
    name = rng.choice(list(CHOICES))
    choices = CHOICES[name]
    value = (
        rng.uniform(*choices) if name in ("dropout", "label_smoothing", "head_learning_rate") else rng.choice(choices)
    )
    return replace(settings, **{name: int(value) if name == "dense_units" else round(float(value), 5)})


def measured(moves: int) -> list[int]:
    """Return the resident bytes of the lab's process after each of `moves` moves."""
    head_lab.start()
    settings, found, rng = Settings(), [], np.random.default_rng(0)
    for _ in range(moves):
        head_lab.request(settings)
        end = time.monotonic() + SECONDS
        while (result := head_lab.result(settings)) is None or result.state == "computing":
            if time.monotonic() > end:
                raise SystemExit(f"No result after {SECONDS} s: {head_lab.status()}")
            time.sleep(0.05)
        if result.state != "done":
            raise SystemExit(f"The lab {result.state}: {result.message}")
        process = psutil.Process(head_lab.status()["pid"])
        found.append(process.memory_info().rss)
        print(json.dumps({"bytes": found[-1], "files": process.num_fds(), "seconds": result.seconds}), flush=True)
        settings = _moved(settings, rng)
    process.terminate()
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CIFAR_RUNS_DIR": f"{folder}/runs"}
        os.environ.setdefault("CIFAR_CACHE_DIR", f"{folder}/cache")
        sizes = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    print({"bytes a move": (sizes[-1] - sizes[9]) / max(len(sizes) - 10, 1)})
