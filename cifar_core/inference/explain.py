"""Saliency of an answer by occlusion (Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, 4.2).

A patch slides over the image; where covering it makes a class less probable, that part is evidence for the class. All
covered images go through the model in one batch, which gives the saliency of all ten classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from cifar_core.inference.pictures import SIDE

PATCH = 8
STRIDE = 2
FOR, AGAINST = (232, 135, 30), (142, 95, 192)  # RGB: orange, purple
_FLOOR = 1e-6  # smaller probabilities count as this one

Probabilities = Callable[[np.ndarray], np.ndarray]


def covered(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `image`, uint8 (32, 32, 3), unchanged and then with each patch in its mean color.

    Returns uint8 (1 + p, 32, 32, 3) and which pixels are covered, bool (p, 32, 32). Patches reach over the edges, so
    that pixels there are covered as often as others.
    """
    starts = np.arange(STRIDE - PATCH + 2, SIDE - 2, STRIDE)
    place = np.arange(SIDE)
    inside = (place >= starts[:, None]) & (place < starts[:, None] + PATCH)  # (s, 32)
    masks = (inside[:, None, :, None] & inside[None, :, None, :]).reshape(-1, SIDE, SIDE)
    mean = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return np.concatenate([image[None], np.where(masks[..., None], mean, image)]), masks


def saliency(probabilities: Probabilities, image: np.ndarray) -> np.ndarray:
    """Return the evidence of each pixel for each class: float32 (10, 32, 32), in nats of log odds.

    `probabilities` maps uint8 (n, 32, 32, 3) to (n, 10). The value is the mean fall of the class's log odds over the
    patches that cover the pixel; below 0 it is evidence against. Log odds, because a probability near 1 hardly moves.
    """
    images, masks = covered(image)
    odds = _log_odds(probabilities(images))  # (1 + p, 10)
    fall = odds[0] - odds[1:]  # (p, 10)
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    return ((fall.T @ flat) / flat.sum(axis=0)).reshape(-1, SIDE, SIDE).astype(np.float32)


def overlay(picture: Image.Image, heat: np.ndarray, strength: float = 0.7, side: int = 320) -> Image.Image:
    """Return the square `picture` with `heat`, float (32, 32), laid over it: RGB, `side` pixels wide.

    Orange is evidence for the class, purple against it, gray neither. `strength` is 0 (the picture) to 1.
    """
    large = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(large, np.float32)
    smooth = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
    share = np.clip(smooth / max(float(np.abs(heat).max()), 1e-9), -1, 1)[..., None]  # (side, side, 1)
    weight = np.abs(share)
    gray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    dim = pixels + strength * (1 - weight) * (0.75 * gray[..., None] - pixels)
    color = np.where(share > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    mixed = dim + 0.65 * strength * weight * (color - dim)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities.astype(np.float64), _FLOOR, 1 - _FLOOR)
    return np.log(clipped) - np.log1p(-clipped)
