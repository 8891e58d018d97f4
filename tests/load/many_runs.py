"""Many runs on the disk, copied from one finished run, with other knobs and figures."""

from __future__ import annotations

import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.runs import Run

_LEFT = ("checkpoint.npz", "lock", "worker.log", "stop", "config.json", "status.json")
_LINKED = ("best.keras", "model.tflite", "evaluation.npz", "neighbours.npz")
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_SEED = 7


def fill(template: Path, count: int) -> list[str]:
    """Put `count` finished runs like the one in `template` into the runs directory; return their ids, oldest first.

    Large files are hard links, so that 500 runs take a few MB; those that exist already stay.
    """
    status = runs.read_json(template / "status.json")
    config = TrainConfig.from_dict(runs.read_json(template / "config.json")).to_dict()
    dice = random.Random(_SEED)
    ids = []
    for number in range(count):
        run = Run(f"{_FIRST + timedelta(minutes=11 * number):%Y%m%d-%H%M%S}{number % 1000:03d}-shelf")
        shift = dice.uniform(-0.2, 0.05)
        knobs = {"dropout": dice.choice([0.1, 0.2, 0.3, 0.5]), "seed": number, "l2": dice.choice([0.0, 1e-4, 1e-3])}
        if not run.path.exists():
            _copy(template, run.path)
            runs.write_json(run.path / "config.json", config | knobs)
            result = dict(status["result"])
            for name in ("validation_accuracy", "test_accuracy"):
                result[name] = max(result[name] + shift, 0.05)
            runs.write_json(run.path / "status.json", status | {"result": result})
        ids.append(run.id)
    return ids


def _copy(template: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in template.iterdir():
        if file.name in _LEFT or not file.is_file():
            continue
        if file.name in _LINKED:
            try:
                os.link(file, target / file.name)
                continue
            except OSError:  # another disk
                pass
        shutil.copyfile(file, target / file.name)
