"""One setting of a training run: its label, range or choices, unit, help and group."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cifar_core.errors import ConfigError


@dataclass(frozen=True)
class Knob:
    """Metadata of one field of `TrainConfig`.

    `low` and `high` are inclusive. `choices` are in display order, `labels` are their texts, `mistakes` are the choices
    that demonstrate a common mistake. A string without choices must match the regular expression `pattern`.
    """

    name: str
    default: Any
    label: str
    help: str
    group: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    labels: Mapping[Any, str] = field(default_factory=dict)
    mistakes: tuple[Any, ...] = ()
    pattern: str = ""

    @property
    def flag(self) -> str:
        """The command-line flag: `--train-images`."""
        return "--" + self.name.replace("_", "-")

    @property
    def title(self) -> str:
        """The label with the unit."""
        return f"{self.label} ({self.unit})" if self.unit and self.unit not in self.label.lower() else self.label

    def format(self, value: Any) -> str:
        """Return `value` as text with its unit."""
        unit = self.unit.removesuffix("s") if value == 1 else self.unit
        return self.labels[value] if value in self.labels else f"{self.short(value)} {unit}".strip()

    def short(self, value: Any) -> str:
        """Return `value` as text without its unit."""
        if value in self.labels:
            return self.labels[value]
        return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)

    def check(self, value: Any) -> Any:
        """Return `value` converted to the knob's type. Raises ConfigError for a wrong type or range."""
        value = self._as_own_type(value)
        if self.choices:
            if value not in self.choices:
                raise self._error(value, "one of " + ", ".join(map(str, self.choices)))
        elif self.pattern:
            if not re.fullmatch(self.pattern, value):
                raise self._error(value, "none, bundled, or the id of a finished run")
        elif (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise self._error(value, f"{self.low:,} to {self.high:,}")
        return value

    def parse(self, text: str) -> Any:
        """Parse and check `text`, a value or its label on the command line. Raises ConfigError."""
        kind = type(self.default)
        named = {label: value for value, label in self.labels.items()}
        try:
            return self.check(named[text] if text in named else text if kind is str else kind(text))
        except ValueError:
            raise self._error(text, "a whole number" if kind is int else "a number") from None

    def _as_own_type(self, value: Any) -> Any:
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
            value = float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            words = {int: "a whole number", float: "a number", str: "a word"}
            raise self._error(value, words[kind])
        return value

    def _error(self, value: Any, expected: str) -> ConfigError:
        shown = (repr(value) if not isinstance(value, int) or abs(value) < 1e300 else "a huge number")[:60]
        return ConfigError(f"{self.label}: received {shown}, expected {expected}.", self.name)


def knob(group: str, default: Any, label: str, text: str, span: Sequence[float] = (), **metadata: Any) -> Any:
    """Return a dataclass field for one setting; `metadata` contains the other fields of `Knob`.

    `span` is `low`, `high` and, if there is one, `step`. `choices` may be a dictionary of the choices and their labels.
    """
    metadata |= dict(zip(("low", "high", "step"), span, strict=False))
    if isinstance(choices := metadata.get("choices"), dict):
        metadata |= {"choices": tuple(choices), "labels": choices}
    return field(default=default, metadata={"label": label, "group": group, "help": text, **metadata})
