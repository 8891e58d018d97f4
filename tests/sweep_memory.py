"""Memory and open files of a sweep's worker after each trial.

    python -m tests.sweep_memory [TRIALS]

Trains heads alone on generated images (alpha 0.35, 32 px, random weights) in a temporary folder and prints a line of
JSON a trial, then what the trials after the tenth added.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile

import psutil

from cifar_core.config import TrainConfig
from cifar_core.search import space, studies
from cifar_core.search.space import Goal, Plan
from cifar_core.training import sweep_worker

BASE = TrainConfig(
    dataset="generated",
    train_images=1_000,
    alpha=0.35,
    image_size=32,
    weights="random",
    dense_units=16,
    augmentation=0.0,
    head_epochs=2,
    head_batch_size=64,
    fine_tune_epochs=0,
)
RANGES = ("dropout=0.1:0.5", "l2=1e-5:1e-3", "head_learning_rate=1e-4:1e-2")


def measured(base: TrainConfig, trials: int) -> list[dict[str, int]]:
    """Return resident bytes, resident anonymous bytes and open files after each of `trials` trials of a sweep."""
    found = []
    process = psutil.Process()
    objective = sweep_worker.Worker._objective

    def watched(worker: sweep_worker.Worker, trial: object) -> float:
        try:
            return objective(worker, trial)  # type: ignore[arg-type]
        finally:
            gc.collect()  # a stored array is a file until then
            memory = process.memory_info()
            found.append({"bytes": memory.rss, "own_bytes": memory.rss - memory.shared, "files": process.num_fds()})
            print(json.dumps(found[-1]), flush=True)

    sweep_worker.Worker._objective = watched  # type: ignore[method-assign]
    try:
        studies.create("memory", Plan(base, tuple(map(space.parse_range, RANGES))), Goal(trials))
        if sweep_worker.main("memory"):
            raise SystemExit("The sweep failed.")
    finally:
        sweep_worker.Worker._objective = objective  # type: ignore[method-assign]
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CIFAR_RUNS_DIR": f"{folder}/runs"}
        os.environ.setdefault("CIFAR_CACHE_DIR", f"{folder}/cache")
        rows = measured(BASE, int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    first, last, count = rows[9], rows[-1], len(rows) - 10
    print({key: (last[key] - first[key]) / max(count, 1) for key in first})
