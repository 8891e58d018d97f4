"""Many pictures and their answers: filter, sort, disagreement between models, CSV."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference.classifier import Answers
from cifar_core.untrusted import csv_text

ORDERS: Mapping[str, str] = {
    "given": "as they came",
    "unsure": "least sure first",
    "sure": "surest first",
    "class": "by class",
    "name": "by name",
    "unlike": "most unusual first",
}
UNUSUAL = "out-of-distribution"


def order(names: Sequence[str], answers: Answers, by: str, shown: Collection[str] = ()) -> list[int]:
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
    kept = [
        i
        for i, label in enumerate(labels)
        if not shown or CLASSES[label] in shown or (UNUSUAL in shown and answers.is_unusual[i])
    ]
    return sorted(kept, key=keys[by])


def disagreement(probabilities: np.ndarray) -> np.ndarray:
    """Return for each picture how far models differ, float (n,); those with other top classes always come first.

    probabilities: float (m, n, 10) of m models. The value is the mean total variation distance from the models'
    average, 0 to 1, plus 1 where the top classes differ.
    """
    mean = probabilities.mean(axis=0)
    distance = np.abs(probabilities - mean).sum(axis=2).mean(axis=0) / 2
    labels = probabilities.argmax(axis=2)
    return distance + (labels != labels[0]).any(axis=0)


def to_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    r"""Return answers in the form of `answer_row`, or with "error" in place of an answer, as CSV.

    It is UTF-8 with a byte order mark, without which Excel takes it for the system's code page. Texts are inert; a byte
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
    """Return `text` with the bytes that a file system's name hides in surrogates (PEP 383) as escapes."""
    return re.sub("[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def answer_row(name: str, answers: Answers, number: int) -> dict[str, Any]:
    """Return the answer to picture `number` as the command line's JSON has it."""
    said = answers.probabilities[number]
    best = int(said.argmax())
    row: dict[str, Any] = {"file": name, "label": CLASSES[best], "probability": float(said[best])}
    row["probabilities"] = dict(zip(CLASSES, map(float, said), strict=True))
    if np.isfinite(answers.scores[number]):
        row["none_of_the_ten"] = bool(answers.is_unusual[number])
    return row
