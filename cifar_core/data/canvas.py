"""A small drawing board for `drawings` and `generated`: shapes in coordinates that follow a figure's pose."""

import cmath
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIZE = 32  # pixels of an image
SCALE = 4  # figures are drawn four times as large, then averaged
_CIRCLE = np.exp(2j * np.pi * np.arange(20) / 20)

Colour = tuple[int, ...]  # red, green, blue and, where things shine through, opacity: 0 to 255
Points = Sequence[tuple[float, float]]


def palette(colours: str) -> tuple[Colour, ...]:
    """Return colours written as hexadecimal RGB, with spaces between."""
    return tuple(tuple(bytes.fromhex(colour)) for colour in colours.split())


def tint(colour: Colour, factor: float) -> Colour:
    """Return `colour` made darker (below 1) or lighter (above 1)."""
    return tuple(min(255, int(value * factor)) for value in colour)


class Canvas:
    """A drawing of 128x128 pixels whose coordinates turn, grow, mirror and shift with the figure.

    x points to the right and y down; -1 to 1 spans the image until `place` changes it. Inside, points are complex
    numbers z, and a pose is the map z -> a z + b conj(z) + c. `background` has 32x32 pixels; `rng` serves the
    figures' own choices.
    """

    def __init__(self, background: Image.Image, rng: np.random.Generator) -> None:
        self.image = background.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)
        self.rng = rng
        self._pen = ImageDraw.Draw(self.image, "RGBA")
        self.place(0, 0, 1)

    def between(self, low: float, high: float) -> float:
        """Return a uniform random number."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def pick(self, choices: Sequence[Colour]) -> Colour:
        """Return one of the colours, a little changed."""
        light, red, green, blue = self.rng.random(4).tolist()
        colour = choices[int(len(choices) * self.rng.random())]
        shifts = (28 * red - 14, 28 * green - 14, 28 * blue - 14)
        pairs = zip(colour, shifts, strict=True)
        return tuple(min(255, max(0, int(value * (0.75 + light / 2) + shift))) for value, shift in pairs)

    def place(self, x: float, y: float, size: float, angle: float = 0, stretch: float = 1) -> None:
        """Draw from here on around (x, y), `size` times as large, turned by `angle` in radians.

        `stretch` multiplies widths; a negative one mirrors.
        """
        half = SIZE * SCALE / 2
        turn = cmath.rect(half * size, angle)
        self._same, self._mirrored = turn * (stretch + 1) / 2, turn * (stretch - 1) / 2
        self._shift = half * complex(1 + x, 1 + y)

    def _fill(self, points: np.ndarray, colour: Colour) -> None:
        moved = self._same * points + self._mirrored * points.conj() + self._shift
        self._pen.polygon(moved.view(np.float64).tolist(), fill=colour)

    def shape(self, colour: Colour, points: Points) -> None:
        """Fill a polygon."""
        self._fill(np.array(points, np.float64).view(np.complex128)[:, 0], colour)

    def both(self, colour: Colour, points: Points) -> None:
        """Fill a polygon that is its own mirror image; `points` lie on its right side, from the top down."""
        self.shape(colour, [*points, *((-x, y) for x, y in reversed(points))])

    def box(self, colour: Colour, left: float, top: float, right: float, bottom: float) -> None:
        """Fill a rectangle."""
        self.shape(colour, ((left, top), (right, top), (right, bottom), (left, bottom)))

    def oval(self, colour: Colour, x: float, y: float, rx: float, ry: float, angle: float = 0) -> None:
        """Fill an ellipse, turned by `angle` in radians."""
        points = (rx + ry) / 2 * _CIRCLE + (rx - ry) / 2 * _CIRCLE.conj()
        self._fill(points * cmath.rect(1, angle) + complex(x, y), colour)

    def ball(self, colour: Colour, x: float, y: float, rx: float, ry: float, angle: float = 0) -> None:
        """Fill an ellipse that is lit from above."""
        self.oval(tint(colour, 0.78), x, y, rx, ry, angle)
        self.oval(colour, x, y - 0.14 * ry, 0.9 * rx, 0.82 * ry, angle)

    def stroke(self, colour: Colour, points: Points, start: float, end: float | None = None) -> None:
        """Draw a line through the points whose half-width goes from `start` to `end`, or stays."""
        path = np.array(points, np.float64).view(np.complex128)[:, 0]
        along = np.empty_like(path)
        along[1:] = path[1:] - path[:-1]
        along[0] = along[1]
        along[1:-1] += along[2:]
        growth = 0.0 if end is None else (end - start) / (len(path) - 1)
        side = 1j * (start + growth * np.arange(len(path))) * along / np.abs(along)
        self._fill(np.concatenate([path + side, (path - side)[::-1]]), colour)
