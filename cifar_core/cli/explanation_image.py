"""`predict --explain`: one PNG that shows for each picture what was seen, what was said, and why."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import ImageError
from cifar_core.inference import explain
from cifar_core.inference.classifier import Classifier
from cifar_core.inference.pictures import Crop, Picture, crop_box
from cifar_core.untrusted import quoted, shown_name

MOST = 50
"""Pictures on a sheet; each is 176 pixels high."""
_TILE, _GAP, _TEXT = 160, 16, 300
Explained = tuple[Picture, np.ndarray]
"""A compact picture and what the network sees of it, uint8 (32, 32, 3)."""
_WIDTH = 3 * _TILE + 5 * _GAP + _TEXT


def save(path: str, classifier: Classifier, rows: Sequence[Explained], crop: Crop) -> None:
    """Write the sheet of `rows` to the file `path`. Raises ImageError if it cannot be written, or they are too many."""
    if len(rows) > MOST:
        raise ImageError(f"--explain draws {MOST} pictures at most, and {len(rows)} were given; explain them in parts.")
    buffer = io.BytesIO()
    drawn(classifier, rows, crop).save(buffer, "PNG")
    try:
        Path(path).write_bytes(buffer.getvalue())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise ImageError(
            f"{quoted(path)} cannot be written: {reason}; give another file for the explanation."
        ) from None


def drawn(classifier: Classifier, rows: Sequence[Explained], crop: Crop) -> Image.Image:
    """Return the sheet: for each row the picture, its 32x32 pixels, what speaks for the answer, and the answer."""
    height = _TILE + _GAP
    sheet = Image.new("RGB", (_WIDTH, height * len(rows) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, seen) in enumerate(rows):
        part = picture.image.crop(crop_box(picture.image.size, crop))
        top = number * height + _GAP
        answers = classifier.answer(seen[None])
        best = int(answers.labels[0])
        heat = explain.saliency(classifier.calibrated, seen)[best]
        square = Image.fromarray(seen)
        tiles = (
            part.resize((_TILE, _TILE), Image.Resampling.BICUBIC),
            square.resize((_TILE, _TILE), Image.Resampling.NEAREST),
            explain.overlay(part, heat, side=_TILE),
        )
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (_GAP + place * (_TILE + _GAP), top))
        _write(pen, 3 * _TILE + 4 * _GAP, top, picture.name, answers.probabilities[0], bool(answers.is_unusual[0]))
    return sheet


def _write(pen: ImageDraw.ImageDraw, left: int, top: int, name: str, said: np.ndarray, unusual: bool) -> None:
    order = said.argsort()[::-1]
    head = f"{CLASSES[order[0]]} {said[order[0]]:.1%}"
    lines = [f"{CLASSES[label]} {said[label]:.1%}" for label in order[1 : 3 if unusual else 4]]
    lines += ["unusual for this model"] if unusual else []
    pen.text((left, top), head, "black", font=ImageFont.load_default(20))
    pen.text((left, top + 34), "\n".join(lines), "#555555", font=ImageFont.load_default(14), spacing=5)
    pen.text((left, top + 98), "orange speaks for it,\npurple against it", "#888888", font=ImageFont.load_default(12))
    short = "\n".join(textwrap.wrap(shown_name(name, 76), 40))
    pen.text((left, top + 130), short, "#555555", font=ImageFont.load_default(12))
