"""What the lessons train: the conditions of each lesson as configurations, the recommended one first.

Each takes at most 5,000 images and less than a minute on two idle cores. Lessons with equal conditions share a run. All
relevant knobs are set here, not by a preset, so that the results that ship keep matching.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cifar_core.config import TrainConfig

RIGHT = TrainConfig(
    train_images=5_000,
    augmentation=0.5,
    views=2,
    dropout=0.3,
    schedule="cosine",
    head_epochs=4,
    head_batch_size=64,
    fine_tune_epochs=4,
    fine_tune_learning_rate=5e-4,
)
_ONLY_HEAD: dict[str, Any] = {"head_epochs": 8, "fine_tune_epochs": 0, "fine_tune_blocks": 0}
_PLAIN: dict[str, Any] = {"augmentation": 0.0, "fine_tune_epochs": 3}
_THOUSAND: dict[str, Any] = {
    "train_images": 2_000,
    "validation_fraction": 0.5,
    "augmentation": 0.0,
    "head_epochs": 5,
    "fine_tune_epochs": 12,
    "early_stopping_patience": 100,
}
_ALL_AT_ONCE: dict[str, Any] = {
    "head_epochs": 0,
    "fine_tune_epochs": 3,
    "fine_tune_blocks": 17,
    "fine_tune_learning_rate": 1e-3,
    "batch_norm": "training",
}


@dataclass(frozen=True)
class Condition:
    """One run of a lesson: its `label` in charts, and its configuration."""

    label: str
    config: TrainConfig


def _condition(label: str, **changes: Any) -> Condition:
    return Condition(label, replace(RIGHT, **changes))


CONDITIONS: Mapping[str, Mapping[str, Condition]] = {
    "scaling": {
        "right": _condition("[-1, 1], as on ImageNet"),
        "wrong": _condition("[0, 1]", scaling="zero_to_one"),
        "wild": _condition("[0, 1], 32 px, head only", scaling="zero_to_one", image_size=32, **_ONLY_HEAD),
    },
    "freezing": {
        "right": _condition("head first, then the top", image_size=64),
        "all": _condition("all at once, batch norm training", image_size=64, **_ALL_AT_ONCE),
        "never": _condition("never unfrozen", image_size=64, **_ONLY_HEAD),
    },
    "augmentation": {
        "right": _condition("strength 0.5"),
        "hard": _condition("strength 3", augmentation=3.0),
        "none": _condition("none", augmentation=0.0),
    },
    "width": {f"{alpha:g}": _condition(f"α {alpha:g}", alpha=alpha, **_PLAIN) for alpha in (0.35, 0.5, 0.75, 1.0)},
    "resolution": {
        str(size): _condition(f"{size} px", alpha=0.75, image_size=size, **_PLAIN) for size in (32, 64, 96, 128)
    },
    "dropout": {
        f"{dropout:g}": _condition(f"dropout {dropout:g}", dropout=dropout, **_THOUSAND) for dropout in (0.0, 0.3, 0.8)
    },
    "phases": {
        "both": _condition("head first, then fine-tuning"),
        "second": _condition("fine-tuning from the first step", head_epochs=0, fine_tune_epochs=8),
        "first": _condition("head only", **_ONLY_HEAD),
    },
}
