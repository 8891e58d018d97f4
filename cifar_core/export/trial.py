"""A model file run on test images: whether it says what the run said, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cifar_core import runs
from cifar_core.data import cifar10
from cifar_core.errors import DataError
from cifar_core.evaluation import predictions
from cifar_core.inference import model_file
from cifar_core.inference.latency import Answers, latency_ms
from cifar_core.network.litert import Network
from cifar_core.runs import Run

IMAGES = 200
_BATCH = 20
Report = Callable[[int, int], None]
"""Called with the images that are done and all of them."""


@dataclass(frozen=True)
class Reference:
    """Images uint8 (n, 32, 32, 3) and the run's own class for each, int (n,); `source` says in words whose answer."""

    images: np.ndarray
    classes: np.ndarray
    source: str


@dataclass(frozen=True)
class Verdict:
    """Share of `images` on which file and run name the same class, 0..1; median milliseconds for one image."""

    agreement: float
    images: int
    latency_ms: float


def reference(run: Run) -> Reference:
    """Return the first test images with what `run` said of them when it ended.

    Where the images that it was tested on are not on this machine (an imported run, or one on generated images that
    an older version drew otherwise), its model.tflite classifies the test images that are here. Raises RunError if the
    run is damaged.
    """
    found = predictions.load(run).test
    environment = runs.read_json(run.path / "environment.json").get("data")
    name = environment.get("name") if isinstance(environment, dict) else None
    try:
        images, labels = cifar10.samples(IMAGES, name if name in cifar10.LABELS else "auto", test=True)
    except DataError:
        images, labels = cifar10.samples(IMAGES, "generated", test=True)
    again, stored = litert_answers(model_file.read(run))(images), found.probabilities[:IMAGES]
    same = np.array_equal(labels, found.labels[:IMAGES])
    if same and (name != "generated" or np.allclose(again, stored, atol=1e-3)):
        return Reference(images, stored.argmax(axis=1), "the run's own test answers")
    return Reference(images, again.argmax(axis=1), "the run's model.tflite, as its test images are not here")


def verdict(answers: Answers, expected: Reference, report: Report) -> Verdict:
    """Return how well and how fast `answers` repeats `expected`."""
    images, parts = expected.images, []
    for start in range(0, len(images), _BATCH):
        report(start, len(images))
        parts.append(answers(images[start : start + _BATCH]))
    report(len(images), len(images))
    agreement = float((np.concatenate(parts).argmax(axis=1) == expected.classes).mean())
    return Verdict(agreement, len(images), latency_ms(answers, images))


def litert_answers(content: bytes) -> Answers:
    """Return a LiteRT file as something that answers. Raises RunError if it is damaged."""
    network = Network(content)
    return lambda images: network.run(images)["probabilities"]


def onnx_answers(content: bytes) -> Answers:
    """Return an ONNX file as something that answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]
