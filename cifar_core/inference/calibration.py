"""Calibration of a model: temperature scaling, reliability, and the threshold for out-of-distribution inputs.

It is fitted at the end of a run on its validation images and stored in calibration.json. A temperature T divides the
logits (Guo et al. 2017, On Calibration of Modern Neural Networks). For probabilities p this is p ** (1 / T), normalized
to sum 1. The predicted class does not change.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from cifar_core.runs import records, write_json
from cifar_core.runs.records import Share

FILE = "calibration.json"
LEVEL = 0.99
"""Share of validation images with a score below the out-of-distribution threshold."""
BINS = 15  # as in Guo et al.
_RESAMPLES = 500
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class OutOfDistribution:
    """The rule for out-of-distribution inputs: a score (`neighbors.Index.scores`) above `threshold`.

    `level` is the share of validation images below the threshold. `highest` is their largest score (None in old
    files, which have level 0.95). Two measurements: `kept` is the share of about 2,000 test images below the
    threshold, and `caught` the share above it of `pictures` drawings of each kind (`synthetic.OTHER_KINDS`).
    """

    threshold: float
    kept: Share
    caught: Mapping[str, Share]
    pictures: int
    level: Share = 0.95
    highest: float | None = None


class Calibration(msgspec.Struct, frozen=True):
    """The content of calibration.json. `ece` and `loss` (nats): validation images, before and after scaling."""

    temperature: Annotated[float, msgspec.Meta(ge=_LOWEST * 0.99, le=_HIGHEST * 1.01)]
    images: int
    ece: tuple[Share, Share]
    loss: tuple[float, float]
    out_of_distribution: OutOfDistribution | None = msgspec.field(name="unlike", default=None)
    score: str = "distance to the 10th nearest training image in feature space"

    def save(self, path: Path) -> None:
        """Write the calibration to `path`."""
        write_json(path, msgspec.to_builtins(self))


@dataclass(frozen=True)
class Reliability:
    """Data of a reliability diagram with b bins, without empty ones.

    `confidence` and `accuracy` are the means of each bin, float (b,); `count` is its size (b,).
    `ece` is the expected calibration error: the mean gap between both, weighted by count.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    ece: float


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (n, 10), float32, at `temperature`: above 1 less confident, below 1 more confident."""
    logits = np.log(np.maximum(probabilities, 1e-30)) / temperature
    return softmax(logits).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities for logits, (n, k)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats of `probabilities`, float (n, k), for `labels`, (n,)."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def fit(probabilities: np.ndarray, labels: np.ndarray, rule: OutOfDistribution | None = None) -> Calibration:
    """Return the calibration for `probabilities`, float (n, 10), of images with `labels`, (n,)."""
    temperature = best_temperature(probabilities, labels)
    after = scaled(probabilities, temperature)
    errors = reliability(probabilities, labels).ece, reliability(after, labels).ece
    losses = loss(probabilities, labels), loss(after, labels)
    return Calibration(temperature, len(labels), errors, losses, rule)


def best_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, 0.05 to 20, that minimizes the mean negative log-likelihood."""
    from scipy.optimize import minimize_scalar  # needed only at the end of a run

    def loss_at(log_temperature: float) -> float:
        return loss(scaled(probabilities, math.exp(log_temperature)), labels)

    bounds = (math.log(_LOWEST), math.log(_HIGHEST))
    return math.exp(minimize_scalar(loss_at, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """Return confidence and accuracy in bins of confidence."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    used = counts > 0
    mean_confidence = np.bincount(place, confidence, BINS)[used] / counts[used]
    accuracy = np.bincount(place, right, BINS)[used] / counts[used]
    ece = float((np.abs(mean_confidence - accuracy) * counts[used]).sum() / len(labels))
    return Reliability(mean_confidence, accuracy, counts[used], ece)


@dataclass(frozen=True)
class CalibrationError:
    """The root mean square gap between confidence and accuracy, 0..1, with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> CalibrationError:
    """Return the calibration error of `probabilities`, float (n, 10), of images with `labels`, (n,).

    Bins contain equal numbers of images. The noise of each bin is subtracted, so a calibrated model has an error of
    about 0 for any number of images (Kumar et al. 2019, Verified Uncertainty Calibration).
    """
    confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(float)
    order = np.argsort(confidence, kind="stable")
    confidence, right, count = confidence[order].astype(float), right[order], len(labels)
    place = np.arange(count) * min(BINS, max(1, count // 10)) // count  # (n,), the bin of each image
    plain, unbiased = _squared_gap(confidence, right, place)
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, count, count) for _ in range(_RESAMPLES)]
    around = np.array([_squared_gap(confidence[rows], right[rows], place[rows])[1] for rows in samples]) - plain
    low, high = unbiased - np.quantile(around, (0.975, 0.025))  # basic bootstrap: `plain` is the samples' true value
    return CalibrationError(*(math.sqrt(max(0.0, float(value))) for value in (unbiased, low, high)))


def _squared_gap(confidence: np.ndarray, right: np.ndarray, place: np.ndarray) -> tuple[float, float]:
    """Return the mean squared gap of the bins `place`, biased and unbiased."""
    counts = np.maximum(np.bincount(place), 1)
    gaps = np.bincount(place, confidence - right) / counts
    noise = (np.bincount(place, (confidence - right) ** 2) / counts - gaps**2) / np.maximum(counts - 1, 1)
    return float((gaps**2 * counts).sum() / len(place)), float(((gaps**2 - noise) * counts).sum() / len(place))


def threshold(scores: np.ndarray) -> float:
    """Return the score that the share LEVEL of the validation images' `scores`, float (n,), does not exceed."""
    return float(np.quantile(scores, LEVEL, method="higher"))


def load(path: Path) -> Calibration | None:
    """Return the calibration in `path`, or None if there is no file. Raises RunError if it is damaged."""
    return records.load(path, Calibration)


def load_or_problem(path: Path) -> tuple[Calibration | None, str]:
    """Return the calibration and ""; if the file is damaged, None and a sentence that explains it."""
    return records.or_problem(lambda: load(path), "Probabilities are uncalibrated, and no picture is called unusual")
