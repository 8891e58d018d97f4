"""Explanations of a prediction: saliency by occlusion, and changes of the picture that flip the prediction.

Occlusion (Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, 4.2): a patch slides over the
image. If covering a part lowers the probability of a class, that part is evidence for the class. The model processes
all covered images in one batch, which gives the saliency of all ten classes. The changes are rotation, zoom, light,
blur and noise.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from cifar_core.inference.pictures import SIDE

PATCH = 8
STRIDE = 2
FOR, AGAINST = (27, 158, 119), (194, 65, 12)  # RGB: green and red, as charts.style.RIGHT and WRONG
_FLOOR = 1e-6  # smaller probabilities are clipped to it

Probabilities = Callable[[np.ndarray], np.ndarray]


def occluded(image: np.ndarray, stride: int = STRIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return `image`, uint8 (side, side, 3), first unchanged, then with each patch set to the mean color.

    Returns uint8 (1 + p, side, side, 3) and the covered pixels, bool (p, side, side). PATCH and `stride` are in
    pixels of a 32×32 image and scale with the image. Patches extend beyond the edges, so pixels at the edges are
    covered as often as others.
    """
    side = len(image)
    patch, step = side * PATCH // SIDE, side * stride // SIDE
    starts = np.arange(step - patch + 2, side - 2, step)
    place = np.arange(side)
    inside = (place >= starts[:, None]) & (place < starts[:, None] + patch)  # (s, side)
    masks = (inside[:, None, :, None] & inside[None, :, None, :]).reshape(-1, side, side)
    mean = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return np.concatenate([image[None], np.where(masks[..., None], mean, image)]), masks


def saliency(probabilities: Probabilities, image: np.ndarray, stride: int = STRIDE) -> np.ndarray:
    """Return the evidence of each pixel for each class: float32 (k, side, side), in nats of log odds.

    `probabilities` maps uint8 (n, side, side, 3) to (n, k); `stride` is as in `occluded`. The value is the mean
    decrease of the class's log odds over the patches that cover the pixel. Below 0 it is evidence against the
    class. Log odds are used because a probability near 1 hardly changes.
    """
    images, masks = occluded(image, stride)
    clipped = np.clip(probabilities(images).astype(np.float64), _FLOOR, 1 - _FLOOR)
    odds = np.log(clipped) - np.log1p(-clipped)  # log odds, (1 + p, k)
    fall = odds[0] - odds[1:]  # (p, k)
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    return ((fall.T @ flat) / flat.sum(axis=0)).reshape(-1, *image.shape[:2]).astype(np.float32)


def overlay(picture: Image.Image, heat: np.ndarray, strength: float = 0.9, side: int = 320) -> Image.Image:
    """Return the square `picture` overlaid with `heat`, float (side, side): RGB, `side` pixels wide.

    Green is evidence for the class, red against it, gray is neutral. `strength` is from 0 (only the picture) to
    1.
    """
    large = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(large, np.float32)
    smooth = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
    share = np.clip(smooth / max(float(np.abs(heat).max()), 1e-9), -1, 1)[..., None]  # (side, side, 1)
    weight = np.abs(share)
    gray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    dim = pixels + strength * (0.75 * gray[..., None] - pixels)
    color = np.where(share > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    mixed = dim + 0.65 * strength * weight * (color - dim)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Change:
    """One slider. `neutral` leaves the picture unchanged; `values` are tested."""

    name: str
    label: str
    low: float
    high: float
    neutral: float
    step: float
    unit: str
    help: str

    @property
    def values(self) -> np.ndarray:
        """Values over the whole range, including `neutral`: float (n,), ascending."""
        return np.arange(round(self.low / self.step), round(self.high / self.step) + 1) * self.step

    def text(self, value: float) -> str:
        """Return `value` with its unit: "−37.5°", "1 px"."""
        return f"{value:g}{' ' * self.unit.isalpha()}{self.unit}".replace("-", "−")


CHANGES: Mapping[str, Change] = {
    change.name: change
    for change in (
        Change("rotate", "Rotation", -90, 90, 0, 7.5, "°", "Counterclockwise; corners are mirrored."),
        Change("zoom", "Zoom", 0.5, 2, 1, 0.1, "×", "Above 1 enlarges, below 1 shrinks."),
        Change("light", "Brightness", 0.1, 1.9, 1, 0.1, "×", "Below 1 darker, above 1 lighter."),
        Change("blur", "Blur", 0, 4, 0, 0.25, "px", "Radius of a Gaussian blur, in pixels of the 32×32."),
        Change("noise", "Noise", 0, 80, 0, 5, "", "Standard deviation in gray levels, of 255; the pattern is fixed."),
    )
}


@dataclass(frozen=True, eq=False)
class Effect:
    """Predictions for one change over its whole range, with the other changes fixed.

    values: float (n,). probabilities: float32 (n, 10). flips: the nearest values below and above the current one
    with another predicted class, and that class.
    """

    values: np.ndarray
    probabilities: np.ndarray
    flips: tuple[tuple[float, int], ...]


def neutral() -> dict[str, float]:
    """Return the setting that leaves the picture unchanged."""
    return {name: change.neutral for name, change in CHANGES.items()}


def changed(image: np.ndarray, setting: Mapping[str, float]) -> np.ndarray:
    """Return `image`, uint8 (32, 32, 3), changed by `setting` (name -> value; missing names are neutral)."""
    full = neutral() | dict(setting)
    angle, zoom = full["rotate"], full["zoom"]
    if angle != 0 or zoom != 1:
        image = _moved(image, angle, zoom)
    if full["blur"] > 0:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(full["blur"]))))
    if full["light"] != 1 or full["noise"] > 0:
        image = (image * full["light"] + full["noise"] * _noise() + 0.5).clip(0, 255).astype(np.uint8)
    return image


def effects(
    probabilities: Probabilities, image: np.ndarray, setting: Mapping[str, float]
) -> tuple[np.ndarray, dict[str, Effect]]:
    """Return the probabilities at `setting`, float32 (10,), and the effect of each change, from one batch."""
    tried = [{**setting, name: value} for name, change in CHANGES.items() for value in change.values]
    answers = probabilities(np.stack([changed(image, one) for one in (setting, *tried)]))
    ends = np.cumsum([1, *(len(change.values) for change in CHANGES.values())])
    result = {}
    for change, rows in zip(CHANGES.values(), np.split(answers, ends)[1:-1], strict=True):
        flips = _flips(change.values, rows.argmax(axis=1), setting[change.name], int(answers[0].argmax()))
        result[change.name] = Effect(change.values, rows, flips)
    return answers[0], result


def _flips(values: np.ndarray, labels: np.ndarray, current: float, answer: int) -> tuple[tuple[float, int], ...]:
    other = labels != answer
    below, above = np.flatnonzero(other & (values < current)), np.flatnonzero(other & (values > current))
    nearest = [*below[-1:], *above[:1]]
    return tuple((float(values[i]), int(labels[i])) for i in nearest)


def _moved(image: np.ndarray, angle: float, zoom: float) -> np.ndarray:
    padded = Image.fromarray(np.pad(image, ((SIDE, SIDE), (SIDE, SIDE), (0, 0)), mode="symmetric"))
    turn = np.deg2rad(angle)
    cos, sin, center = np.cos(turn) / zoom, np.sin(turn) / zoom, SIDE / 2
    shift_x = center + SIDE - (cos - sin) * center
    shift_y = center + SIDE - (sin + cos) * center
    matrix = (cos, -sin, shift_x, sin, cos, shift_y)
    return np.asarray(padded.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


@functools.lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((SIDE, SIDE, 3), np.float32)
