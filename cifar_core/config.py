"""The settings of a training run: one table of knobs.

A knob is a field of `TrainConfig`. Its metadata (range or choices, unit, one sentence of help, group) is the only
source for the sliders of the page, the flags of the command line, validation and the saved JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any

from cifar_core.errors import ConfigError
from cifar_core.knob import Knob, knob
from cifar_core.network.architecture import BLOCK_COUNT

SCHEMA = 1
"""Version of the saved JSON; a file with another version is rejected."""


ALL_IMAGES = 50_000
HEAD_EPOCHS_A_VIEW = 2
"""Consecutive head epochs on the same view: an epoch takes a tenth of the time to compute a view."""

_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_BATCH_SIZES = (16, 32, 64, 128, 256, 512)


_data, _network, _head = partial(knob, "Data"), partial(knob, "Network"), partial(knob, "Head")
_augmentation, _mistake = partial(knob, "Augmentation"), partial(knob, "Deliberate mistakes")
_phase_1, _phase_2 = partial(knob, "Phase 1: head"), partial(knob, "Phase 2: fine-tuning")
_optimization, _distillation = partial(knob, "Optimization"), partial(knob, "Distillation")
_SHARE = (0.0, 1.0, 0.1)


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run, immutable. The constructor checks each value and raises ConfigError."""

    dataset: str = _data(
        "auto",
        "Images",
        "CIFAR-10 if it is on this machine, otherwise synthetic images; or one of the two.",
        choices={"auto": "CIFAR-10 if it is here", "cifar10": "CIFAR-10", "generated": "synthetic images"},
    )
    train_images: int = _data(
        ALL_IMAGES,
        "Training images",
        "Images used, including the validation share.",
        unit="images",
        span=(1_000, ALL_IMAGES),
        log=True,
        labels={ALL_IMAGES: "all"},
    )
    validation_fraction: float = _data(
        0.2,
        "Validation share",
        "Share of the images held back for validation, equal in every class.",
        span=(0.05, 0.5, 0.05),
    )
    split: str = _data(
        "stratified",
        "Validation split",
        "Of CIFAR-10's images, 5% have a near-duplicate. Grouped moves validation images whose near-duplicate is a "
        "training image to the training images, which makes validation accuracy less optimistic.",
        choices={"stratified": "stratified", "grouped": "near-duplicates grouped"},
    )
    alpha: float = _network(
        0.5, "Width α", "Every layer has α times the channels; cost grows with about α².", choices=_WIDTHS
    )
    image_size: int = _network(
        96,
        "Input size",
        "Images are enlarged from 32×32 to this side; cost grows with its square.",
        unit="px",
        choices=(32, 64, 96, 128, 160, 192, 224),
    )
    weights: str = _network(
        "auto",
        "Initial weights",
        "The best available: ImageNet, otherwise the bundled model, otherwise random; or one of them.",
        choices=("auto", "imagenet", "bundled", "random"),
        labels={"auto": "best available", "imagenet": "ImageNet", "bundled": "bundled (has seen CIFAR-10)"},
    )
    dropout: float = _head(
        0.5, "Dropout", "Share of the head's inputs set to zero in each training step.", span=(0.0, 0.8, 0.05)
    )
    dense_units: int = _head(
        128, "Hidden units", "Units of the head's hidden layer.", unit="units", span=(16, 512, 16), log=True
    )
    l2: float = _head(
        1e-4, "L2 penalty", "Penalty on large weights of the head's hidden layer.", span=(0.0, 1e-2), log=True
    )
    augmentation: float = _augmentation(
        1.0,
        "Augmentation strength",
        "Strength of rotation, shift, zoom and brightness: 0 is off, 1 suits 32×32 images, 3 is far too strong. "
        "Above 0, images are also mirrored.",
        span=(0.0, 3.0, 0.25),
    )
    views: int = _augmentation(
        4,
        "Augmented versions",
        "Augmented versions of each image in the feature cache; epochs alternate between them. 0 augments every "
        "image again in each epoch, which is many times slower.",
        unit="versions",
        span=(0, 16, 1),
        labels={0: "new in every epoch"},
    )
    mixing: float = _augmentation(
        0.0,
        "Mixing",
        "Share of batches whose images and labels are mixed in pairs, by Mixup or CutMix; only with 0 augmented "
        "versions. Helps in long training runs, costs accuracy in short ones.",
        span=_SHARE,
    )
    head_epochs: int = _phase_1(10, "Head epochs", "Epochs with a frozen backbone.", unit="epochs", span=(0, 100, 1))
    head_batch_size: int = _phase_1(
        256, "Head batch size", "Images per step in phase 1.", unit="images", choices=_BATCH_SIZES
    )
    head_learning_rate: float = _phase_1(
        1e-3, "Head learning rate", "Learning rate in phase 1.", span=(1e-5, 1e-1), log=True
    )
    fine_tune_epochs: int = _phase_2(
        10, "Fine-tuning epochs", "Epochs with the top of the backbone unfrozen.", unit="epochs", span=(0, 100, 1)
    )
    fine_tune_learning_rate: float = _phase_2(
        1e-4, "Fine-tuning learning rate", "Learning rate in phase 2.", span=(1e-6, 1e-1), log=True
    )
    fine_tune_blocks: int = _phase_2(
        4,
        "Fine-tuned blocks",
        "Blocks unfrozen, counted from the top. 0 is no fine-tuning, 17 is the whole network.",
        unit="blocks",
        span=(0, BLOCK_COUNT, 1),
    )
    batch_norm: str = _phase_2(
        "inference",
        "Batch normalization",
        "Unfrozen layers keep their statistics, adapt them quickly, or adapt them as slowly as on ImageNet, too slowly "
        "for a short training run.",
        choices={
            "inference": "keep statistics",
            "adapt": "adapt (momentum 0.95)",
            "training": "training mode (momentum 0.999)",
        },
        mistakes=("training",),
    )
    schedule: str = _optimization(
        "plateau",
        "Learning rate schedule",
        "Reduce the learning rate when validation stalls, or along a cosine after a warm-up.",
        choices={"plateau": "reduce on plateau", "cosine": "cosine with warm-up"},
    )
    early_stopping_patience: int = _optimization(
        5,
        "Early stopping patience",
        "A phase ends after this many epochs without a better validation accuracy.",
        unit="epochs",
        span=(1, 100, 1),
    )
    reduce_patience: int = _optimization(
        2,
        "Plateau patience",
        "The learning rate is reduced after this many epochs without a better validation accuracy.",
        unit="epochs",
        span=(1, 100, 1),
    )
    reduce_factor: float = _optimization(
        0.5, "Plateau factor", "Factor by which the learning rate is reduced.", span=(0.1, 0.9, 0.1)
    )
    batch_size: int = _optimization(
        64, "Fine-tuning batch size", "Images per step in phase 2.", unit="images", choices=_BATCH_SIZES
    )
    optimizer: str = _optimization(
        "adam",
        "Optimizer",
        "Adam, or AdamW with a weight decay of 0.004 on kernels.",
        choices={"adam": "Adam", "adamw": "AdamW"},
    )
    label_smoothing: float = _optimization(
        0.0, "Label smoothing", "Share of each label that is spread over all ten classes.", span=(0.0, 0.3, 0.05)
    )
    ema: str = _optimization(
        "off",
        "Weight averaging",
        "Validation and the saved model use an exponential moving average of the weights over about one epoch. Helps "
        "where the learning rate stays high to the end; a cosine schedule gains little.",
        choices=("off", "on"),
    )
    teacher: str = _distillation(
        "",
        "Teacher",
        "A finished run, or the bundled model, whose probabilities the network learns beside the labels. Teacher and "
        "student see the same augmented image.",
        pattern=r"|bundled|[0-9]{8}-[0-9]{9}-[a-z0-9]{1,24}",
        labels={"": "none", "bundled": "bundled model"},
    )
    distillation: float = _distillation(
        0.5,
        "Distillation weight",
        "Share of the loss that comes from the teacher; the rest comes from the labels. Nothing without a teacher.",
        span=_SHARE,
    )
    distillation_temperature: float = _distillation(
        2.0,
        "Distillation temperature",
        "Above 1, the teacher's less probable classes count more.",
        span=(1.0, 10.0, 0.5),
    )
    seed: int = _optimization(
        1, "Seed", "The same seed gives the same curve on the same machine.", span=(0, 2_147_483_647, 1)
    )
    scaling: str = _mistake(
        "minus_one_to_one",
        "Pixel scaling",
        "ImageNet weights were trained with pixels in [-1, 1].",
        choices={"minus_one_to_one": "[-1, 1]", "zero_to_one": "[0, 1]"},
        mistakes=("zero_to_one",),
    )

    def __post_init__(self) -> None:
        """Check each field against its knob, then the combination of epochs."""
        for known in KNOBS.values():
            object.__setattr__(self, known.name, known.check(getattr(self, known.name)))
        if self.head_epochs == 0 and not self.fine_tunes:
            raise ConfigError(
                "Nothing would be trained: received head_epochs 0 and no fine-tuning, expected at least one epoch "
                "in one phase; raise head_epochs, or fine_tune_epochs and fine_tune_blocks.",
                "head_epochs",
            )

    @property
    def fine_tunes(self) -> bool:
        """Whether there is a second phase."""
        return self.fine_tune_epochs > 0 and self.fine_tune_blocks > 0

    @property
    def epochs(self) -> dict[str, int]:
        """The maximum number of epochs of each phase."""
        return {"head": self.head_epochs, "fine_tune": self.fine_tune_epochs if self.fine_tunes else 0}

    def epochs_before(self, phase: str) -> int:
        """Return the maximum number of epochs before `phase`, so that no two phases draw the same random numbers."""
        return self.head_epochs if phase == "fine_tune" else 0

    @property
    def distils(self) -> bool:
        """Whether the network learns from a teacher."""
        return self.teacher != "" and self.distillation > 0

    @property
    def stored_layers(self) -> dict[str, str]:
        """The layer whose cached features a phase learns from: phase -> "pooled" or "cut"; otherwise from pixels."""
        if self.views == 0 and self.augmentation > 0:
            return {}
        layers = {"head": "pooled"} if self.head_epochs else {}
        return layers | ({"fine_tune": "cut"} if self.fine_tunes and self.fine_tune_blocks < BLOCK_COUNT else {})

    @property
    def views_used(self) -> int:
        """Number of versions of the images in the feature cache that the epochs use."""
        if self.augmentation == 0:
            return 1
        head = -(-self.head_epochs // HEAD_EPOCHS_A_VIEW)
        return min(self.views, max(head, self.fine_tune_epochs if "fine_tune" in self.stored_layers else 0))

    def to_dict(self) -> dict[str, Any]:
        """Return the values of all knobs and the schema version."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Any) -> TrainConfig:
        """Return the configuration saved as `data`. Raises ConfigError on unknown or missing keys or bad values.

        Files without `head_batch_size` have one batch size for both phases. Knobs in `_ADDED` may be missing and get
        their defaults.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ConfigError(f"This configuration is not of schema {SCHEMA}; train again with this version.")
        values = {name: KNOBS[name].default for name in _ADDED} | data
        del values["schema"]
        if "batch_size" in values:
            values.setdefault("head_batch_size", values["batch_size"])
        if set(values) != set(KNOBS):
            odd = ", ".join(sorted(map(repr, set(values) ^ set(KNOBS))))[:200]
            raise ConfigError(f"This configuration has unknown or missing settings: {odd}; train again.")
        return cls(**values)

    def differences(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """Return the knobs that differ, as name -> (own value, other's value)."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in KNOBS)
        return {name: (own, others) for name, own, others in pairs if own != others}


KNOBS: Mapping[str, Knob] = {
    item.name: Knob(name=item.name, default=item.default, **item.metadata) for item in fields(TrainConfig)
}

_ADDED = ("split", "mixing", "ema", "teacher", "distillation", "distillation_temperature")  # missing in older files

_MILD: dict[str, Any] = {"augmentation": 0.5, "dropout": 0.3, "schedule": "cosine", "fine_tune_learning_rate": 5e-4}

PRESETS: Mapping[str, TrainConfig] = {
    "quick": TrainConfig(
        **_MILD, train_images=5_000, views=2, head_epochs=3, head_learning_rate=3e-3, fine_tune_epochs=4
    ),
    "standard": TrainConfig(
        **_MILD, views=2, head_epochs=2, head_learning_rate=3e-3, fine_tune_epochs=3, fine_tune_blocks=7, batch_size=128
    ),
    "best": TrainConfig(
        **_MILD | {"fine_tune_learning_rate": 6e-4},
        validation_fraction=0.1,
        views=0,
        head_epochs=1,
        head_batch_size=128,
        fine_tune_epochs=16,
        fine_tune_blocks=17,
        batch_size=128,
        optimizer="adamw",
        label_smoothing=0.1,
        early_stopping_patience=20,
    ),
    "classic": TrainConfig(),
}
"""Predefined configurations, by name. `classic` is the recipe of the tutorials; the others were tuned on validation
images of CIFAR-10, see docs/benchmarks.md."""

PRESET_HELP: Mapping[str, str] = {
    "quick": "5,000 images, the top four blocks.",
    "standard": "All images, the top seven blocks.",
    "best": "All images, the whole network.",
    "classic": "The recipe of the tutorials.",
}

PRESET_ACCURACY: Mapping[str, float] = {"quick": 0.836, "standard": 0.906, "best": 0.931}
"""Measured accuracy on the 10,000 test images of CIFAR-10, with ImageNet weights and seed 1: docs/benchmarks.md."""


def differing_knobs(configs: Iterable[TrainConfig]) -> list[str]:
    """Return the knobs with different values in `configs`, in the order of KNOBS."""
    known = list(configs)
    return [name for name in KNOBS if len({getattr(config, name) for config in known}) > 1]


def nearest_preset(config: TrainConfig) -> str:
    """Return the name of the preset with the fewest differences from `config`."""
    return min(PRESETS, key=lambda name: len(config.differences(PRESETS[name])))


def changes_in_words(config: TrainConfig) -> list[str]:
    """Return the settings that differ from the nearest preset: ["width α 0.35", "dropout 0.2"]."""
    changes = config.differences(PRESETS[nearest_preset(config)])
    return [f"{KNOBS[key].label.lower()} {KNOBS[key].short(value)}" for key, (value, _) in changes.items()]


@lru_cache(maxsize=4096)
def suggested_name(config: TrainConfig) -> str:
    """Return a name from the nearest preset and the settings that differ from it: "quick, α 0.35"."""
    name = nearest_preset(config)
    changes = [change.removeprefix("width ") for change in changes_in_words(config)]
    more = [f"{len(changes) - 2} more"] if len(changes) > 3 else changes[2:3]
    return ", ".join([name, *changes[:2], *more])
