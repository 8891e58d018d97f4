"""How far a live run is, and when it will be done: a predicted end that moves back only for a stated reason."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARTS = ("features", "start", "head", "fine_tune", "evaluate")
"""In order; "start" is the rest of TensorFlow's import after the features."""
_PART_OF = {"prepare": "features", "import": "start", "export": "evaluate"}
_BEFORE = ("features", "start")
_TRUSTED = 4  # a phase's measured pace counts in full once a quarter of it is done
_SETTLED = 0.25  # share of an epoch from which its pace counts
_WARM = 30.0  # seconds from which the pace of a phase's first epoch counts: Keras compiles at the first step
_AGAIN = 0.25  # what takes longer than expected is expected to take this share of the time spent in addition
_MOST_DONE = 0.99
_FASTEST = 1.0  # factor on the expected seconds: other parts may be as slow as this one, but not faster than expected
_LEAST_DELAY, _DELAY = 5.0, 0.15  # seconds and share of the time left by which a run may be late without a reason


@dataclass(frozen=True)
class Outlook:
    """The share done of each part and of the whole time.

    `late` is the part that makes the run take longer than predicted, None while the prediction holds.
    """

    shares: Mapping[str, float]
    done: float
    seconds_left: float
    late: str | None


class Forecast:
    """The prediction of one run, shared by all who watch it; thread-safe."""

    def __init__(self, expected: Mapping[str, float], epochs: Mapping[str, int]) -> None:
        """`expected` is part -> seconds (those that are left out do not occur), `epochs` phase -> planned epochs."""
        self._expected = {part: max(expected[part], 0.1) for part in PARTS if part in expected}
        self._epochs = epochs
        self._lock = threading.Lock()
        self._pace = 1.0  # seconds that the training takes for each that was expected
        self._end: float | None = None
        self._done = 0.0
        self._late: str | None = None

    def outlook(self, now: float, status: Mapping[str, Any], last: Mapping[str, Any] | None) -> Outlook:
        """Return the outlook of a running run at the time `now`; `last` is its last sound metrics row."""
        stage = str(status.get("stage"))
        part = _PART_OF.get(stage, stage)
        spent = _since(status.get("began"), now)
        share, left = (self._before if part in _BEFORE else self._within)(part, now, status, last or {})
        place = PARTS.index("start" if part in _BEFORE else part) if part in PARTS else 0
        left += self._pace * sum(seconds for other, seconds in self._expected.items() if PARTS.index(other) > place)
        shares = {other: float(PARTS.index(other) < PARTS.index(part)) for other in self._expected if part in PARTS}
        with self._lock:
            left = max(self._predicted_end(now, now + left, part) - now, 0.0)
            self._done = max(self._done, min(spent / max(spent + left, 1.0), _MOST_DONE))
            return Outlook(shares | {part: share}, self._done, left, self._late)

    def _before(self, part: str, now: float, status: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float, float]:
        """Return which share of a part before the training is done, and how many seconds there are until it begins.

        Features are computed while TensorFlow starts: both together take what they were expected to take.
        """
        expected = sum(self._expected.get(other, 0.0) for other in _BEFORE)
        spent = _since(status.get("began"), now)
        left, share = _left(expected, spent), spent / max(expected, spent, 1.0)
        if part == "features" and last.get("stage") == part and last.get("total"):
            share, left = last["done"] / last["total"], max(left, last.get("seconds_left") or 0.0)
        return min(share, 1.0), left

    def _within(self, part: str, now: float, status: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float, float]:
        """Return which share of a later part is done, and how many seconds it still takes."""
        expected, spent = self._expected.get(part, 0.1), _since(status.get("updated"), now)
        if last.get("phase") != part:
            return min(spent / (self._pace * expected), 0.95), _left(self._pace * expected, spent)
        within = last["step"] / last["steps"] if last["kind"] == "step" else 1.0
        share = min((last["epoch"] - 1 + within) / max(self._epochs.get(part, 0), last["epoch"]), 1.0)
        trust, own = min(share * _TRUSTED, 1.0), last.get("seconds_left")
        guess = self._pace * expected * (1 - share)
        if own is None or within < _SETTLED or (last["epoch"] == 1 and spent < _WARM):
            return share, guess
        if trust == 1 and share < 1:
            self._pace = max(own / (expected * (1 - share)), _FASTEST)
        return share, trust * own + (1 - trust) * guess

    def _predicted_end(self, now: float, end: float, part: str) -> float:
        """Return the predicted time of the end; `end` is the current estimate."""
        if self._late != part:
            self._late = None
        if self._end is None or end <= self._end:
            self._end = end
        elif end - self._end > max(_LEAST_DELAY, _DELAY * (self._end - now)):
            self._end, self._late = end, part
        return self._end


def _left(expected: float, spent: float) -> float:
    return max(expected - spent, _AGAIN * spent)


def _since(moment: object, now: float) -> float:
    """Return how many seconds ago a moment of a status file was, 0 where it is none."""
    return now - moment if isinstance(moment, int | float) and 0 <= moment <= now else 0.0
