"""Augmentation of 32×32 images: rotation, shift, zoom, flip and brightness, all scaled by one strength.

Training and the preview use the same functions. The augmentation of an image depends only on the seed, the view (or
epoch) and the image's index in the data set, not on the other images of its batch.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

VERSION = 2
"""Increased when the same seed gives other pixels; stored views of another version are not used."""

_MOST_IMAGES = 65_536
_CHUNK = 256  # images padded at a time, few enough for the CPU cache


@dataclass(frozen=True)
class Ranges:
    """The largest changes to an image, in both directions. `shift`, `zoom` and `brightness` are fractions."""

    rotation_degrees: float
    shift: float
    zoom: float
    brightness: float

    def __str__(self) -> str:
        if self == ranges(0):
            return "no augmentation"
        return (
            f"rotation ±{self.rotation_degrees:.0f}°, shift ±{self.shift:.0%}, zoom ±{self.zoom:.0%}, "
            f"brightness ±{self.brightness:.0%}, mirrored half the time"
        )


@dataclass(frozen=True)
class View:
    """One version of the training images: number `number`, augmented at `strength` with `seed`; unchanged at 0.

    If `test`, the unchanged test images.
    """

    strength: float = 0.0
    seed: int = 0
    number: int = 0
    test: bool = False

    def about(self) -> dict[str, Any]:
        """Return the parameters that determine the pixels; {} for the unchanged training images."""
        if self.strength == 0:
            return {"images": "test"} if self.test else {}
        return {"augmentation": VERSION, "strength": self.strength, "seed": self.seed, "view": self.number}

    def of(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return this version of the rows `positions`, int (n,), of `images`, uint8 (m, 32, 32, 3)."""
        return augment(images[positions], positions, self.strength, self.seed, self.number)


def ranges(strength: float) -> Ranges:
    """Return the ranges of a strength: 0 is none, 1 is tuned for 32×32, 3 is far too strong."""
    return Ranges(15 * strength, 0.1 * strength, 0.1 * strength, 0.2 * strength)


def augment(images: np.ndarray, positions: np.ndarray, strength: float, seed: int, view: int) -> np.ndarray:
    """Return randomly augmented `images`.

    images: uint8 (n, 32, 32, 3). positions: int (n,), the images' indices in the data set, which select the random
    numbers together with `seed` and `view`. Returns uint8 (n, 32, 32, 3); at strength 0, `images` itself.
    """
    if strength == 0 or len(images) == 0:
        return images
    draws = _draws(seed, view)[positions]
    limit, size = ranges(strength), images.shape[1:3]
    pad = _border(limit, size[0])
    matrices = _matrices(draws, limit, size[0], pad)
    moved = np.empty_like(images)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        padded = np.pad(images[part], ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="symmetric")
        for i, (image, matrix) in enumerate(zip(padded, matrices[part].tolist(), strict=True), start):
            moved[i] = Image.fromarray(image).transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    gain = (1 + limit.brightness * draws[:, 5]).astype(np.float32)[:, None, None, None]
    return np.clip(moved * gain + 0.5, 0, 255).astype(np.uint8)


def mix(images: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mix the images and labels of a batch with the same batch in reverse order, by Mixup or CutMix.

    images: float32 (n, h, w, 3). labels: float32 (n, k). With probability 0.5 each: Mixup (Zhang et al. 2018,
    arXiv:1710.09412) with a share from Beta(0.2, 0.2), rounded to whole pixel values, or CutMix (Yun et al. 2019,
    arXiv:1905.04899) with a rectangle of the other image and an area uniform in 0..1.
    """
    others, other_labels = images[::-1], labels[::-1]
    if random.random() < 0.5:
        share = random.beta(0.2, 0.2)
        mixed = np.rint(share * images + (1 - share) * others).astype(images.dtype)
    else:
        size = np.array(images.shape[1:3])  # height and width, as in what follows
        half, center = np.sqrt(random.random()) * size / 2, random.random(2) * size
        (top, left), (bottom, right) = np.rint(np.clip([center - half, center + half], 0, size)).astype(int)
        mixed = images.copy()
        mixed[:, top:bottom, left:right] = others[:, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / size.prod()
    return mixed, (share * labels + (1 - share) * other_labels).astype(labels.dtype)


PREVIEW_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
"""The strengths that the preview shows."""


def preview(image: np.ndarray, draw: int) -> np.ndarray:
    """Return one image at each preview strength, all with the same random numbers; `draw` (from 0) selects them.

    uint8 (32, 32, 3) -> uint8 (len(PREVIEW_STRENGTHS), 32, 32, 3).
    """
    position = np.array([draw % _MOST_IMAGES])
    return np.concatenate([augment(image[None], position, strength, seed=0, view=0) for strength in PREVIEW_STRENGTHS])


@functools.lru_cache(maxsize=4)
def _draws(seed: int, view: int) -> np.ndarray:
    """Return six random numbers in -1..1 for each index of the data set, float64 (65536, 6).

    The fifth decides mirroring. Its sign changes from an even view to the next, so that two views contain each image
    in both orientations (alternating flip, Jordan 2024, arXiv:2404.00498).
    """
    draws = np.random.default_rng([seed, view]).uniform(-1, 1, (_MOST_IMAGES, 6))
    draws[:, 4] = _draws(seed, view - 1)[:, 4] * -1 if view % 2 else draws[:, 4]
    return draws


def _border(limit: Ranges, side: int) -> int:
    """Return the padding in pixels that the farthest corner of an augmented image can reach."""
    angle = np.deg2rad(min(limit.rotation_degrees, 45))
    reach = (np.cos(angle) + np.sin(angle)) / (1 - limit.zoom) / 2 + limit.shift
    return int(np.ceil(side * (reach - 0.5))) + 1


def _matrices(draws: np.ndarray, limit: Ranges, side: int, pad: int) -> np.ndarray:
    """Return an affine matrix (six numbers) for each row of `draws`: output pixel -> position in the padded input."""
    angle = np.deg2rad(limit.rotation_degrees * draws[:, 0])
    scale = 1 / (1 + limit.zoom * draws[:, 3])
    mirror = np.where(draws[:, 4] < 0, -1.0, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    shift_x, shift_y = side * limit.shift * draws[:, 1], side * limit.shift * draws[:, 2]
    center_out, center_in = side / 2, side / 2 + pad
    c = center_in + shift_x - (a + b) * center_out
    f = center_in + shift_y - (d + e) * center_out
    return np.stack([a, b, c, d, e, f], axis=1)
