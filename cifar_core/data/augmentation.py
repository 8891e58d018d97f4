"""Augmentation of 32×32 images: rotation, shift, zoom, flip and brightness, all scaled by one strength.

The training and the page's preview call the same functions. What happens to an image depends on the seed,
the view (or epoch) and the image's place in the data set alone, not on the other images of its batch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

VERSION = 2
"""Raised whenever the same seed would give other pixels; stored views of another version are not used."""

_MOST_IMAGES = 65_536
_CHUNK = 256  # images that are padded at a time: few enough to stay in the processor's cache


@dataclass(frozen=True)
class Ranges:
    """How far an image is changed at most, either way. `shift`, `zoom` and `brightness` are fractions."""

    rotation_degrees: float
    shift: float
    zoom: float
    brightness: float
    flip: bool

    def __str__(self) -> str:
        if not self.flip:
            return "no augmentation"
        return (
            f"rotation ±{self.rotation_degrees:.0f}°, shift ±{self.shift:.0%}, zoom ±{self.zoom:.0%}, "
            f"brightness ±{self.brightness:.0%}, mirrored half the time"
        )


@dataclass(frozen=True)
class View:
    """One version of the training images: as they are, or augmented at `strength` by `seed`, as number `number`.

    With `test` it is the test images as they are.
    """

    strength: float = 0.0
    seed: int = 0
    number: int = 0
    test: bool = False

    def about(self) -> dict[str, Any]:
        """Return what decides the pixels: nothing for the training images as they are."""
        if self.strength == 0:
            return {"images": "test"} if self.test else {}
        return {"augmentation": VERSION, "strength": self.strength, "seed": self.seed, "view": self.number}

    def of(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return this version of the rows `positions`, int (n,), of a data set's `images`, uint8 (n, 32, 32, 3)."""
        return augment(images[positions], positions, self.strength, self.seed, self.number)


def ranges(strength: float) -> Ranges:
    """Return what a strength from 0 (none) over 1 (tuned for 32×32) to 3 (far too hard) means."""
    return Ranges(15 * strength, 0.1 * strength, 0.1 * strength, 0.2 * strength, strength > 0)


def augment(images: np.ndarray, positions: np.ndarray, strength: float, seed: int, view: int) -> np.ndarray:
    """Return `images`, each changed at random.

    images: uint8 (n, 32, 32, 3). positions: int (n,), each image's place in the data set, which together with
    `seed` and `view` decides its change. Returns uint8 (n, 32, 32, 3); at strength 0, `images` itself.
    """
    if strength == 0 or len(images) == 0:
        return images
    draws = _draws(seed, view)[positions]
    limit = ranges(strength)
    pad = _border(limit, images.shape[1])
    matrices = _matrices(draws, limit, images.shape[1], pad)
    moved = np.empty_like(images)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        padded = np.pad(images[part], ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="symmetric")
        for i, (image, matrix) in enumerate(zip(padded, matrices[part].tolist(), strict=True), start):
            moved[i] = _transform(image, matrix, images.shape[1])
    gain = (1 + limit.brightness * draws[:, 5]).astype(np.float32)[:, None, None, None]
    return np.clip(moved * gain + 0.5, 0, 255).astype(np.uint8)


def mix(images: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch whose images and labels are mixed with those of the same batch in reverse order.

    images: float32 (n, h, w, 3). labels: float32 (n, k). Half the time Mixup (Zhang et al. 2018, arXiv:1710.09412) with
    a share from Beta(0.2, 0.2), rounded to whole pixel values; else CutMix (Yun et al. 2019, arXiv:1905.04899), a
    rectangle of the other image, its area uniform in 0..1.
    """
    others, other_labels = images[::-1], labels[::-1]
    if random.random() < 0.5:
        share = random.beta(0.2, 0.2)
        mixed = np.rint(share * images + (1 - share) * others).astype(images.dtype)
    else:
        height, width = images.shape[1:3]
        side = np.sqrt(random.random())
        centre_y, centre_x = random.random(2) * (height, width)
        top, bottom = np.rint(np.clip([centre_y - side * height / 2, centre_y + side * height / 2], 0, height))
        left, right = np.rint(np.clip([centre_x - side * width / 2, centre_x + side * width / 2], 0, width))
        mixed = images.copy()
        part = np.s_[:, int(top) : int(bottom), int(left) : int(right)]
        mixed[part] = others[part]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, (share * labels + (1 - share) * other_labels).astype(labels.dtype)


PREVIEW_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
"""The strengths that the preview shows."""


def preview(image: np.ndarray, draw: int) -> np.ndarray:
    """Return one image at every strength of the preview, all by the same random numbers, those of `draw` (from 0).

    uint8 (32, 32, 3) -> uint8 (len(PREVIEW_STRENGTHS), 32, 32, 3).
    """
    position = np.array([draw % _MOST_IMAGES])
    return np.concatenate([augment(image[None], position, strength, seed=0, view=0) for strength in PREVIEW_STRENGTHS])


@functools.lru_cache(maxsize=4)
def _draws(seed: int, view: int) -> np.ndarray:
    """Return six numbers in -1..1 for every place in the data set, float64 (65536, 6).

    The fifth decides about mirroring and changes its sign from an even view to the next, so that two views show
    every image both ways (alternating flip, Jordan 2024, arXiv:2404.00498).
    """
    draws = np.random.default_rng([seed, view]).uniform(-1, 1, (_MOST_IMAGES, 6))
    draws[:, 4] = _draws(seed, view - 1)[:, 4] * -1 if view % 2 else draws[:, 4]
    return draws


def _border(limit: Ranges, side: int) -> int:
    """Return how many mirrored pixels around the image the farthest corner of a changed image can reach."""
    angle = np.deg2rad(min(limit.rotation_degrees, 45))
    reach = (np.cos(angle) + np.sin(angle)) / (1 - limit.zoom) / 2 + limit.shift
    return int(np.ceil(side * (reach - 0.5))) + 1


def _matrices(draws: np.ndarray, limit: Ranges, side: int, pad: int) -> np.ndarray:
    """Return for each row of draws the six numbers that take an output pixel to its place in the padded input."""
    angle = np.deg2rad(limit.rotation_degrees * draws[:, 0])
    scale = 1 / (1 + limit.zoom * draws[:, 3])
    mirror = np.where(draws[:, 4] < 0, -1.0, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    shift_x, shift_y = side * limit.shift * draws[:, 1], side * limit.shift * draws[:, 2]
    centre_out, centre_in = side / 2, side / 2 + pad
    c = centre_in + shift_x - (a + b) * centre_out
    f = centre_in + shift_y - (d + e) * centre_out
    return np.stack([a, b, c, d, e, f], axis=1)


def _transform(padded: np.ndarray, matrix: list[float], side: int) -> np.ndarray:
    image = Image.fromarray(padded)
    return np.asarray(image.transform((side, side), Image.Transform.AFFINE, tuple(matrix), Image.Resampling.BICUBIC))
