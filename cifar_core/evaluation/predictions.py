"""Stored predictions of a finished run: metrics, per-class metrics, mistakes, and the images."""

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from cifar_core import untrusted
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES, Dataset
from cifar_core.errors import CifarError, RunError
from cifar_core.inference import calibration
from cifar_core.inference.neighbors import NEIGHBOR, Index
from cifar_core.runs import Run, records

_Z = 1.959964  # 97.5% quantile of the standard normal distribution
_LIMIT_BYTES = 64 * 1024 * 1024
"""Limit of the unpacked file; 75,000 images take 3 MB."""

VOTED = 200
"""Number of least confident correct predictions to compare with their nearest training images."""


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Return the 95% Wilson confidence interval, 0..1, of the proportion `correct` of `total` (Wilson 1927).

    If `total` is 0, it is (0, 1). Raises ValueError unless 0 <= correct <= total.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct: received {correct} of {total}, expected 0 to {total}")
    if total == 0:
        return 0.0, 1.0
    share, spread = correct / total, _Z**2 / total
    center = share + spread / 2
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4)
    return max((center - half) / (1 + spread), 0.0), min((center + half) / (1 + spread), 1.0)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for labeled images: `labels` uint8 (n,), `probabilities` float32 (n, 10), in the order of CLASSES."""

    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def is_correct(self) -> np.ndarray:
        """Whether the most probable class is the label, bool (n,)."""
        return self.probabilities.argmax(axis=1) == self.labels

    @property
    def accuracy(self) -> float:
        """The share of correct predictions, 0..1."""
        return float(self.is_correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the accuracy."""
        return wilson(int(self.is_correct.sum()), len(self.labels))

    @property
    def loss(self) -> float:
        """The mean negative log-likelihood in nats."""
        return calibration.loss(self.probabilities, self.labels)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions of a finished run. `dataset` is the data set's name on screen.

    `validation_rows`, int (n,), are the positions of the validation images in the training set, or None if the file
    has none. The test images are all of them, in order.
    """

    dataset: str
    validation: Predictions
    test: Predictions
    validation_rows: np.ndarray | None = None

    def split(self, name: str) -> Predictions:
        """Return the predictions of "validation" or "test"."""
        return self.test if name == "test" else self.validation


def load(run: Run) -> Evaluation:
    """Return the predictions of `run` for its validation and test images.

    Raises RunError if the run is not finished, or if the file is missing, damaged or in another format.
    """
    state, path = run.state, run.path / "evaluation.npz"
    if state != "finished":
        raise RunError(f"Run {run.id} is {state}; only a finished run can be evaluated.")
    try:
        file = untrusted.load_arrays(path, _LIMIT_BYTES)
        validation = checked(file["validation_labels"], file["validation_probabilities"])
        test = checked(file["test_labels"], file["test_probabilities"])
        rows = file.get("validation_rows")
        if rows is not None and (
            rows.shape != validation.labels.shape or rows.dtype.kind not in "iu" or rows.min() < 0
        ):
            raise ValueError("validation_rows are not places of images")
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RunError(f"{path} is damaged ({reason[:200]}), expected a run's predictions; train it again.") from error
    return Evaluation(str(run.result.get("dataset", "unknown images")), validation, test, rows)


def checked(labels: np.ndarray, probabilities: np.ndarray) -> Predictions:
    """Return predictions read from a file. Raises ValueError if they are damaged."""
    if labels.dtype != np.uint8 or labels.ndim != 1 or not len(labels) or labels.max() >= len(CLASSES):
        raise ValueError("its labels are not classes")
    if probabilities.dtype != np.float32 or probabilities.shape != (len(labels), len(CLASSES)):
        raise ValueError("its probabilities are not ten for each label")
    if not (probabilities.min() >= 0 and np.abs(probabilities.sum(axis=1) - 1).max() < 1e-3):  # also rejects NaN
        raise ValueError("its probabilities do not add up to 1")
    return Predictions(labels, probabilities)


def dataset_of(run: Run) -> Dataset | None:
    """Return the data set of `run`, checked by fingerprint, or None if it is not on this machine.

    Raises RunError if environment.json, which contains the fingerprint, is damaged.
    """
    known = records.environment(run.path)
    return with_fingerprint(known.data.fingerprint) if known else None


def with_fingerprint(fingerprint: str) -> Dataset | None:
    """Return the data set with this fingerprint, or None if it is not here or not yet generated."""
    name = "generated" if cifar10.drawn_fingerprint() == fingerprint else "cifar10"
    with suppress(CifarError):
        data = cifar10.load(name)
        return data if data.fingerprint == fingerprint else None
    return None


def images_of(run: Run, evaluation: Evaluation, split: str) -> np.ndarray | None:
    """Return the images of the "validation" or "test" predictions of `run`, uint8 (n, 32, 32, 3), in the same order.

    Return None if they are not on this machine or have other labels. Raises RunError as `dataset_of`.
    """
    dataset = dataset_of(run)
    if dataset is None:
        return None
    if split == "test":
        images, labels, recorded = dataset.test_images, dataset.test_labels, evaluation.test.labels
    else:
        rows, recorded = evaluation.validation_rows, evaluation.validation.labels
        if rows is None or rows.max() >= len(dataset.train_labels):
            return None
        images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    return images if np.array_equal(labels, recorded) else None


def validation_images(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the validation images of `run`, uint8 (n, 32, 32, 3), their labels and positions in the training set.

    Raises RunError if they are not on this machine, and the errors of `load` and `dataset_of`.
    """
    evaluation = load(run)
    images = images_of(run, evaluation, "validation")
    if images is None or evaluation.validation_rows is None:
        raise RunError(
            f"The validation images of run {run.id} are not on this machine; put them into CIFAR10_DIR or the cache."
        )
    return images, evaluation.validation.labels, evaluation.validation_rows


@dataclass(frozen=True)
class ClassFigures:
    """Metrics of one class, 0..1, None if undefined. `images` is the number of images with its label."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: int


def class_figures(predictions: Predictions) -> list[ClassFigures]:
    """Return precision, recall and F1 of each class."""
    counts = confusion_counts(predictions)
    right, labels, answers = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        ClassFigures(
            name,
            _share(right[i], answers[i]),
            _share(right[i], labels[i]),
            _share(2 * right[i], answers[i] + labels[i]),
            int(labels[i]),
        )
        for i, name in enumerate(CLASSES)
    ]


def top2_accuracy(predictions: Predictions) -> float:
    """Return the share of images with the label among the two most probable classes, 0..1."""
    best = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :2]
    return float((best == predictions.labels[:, None]).any(axis=1).mean())


def confusion_counts(predictions: Predictions) -> np.ndarray:
    """Return the confusion matrix in images, int (k, k): rows are labels, columns are predictions."""
    classes = predictions.probabilities.shape[1]
    cells = classes * predictions.labels.astype(int) + predictions.probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def worst_cell(predictions: Predictions) -> tuple[int, int]:
    """Return the most frequent confusion as (label, prediction), or (0, 0) if there is none."""
    counts = confusion_counts(predictions) * (1 - np.eye(len(CLASSES), dtype=int))
    label, answer = np.unravel_index(counts.argmax(), counts.shape)
    return int(label), int(answer)


def extreme_classes(predictions: Predictions) -> tuple[ClassFigures, ClassFigures]:
    """Return the classes with the highest and the lowest recall."""
    known = [one for one in class_figures(predictions) if one.recall is not None]
    return max(known, key=lambda one: one.recall or 0), min(known, key=lambda one: one.recall or 0)


def images_in_cell(predictions: Predictions, label: int, answer: int) -> np.ndarray:
    """Return the positions of images with this label and prediction, the most confident first."""
    answers = predictions.probabilities.argmax(axis=1)
    return _ordered(predictions, (predictions.labels == label) & (answers == answer), descending=True)


def confident_mistakes(predictions: Predictions) -> np.ndarray:
    """Return the positions of all wrong predictions, the most confident first."""
    return _ordered(predictions, ~predictions.is_correct, descending=True)


def least_confident_correct(predictions: Predictions) -> np.ndarray:
    """Return the positions of all correct predictions, the least confident first."""
    return _ordered(predictions, predictions.is_correct, descending=False)


def outvoted_by_neighbors(
    predictions: Predictions, images: np.ndarray, features: Callable[[np.ndarray], np.ndarray], index: Index
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least confident correct predictions that the majority of nearest training images contradicts.

    `images` belong to the predictions, uint8 (n, 32, 32, 3); `features` maps images to pooled features. Returns
    positions, int (m,), the fewest votes first, and how many of the NEIGHBOR nearest images have the label, (m,).
    """
    chosen = least_confident_correct(predictions)[:VOTED]
    if not len(chosen):
        return chosen, chosen
    places, _ = index.nearest(features(images[chosen]), min(NEIGHBOR, len(index.labels)))
    votes = (index.labels[places] == predictions.labels[chosen][:, None]).sum(axis=1)
    order = np.argsort(votes, kind="stable")
    outvoted = order[votes[order] * 2 < places.shape[1]]
    return chosen[outvoted], votes[outvoted]


def possibly_mislabeled(predictions: Predictions) -> np.ndarray:
    """Return the positions of images with a possibly wrong label, the most doubtful first, int (m,).

    The method is confident learning (Northcutt et al. 2021); the probabilities should be calibrated. Confident
    predictions that contradict the labels of a class give the number of wrong labels. The labels with the lowest
    probability are chosen.
    """
    from cleanlab.filter import find_label_issues  # takes a second: imports pandas and scikit-learn

    labels, probabilities = predictions.labels.astype(int), predictions.probabilities.astype(float)
    if len(np.unique(labels)) < 2:
        return np.empty(0, int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with few images
        return find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)


def _ordered(predictions: Predictions, chosen: np.ndarray, descending: bool) -> np.ndarray:
    positions = np.flatnonzero(chosen)
    confidence = predictions.probabilities[positions].max(axis=1)
    return positions[np.argsort(-confidence if descending else confidence, kind="stable")]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
