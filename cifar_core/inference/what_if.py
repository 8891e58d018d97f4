"""Changes of a picture (rotation, zoom, light, blur, noise), and the values at which they flip the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from cifar_core.inference.pictures import SIDE


@dataclass(frozen=True)
class Change:
    """One slider. `neutral` leaves the picture unchanged; `sweep` are the values that are tried."""

    name: str
    label: str
    low: float
    high: float
    neutral: float
    step: float
    unit: str
    help: str

    @property
    def sweep(self) -> np.ndarray:
        """Values over the whole range, `neutral` among them: float (n,), ascending."""
        return np.arange(round(self.low / self.step), round(self.high / self.step) + 1) * self.step


CHANGES: Mapping[str, Change] = {
    change.name: change
    for change in (
        Change("rotate", "Rotate", -90, 90, 0, 7.5, "°", "Turned against the clock; mirrored pixels fill the corners."),
        Change("zoom", "Zoom", 0.5, 2, 1, 0.1, "×", "Above 1 nearer, below 1 farther away."),
        Change("light", "Light", 0.1, 1.9, 1, 0.1, "×", "Below 1 darker, above 1 lighter."),
        Change("blur", "Blur", 0, 4, 0, 0.25, "px", "Radius of a Gaussian blur, in pixels of the 32×32."),
        Change("noise", "Noise", 0, 80, 0, 5, "", "Standard deviation in gray levels, of 255; always the same grains."),
    )
}


@dataclass(frozen=True, eq=False)
class Sweep:
    """One change over its whole range, the others as they are set.

    values: float (n,). probabilities: float32 (n, 10). flips: the nearest values below and above the set one at which
    the answer is another, with that answer's class.
    """

    values: np.ndarray
    probabilities: np.ndarray
    flips: tuple[tuple[float, int], ...]


def neutral() -> dict[str, float]:
    """Return the setting that changes nothing."""
    return {name: change.neutral for name, change in CHANGES.items()}


def changed(image: np.ndarray, setting: Mapping[str, float]) -> np.ndarray:
    """Return `image`, uint8 (32, 32, 3), changed by `setting` (name -> value, others neutral)."""
    full = neutral() | dict(setting)
    angle, zoom = full["rotate"], full["zoom"]
    if angle != 0 or zoom != 1:
        image = _moved(image, angle, zoom)
    if full["blur"] > 0:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(full["blur"]))))
    if full["light"] != 1 or full["noise"] > 0:
        image = (image * full["light"] + full["noise"] * _grain() + 0.5).clip(0, 255).astype(np.uint8)
    return image


def sweeps(
    probabilities: Callable[[np.ndarray], np.ndarray], image: np.ndarray, setting: Mapping[str, float]
) -> tuple[np.ndarray, dict[str, Sweep]]:
    """Return the answer at `setting`, float32 (10,), and every change's sweep around it, from one batched call."""
    images = [changed(image, setting)]
    for name, change in CHANGES.items():
        images += [changed(image, {**setting, name: value}) for value in change.sweep]
    answers = probabilities(np.stack(images))
    found, start = {}, 1
    for name, change in CHANGES.items():
        values = change.sweep
        rows = answers[start : start + len(values)]
        start += len(values)
        found[name] = Sweep(values, rows, _flips(values, rows.argmax(axis=1), setting[name], int(answers[0].argmax())))
    return answers[0], found


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
def _grain() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((SIDE, SIDE, 3), np.float32)
