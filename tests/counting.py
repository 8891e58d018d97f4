"""How much work something is, counted and not timed: it is the same on a slow machine and on a busy one."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig

_EVENTS = {"open": "files opened", "os.scandir": "folders read", "os.listdir": "folders read"}
_counts: list[tuple[str, Counter[str]]] = []
"""The folder below which something is counted, as threads of earlier tests may still be at work, and the counts."""


def _hear(event: str, arguments: tuple) -> None:
    for folder, counts in _counts:
        if event in _EVENTS and str(arguments[0]).startswith(folder):
            counts[_EVENTS[event]] += 1


sys.addaudithook(_hear)  # there is no way to take one back


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count "files opened", "folders read" and "files looked at" (os.stat) where the runs lie, and "JSON read"."""
    counts: Counter[str] = Counter()
    folder = str(runs.runs_dir().parent)

    def counting(name: str, function, below: str = ""):
        def call(*arguments, **options):
            counts[name] += str(arguments[0]).startswith(below)
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", counting("files looked at", os.stat, folder))
        patch.setattr(json, "loads", counting("JSON read", json.loads))
        _counts.append((folder, counts))
        try:
            yield counts
        finally:
            _counts.pop()


def many_finished(count: int, config: TrainConfig) -> None:
    """Write so many finished runs, as little of each as a list needs."""
    saved = json.dumps(config.to_dict())
    for number in range(count):
        folder = runs.runs_dir() / f"20260101-{number:09d}-run"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(saved)
        result = {"validation_accuracy": number / count, "validation_images": 1_000}
        (folder / "status.json").write_text(json.dumps({"state": "finished", "result": result}))
        (folder / "lock").touch()
