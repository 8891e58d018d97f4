"""Comparison of runs: McNemar's test on the predictions of two runs for the same test images.

Only images that exactly one model predicts correctly count. If both models are equally good, each wins half of them
(McNemar 1947); the exact binomial test gives the p-value. P-values of several pairs are adjusted by Holm's method
(1979), so that the chance of any false difference among them stays below LEVEL.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cifar_core.errors import RunError
from cifar_core.evaluation import predictions
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, records

LEVEL = 0.05
"""Chance of any false difference among all pairs in a comparison."""


@dataclass(frozen=True)
class McNemar:
    """The test of models a and b on `images`: the numbers that only one predicts correctly, and the exact p-value."""

    images: int
    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class Pair:
    """Two runs and their test. `result` is None if they cannot be compared; `reason` explains why.

    `adjusted` is the p-value after Holm's correction for all pairs of the comparison.
    """

    a: Run
    b: Run
    result: McNemar | None
    reason: str = ""
    adjusted: float = 1.0

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.result is not None and self.adjusted < LEVEL


def mcnemar(a: Predictions, b: Predictions) -> McNemar:
    """Return McNemar's exact two-sided test of two models on the same images in the same order.

    Raises RunError if the labels differ.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    if len(a.labels) != len(b.labels) or (a.labels != b.labels).any():
        raise RunError("they did not see the same test images.")
    only_a, only_b = int((a.is_correct & ~b.is_correct).sum()), int((b.is_correct & ~a.is_correct).sum())
    p_value = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))  # symmetric, so both tails
    return McNemar(len(a.labels), only_a, only_b, p_value)


def compare(chosen: Sequence[Run]) -> list[Pair]:
    """Return all pairs of `chosen` runs with their tests, adjusted for the number of pairs."""
    load = functools.cache(lambda run: predictions.load(run).test)
    pairs = [_pair(a, b, load) for a, b in itertools.combinations(chosen, 2)]
    tested = [number for number, pair in enumerate(pairs) if pair.result is not None]
    adjusted = dict(zip(tested, holm([pairs[n].result.p_value for n in tested]), strict=True))  # type: ignore[union-attr]
    return [replace(pair, adjusted=adjusted.get(number, 1.0)) for number, pair in enumerate(pairs)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down method, in the given order.

    It controls the chance of any false rejection under any dependence.
    """
    adjusted, highest = [1.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[number] * (len(p_values) - place)))
        adjusted[number] = highest
    return adjusted


def verdict(pair: Pair, name_a: str, name_b: str) -> str:
    """Return a sentence on the test of `pair`. The names are inserted unchanged."""
    result = pair.result
    if result is None:
        return f"{name_a} and {name_b} cannot be compared: {pair.reason}"
    if not result.only_a + result.only_b:
        return f"No difference between {name_a} and {name_b}: both predict the same test images correctly."
    better, worse, wins, losses = name_a, name_b, result.only_a, result.only_b
    if losses > wins:
        better, worse, wins, losses = worse, better, losses, wins
    split = (
        f"of {result.images:,} test images, {better} alone predicts {wins:,} correctly and {worse} alone {losses:,} "
        f"({_p(pair.adjusted)})."
    )
    if pair.is_significant:
        return f"{better} is better than {worse}: {split}"
    return f"No significant difference between {name_a} and {name_b}: {split}"


def correction_note(pairs: int) -> str:
    """Return a note on how to read the tests of `pairs` pairs."""
    note = "Choose by validation accuracy; the test images only show whether a difference is significant."
    if pairs > 1:
        note = f"P-values of {pairs} pairs, corrected (Holm): the chance of any false one is below {LEVEL:.0%}. {note}"
    return note


def has_seen_validation(run: Run) -> bool:
    """Return whether the run's initial weights, the bundled model's, were trained on its validation images."""
    try:
        known = records.environment(run.path)
        if known is None:
            return run.config.weights == "bundled"
    except RunError:
        return False
    return known.weights.kind == "bundled" and known.data.name != "generated"


def leak_note(names: Mapping[str, str]) -> str:
    """Return a note on the runs that have seen their validation images, or ""; `names` maps run IDs to names."""
    seen = [name for id_, name in names.items() if has_seen_validation(Run(id_))]
    who = " and ".join(seen)
    return who and (
        f"The initial weights of {who} were trained on CIFAR-10, including the validation images: validation accuracy "
        "is too high, and the earlier training is not in the time."
    )


def _pair(a: Run, b: Run, load: Callable[[Run], Predictions]) -> Pair:
    try:
        tests = load(a), load(b)
        if _fingerprint(a) != _fingerprint(b):
            return Pair(a, b, None, "they were trained and tested on different sets of images.")
        return Pair(a, b, mcnemar(*tests))
    except RunError as error:
        return Pair(a, b, None, str(error))


def _fingerprint(run: Run) -> str:
    known = records.environment(run.path)
    return known.data.fingerprint if known else ""


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"
