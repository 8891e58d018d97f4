"""Whether one run is really better than another: McNemar's test on what both said of the same test images.

Of two models only those images tell that one gets right and the other wrong. If both were equally good, each would
win half of them, like a coin (McNemar 1947); the exact binomial test says how odd the split is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from cifar_core import runs
from cifar_core.errors import RunError
from cifar_core.evaluation import predictions
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run

LEVEL = 0.05
"""A difference counts as real if chance alone would make one as large less often, all pairs looked at together."""


@dataclass(frozen=True)
class McNemar:
    """How two models a and b share `images`: right for one only; `p_value` is of the exact test, two-sided."""

    images: int
    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class Pair:
    """Two runs; `result` is None where they cannot be compared, and `reason` says why."""

    a: Run
    b: Run
    result: McNemar | None
    reason: str = ""


def mcnemar(a: Predictions, b: Predictions) -> McNemar:
    """Return McNemar's exact test of two models on the same images in the same order.

    Raises ValueError if their labels are not the same.
    """
    from scipy.stats import binomtest  # takes half a second to import

    if len(a.labels) != len(b.labels) or (a.labels != b.labels).any():
        raise ValueError("the models saw different images")
    only_a, only_b = int((a.is_correct & ~b.is_correct).sum()), int((b.is_correct & ~a.is_correct).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(len(a.labels), only_a, only_b, p_value)


def compare(chosen: Sequence[Run]) -> list[Pair]:
    """Return every pair of `chosen` with its test, or why there is none."""
    said: dict[str, Predictions | str] = {}
    for run in chosen:
        try:
            said[run.id] = predictions.load(run).test
        except RunError as error:
            said[run.id] = str(error)
    return [_pair(a, b, said[a.id], said[b.id]) for a, b in itertools.combinations(chosen, 2)]


def verdict(pair: Pair, name_a: str, name_b: str, pairs: int = 1) -> str:
    """Return in words what the test of `pair`, one of `pairs`, says. The names are put in as they are."""
    result = pair.result
    if result is None:
        return f"{name_a} and {name_b} cannot be compared: {pair.reason}"
    if not result.only_a + result.only_b:
        return f"No difference between {name_a} and {name_b}: both are right on the same test images."
    better, worse, wins, losses = name_a, name_b, result.only_a, result.only_b
    if losses > wins:
        better, worse, wins, losses = worse, better, losses, wins
    split = (
        f"of {result.images:,} test images {wins:,} are right with {better} only and {losses:,} with {worse} only "
        f"({_p(result.p_value)}); of equally good models, {_odds(result.p_value)} would split them so unevenly."
    )
    if result.p_value < LEVEL / pairs:
        return f"{better} is really better than {worse}: {split}"
    return f"No real difference between {name_a} and {name_b} is shown: {split}"


def caution(pairs: int) -> str:
    """Return what to bear in mind when `pairs` pairs are looked at together."""
    choose = "Choose by validation accuracy; the test images only tell whether a difference is real."
    if pairs < 2:
        return choose
    return (
        f"{pairs} pairs are looked at together. At 5 % each, chance alone would call one of twenty equal pairs "
        f"different, so here a pair counts only below {LEVEL / pairs:.2g} (5 % shared among them, Bonferroni). {choose}"
    )


def _pair(a: Run, b: Run, said_a: Predictions | str, said_b: Predictions | str) -> Pair:
    for said in (said_a, said_b):
        if isinstance(said, str):
            return Pair(a, b, None, said)
    if _fingerprint(a) != _fingerprint(b):
        return Pair(a, b, None, "they were trained and tested on different sets of images.")
    try:
        return Pair(a, b, mcnemar(said_a, said_b))  # type: ignore[arg-type]
    except ValueError:
        return Pair(a, b, None, "they did not see the same test images.")


def _fingerprint(run: Run) -> str:
    data = runs.read_json(run.path / "environment.json").get("data")
    return str(data.get("fingerprint")) if isinstance(data, dict) else ""


def _odds(p_value: float) -> str:
    if p_value < 0.0001:
        return "fewer than 1 pair in 10,000"
    return f"about 1 pair in {1 / p_value:,.0f}" if p_value < 0.02 else f"about {100 * p_value:.0f} pairs in 100"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"
