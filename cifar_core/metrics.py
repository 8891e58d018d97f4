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


def sound_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that hold what their kind needs; those of a damaged file may not."""
    return [row for row in rows if _is_sound(row)]


def _is_sound(row: dict[str, Any]) -> bool:
    kind = str(row.get("kind"))
    if kind not in _NEEDED or (kind != "progress" and str(row.get("phase")) not in PHASE_NAMES):
        return False
    return all(isinstance(row.get(name), int | float) for name in _NEEDED[kind])
