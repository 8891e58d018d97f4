"""Mistakes in a run's stored predictions: class figures, confusion matrix, confident mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference.neighbors import NEIGHBOUR, Index

_LABELS = np.arange(len(CLASSES))
VOTED = 200
"""The least confident correct answers that are compared with their nearest training images."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class, 0..1, None where they are not defined; `images` have its label."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: int


def class_figures(predictions: Predictions) -> list[ClassFigures]:
    """Return precision, recall and F1 of each class."""
    precision, recall, f1, counts = precision_recall_fscore_support(
        predictions.labels, predictions.probabilities.argmax(axis=1), labels=_LABELS, zero_division=np.nan
    )
    return [
        ClassFigures(name, _known(precision[i]), _known(recall[i]), _known(f1[i]), int(counts[i]))
        for i, name in enumerate(CLASSES)
    ]


def top2(predictions: Predictions) -> float:
    """Return how often the label is among the two most probable classes, 0..1."""
    return float(top_k_accuracy_score(predictions.labels, predictions.probabilities, k=2, labels=_LABELS))


def confusion(predictions: Predictions) -> np.ndarray:
    """Return how many images of each class (row) got each answer (column): int (10, 10)."""
    return confusion_matrix(predictions.labels, predictions.probabilities.argmax(axis=1), labels=_LABELS)


def worst_cell(predictions: Predictions) -> tuple[int, int]:
    """Return the most frequent confusion as (label, answer); (0, 0) if there is none."""
    counts = confusion(predictions) * (1 - np.eye(len(CLASSES), dtype=int))
    label, answer = np.unravel_index(counts.argmax(), counts.shape)
    return int(label), int(answer)


@dataclass(frozen=True)
class Summary:
    """The class found most often, the one found least often, and the most frequent confusion, `images` times."""

    best: ClassFigures
    worst: ClassFigures
    label: int
    answer: int
    images: int


def summary(predictions: Predictions) -> Summary | None:
    """Return the summary; None for fewer than two classes."""
    known = [one for one in class_figures(predictions) if one.recall is not None]
    if len(known) < 2:
        return None
    label, answer = worst_cell(predictions)
    images = len(in_cell(predictions, label, answer)) if label != answer else 0
    best, worst = max(known, key=lambda one: one.recall or 0), min(known, key=lambda one: one.recall or 0)
    return Summary(best, worst, label, answer, images)


def in_cell(predictions: Predictions, label: int, answer: int) -> np.ndarray:
    """Return the positions of the images of class `label` with this answer, the most confident first."""
    answers = predictions.probabilities.argmax(axis=1)
    return _ordered(predictions, (predictions.labels == label) & (answers == answer), descending=True)


def confident_mistakes(predictions: Predictions) -> np.ndarray:
    """Return the positions of all wrong answers, the most confident first."""
    return _ordered(predictions, ~predictions.is_correct, descending=True)


def lucky_hits(predictions: Predictions) -> np.ndarray:
    """Return the positions of all correct answers, the least confident first."""
    return _ordered(predictions, predictions.is_correct, descending=False)


def against_neighbours(
    predictions: Predictions, images: np.ndarray, features: Callable[[np.ndarray], np.ndarray], index: Index
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the least confident correct answers the majority of the nearest training images contradicts.

    `images` are those of the predictions, uint8 (n, 32, 32, 3); `features` maps some of them to pooled features.
    Returns positions, int (m,), the fewest votes first, and how many of the NEIGHBOUR nearest have the label, (m,).
    """
    asked = lucky_hits(predictions)[:VOTED]
    if not len(asked):
        return asked, asked
    places, _ = index.nearest(features(images[asked]), min(NEIGHBOUR, len(index.labels)))
    votes = (index.labels[places] == predictions.labels[asked][:, None]).sum(axis=1)
    order = np.argsort(votes, kind="stable")
    outvoted = order[votes[order] * 2 < places.shape[1]]
    return asked[outvoted], votes[outvoted]


def _ordered(predictions: Predictions, chosen: np.ndarray, descending: bool) -> np.ndarray:
    positions = np.flatnonzero(chosen)
    confidence = predictions.probabilities[positions].max(axis=1)
    return positions[np.argsort(-confidence if descending else confidence, kind="stable")]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
