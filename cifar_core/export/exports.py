"""The model files of a finished run: made by a process of their own, each run on test images, then kept.

    runs/<id>/exports/<format>.json    where it stands; then agreement, size and latency
    runs/<id>/exports/<format>.lock    held by the process while it works
    runs/<id>/exports/model.keras  model.tflite  model-int8.tflite  model.onnx

They are made of the run's best.keras and model.tflite for other programs: "probabilities" is the only output, and the
Keras file opens in Keras 3.4 and later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar_core import machine, runs
from cifar_core.errors import RunError
from cifar_core.export import trial
from cifar_core.export.formats import MODELS
from cifar_core.inference import model_file
from cifar_core.jobs.job import Job
from cifar_core.network import int8, litert_format
from cifar_core.runs import Run, limits

_FILES = {
    "keras": "exports/model.keras",
    "litert": "exports/model.tflite",
    "litert-int8": "exports/model-int8.tflite",
    "onnx": "exports/model.onnx",
}
_NUMBERS = ("bytes", "agreement", "images", "latency_ms")
Writer = Callable[[Run], bytes]
"""Returns the content of a model file of the run."""
Opener = Callable[[Path], trial.Answers]
"""Turns a model file into something that answers."""


def path(run: Run, name: str) -> Path:
    """Return where the model file of `run` in the format `name` is, or would be."""
    return run.path / _FILES[name]


def job(run: Run, name: str) -> Job:
    """Return the job that makes the export `name` of `run`."""
    command = ("cifar_core.training.export_worker", str(run.path.resolve()), name)
    return Job(run.path / "exports", name, command, f"The export {name} of run {run.id}", record=".json")


def start(run: Run, name: str) -> None:
    """Make the model file `name` of a finished run in a process of its own.

    Raises RunError if the run is not finished, the disk is full or the run's folder refuses.
    """
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be exported.")
    limits.check_disk(runs.runs_dir())
    job(run, name).start()


def state(run: Run, name: str) -> dict[str, Any]:
    """Return how the export `name` stands, ready for JSON.

    "state" is none, working, done or failed. While working: "done" and "total" images tried. When done: "bytes",
    "agreement" (0..1), "images", "latency_ms", "against", "poor" (whether the agreement is too low), "made" (Unix
    time). When failed: "error". Damaged records read as none.
    """
    found = job(run, name).read()
    if found["state"] == "working":
        return {"state": "working", "done": found.get("done", 0), "total": found.get("total", 0)}
    if found["state"] == "failed":
        return found
    sound = all(isinstance(found.get(key), int | float) for key in _NUMBERS) and path(run, name).is_file()
    if found.get("state") != "done" or not sound:
        return {"state": "none"}
    return found | {"poor": found["agreement"] < (MODELS[name].least_agreement or 0)}


def make(run: Run, name: str, written: Writer | None = None, opened: Opener | None = None) -> None:
    """Write the export `name` of `run`, try it on test images, and record how it does.

    `written` and `opened` write and read the format that needs Keras. Raises RunError if the run is not finished or
    its model is damaged; the record holds the reason, too.
    """
    own = job(run, name)
    with own.working():
        own.say("working", done=0, total=trial.IMAGES)
        expected = trial.reference(run)
        temporary = path(run, name).with_suffix(f".{os.getpid()}")
        temporary.write_bytes((written or _WRITERS[name])(run))
        machine.replace(temporary, path(run, name))
        answers = (opened or _OPENERS[name])(path(run, name))
        verdict = trial.verdict(answers, expected, lambda done, total: own.say("working", done=done, total=total))
        size = path(run, name).stat().st_size
        own.say("done", bytes=size, against=expected.source, made=time.time(), **vars(verdict))


def _litert(run: Run) -> bytes:
    return litert_format.probabilities_only(model_file.read(run))


def _litert_int8(run: Run) -> bytes:
    return int8.quantised(_litert(run))


def _onnx(run: Run) -> bytes:
    from cifar_core.network.onnx_writer import converted  # onnx takes 0.2 s to import

    return converted(_litert(run))


_WRITERS: dict[str, Writer] = {"litert": _litert, "litert-int8": _litert_int8, "onnx": _onnx}
_OPENERS: dict[str, Opener] = {
    "litert": lambda file: trial.litert_answers(file.read_bytes()),
    "litert-int8": lambda file: trial.litert_answers(file.read_bytes()),
    "onnx": lambda file: trial.onnx_answers(file.read_bytes()),
}
