"""What the lessons train: for each lesson its arms as configurations, the right way first where there is one.

Each arm takes 5,000 images and less than a minute on two quiet cores. Arms of several lessons may be
equal: then one run serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cifar_core.config import TrainConfig, preset

RIGHT = preset("quick", views=2, head_epochs=4, fine_tune_epochs=4)
_SMALL = preset("quick", views=2, head_epochs=4, fine_tune_epochs=4, image_size=64)
_ONLY_HEAD = {"head_epochs": 8, "fine_tune_epochs": 0, "fine_tune_blocks": 0}
_PLAIN = {"augmentation": 0.0, "head_epochs": 4, "fine_tune_epochs": 3}
_THOUSAND = {
    "train_images": 2_000,
    "validation_fraction": 0.5,
    "augmentation": 0.0,
    "head_epochs": 5,
    "fine_tune_epochs": 12,
    "early_stopping_patience": 100,
}


@dataclass(frozen=True)
class Arm:
    """One run of a lesson: its `label` in charts, and its configuration."""

    label: str
    config: TrainConfig


ARMS: Mapping[str, Mapping[str, Arm]] = {
    "scaling": {
        "right": Arm("[-1, 1], as on ImageNet", RIGHT),
        "wrong": Arm("[0, 1]", preset("quick", views=2, head_epochs=4, fine_tune_epochs=4, scaling="zero_to_one")),
        "wild": Arm(
            "[0, 1], 32 px, head only", preset("quick", views=2, scaling="zero_to_one", image_size=32, **_ONLY_HEAD)
        ),
    },
    "freezing": {
        "right": Arm("head first, then the top", _SMALL),
        "all": Arm(
            "all unfrozen at once, batch norm training",
            preset(
                "quick",
                image_size=64,
                head_epochs=0,
                fine_tune_epochs=3,
                fine_tune_blocks=17,
                fine_tune_learning_rate=1e-3,
                batch_norm="training",
            ),
        ),
        "never": Arm("never unfrozen", preset("quick", views=2, image_size=64, **_ONLY_HEAD)),
    },
    "augmentation": {
        "right": Arm("strength 0.5", RIGHT),
        "hard": Arm("strength 3", preset("quick", views=2, head_epochs=4, fine_tune_epochs=4, augmentation=3.0)),
        "none": Arm("none", preset("quick", views=2, head_epochs=4, fine_tune_epochs=4, augmentation=0.0)),
    },
    "width": {
        f"{alpha:g}": Arm(f"α {alpha:g}", preset("quick", alpha=alpha, **_PLAIN)) for alpha in (0.35, 0.5, 0.75, 1.0)
    },
    "resolution": {
        str(size): Arm(f"{size} px", preset("quick", alpha=0.75, image_size=size, **_PLAIN))
        for size in (32, 64, 96, 128)
    },
    "dropout": {
        f"{dropout:g}": Arm(f"dropout {dropout:g}", preset("quick", dropout=dropout, **_THOUSAND))
        for dropout in (0.0, 0.3, 0.8)
    },
    "phases": {
        "both": Arm("head first, then fine-tuning", RIGHT),
        "second": Arm("fine-tuning from the first step", preset("quick", views=2, head_epochs=0, fine_tune_epochs=8)),
        "first": Arm("head only", preset("quick", views=2, **_ONLY_HEAD)),
    },
}
