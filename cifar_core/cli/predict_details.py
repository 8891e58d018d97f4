"""What `predict` tells beyond the answer where it is asked to: nearest training images, flips, other models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError
from cifar_core.inference import what_if
from cifar_core.inference.classifier import Classifier
from cifar_core.inference.gallery import disagreement

Answers = list[dict[str, Any]]


def add_nearest(answers: Answers, classifier: Classifier, pixels: np.ndarray, count: int) -> None:
    """Add to each answer its `count` nearest training images: "nearest", of "label", "distance", "training_image".

    pixels: uint8 (n, 32, 32, 3). Raises RunError if the model has no index of them.
    """
    index = classifier.index
    if index is None:
        raise RunError(f"Model {classifier.name} keeps no training images to be near to; choose a run trained later.")
    places, distances = index.nearest(classifier.features(pixels), min(count, len(index.labels)))
    for answer, near, away in zip(answers, places, distances, strict=True):
        answer["nearest"] = [
            {"label": CLASSES[index.labels[p]], "distance": float(d), "training_image": int(index.rows[p])}
            for p, d in zip(near, away, strict=True)
        ]


def add_flips(answers: Answers, classifier: Classifier, pixels: np.ndarray) -> None:
    """Add to each answer where each change of the picture flips it: "what_if", name -> [{"value", "label"}]."""
    for answer, image in zip(answers, pixels, strict=True):
        _, sweeps = what_if.sweeps(classifier.calibrated, image, what_if.neutral())
        answer["what_if"] = {
            name: [{"value": float(value), "label": CLASSES[label]} for value, label in sweep.flips]
            for name, sweep in sweeps.items()
        }


def add_others(answers: Answers, own: np.ndarray, others: Sequence[Classifier], pixels: np.ndarray) -> None:
    """Add to each answer what `others` say, "compared", and put those first where the models disagree most.

    own: the answers' probabilities, float32 (n, 10), in the same order.
    """
    said = [other.calibrated(pixels) for other in others]
    for number, answer in enumerate(answers):
        best = [rows[number].argmax() for rows in said]
        answer["compared"] = {
            other.name: {"label": CLASSES[b], "probability": float(rows[number][b])}
            for other, rows, b in zip(others, said, best, strict=True)
        }
    order = np.argsort(-disagreement(np.stack([own, *said])), kind="stable")
    answers[:] = [answers[number] for number in order]


def lines(answer: dict[str, Any]) -> list[str]:
    """Return what was added to `answer` as lines for a person."""
    found = []
    if "nearest" in answer:
        near = ", ".join(f"{item['label']} ({item['distance']:.2f} away)" for item in answer["nearest"])
        found.append(f"  nearest training images: {near}")
    for name, flips in answer.get("what_if", {}).items():
        unit = what_if.CHANGES[name].unit
        found += [f"  {name} {flip['value']:g}{unit}: {flip['label']}" for flip in flips]
    for name, other in answer.get("compared", {}).items():
        found.append(f"  {name} says {other['label']} {100 * other['probability']:.1f} %")
    return found
