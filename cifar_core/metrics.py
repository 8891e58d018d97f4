"""The rows of metrics.jsonl: which of them can be relied on, and what the phases are called on screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PHASE_NAMES = {"head": "Head", "fine_tune": "Fine-tuning"}
_NEEDED = {
    "step": ("epoch", "step", "steps", "accuracy", "loss", "learning_rate", "images_per_second"),
    "epoch": ("epoch", "validation_accuracy", "validation_loss"),
    "progress": ("done", "total"),
}


_OTHERS = ("seconds_left", "elapsed_seconds", "epoch_seconds", "images", "epochs")
_COUNTS = ("epoch", "step", "steps")
_LARGEST = 1e12


def sound_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that hold what their kind needs, in numbers that a training can write.

    Those of a damaged file may not. A loss may be no finite number: that a training can have.
    """
    return [row for row in rows if _is_sound(row)]


def _is_sound(row: dict[str, Any]) -> bool:
    kind = str(row.get("kind"))
    if kind not in _NEEDED or (kind != "progress" and str(row.get("phase")) not in PHASE_NAMES):
        return False
    others = [name for name in _OTHERS if row.get(name) is not None]
    return all(_is_possible(name, row.get(name)) for name in (*_NEEDED[kind], *others))


def _is_possible(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name.endswith("loss"):
        return isinstance(value, float) or abs(value) <= _LARGEST
    return (name in _COUNTS) <= value <= (1 if name.endswith("accuracy") else _LARGEST)
