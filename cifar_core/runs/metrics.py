"""The rows of metrics.jsonl: which of them can be relied on, and what the phases are called on screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_core.runs import records

PHASE_NAMES = {"head": "Head", "fine_tune": "Fine-tuning"}
_NEEDED = {
    "step": ("epoch", "step", "steps", "accuracy", "loss", "learning_rate", "images_per_second"),
    "epoch": ("epoch", "validation_accuracy", "validation_loss"),
    "progress": ("done", "total"),
}
_COUNTS = {"epoch": 1, "epochs": 1, "step": 0, "steps": 1, "images": 0, "done": 0, "total": 0}  # name -> the least
_SHARES = ("accuracy", "validation_accuracy")
# not finite if the training diverges
_LOSSES = (
    "loss",
    "validation_loss",
    "cross_entropy",
    "validation_cross_entropy",
)
_AMOUNTS = ("learning_rate", "images_per_second", "elapsed_seconds", "epoch_seconds", "seconds_left")
_MOST = 1e9


def sound_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that hold what their kind needs, each number within its range.

    Those of a damaged file, or of a stranger, may not. A loss may be no number: that a training can have.
    """
    return [row for row in rows if _is_sound(row)]


def _is_sound(row: Mapping[str, Any]) -> bool:
    kind, phase = str(row.get("kind")), str(row.get("phase"))
    if kind not in _NEEDED or (kind != "progress" and phase not in PHASE_NAMES):
        return False
    needed = _NEEDED[kind]
    return all(name in row for name in needed) and all(
        _is_measure(name, value) for name, value in row.items() if value is not None or name in needed
    )


def _is_measure(name: str, value: Any) -> bool:
    if name in _COUNTS:
        return type(value) is int and _COUNTS[name] <= value <= _MOST
    if name in _SHARES:
        return records.is_number(value) and 0 <= value <= 1
    if name in _LOSSES:
        return type(value) in (int, float) and not records.MOST < abs(value) < math.inf
    if name in _AMOUNTS:
        return records.is_number(value) and 0 <= value <= _MOST
    return name != "stage" or isinstance(value, str)
