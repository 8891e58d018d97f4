"""The search space of a sweep (ranges or choices of knobs over a base configuration), and its goal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cifar_core.config import KNOBS, TrainConfig
from cifar_core.errors import ConfigError, SweepError
from cifar_core.untrusted import quoted

if TYPE_CHECKING:
    from optuna import Trial

MOST_TRIALS = 10_000
MOST_CELLS = 400
DEFAULT_KNOBS = ("alpha", "dropout", "augmentation")
"""Knobs that a sweep varies by default."""
FIXED = ("dataset", "train_images", "validation_fraction", "split", "weights", "teacher", "seed")
"""Knobs that a sweep cannot vary: with other values, accuracies are not comparable."""
FEATURE_KNOBS = ("alpha", "image_size", "scaling", "augmentation", "fine_tune_blocks")
"""Knobs of which each value needs features of its own; further views are added to the features that are stored."""
_SENSIBLE = {"views": (1, 8), "head_epochs": (1, 20), "fine_tune_epochs": (1, 20), "early_stopping_patience": (1, 20)}


@dataclass(frozen=True)
class Range:
    """The values of a knob: `choices`, or numbers from `low` to `high`, integers for an integer knob.

    The constructor checks it against the knob table and raises SweepError or ConfigError.
    """

    knob: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.knob not in KNOBS or self.knob in FIXED:
            known = ", ".join(name for name in KNOBS if name not in FIXED)
            raise SweepError(f"A search cannot vary {quoted(str(self.knob))}, expected one of {known}.")
        knob = KNOBS[self.knob]
        if self.choices:
            choices = (rounded(self.knob, knob.check(choice)) for choice in self.choices)  # as the values of trials are
            object.__setattr__(self, "choices", tuple(dict.fromkeys(choices)))
            return
        if knob.choices:
            some = ", ".join(map(str, knob.choices))
            raise SweepError(f"{knob.label}: received no choice, expected some of {some}.")
        low, high = knob.check(self.low), knob.check(self.high)
        if self.step:
            high = low + math.floor((high - low) / self.step + 1e-9) * self.step
        low = low if low or not knob.log else (knob.high or 0) / 1e4
        object.__setattr__(self, "low", rounded(self.knob, low))
        object.__setattr__(self, "high", rounded(self.knob, high))
        if not self.low < self.high:
            raise SweepError(f"{knob.label}: received {low:g} to {high:g}, expected a range, low before high.")

    @property
    def log(self) -> bool:
        """Whether numbers are sampled on a logarithmic scale."""
        return KNOBS[self.knob].log and not self.choices

    @property
    def step(self) -> float | None:
        """The step of float values, or None. With a step, values and their cached features recur."""
        knob = KNOBS[self.knob]
        return knob.step if isinstance(knob.default, float) and not knob.log and not self.choices else None

    @property
    def count(self) -> float:
        """The number of different values; infinite for float values without a step."""
        if self.choices:
            return len(self.choices)
        step = 1 if isinstance(KNOBS[self.knob].default, int) else self.step
        return round((self.high - self.low) / step) + 1 if step else math.inf

    def suggest(self, trial: Trial) -> Any:
        """Return the value for `trial`."""
        if self.choices:
            return trial.suggest_categorical(self.knob, self.choices)
        if isinstance(KNOBS[self.knob].default, int):
            return trial.suggest_int(self.knob, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.knob, self.low, self.high, step=self.step, log=self.log)

    def to_dict(self) -> dict[str, Any]:
        """Return the saved form."""
        return {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}


def table_range(name: str) -> Range:
    """Return the range or choices of a knob in the knob table. Raises SweepError."""
    knob = KNOBS.get(name)
    if knob is None:
        return Range(name)  # raises
    if knob.choices:
        return Range(name, choices=tuple(choice for choice in knob.choices if choice not in knob.mistakes))
    return Range(name, *_SENSIBLE.get(name, (knob.low or 0, knob.high or 0)))


def parse_range(text: str) -> Range:
    """Parse a range: `dropout`, `dropout=0:0.5` or `alpha=0.35,0.5`. Raises SweepError or ConfigError."""
    name, _, values = text.partition("=")
    name = name.replace("-", "_")
    knob = KNOBS.get(name)
    if not values or knob is None:
        return table_range(name)
    if ":" in values and not knob.choices:
        return Range(name, *map(knob.parse, values.split(":", 1)))
    return Range(name, choices=tuple(map(knob.parse, values.split(","))))


@dataclass(frozen=True)
class Plan:
    """The search space: `base` with the knobs of `ranges` varied. A grid tries all combinations of choices."""

    base: TrainConfig
    ranges: tuple[Range, ...]
    grid: bool = False

    def __post_init__(self) -> None:
        names = [item.knob for item in self.ranges]
        if not names or len(set(names)) != len(names):
            raise SweepError("A search varies at least one setting, each once; choose some.")
        cells = math.prod(len(item.choices) for item in self.ranges)  # not listed: there may be billions
        if self.grid and not 0 < cells <= MOST_CELLS:
            raise SweepError(f"A grid has some values of each setting, and at most {MOST_CELLS} cells; choose fewer.")

    def config(self, trial: Trial) -> TrainConfig:
        """Return the configuration of `trial`. Raises ConfigError if the combination is invalid."""
        values = {item.knob: item.suggest(trial) for item in self.ranges}
        if self.grid:  # each cell has a seed, so seeds can be added
            values["seed"] = trial.suggest_int("seed", 0, int(KNOBS["seed"].high or 0))
        return self.with_values(values)

    def with_values(self, values: Mapping[str, Any]) -> TrainConfig:
        """Return the base with the `values` of a trial. Raises ConfigError if the combination is invalid."""
        return replace(self.base, **{name: rounded(name, value) for name, value in values.items()})

    def cells(self) -> list[dict[str, Any]]:
        """Return all combinations of a grid's choices."""
        names = [item.knob for item in self.ranges]
        combinations = itertools.product(*(item.choices for item in self.ranges))
        return [dict(zip(names, values, strict=True)) for values in combinations]

    def to_dict(self) -> dict[str, Any]:
        """Return the saved form."""
        ranges = {item.knob: item.to_dict() for item in self.ranges}
        return {"base": self.base.to_dict(), "ranges": ranges, "grid": self.grid}

    @classmethod
    def from_dict(cls, data: Any) -> Plan:
        """Return the plan from its saved form. Raises SweepError if `data` is invalid."""
        try:
            ranges = tuple(
                Range(name, item.get("low", 0.0), item.get("high", 0.0), tuple(item.get("choices", ())))
                for name, item in data["ranges"].items()
            )
            return cls(TrainConfig.from_dict(data["base"]), ranges, bool(data.get("grid")))
        except (AttributeError, KeyError, TypeError, ConfigError) as error:
            raise SweepError(f"The search's plan is damaged ({error}); start a new search.") from None


@dataclass(frozen=True)
class Goal:
    """The end of a sweep: after `trials`, or after `seconds` of training in total, whichever comes first."""

    trials: int
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MOST_TRIALS or (self.seconds is not None and not 0 < self.seconds < 1e7):
            raise SweepError(
                f"A search has 1 to {MOST_TRIALS:,} trials, and a time limit above 0; received another value."
            )


def rounded(knob: str, value: Any) -> Any:
    """Return a float value of `knob` with four significant digits, any other value unchanged."""
    return float(f"{value:.4g}") if isinstance(value, float) and not KNOBS[knob].choices else value


def in_words(values: Mapping[str, Any]) -> list[str]:
    """Return the `values` of a trial, by knob, as texts: ["Dropout 0.2"]."""
    return [f"{KNOBS[name].label} {KNOBS[name].format(value)}" for name, value in values.items()]


def describe(plan: Plan) -> Mapping[str, str]:
    """Return the values of each knob as text."""
    texts = {}
    for item in plan.ranges:
        form, scale = KNOBS[item.knob].format, ", logarithmic" if item.log else ""
        numbers = f"{form(item.low)} to {form(item.high)}{scale}"
        texts[item.knob] = ", ".join(map(form, item.choices)) if item.choices else numbers
    return texts
