"""Synthetic pictures of none of the ten classes, on which the out-of-distribution rule of every run is measured.

Each kind is deterministic by seed. They are easier than photographs of other things, of which the rule finds far fewer
(python -m tests.out_of_distribution measures it).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 32
_SCALE = 4  # drawn larger and reduced, so that edges are soft as in photographs
_LETTERS = "ABCDEFGHKMNPRSTXYZ23456789?&%§"


def noise(rng: np.random.Generator) -> np.ndarray:
    """Return uniform noise of each pixel, uint8 (32, 32, 3)."""
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def clouds(rng: np.random.Generator) -> np.ndarray:
    """Return smooth colored noise, uint8 (32, 32, 3)."""
    cells = int(rng.integers(3, 9))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def drawing(rng: np.random.Generator) -> np.ndarray:
    """Return a drawing of shapes, stripes, a checkerboard or letters, uint8 (32, 32, 3)."""
    image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), _color(rng))
    _DRAWINGS[int(rng.integers(len(_DRAWINGS)))](ImageDraw.Draw(image), rng)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {"drawings": drawing, "noise": noise, "clouds": clouds}


def images(kind: str, count: int, seed: int = 1) -> np.ndarray:
    """Return `count` pictures of one of KINDS: uint8 (count, 32, 32, 3), RGB."""
    make = KINDS[kind]
    return np.stack([make(np.random.default_rng([seed, number])) for number in range(count)])


def _shapes(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.integers(-10, 110, 2).tolist()
        width, height = rng.integers(12, 80, 2).tolist()
        box, kind = (x, y, x + width, y + height), int(rng.integers(4))
        if kind == 0:
            pen.ellipse(box, _color(rng))
        elif kind == 1:
            pen.rectangle(box, _color(rng))
        elif kind == 2:
            pen.polygon([tuple(rng.integers(0, 128, 2).tolist()) for _ in range(3)], _color(rng))
        else:
            pen.line((x, y, x + width, y + height), _color(rng), int(rng.integers(2, 12)))


def _stripes(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    step, color, upright = int(rng.integers(8, 40)), _color(rng), rng.random() < 0.5
    for start in range(0, SIDE * _SCALE, step):
        end = start + step // 2
        pen.rectangle((start, 0, end, 128) if upright else (0, start, 128, end), color)


def _checks(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    step, color = int(rng.integers(8, 40)), _color(rng)
    for x in range(0, SIDE * _SCALE, step):
        for y in range(0, SIDE * _SCALE, step):
            if (x // step + y // step) % 2:
                pen.rectangle((x, y, x + step - 1, y + step - 1), color)


def _letters(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 5))):
        x, y, size = rng.integers((-5, -5, 30), (80, 80, 110)).tolist()
        letter = _LETTERS[int(rng.integers(len(_LETTERS)))]
        pen.text((x, y), letter, _color(rng), font=ImageFont.load_default(size))


_DRAWINGS = (_shapes, _stripes, _checks, _letters)


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue
