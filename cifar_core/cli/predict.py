"""The command `predict`: predictions, and optionally nearest images, flips, other models and explanations."""

import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cifar_core import runs
from cifar_core.cli import teach
from cifar_core.cli.terminal import Answer, native_messages_hidden, percent, save, to_stderr
from cifar_core.data.cifar10 import CLASSES, LABELS, shown_label
from cifar_core.errors import ConfigError, ImageError, RunError
from cifar_core.inference import classifier as classifiers
from cifar_core.inference import explain
from cifar_core.inference.classifier import BUNDLED, Answers, Classifier, answer_row, disagreement, open_classifier
from cifar_core.inference.picture_files import MAX_ZIP_BYTES, visible_files
from cifar_core.inference.pictures import Crop, Picture, crop_box, read_each
from cifar_core.teach.project import PREFIX
from cifar_core.untrusted import read_plain_file, shown_name

MOST_EXPLAINED = 50
"""Maximum number of rows in an explanation; each is 176 pixels high."""
_NOT_OF_PROJECTS = ("crop", "explain", "what_if", "compare", "csv")
_LEAST_SHARE = 0.01  # less probable classes are not printed
_TILE, _GAP, _TEXT = 160, 16, 300  # pixels
Rows = list[dict[str, Any]]
Explained = tuple[Picture, np.ndarray]
"""A compact picture and its network input, uint8 (32, 32, 3)."""


def predict(arguments: Namespace) -> Answer:
    """Classify pictures. An unreadable picture is an error on standard error; the others are classified."""
    if (arguments.run or "").startswith(PREFIX):
        return _with_project(arguments)
    with native_messages_hidden():
        classifier = open_classifier(arguments.run)
    rows: Rows = []
    pixels = []
    explained: list[Explained] = []
    for row, picture in _read(arguments.images):
        rows.append(row)
        if picture.error:
            continue
        pixels.append(picture.network_input(arguments.crop))
        if arguments.explain and len(explained) <= MOST_EXPLAINED:
            explained.append((picture.compact(), pixels[-1]))
    if good := [row for row in rows if "error" not in row]:
        _answer(arguments, good, classifier, np.stack(pixels))
        rows = good + [row for row in rows if "error" in row] if arguments.compare else rows
        _name_model(arguments, classifier)
    if arguments.csv:
        save(arguments.csv, lambda path: path.write_bytes(classifiers.answers_csv(rows)))
    if explained:
        _explain(arguments.explain, classifier, explained, arguments.crop)
    return _told(rows)


def _with_project(arguments: Namespace) -> Answer:
    """Classify pictures with a model of own classes. Raises ConfigError for unsupported options."""
    given = vars(arguments) | {"crop": arguments.crop != "centre"}
    if refused := [f"--{name.replace('_', '-')}" for name in _NOT_OF_PROJECTS if given[name]]:
        raise ConfigError(f"{', '.join(refused)}: not available for own classes; omit it.")
    model = teach.opened(arguments.run, arguments.json)
    rows: Rows = []
    for row, picture in _read(arguments.images):
        rows.append(row)
        if picture.error:
            continue
        answer = model.answer(picture.image, arguments.nearest or 1)
        shares = dict(zip(model.project.names, map(float, answer.probabilities), strict=True))
        label = max(shares, key=lambda name: shares[name])
        row |= {"label": label, "probability": shares[label], "probabilities": shares, "none_of_these": answer.is_none}
        if arguments.nearest:
            row["nearest"] = [
                {"label": label, "picture": sample.key, "distance": far} for label, sample, far in answer.nearest
            ]
    return _told(rows)


def _read(names: Sequence[str]) -> Iterator[tuple[dict[str, Any], Picture]]:
    """Yield each picture with its row, which has only the file or also an error; errors are printed."""
    for picture in _pictures(names):
        if picture.error:
            to_stderr(picture.error)
        yield {"file": picture.name} | ({"error": picture.error} if picture.error else {}), picture


def _told(rows: Rows) -> Answer:
    good = [row for row in rows if "error" not in row]
    return Answer(rows, [line for row in good for line in _lines(row)], 0 if len(good) == len(rows) else 2)


def _answer(arguments: Namespace, good: Rows, classifier: Classifier, pixels: np.ndarray) -> None:
    """Add predictions for pixels, uint8 (n, 32, 32, 3), to `good`, with the requested details."""
    others = [open_classifier(name) for name in arguments.compare or ()]
    for model in (classifier, *others):
        for problem in model.problems:
            to_stderr(problem)
    answers = classifier.answer(pixels)
    for number, answer in enumerate(good):
        answer |= answer_row(answer["file"], answers, number)
    if arguments.nearest:
        _add_nearest(good, classifier, pixels, arguments.nearest)
    if arguments.what_if:
        _add_flips(good, classifier, pixels)
    if arguments.compare:
        _add_others(good, answers.probabilities, others, pixels)


def _add_nearest(answers: Rows, classifier: Classifier, pixels: np.ndarray, count: int) -> None:
    """Add "nearest": the `count` nearest training images. Raises RunError if the model has no index of them."""
    index = classifier.index
    if index is None:
        missing = f"Model {classifier.name} has no index of training images; choose a run trained later."
        raise RunError(" ".join(classifier.problems) or missing)
    places, distances = index.nearest(classifier.features(pixels), min(count, len(index.labels)))
    for answer, near, away in zip(answers, places, distances, strict=True):
        answer["nearest"] = [
            {"label": CLASSES[index.labels[p]], "distance": float(d), "training_image": int(index.rows[p])}
            for p, d in zip(near, away, strict=True)
        ]


def _add_flips(answers: Rows, classifier: Classifier, pixels: np.ndarray) -> None:
    """Add "what_if": for each change of the picture, the values that flip the prediction."""
    for answer, image in zip(answers, pixels, strict=True):
        _, effects = explain.effects(classifier.calibrated, image, explain.neutral())
        answer["what_if"] = {
            name: [{"value": float(value), "label": CLASSES[label]} for value, label in effect.flips]
            for name, effect in effects.items()
        }


def _add_others(answers: Rows, probabilities: np.ndarray, others: Sequence[Classifier], pixels: np.ndarray) -> None:
    """Add "compared": the predictions of `others`; sort by disagreement, the largest first.

    probabilities: float32 (n, 10), of the first model.
    """
    theirs = [other.calibrated(pixels) for other in others]
    for answer, *rows in zip(answers, *theirs, strict=True):
        answer["compared"] = {
            other.name: {"label": CLASSES[row.argmax()], "probability": float(row.max())}
            for other, row in zip(others, rows, strict=True)
        }
    order = np.argsort(-disagreement(np.stack([probabilities, *theirs])), kind="stable")
    answers[:] = [answers[number] for number in order]


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    """Yield the prediction of a picture, `cat.png  cat 93.1%  (dog 4.0%, frog 1.1%)`, and its details."""
    (best, share), *rest = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    others = ", ".join(f"{shown_name(label)} {percent(share)}" for label, share in rest[:2] if share >= _LEAST_SHARE)
    also = f"  ({others})" if others else ""
    unusual = "  [unusual for this model]" if answer.get("none_of_the_ten") else ""
    unusual = "  [like none of these classes]" if answer.get("none_of_these") else unusual
    yield f"{shown_name(answer['file'])}  {shown_name(best)} {percent(share)}{also}{unusual}"
    if "nearest" in answer:
        near = ", ".join(f"{shown_name(item['label'])} ({item['distance']:.2f} away)" for item in answer["nearest"])
        yield f"  nearest training images: {near}"
    for name, flips in answer.get("what_if", {}).items():
        yield from (f"  {name} {explain.CHANGES[name].text(flip['value'])}: {flip['label']}" for flip in flips)
    for name, other in answer.get("compared", {}).items():
        yield f"  {name}: {other['label']} {percent(other['probability'])}"


def _name_model(arguments: Namespace, classifier: Classifier) -> None:
    """Print the name of the model to standard error; with --json only if its training images are synthetic."""
    if classifier.name == BUNDLED:
        text, is_synthetic = "Predictions of the bundled model.", False
    else:
        dataset = str(runs.get(classifier.name).result.get("dataset"))
        text = f"Predictions of run {classifier.name}, trained on: {shown_name(shown_label(dataset))}."
        is_synthetic = dataset == LABELS["generated"]
    if is_synthetic or not arguments.json:
        to_stderr(text)


def _pictures(names: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures in files, folders (recursively, without hidden files) and zips, in order."""
    wanted = "a picture, a folder with pictures or a ZIP file of pictures"
    for path in (path for name in names for path in _files(name)):
        try:
            content = read_plain_file(path, MAX_ZIP_BYTES, wanted, ImageError)
        except ImageError as error:
            yield Picture(path, error=str(error))
        else:
            yield from read_each([(path, content)])


def _files(name: str) -> list[str]:
    """Return the files below the folder `name`, sorted; `name` itself if it is not a folder or is empty."""
    with suppress(OSError):
        return [str(path) for path in visible_files(Path(name))] or [name]
    return [name]


def _explain(name: str, classifier: Classifier, rows: Sequence[Explained], crop: Crop) -> None:
    """Write a PNG with one row for each picture: picture, network input, evidence, prediction.

    Raises ImageError for more than MOST_EXPLAINED rows, RunError if the file cannot be written.
    """
    if len(rows) > MOST_EXPLAINED:
        raise ImageError(f"--explain draws {MOST_EXPLAINED} pictures at most, received more; explain them in parts.")
    image = Image.new("RGB", (3 * _TILE + 5 * _GAP + _TEXT, (_TILE + _GAP) * len(rows) + _GAP), "white")
    pen = ImageDraw.Draw(image)
    for number, (picture, pixels) in enumerate(rows):
        part = picture.image.crop(crop_box(picture.image.size, crop))
        top = number * (_TILE + _GAP) + _GAP
        answers = classifier.answer(pixels[None])
        heat = explain.saliency(classifier.calibrated, pixels)[answers.labels[0]]
        tiles = (
            part.resize((_TILE, _TILE), Image.Resampling.BICUBIC),
            Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.NEAREST),
            explain.overlay(part, heat, side=_TILE),
        )
        for place, tile in enumerate(tiles):
            image.paste(tile, (_GAP + place * (_TILE + _GAP), top))
        _write_answer(pen, (3 * _TILE + 4 * _GAP, top), picture.name, answers)
    save(name, lambda path: image.save(path, "PNG"))


def _write_answer(pen: ImageDraw.ImageDraw, place: tuple[int, int], name: str, answers: Answers) -> None:
    shares = answers.probabilities[0]
    first, *others = (f"{CLASSES[label]} {shares[label]:.1%}" for label in shares.argsort()[::-1][:4])
    lines = [*others[:2], "unusual for this model"] if answers.is_unusual[0] else others
    texts = (
        (0, first, "black", 20),
        (34, "\n".join(lines), "#555555", 14),
        (98, "green: evidence for it,\nred: against it", "#888888", 12),
        (130, "\n".join(textwrap.wrap(shown_name(name, 76), 40)), "#555555", 12),
    )
    for down, text, color, size in texts:
        pen.text((place[0], place[1] + down), text, color, font=ImageFont.load_default(size), spacing=5)
