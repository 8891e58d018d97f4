"""Accuracy of a run under eight corruptions of its validation images, at five strengths each.

    runs/<id>/robustness.json   the accuracies so far; a stopped measurement continues from them

The method follows Hendrycks & Dietterich 2019 (Benchmarking Neural Network Robustness to Common Corruptions). The
corruption of an image depends only on its position in the data set, so it is the same for all runs.
"""

import io
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
import numpy as np
from PIL import Image

from cifar_core import runs
from cifar_core.errors import RunError
from cifar_core.evaluation import predictions
from cifar_core.inference import explain, neighbors
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.pictures import SIDE
from cifar_core.jobs import Job, Stopped
from cifar_core.runs import Run, records
from cifar_core.runs.records import Share

IMAGES = 2_000
FILE = "robustness.json"
_VERSION = 1  # incremented if a corruption produces different pixels
_CHUNK = 80  # five full network batches
_SEED = 20
_MOST_IMAGES = 65_536
_WRITE_SECONDS = 0.3
Report = Callable[[int, int, float | None], None]
"""Called with the number of images done, the total, and the seconds left (None at the start)."""


@dataclass(frozen=True)
class Corruption:
    """A corruption. `neutral` is the value of an unchanged image; accuracy falls along `strengths`."""

    name: str
    label: str
    unit: str
    neutral: float
    strengths: tuple[float, ...]
    help: str
    apply: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
    """uint8 (32, 32, 3), the image's random numbers -1..1 (4,), strength -> uint8 (32, 32, 3)."""


@dataclass(frozen=True)
class Measured:
    """Accuracies of a run, 0..1, on `images` validation images, in the order of the strengths.

    `clean` is the accuracy on the unchanged images. A corruption with missing accuracies is not yet measured.
    """

    images: Annotated[int, msgspec.Meta(ge=1)]
    clean: Share | None
    accuracies: Mapping[str, tuple[Share, ...]]
    seconds: float
    version: int = _VERSION

    @property
    def is_complete(self) -> bool:
        """Whether all corruptions are measured at all strengths."""
        return self.clean is not None and all(
            len(self.accuracies.get(name, ())) == len(corruption.strengths) for name, corruption in CORRUPTIONS.items()
        )

    @property
    def mean(self) -> float | None:
        """The mean accuracy over all corruptions and strengths, or None if some are not measured."""
        return float(np.mean([self.accuracies[name] for name in CORRUPTIONS])) if self.is_complete else None


def load(run: Run) -> Measured | None:
    """Return the measures of `run` so far, or None without any of this version. Raises RunError if damaged."""
    saved = records.load(run.path / FILE, Measured)
    if saved is None or saved.version != _VERSION:
        return None
    if any(len(saved.accuracies.get(name, ())) > len(corruption.strengths) for name, corruption in CORRUPTIONS.items()):
        raise RunError(f"{FILE} is damaged: it has more accuracies than strengths.")
    return saved


def load_or_problem(run: Run) -> tuple[Measured | None, str]:
    """Return the measures and ""; if the file is damaged, None and a sentence (a new measurement replaces it)."""
    return records.or_problem(lambda: load(run), "Robustness is unknown until it is measured again")


def job(run: Run) -> Job:
    """Return the job that measures `run`."""
    command = ("cifar_core", "evaluate", run.id, "--robustness", "--json")
    return Job(run.path, "robustness", command, f"The robustness of run {run.id}")


def state(run: Run) -> dict[str, Any]:
    """Return the state of the measurement: "state" is none, working, stopped, failed or done.

    While working: "done", "total" (images) and "seconds_left", all 0 at the start. If failed: "error".
    """
    status = job(run).read()
    if status["state"] == "working":
        return {"done": 0, "total": 0, "seconds_left": 0.0} | status
    known, problem = load_or_problem(run)
    if problem:
        return {"state": "failed", "error": problem}
    if known is not None and known.is_complete:
        return {"state": "done"}
    if status["state"] == "failed":
        return status
    return {"state": "stopped" if known is not None else "none"}


def measure(run: Run, report: Report = lambda done, total, left: None) -> Measured | None:
    """Measure what is missing for `run`, store the result in the run's folder and return it.

    The result is incomplete, or None, if the job is stopped. Raises RunError if the run is not finished or damaged, if
    its images are not on this machine, or if another process measures it.
    """
    task = job(run)
    with suppress(Stopped), task.working():
        _measure(run, task, report)
    return load(run)


def _measure(run: Run, task: Job, report: Report) -> None:
    """Measure the corruptions in turn. Raises Stopped."""
    images, labels, rows = predictions.validation_images(run)
    chosen = neighbors.evenly(len(images), IMAGES)
    images, labels, draws = images[chosen], labels[chosen], random_numbers(rows[chosen])
    classify = open_classifier(run.id).probabilities
    known, _ = load_or_problem(run)
    if known is None or known.images != len(images):
        known = Measured(len(images), None, {}, 0.0)
    missing: list[tuple[Corruption | None, float]] = [(None, 0.0)] if known.clean is None else []
    for one in CORRUPTIONS.values():
        missing += [(one, strength) for strength in one.strengths[len(known.accuracies.get(one.name, ())) :]]
    total = (1 + sum(len(one.strengths) for one in CORRUPTIONS.values())) * len(images)
    earlier, start, written = known.seconds, time.monotonic(), 0.0
    done = before = total - len(missing) * len(images)
    for corruption, strength in missing:
        right = 0
        for first in range(0, len(images), _CHUNK):
            task.check_stop()
            part = slice(first, first + _CHUNK)
            batch = images[part]
            if corruption is not None:
                batch = corrupted(corruption, batch, draws[part], strength)
            right += int((classify(batch).argmax(axis=1) == labels[part]).sum())
            done += len(batch)
            spent = time.monotonic() - start
            left = spent / (done - before) * (total - done)
            report(done, total, left)
            if spent - written > _WRITE_SECONDS:
                written = spent
                task.write("working", done=done, total=total, seconds_left=left)
        accuracy, seconds = right / len(images), round(earlier + time.monotonic() - start, 2)
        if corruption is None:
            known = replace(known, clean=accuracy, seconds=seconds)
        else:
            accuracies = (*known.accuracies.get(corruption.name, ()), accuracy)
            known = replace(known, accuracies={**known.accuracies, corruption.name: accuracies}, seconds=seconds)
        runs.write_json(run.path / FILE, vars(known))


def corrupted(corruption: Corruption, images: np.ndarray, draws: np.ndarray, strength: float) -> np.ndarray:
    """Return corrupted `images`, uint8 (n, 32, 32, 3); `draws`, float (n, 4), are their random numbers."""
    return np.stack([corruption.apply(image, draw, strength) for image, draw in zip(images, draws, strict=True)])


def random_numbers(places: np.ndarray) -> np.ndarray:
    """Return four random numbers in -1..1 for each position in the data set: float (n, 4)."""
    return np.random.default_rng(_SEED).uniform(-1, 1, (_MOST_IMAGES, 4))[places]


def _rotation(image: np.ndarray, draws: np.ndarray, degrees: float) -> np.ndarray:
    return explain.changed(image, {"rotate": math.copysign(degrees, draws[0])})


def _shift(image: np.ndarray, draws: np.ndarray, pixels: float) -> np.ndarray:
    angle = math.pi * draws[0]
    right, down = round(pixels * math.cos(angle)), round(pixels * math.sin(angle))
    padded = np.pad(image, ((SIDE, SIDE), (SIDE, SIDE), (0, 0)), mode="symmetric")
    return padded[SIDE + down : 2 * SIDE + down, SIDE + right : 2 * SIDE + right]


def _brightness(image: np.ndarray, draws: np.ndarray, percent: float) -> np.ndarray:
    return explain.changed(image, {"light": 1 + math.copysign(percent, draws[0]) / 100})


def _contrast(image: np.ndarray, draws: np.ndarray, percent: float) -> np.ndarray:
    mean = float(image.mean())
    return (mean + (image - mean) * (1 - percent / 100) + 0.5).clip(0, 255).astype(np.uint8)


def _blur(image: np.ndarray, draws: np.ndarray, radius: float) -> np.ndarray:
    return explain.changed(image, {"blur": radius})


def _noise(image: np.ndarray, draws: np.ndarray, deviation: float) -> np.ndarray:
    seed = int((draws[0] + 1) * 2**31)  # per image, the same at every strength
    grain = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return (image + deviation * grain + 0.5).clip(0, 255).astype(np.uint8)


def _jpeg(image: np.ndarray, draws: np.ndarray, quality: float) -> np.ndarray:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=int(quality))
    return np.asarray(Image.open(packed))


def _occlusion(image: np.ndarray, draws: np.ndarray, side: float) -> np.ndarray:
    size = int(side)
    top, left = ((draws[:2] + 1) / 2 * (SIDE - size)).round().astype(int)
    covered = image.copy()
    covered[top : top + size, left : left + size] = image.reshape(-1, 3).mean(axis=0).round()
    return covered


CORRUPTIONS: Mapping[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        Corruption(
            "rotation", "Rotation", "°", 0, (10, 20, 30, 45, 60), "In both directions; corners are mirrored.", _rotation
        ),
        Corruption("shift", "Shift", "px", 0, (1, 2, 4, 6, 8), "In any direction; edges are mirrored.", _shift),
        Corruption("brightness", "Brightness", "%", 0, (15, 30, 45, 60, 80), "Half darker, half lighter.", _brightness),
        Corruption(
            "contrast", "Contrast loss", "%", 0, (20, 40, 60, 75, 90), "Toward the image's mean gray.", _contrast
        ),
        Corruption("blur", "Blur", "px", 0, (0.5, 0.75, 1, 1.5, 2), "Radius of a Gaussian, of 32 px.", _blur),
        Corruption("noise", "Noise", "gray levels", 0, (5, 10, 20, 30, 50), "Standard deviation, of 255.", _noise),
        Corruption("jpeg", "JPEG quality", "", 100, (80, 60, 40, 20, 10), "As in photo editors.", _jpeg),
        Corruption(
            "occlusion", "Occlusion", "px", 0, (4, 8, 12, 16, 20), "Side of a square that is covered.", _occlusion
        ),
    )
}
