"""What the rules of the diagnosis look at, and what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cifar_core.config import KNOBS, TrainConfig
from cifar_core.evaluation.story import Phase

Level = Literal["problem", "hint", "fine"]


@dataclass(frozen=True)
class Finding:
    """What a rule found: `level` "problem" (it cost accuracy), "hint" (worth knowing) or "fine" (looks odd, is not).

    `cause` says what probably happened, `advice` which knob to move, `evidence` the numbers.
    """

    rule: str
    level: Level
    title: str
    cause: str
    advice: str
    evidence: str


@dataclass(frozen=True)
class Case:
    """What the rules look at. `epochs` are the sound rows of whole epochs; `ended` is whether no more will come."""

    config: TrainConfig
    epochs: Sequence[dict[str, Any]]
    phases: Sequence[Phase]
    result: Mapping[str, Any]
    error: str
    ended: bool

    @property
    def last(self) -> dict[str, Any]:
        """The last whole epoch."""
        return self.epochs[-1]

    def phase(self, name: str) -> Phase | None:
        """The phase called `name`, None if it has no whole epoch."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def epochs_of(self, name: str) -> list[dict[str, Any]]:
        """The whole epochs of a phase."""
        return [row for row in self.epochs if row["phase"] == name]


def label(name: str) -> str:
    """Return a knob as the page calls it, in quotation marks."""
    return f"“{KNOBS[name].label}”"
