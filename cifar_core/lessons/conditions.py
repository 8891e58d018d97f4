"""What the lessons train: for each lesson its arms as configurations, the right way first where there is one.

Each arm takes 5,000 images at most and less than a minute on two quiet cores. Arms of several lessons may be equal:
then one run serves them all. Every knob that matters stands here, not in a preset, whose tuning would part the arms
from the results that ship.
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
class Arm:
    """One run of a lesson: its `label` in charts, and its configuration."""

    label: str
    config: TrainConfig


def _arm(label: str, **changes: Any) -> Arm:
    return Arm(label, replace(RIGHT, **changes))


ARMS: Mapping[str, Mapping[str, Arm]] = {
    "scaling": {
        "right": _arm("[-1, 1], as on ImageNet"),
        "wrong": _arm("[0, 1]", scaling="zero_to_one"),
        "wild": _arm("[0, 1], 32 px, head only", scaling="zero_to_one", image_size=32, **_ONLY_HEAD),
    },
    "freezing": {
        "right": _arm("head first, then the top", image_size=64),
        "all": _arm("all at once, batch norm training", image_size=64, **_ALL_AT_ONCE),
        "never": _arm("never unfrozen", image_size=64, **_ONLY_HEAD),
    },
    "augmentation": {
        "right": _arm("strength 0.5"),
        "hard": _arm("strength 3", augmentation=3.0),
        "none": _arm("none", augmentation=0.0),
    },
    "width": {f"{alpha:g}": _arm(f"α {alpha:g}", alpha=alpha, **_PLAIN) for alpha in (0.35, 0.5, 0.75, 1.0)},
    "resolution": {str(size): _arm(f"{size} px", alpha=0.75, image_size=size, **_PLAIN) for size in (32, 64, 96, 128)},
    "dropout": {
        f"{dropout:g}": _arm(f"dropout {dropout:g}", dropout=dropout, **_THOUSAND) for dropout in (0.0, 0.3, 0.8)
    },
    "phases": {
        "both": _arm("head first, then fine-tuning"),
        "second": _arm("fine-tuning from the first step", head_epochs=0, fine_tune_epochs=8),
        "first": _arm("head only", **_ONLY_HEAD),
    },
}
