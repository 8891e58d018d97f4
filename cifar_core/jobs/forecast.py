"""How far a live run is, and when it will be done: one promise, which is broken only with a reason."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARTS = ("features", "start", "head", "fine_tune", "evaluate")
"""In the order in which a run goes through them; "start" is what is left of TensorFlow's start after the features."""
_PART_OF = {"prepare": "features", "import": "start", "export": "evaluate"}
_TRUSTED = 4  # a part's own pace counts in full once a quarter of it is done: its first steps are slow
_FASTEST = 0.5  # of the seconds that are expected: other parts may go on as slowly, hardly as fast as this one
_LEAST_DELAY, _DELAY = 5.0, 0.15  # seconds and share of the time left by which a promise may be late unmentioned


@dataclass(frozen=True)
class Outlook:
    """Where a run stands: the share done of each part and of the whole time.

    `late` is the part that now makes it take longer than promised, None while the promise holds.
    """

    shares: Mapping[str, float]
    done: float
    seconds_left: float
    late: str | None


class Forecast:
    """What is promised of one run to all who watch it; many threads may look at the same time."""

    def __init__(self, expected: Mapping[str, float], epochs: Mapping[str, int]) -> None:
        """`expected` is part -> seconds (those that are left out do not occur), `epochs` phase -> planned epochs."""
        self._expected = {part: max(expected[part], 0.1) for part in PARTS if part in expected}
        self._epochs = epochs
        self._lock = threading.Lock()
        self._pace = 1.0  # seconds that the training takes for each that was expected
        self._end: float | None = None
        self._done = 0.0
        self._late: str | None = None

    def look(self, now: float, status: Mapping[str, Any], last: Mapping[str, Any] | None) -> Outlook:
        """Return the outlook of a running run at the time `now`; `last` is its last sound metrics row."""
        stage = str(status.get("stage"))
        part = _PART_OF.get(stage, stage)
        share, left = self._within(part, now, status, last or {})
        place = PARTS.index(part) if part in PARTS else 0
        shares = {other: float(PARTS.index(other) < place) for other in self._expected} | {part: share}
        left += self._pace * sum(seconds for other, seconds in self._expected.items() if PARTS.index(other) > place)
        spent = _since(status.get("started"), now)
        with self._lock:
            left = max(self._promise(now, now + left, part) - now, 0.0)
            self._done = max(self._done, spent / max(spent + left, 1.0))
            return Outlook(shares, self._done, left, self._late)

    def _within(self, part: str, now: float, status: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float, float]:
        """Return which share of `part` is done, and how many seconds it still takes."""
        expected = self._pace * self._expected.get(part, 0.1)
        if last.get("phase") == part:
            within = last["step"] / last["steps"] if last["kind"] == "step" else 1.0
            share = min((last["epoch"] - 1 + within) / max(self._epochs.get(part, 0), last["epoch"]), 1.0)
        elif last.get("kind") == "progress" and last.get("stage") == part and last["total"]:
            share = min(last["done"] / last["total"], 1.0)
        else:
            spent = _since(status.get("updated"), now)
            return min(spent / expected, 0.95), max(expected - spent, 0.0)
        guess, trust = expected * (1 - share), min(share * _TRUSTED, 1.0)
        own = last.get("seconds_left")
        if own is None:
            return share, guess
        if part in self._epochs and trust == 1 and share < 1:
            self._pace = max(own / (self._expected.get(part, 0.1) * (1 - share)), _FASTEST)
        return share, trust * own + (1 - trust) * guess

    def _promise(self, now: float, end: float, part: str) -> float:
        """Return the time of the end that is promised, where `end` is what it looks like now."""
        if self._late != part:
            self._late = None
        if self._end is None or end <= self._end:
            self._end = end
        elif end - self._end > max(_LEAST_DELAY, _DELAY * (self._end - now)):
            self._end, self._late = end, part
        return self._end


def _since(moment: object, now: float) -> float:
    """Return how many seconds ago a moment of a status file was, 0 where it is none."""
    return now - moment if isinstance(moment, int | float) and 0 <= moment <= now else 0.0
