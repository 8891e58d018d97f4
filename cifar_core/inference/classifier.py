"""Classifiers of finished runs and of the bundled model, without TensorFlow; order and CSV of predictions."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core import runs
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError
from cifar_core.inference import calibration, model_file, neighbors
from cifar_core.network import pretrained
from cifar_core.network.litert import Network
from cifar_core.network.pretrained import BUNDLED_FOLDER
from cifar_core.runs import Run, records
from cifar_core.untrusted import csv_text

BUNDLED = "bundled"
BUNDLED_ALPHA = 0.5
"""The width with a complete bundled model; of the others only the backbone is bundled."""

ORDERS: Mapping[str, str] = {
    "given": "order of upload",
    "unsure": "least confident first",
    "sure": "most confident first",
    "class": "by class",
    "name": "by name",
    "unlike": "most unusual first",
}
UNUSUAL = "out-of-distribution"
_NONE = "There is no finished run yet and no bundled model ships with this version; train a model first."


def open_classifier(name: str | None = None) -> Classifier:
    """Return the classifier of a run (`name` is its ID) or of the bundled model ("bundled").

    If `name` is None, return that of the newest finished run, trials left out, or of the bundled model. Raises
    RunError if the model does not exist.
    """
    if name is None:
        name = next((run.id for run in runs.finished_runs() if not run.is_trial), BUNDLED)
    run = None if name == BUNDLED else runs.get(name)
    path = run.path / model_file.FILE if run else _bundled_model()
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        missing = f"Run {name} is {run.state} and has no model yet; only finished runs can classify." if run else _NONE
        raise RunError(missing) from None
    return Classifier(name, _network(path.resolve(), changed, run), path.parent)


def has_bundled() -> bool:
    """Return whether this version contains a bundled model."""
    return _bundled_model().exists()


def bundled_figures() -> dict[str, Any]:
    """Return the metrics of the bundled model from its model card."""
    return (runs.load_json(BUNDLED_FOLDER / "card.json") or {})["0.5"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions of a model for n pictures.

    probabilities: float32 (n, 10), calibrated if the model has a calibration. scores: float32 (n,), distance of
    each picture to the training images, NaN if the model has no index. is_unusual: bool (n,), whether the score
    exceeds the out-of-distribution threshold. is_very_unusual: bool (n,), whether it exceeds the score of every
    validation image.
    """

    probabilities: np.ndarray
    scores: np.ndarray
    is_unusual: np.ndarray
    is_very_unusual: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The most probable class of each picture, int (n,)."""
        return self.probabilities.argmax(axis=1)


class Classifier:
    """Classify images. `name` is the ID of a run or "bundled".

    `calibration` and `index` (of the training images in the model's feature space) are read from `folder`. They are
    None if their file is missing or damaged; `problems` has a sentence for each damaged one: what is missing, and why.
    """

    def __init__(self, name: str, network: Network, folder: Path) -> None:
        self.name, self._network = name, network
        self.calibration, uncalibrated = calibration.load_or_problem(folder / calibration.FILE)
        self.index, not_compared = records.or_problem(
            lambda: self._sound_index(folder / neighbors.FILE), "Pictures are not compared with the training images"
        )
        self.problems = [*filter(None, (uncalibrated, not_compared))]

    @property
    def alpha(self) -> float:
        """The width of the network. Raises RunError or ConfigError if config.json is damaged."""
        return BUNDLED_ALPHA if self.name == BUNDLED else runs.get(self.name).config.alpha

    @property
    def content(self) -> bytes:
        """The bytes of the LiteRT file."""
        return self._network.content

    def _sound_index(self, path: Path) -> neighbors.Index | None:
        """Return the index in `path`. Raises RunError if it is damaged or belongs to another model."""
        index = _index(path, path.stat().st_mtime_ns) if path.exists() else None
        features = self._network.output_shapes["pooled"]
        if index and index.mean.shape != features:
            received = f"received {len(index.mean)} features an image, expected {features[0]}"
            raise RunError(f"{path} belongs to another model: {received}; delete the file, or train the run again.")
        return index

    def answer(self, images: np.ndarray) -> Answers:
        """Return calibrated predictions and out-of-distribution scores for images, uint8 (n, 32, 32, 3).

        If the calibration is missing or damaged (see `problems`), return the network's own probabilities.
        """
        outputs = self._network.run(images)
        scores = self.index.scores(outputs["pooled"]) if self.index else np.full(len(images), np.nan, np.float32)
        rule = self.calibration.out_of_distribution if self.calibration else None
        limit = rule.threshold if rule else np.inf
        highest = np.inf if rule is None or rule.highest is None else rule.highest
        return Answers(self._scaled(outputs["probabilities"]), scores, scores > limit, scores > highest)

    def calibrated(self, images: np.ndarray) -> np.ndarray:
        """Return only the probabilities of `answer`."""
        return self._scaled(self.probabilities(images))

    def _scaled(self, probabilities: np.ndarray) -> np.ndarray:
        known = self.calibration
        return calibration.scaled(probabilities, known.temperature) if known else probabilities

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return uncalibrated probabilities, float32 (n, 10), in the order of CLASSES, for uint8 (n, 32, 32, 3) RGB."""
        return self._network.run(images)["probabilities"]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the pooled features, float32 (n, 1280) or wider, for uint8 (n, 32, 32, 3)."""
        return self._network.run(images)["pooled"]


@functools.lru_cache(maxsize=4)
def _network(path: Path, changed: int, run: Run | None) -> Network:
    """Load a model, cached by path and modification time `changed`. The file of a `run` is untrusted."""
    try:
        return Network(model_file.read(run) if run else path.read_bytes())
    except (OSError, ValueError, RuntimeError) as error:  # of the bundled model; `read` checks a run's
        raise RunError(f"{path} is damaged ({type(error).__name__}); install the app again.") from None


@functools.lru_cache(maxsize=4)
def _index(path: Path, changed: int) -> neighbors.Index | None:
    """Load an index, cached by path and modification time `changed`."""
    return neighbors.load(path)


def _bundled_model() -> Path:
    return pretrained.bundled_path(BUNDLED_ALPHA).with_suffix(".tflite")


def picture_order(names: Sequence[str], answers: Answers, by: str, shown: Collection[str] = ()) -> list[int]:
    """Return the sorted positions of the pictures to show.

    `by` is a key of ORDERS. `shown` filters by class names and UNUSUAL; all pictures are shown if it is empty.
    """
    best, labels = answers.probabilities.max(axis=1), answers.labels
    keys = {
        "given": lambda i: 0,
        "unsure": lambda i: best[i],
        "sure": lambda i: -best[i],
        "class": lambda i: (labels[i], -best[i]),
        "name": lambda i: names[i].lower(),
        "unlike": lambda i: -np.nan_to_num(answers.scores[i]),
    }
    places = [
        i
        for i, label in enumerate(labels)
        if not shown or CLASSES[label] in shown or (UNUSUAL in shown and answers.is_unusual[i])
    ]
    return sorted(places, key=keys[by])


def disagreement(probabilities: np.ndarray) -> np.ndarray:
    """Return how much models disagree on each picture, float (n,).

    probabilities: float (m, n, 10) of m models. The value is the mean total variation distance from the models'
    average, 0 to 1, plus 1 if their top classes differ.
    """
    mean = probabilities.mean(axis=0)
    distance = np.abs(probabilities - mean).sum(axis=2).mean(axis=0) / 2
    labels = probabilities.argmax(axis=2)
    return distance + (labels != labels[0]).any(axis=0)


def answers_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    r"""Return rows as CSV. Each row comes from `answer_row` or contains "error".

    The encoding is UTF-8 with a byte order mark, which Excel needs to recognize UTF-8. No cell is a formula. A byte
    of a file name that is not UTF-8 is written as \xfc.
    """
    lines: list[Sequence[object]] = [("file", "label", "probability", "none_of_the_ten", *CLASSES, "error")]
    for row in rows:
        shares = row.get("probabilities", {})
        unusual = {True: "yes", False: "no", None: ""}[row.get("none_of_the_ten")]
        answer = (row.get("label"), row.get("probability"), unusual, *(shares.get(name) for name in CLASSES))
        lines.append((_readable(row["file"]), *answer, _readable(row.get("error", ""))))
    return csv_text(lines).encode("utf-8-sig")


def _readable(text: str) -> str:
    """Return `text` with the undecodable bytes of a file name (surrogates, PEP 383) as escapes."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)


def answer_row(name: str, answers: Answers, number: int) -> dict[str, Any]:
    """Return the prediction for picture `number` in the form of the command line's JSON."""
    probabilities = answers.probabilities[number]
    best = int(probabilities.argmax())
    row: dict[str, Any] = {"file": name, "label": CLASSES[best], "probability": float(probabilities[best])}
    row["probabilities"] = dict(zip(CLASSES, map(float, probabilities), strict=True))
    if np.isfinite(answers.scores[number]):
        row["none_of_the_ten"] = bool(answers.is_unusual[number])
    return row
