"""The probe of the layers as work that goes on by itself, can be watched and stopped.

<cache>/lessons/layers.json    what it found on this machine
"""

from __future__ import annotations

import time

from cifar_core.data import cifar10
from cifar_core.jobs.job import Job
from cifar_core.lessons import layers
from cifar_core.lessons.layers import Layers, Progress
from cifar_core.runs import read_json, write_json


def job() -> Job:
    """Return the job that probes the layers."""
    command = ("cifar_core", "learn", layers.LESSON, "--json")
    folder = cifar10.cache_dir() / "lessons"
    return Job(folder, layers.LESSON, command, "The probe", "make room there, or set CIFAR_CACHE_DIR")


def start() -> None:
    """Probe in a process of its own. Raises RunError."""
    job().start()


def result() -> Layers | None:
    """Return what the probe found on this machine, None if it never came to its end here. Raises RunError."""
    found = read_json(job().file(".json"))
    return Layers.from_dict(found) if found else None


def work(progress: Progress) -> Layers:
    """Probe, keep what came of it, and return it; `progress(done, total)` hears of every layer.

    Raises RunError if another process is at it or the folder refuses, and what `layers.run` raises. Stopped is raised
    when somebody asked for it.
    """
    own, start = job(), time.monotonic()

    def report(done: int, total: int) -> None:
        own.check_stop()
        left = (time.monotonic() - start) / done * (total - done) if done else None
        own.say("working", done=done, total=total, seconds_left=left)
        progress(done, total)

    with own.working():
        found = layers.run(report)
        write_json(own.file(".json"), found.to_dict())
    return found
