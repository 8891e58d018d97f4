"""How sure a model may claim to be: temperature, reliability, and "none of the ten". NumPy alone.

Fitted once, at a run's end, on its validation images, and kept in calibration.json. One temperature T divides the
logits (Guo et al. 2017, On Calibration of Modern Neural Networks), which for probabilities p means p ** (1 / T)
scaled to sum 1: the answer stays, only the claim changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cifar_core.errors import RunError
from cifar_core.runs import read_json, write_json

FILE = "calibration.json"
KEPT = 0.95
"""Share of the validation images that "none of the ten" must let pass."""
BINS = 15  # as in Guo et al.
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Unlike:
    """The rule for "none of the ten": a score (`neighbours.Index.scores`) above `threshold`.

    `kept` is the share of test images that pass (of validation images it is KEPT), on some 2,000; `caught` the share
    of each kind of unlike pictures that do not, of `pictures` each (`unlike.KINDS`).
    """

    threshold: float
    kept: float
    caught: Mapping[str, float]
    pictures: int


@dataclass(frozen=True)
class Calibration:
    """What calibration.json says. `ece` and `loss` (nats) are of the validation images, before and after scaling."""

    temperature: float
    images: int
    ece: tuple[float, float]
    loss: tuple[float, float]
    unlike: Unlike | None = None
    score: str = field(default="distance to the 10th nearest training image in feature space")

    def save(self, path: Path) -> None:
        """Write it to `path`."""
        write_json(path, asdict(self))


@dataclass(frozen=True)
class Reliability:
    """Of answers in bins of stated probability: `stated` (mean), `right` (share), both float (b,), and `count` (b,).

    Empty bins are left out. `ece` is the expected calibration error: the mean gap between both, weighed by count.
    """

    stated: np.ndarray
    right: np.ndarray
    count: np.ndarray
    ece: float


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (n, 10), float32, at `temperature`: above 1 less sure, below 1 surer."""
    logits = np.log(np.maximum(probabilities, 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def fit(probabilities: np.ndarray, labels: np.ndarray, unlike: Unlike | None = None) -> Calibration:
    """Return the calibration of a model that said `probabilities`, float (n, 10), of images with `labels`, (n,)."""
    temperature = best_temperature(probabilities, labels)
    after = scaled(probabilities, temperature)
    return Calibration(
        temperature,
        len(labels),
        (reliability(probabilities, labels).ece, reliability(after, labels).ece),
        (_loss(probabilities, labels), _loss(after, labels)),
        unlike,
    )


def best_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, 0.05 to 20, at which the labels' mean negative log-likelihood is least.

    The likelihood has one minimum in 1 / T, so a golden-section search in log T finds it.
    """
    low, high, ratio = math.log(_LOWEST), math.log(_HIGHEST), (math.sqrt(5) - 1) / 2

    def loss(log_temperature: float) -> float:
        return _loss(scaled(probabilities, math.exp(log_temperature)), labels)

    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Return how often answers of each stated probability are right: the reliability diagram's data."""
    stated, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((stated * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    mean_stated = np.bincount(place, stated, bins)[used] / counts[used]
    share_right = np.bincount(place, right, bins)[used] / counts[used]
    ece = float((np.abs(mean_stated - share_right) * counts[used]).sum() / len(labels))
    return Reliability(mean_stated, share_right, counts[used], ece)


def threshold(scores: np.ndarray) -> float:
    """Return the score that KEPT of the validation images' `scores`, float (n,), do not exceed."""
    return float(np.quantile(scores, KEPT, method="higher"))


def load(path: Path) -> Calibration | None:
    """Return the calibration in `path`, None where there is none. Raises RunError if it is damaged."""
    if not path.exists():
        return None
    try:
        found = read_json(path)
        rule = found["unlike"]
        unlike = rule and Unlike(
            float(rule["threshold"]),
            float(rule["kept"]),
            {str(kind): float(share) for kind, share in rule["caught"].items()},
            int(rule["pictures"]),
        )
        before, after = map(float, found["ece"])
        loss_before, loss_after = map(float, found["loss"])
        temperature = float(found["temperature"])
        if not _LOWEST * 0.99 <= temperature <= _HIGHEST * 1.01:
            raise ValueError(f"temperature {temperature}")
        numbers = (before, after, loss_before, loss_after, *((unlike.threshold, unlike.kept) if unlike else ()))
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"among {numbers} is one that is not finite")
        shares = [before, after, *((unlike.kept, *unlike.caught.values()) if unlike else ())]
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share beyond 0 to 1")
        return Calibration(
            temperature, int(found["images"]), (before, after), (loss_before, loss_after), unlike or None
        )
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}), expected a run's calibration; "
            "delete the file to do without it, or train the run anew."
        ) from None


def _loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())
