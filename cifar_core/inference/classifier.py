"""A finished run or the bundled model as a classifier, without TensorFlow; answers for many pictures: order, CSV."""

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
from cifar_core.inference.calibration import Calibration
from cifar_core.inference.neighbors import Index
from cifar_core.network import pretrained
from cifar_core.network.litert import Network
from cifar_core.runs import Run
from cifar_core.untrusted import csv_text

BUNDLED = "bundled"
_BUNDLED_ALPHA = 0.5

ORDERS: Mapping[str, str] = {
    "given": "order of upload",
    "unsure": "least confident first",
    "sure": "most confident first",
    "class": "by class",
    "name": "by name",
    "unlike": "most unusual first",
}
UNUSUAL = "out-of-distribution"


def open_classifier(name: str | None = None) -> Classifier:
    """Return the classifier of the run with id `name`, of the bundled model, or (None) of the newest finished run.

    With None and no finished run it is the bundled model. Raises RunError if there is no such model.
    """
    if name is None:
        finished = runs.finished_runs()
        name = finished[0].id if finished else BUNDLED
    run = None if name == BUNDLED else runs.get(name)
    path = run.path / model_file.FILE if run else _bundled_model()
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise RunError(_why_not(name)) from None
    return Classifier(name, _network(path.resolve(), changed, run), path.parent)


def has_bundled() -> bool:
    """Return whether a bundled model ships with this version."""
    return _bundled_model().exists()


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers for n pictures.

    probabilities: float32 (n, 10), calibrated where the model is. scores: float32 (n,), the distance of each
    picture to the training images, NaN where the model has no index. is_unusual: bool (n,), whether that is above the
    out-of-distribution threshold. is_very_unusual: bool (n,), whether no validation image is as far away.
    """

    probabilities: np.ndarray
    scores: np.ndarray
    is_unusual: np.ndarray
    is_very_unusual: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The most probable class of each, int (n,)."""
        return self.probabilities.argmax(axis=1)


class Classifier:
    """Classifies images. `name` is a run's id or "bundled".

    `calibration` and `index` are what the run left in `folder` for probabilities and scores; None where it left none,
    or where the file is damaged: then `problems` says so.
    """

    def __init__(self, name: str, network: Network, folder: Path) -> None:
        self.name, self._network, self._folder = name, network, folder

    @property
    def alpha(self) -> float:
        """The network's width. Raises RunError or ConfigError if the run's config.json is damaged."""
        return _BUNDLED_ALPHA if self.name == BUNDLED else runs.get(self.name).config.alpha

    @property
    def content(self) -> bytes:
        """The LiteRT file."""
        return self._network.content

    @property
    def calibration(self) -> Calibration | None:
        """The temperature and the out-of-distribution threshold."""
        return calibration.load_or_problem(self._folder / calibration.FILE)[0]

    @property
    def index(self) -> Index | None:
        """The training images as the model sees them."""
        return self._read_index()[0]

    @property
    def problems(self) -> list[str]:
        """What the model answers without, a sentence for each file that is damaged."""
        return [
            why
            for why in (calibration.load_or_problem(self._folder / calibration.FILE)[1], self._read_index()[1])
            if why
        ]

    def _read_index(self) -> tuple[Index | None, str]:
        """Return the index and "", or None and why there is none."""
        try:
            return self._sound_index(), ""
        except RunError as error:
            return None, f"Pictures are not compared with the training images: {error}"

    def _sound_index(self) -> Index | None:
        """Return the index. Raises RunError if its file is damaged or another model's."""
        path = self._folder / neighbors.FILE
        index = _index(path, path.stat().st_mtime_ns) if path.exists() else None
        features = self._network.output_shapes["pooled"]
        if index and index.mean.shape != features:
            raise RunError(
                f"{path} belongs to another model: it has {len(index.mean)} features an image, expected {features[0]}; "
                "delete the file to do without it, or train the run again."
            )
        return index

    def answer(self, images: np.ndarray) -> Answers:
        """Return calibrated answers for uint8 (n, 32, 32, 3), and which pictures are out-of-distribution.

        Without a sound calibration they are as the network says them, see `problems`.
        """
        outputs, known, index = self._network.run(images), self.calibration, self.index
        probabilities = outputs["probabilities"]
        scores = np.full(len(images), np.nan, np.float32)
        if known:
            probabilities = calibration.scaled(probabilities, known.temperature)
        if index:
            scores = index.scores(outputs["pooled"])
        rule = known.out_of_distribution if known else None
        limit = rule.threshold if rule else np.inf
        highest = np.inf if rule is None or rule.highest is None else rule.highest
        return Answers(probabilities, scores, scores > limit, scores > highest)

    def calibrated(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of `answer` alone."""
        known, probabilities = self.calibration, self.probabilities(images)
        return calibration.scaled(probabilities, known.temperature) if known else probabilities

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, 10), rows summing to 1, for uint8 (n, 32, 32, 3) RGB, in the order of data.CLASSES."""
        return self._network.run(images)["probabilities"]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the pooled features, float32 (n, 1280) or wider, for uint8 (n, 32, 32, 3)."""
        return self._network.run(images)["pooled"]


@functools.lru_cache(maxsize=8)
def _network(path: Path, changed: int, run: Run | None) -> Network:
    """Load a model once for each state of its file (`changed` is its time); that of a `run` is untrusted."""
    network = Network(model_file.read(run) if run else path)
    if network.output_shapes.get("probabilities") != (len(CLASSES),) or "pooled" not in network.output_shapes:
        raise RunError(f"{path} is no model of this app: it lacks the outputs pooled and probabilities of ten classes.")
    return network


@functools.lru_cache(maxsize=4)
def _index(path: Path, changed: int) -> Index | None:
    """Load an index once for each state of its file."""
    return neighbors.load(path)


def _bundled_model() -> Path:
    return pretrained.bundled_path(_BUNDLED_ALPHA).with_suffix(".tflite")


def _why_not(name: str) -> str:
    if name == BUNDLED:
        return "There is no finished run yet and no bundled model ships with this version; train a model first."
    return f"Run {name} is {runs.get(name).state} and has no model yet; only finished runs can classify."


def picture_order(names: Sequence[str], answers: Answers, by: str, shown: Collection[str] = ()) -> list[int]:
    """Return the positions of the pictures to show, sorted.

    `by` is a key of ORDERS; `shown` are class names and UNUSUAL, empty for all.
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
    """Return for each picture how far models differ, float (n,); those with other top classes always come first.

    probabilities: float (m, n, 10) of m models. The value is the mean total variation distance from the models'
    average, 0 to 1, plus 1 where the top classes differ.
    """
    mean = probabilities.mean(axis=0)
    distance = np.abs(probabilities - mean).sum(axis=2).mean(axis=0) / 2
    labels = probabilities.argmax(axis=2)
    return distance + (labels != labels[0]).any(axis=0)


def answers_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    r"""Return answers in the form of `answer_row`, or with "error" in place of an answer, as CSV.

    It is UTF-8 with a byte order mark, without which Excel takes it for the system's code page. No text is a formula; a
    byte of a file name that is not UTF-8 is written as \xfc.
    """
    lines: list[Sequence[object]] = [("file", "label", "probability", "none_of_the_ten", *CLASSES, "error")]
    for row in rows:
        shares = row.get("probabilities", {})
        unusual = {True: "yes", False: "no", None: ""}[row.get("none_of_the_ten")]
        answer = (row.get("label"), row.get("probability"), unusual, *(shares.get(name) for name in CLASSES))
        lines.append((_readable(row["file"]), *answer, _readable(row.get("error", ""))))
    return csv_text(lines).encode("utf-8-sig")


def _readable(text: str) -> str:
    """Return `text` with the bytes that a file system's name hides in surrogates (PEP 383) as escapes."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)


def answer_row(name: str, answers: Answers, number: int) -> dict[str, Any]:
    """Return the answer to picture `number` as the command line's JSON has it."""
    probabilities = answers.probabilities[number]
    best = int(probabilities.argmax())
    row: dict[str, Any] = {"file": name, "label": CLASSES[best], "probability": float(probabilities[best])}
    row["probabilities"] = dict(zip(CLASSES, map(float, probabilities), strict=True))
    if np.isfinite(answers.scores[number]):
        row["none_of_the_ten"] = bool(answers.is_unusual[number])
    return row
