"""The built-in images: ten classes named as in CIFAR-10, drawn by the program.

They stand in wherever CIFAR-10 cannot be had, so that training, pages and tests work on any machine. Every image
is a scene, a figure in some pose and colour, things behind and before it, and a camera's faults. A class is a
matter of shape: scenes, colours and sizes overlap between classes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

VERSION = 1
TRAIN_IMAGES = 12_000
TEST_IMAGES = 2_000

SIZE = 32
_SCALE = 4  # figures are drawn four times as large, then averaged
_CIRCLE = np.exp(2j * np.pi * np.arange(20) / 20)

Colour = tuple[int, ...]
Points = Sequence[tuple[float, float]]

BLACK, WHITE, DARK = (18, 18, 22), (240, 240, 236), (40, 40, 46)
GLASS = ((60, 80, 100), (150, 185, 205), (35, 40, 50), (200, 215, 220))
COATS = ((35, 32, 34), (110, 108, 108), (225, 220, 210), (120, 78, 45), (185, 140, 90), (205, 125, 55), (85, 55, 38))
DEER = ((150, 100, 58), (120, 78, 45), (175, 125, 75), (110, 95, 80), (185, 140, 90), (85, 55, 38))
PAINTS = (
    (190, 35, 35),
    (35, 70, 160),
    (235, 235, 232),
    (40, 42, 48),
    (150, 155, 160),
    (215, 180, 50),
    (50, 115, 70),
    (120, 170, 205),
    (200, 100, 40),
)
METALS = (
    (235, 235, 235),
    (190, 195, 200),
    (120, 128, 135),
    (215, 215, 205),
    (70, 80, 85),
    (200, 60, 50),
    (60, 90, 160),
)
FEATHERS = (
    (120, 85, 60),
    (55, 55, 60),
    (230, 228, 220),
    (60, 110, 180),
    (190, 60, 45),
    (215, 180, 60),
    (110, 130, 90),
    (160, 150, 140),
)
SKINS = ((75, 140, 50), (100, 160, 60), (60, 95, 45), (130, 120, 60), (110, 80, 50), (180, 170, 50), (160, 70, 40))


def tint(colour: Colour, factor: float) -> Colour:
    """Return `colour` made darker (below 1) or lighter (above 1)."""
    return tuple(min(255, int(value * factor)) for value in colour)


class Canvas:
    """A drawing 128 pixels wide, with coordinates that turn, grow, mirror and shift with the figure.

    x points to the right and y down; -1 to 1 spans the image until `place` changes it. Points are complex numbers
    inside: turning and growing is one product, mirroring another sign of x.
    """

    def __init__(self, background: Image.Image, rng: np.random.Generator) -> None:
        self.image = background.resize((SIZE * _SCALE, SIZE * _SCALE), Image.Resampling.NEAREST)
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
        light = self.between(0.75, 1.25)
        colour = choices[int(len(choices) * self.rng.random())]
        return tuple(min(255, max(0, int(value * light + self.between(-14, 14)))) for value in colour)

    def place(self, x: float, y: float, size: float, angle: float = 0, stretch: float = 1) -> None:
        """Draw from here on around (x, y), `size` times as large, turned by `angle` in radians.

        `stretch` multiplies widths; a negative one mirrors.
        """
        half = SIZE * _SCALE / 2
        self._shift = half * (1 + x + 1j * (1 + y))
        self._turn = half * size * np.exp(1j * angle)
        self._stretch = stretch

    def _fill(self, points: np.ndarray, colour: Colour) -> None:
        moved = (points.real * self._stretch + 1j * points.imag) * self._turn + self._shift
        self._pen.polygon(moved.view(np.float64).tolist(), fill=colour)

    def shape(self, colour: Colour, points: Points) -> None:
        """Fill a polygon."""
        self._fill(np.array(points, np.float64).view(np.complex128)[:, 0], colour)

    def box(self, colour: Colour, left: float, top: float, right: float, bottom: float) -> None:
        """Fill a rectangle."""
        self.shape(colour, ((left, top), (right, top), (right, bottom), (left, bottom)))

    def oval(self, colour: Colour, x: float, y: float, rx: float, ry: float, angle: float = 0) -> None:
        """Fill an ellipse, turned by `angle` in radians."""
        points = _CIRCLE.real * rx + 1j * (_CIRCLE.imag * ry)
        self._fill(points * complex(np.cos(angle), np.sin(angle)) + complex(x, y), colour)

    def ball(self, colour: Colour, x: float, y: float, rx: float, ry: float, angle: float = 0) -> None:
        """Fill an ellipse that is lit from above."""
        self.oval(tint(colour, 0.78), x, y, rx, ry, angle)
        self.oval(colour, x, y - 0.14 * ry, 0.9 * rx, 0.82 * ry, angle)

    def stroke(self, colour: Colour, points: Points, start: float, end: float | None = None) -> None:
        """Draw a line through the points whose half-width goes from `start` to `end`."""
        path = np.array(points, np.float64).view(np.complex128)[:, 0]
        along = np.empty_like(path)
        along[1:] = path[1:] - path[:-1]
        along[0] = along[1]
        along[1:-1] += along[2:]
        width = np.linspace(start, start if end is None else end, len(path))
        side = 1j * width * along / np.abs(along)
        self._fill(np.concatenate([path + side, (path - side)[::-1]]), colour)


# ---------------------------------------------------------------------------------------------- vehicles


def _wheels(c: Canvas, places: Sequence[float], y: float, radius: float) -> None:
    hub = c.pick(METALS)
    for x in places:
        c.oval(BLACK, x, y, radius, radius)
        c.oval(hub, x, y, radius * 0.5, radius * 0.5)


def _airplane(c: Canvas) -> None:
    paint, accent = c.pick(METALS), c.pick(PAINTS)
    dark = tint(paint, 0.7)
    sweep, slim = c.between(0.15, 0.5), c.between(0.1, 0.16)
    if c.chance(0.5):  # from the side
        c.shape(dark, ((0.1, -0.05), (-0.2 - sweep, -0.42), (-0.4 - sweep, -0.42), (-0.3, -0.05)))
        c.shape(accent, ((-0.62, -0.05), (-0.85, -0.5), (-1.02, -0.5), (-0.95, 0)))
        c.stroke(paint, ((0.95, 0.04), (0.75, 0), (-0.4, 0), (-1, -0.08)), 0.02, 0.03)
        c.shape(paint, ((1, 0.05), (0.8, -slim), (-0.5, -slim), (-1, -0.1), (-0.95, 0), (-0.4, slim), (0.8, slim)))
        c.stroke(accent, ((0.75, 0.3 * slim), (-0.9, -0.04)), 0.02)
        c.stroke(DARK, ((0.6, -0.3 * slim), (-0.5, -0.3 * slim)), 0.025)
        c.shape(DARK, ((0.9, -0.04), (0.78, -0.8 * slim), (0.7, -0.04)))
        c.oval(dark, 0.15 - sweep / 2, 0.27, 0.15, 0.07)
        c.shape(tint(paint, 0.85), ((0.25, 0.05), (-0.1 - sweep, 0.5), (-0.3 - sweep, 0.5), (-0.15, 0.05)))
        c.shape(dark, ((-0.7, -0.05), (-0.95, 0.12), (-1.08, 0.12), (-0.92, -0.05)))
        return
    span = c.between(0.75, 1.0)  # from above or below, nose up
    for side in (-1, 1):
        c.shape(dark, ((0, -0.2), (side * span, sweep), (side * span, sweep + 0.12), (0, 0.22)))
        c.shape(dark, ((0, 0.62), (side * 0.36, 0.8), (side * 0.36, 0.9), (0, 0.85)))
        c.oval(accent, side * 0.36, 0.1 + 0.3 * sweep, 0.06, 0.14)
    c.shape(paint, ((0, -1), (slim, -0.75), (slim, 0.4), (0.03, 0.95), (-0.03, 0.95), (-slim, 0.4), (-slim, -0.75)))
    c.shape(DARK, ((-0.6 * slim, -0.78), (0, -0.9), (0.6 * slim, -0.78), (0, -0.72)))
    c.shape(accent, ((-0.03, 0.6), (0.03, 0.6), (0.03, 0.95), (-0.03, 0.95)))


def _automobile(c: Canvas) -> None:
    paint, glass = c.pick(PAINTS), c.pick(GLASS)
    dark = tint(paint, 0.65)
    if c.chance(0.65):  # from the side: saloon, hatchback or estate by where the roof begins and ends
        roof, front, back = c.between(-0.52, -0.36), c.between(0.1, 0.3), c.between(-0.85, -0.35)
        nose = c.between(0.0, 0.1)
        c.shape(tint(paint, 0.9), ((front + 0.3, -0.02), (front, roof), (back, roof), (back - 0.2, -0.02)))
        c.shape(
            glass, ((front + 0.2, -0.03), (front - 0.03, roof + 0.07), (back + 0.05, roof + 0.07), (back - 0.08, -0.03))
        )
        middle = (front + back) / 2
        c.box(paint, middle - 0.03, roof + 0.05, middle + 0.03, 0)
        c.shape(
            paint,
            (
                (1, 0.12 + nose),
                (0.9, nose),
                (front + 0.25, -0.06),
                (back - 0.25, -0.06),
                (-0.98, 0.02),
                (-1, 0.3),
                (1, 0.3),
            ),
        )
        c.box(dark, -0.98, 0.24, 0.99, 0.32)
        c.stroke(dark, ((middle, 0), (middle, 0.28)), 0.012)
        c.oval((250, 240, 190), 0.93, 0.13 + nose, 0.06, 0.05)
        c.oval((180, 30, 30), -0.96, 0.1, 0.04, 0.06)
        _wheels(c, (-0.58, 0.6), 0.32, c.between(0.18, 0.23))
        return
    wide = c.between(0.62, 0.78)  # from the front or from behind
    rear = c.chance(0.4)
    c.box(BLACK, -wide, 0.3, -wide + 0.22, 0.68)
    c.box(BLACK, wide - 0.22, 0.3, wide, 0.68)
    c.shape(tint(paint, 0.9), ((-0.7 * wide, -0.5), (0.7 * wide, -0.5), (wide, 0), (-wide, 0)))
    c.shape(glass, ((-0.62 * wide, -0.43), (0.62 * wide, -0.43), (0.85 * wide, -0.04), (-0.85 * wide, -0.04)))
    c.shape(
        paint, ((-wide, -0.04), (wide, -0.04), (1.06 * wide, 0.15), (wide, 0.52), (-wide, 0.52), (-1.06 * wide, 0.15))
    )
    c.box(dark if rear else DARK, -0.45 * wide, 0.18, 0.45 * wide, 0.34)
    for side in (-1, 1):
        c.oval((190, 25, 25) if rear else (250, 245, 210), side * 0.75 * wide, 0.16, 0.13, 0.08)
    c.box(WHITE, -0.16, 0.38, 0.16, 0.47)


def _truck(c: Canvas) -> None:
    paint, glass, load = c.pick(PAINTS), c.pick(GLASS), c.pick(PAINTS + METALS)
    dark = tint(paint, 0.65)
    if c.chance(0.25):  # from the front
        wide, top = c.between(0.55, 0.7), c.between(-0.95, -0.7)
        c.box(BLACK, -wide, 0.5, -wide + 0.24, 0.88)
        c.box(BLACK, wide - 0.24, 0.5, wide, 0.88)
        c.box(load, -1.05 * wide, top - 0.1, 1.05 * wide, 0.5)
        c.box(paint, -wide, -0.6, wide, 0.65)
        c.box(glass, -0.86 * wide, -0.5, 0.86 * wide, -0.08)
        c.box(DARK, -0.5 * wide, 0.08, 0.5 * wide, 0.42)
        for side in (-1, 1):
            c.oval((250, 245, 210), side * 0.76 * wide, 0.38, 0.1, 0.1)
            c.box(DARK, side * (wide + 0.1) - 0.05, -0.45, side * (wide + 0.1) + 0.05, -0.1)
        return
    cab, roof, kind = c.between(0.42, 0.6), c.between(-0.5, -0.3), c.rng.random()
    top, radius = c.between(-0.75, -0.5), c.between(0.15, 0.19)
    c.box(DARK, -1, 0.22, 0.95, 0.36)
    if kind < 0.5:  # a box
        c.box(load, -1, top, cab - 0.06, 0.26)
        c.box(tint(load, 0.8), -1, 0.1, cab - 0.06, 0.26)
        c.stroke(tint(load, 0.7), ((-0.95, top + 0.25), (cab - 0.1, top + 0.25)), 0.04)
    elif kind < 0.65:  # a tank
        c.ball(load, (cab - 1.08) / 2, -0.08, (cab + 0.95) / 2, 0.3)
    elif kind < 0.85:  # a tipper, heaped
        c.oval((110, 90, 60), -0.3, -0.22, 0.6, 0.2)
        c.shape(load, ((-1.05, -0.3), (cab - 0.08, -0.24), (cab - 0.2, 0.24), (-0.9, 0.24)))
    else:  # an open bed
        c.box(load, -1, -0.06, cab - 0.08, 0.26)
    c.shape(paint, ((cab, roof), (cab + 0.28, roof), (cab + 0.38, -0.05), (1, 0.0), (1, 0.34), (cab, 0.34)))
    c.shape(glass, ((cab + 0.07, roof + 0.07), (cab + 0.25, roof + 0.07), (cab + 0.33, -0.06), (cab + 0.07, -0.06)))
    c.box(dark, cab, 0.26, 1, 0.36)
    c.oval((250, 240, 190), 0.96, 0.14, 0.05, 0.05)
    _wheels(c, (-0.78, -0.42, 0.72) if c.chance(0.6) else (-0.62, 0.7), 0.38, radius)


def _ship(c: Canvas) -> None:
    hull, upper, accent = c.pick(PAINTS), c.pick((WHITE, WHITE, (200, 200, 190))), c.pick(PAINTS)
    kind, deck = c.rng.random(), c.between(0.1, 0.2)
    if kind < 0.3:  # under sail
        c.stroke(DARK, ((0, 0.2), (0, -0.98)), 0.025)
        c.shape(upper, ((-0.05, -0.95), (-0.05, 0.06), (-c.between(0.5, 0.75), 0.06)))
        c.shape(tint(accent, 1.2), ((0.05, -0.85), (0.05, 0.05), (c.between(0.45, 0.75), 0.05)))
        c.shape(hull, ((-0.75, deck), (0.9, deck - 0.06), (0.6, 0.48), (-0.6, 0.48)))
    elif kind < 0.65:  # a freighter
        for x in np.arange(-0.45, 0.6, 0.23):
            c.box(c.pick(PAINTS), x, deck - c.between(0.1, 0.35), x + 0.21, deck + 0.02)
        c.box(upper, -0.85, deck - 0.55, -0.52, deck + 0.02)
        c.stroke(DARK, ((-0.82, deck - 0.45), (-0.55, deck - 0.45)), 0.035)
        c.box(accent, -0.78, deck - 0.75, -0.64, deck - 0.55)
        c.shape(hull, ((-1, deck), (1.02, deck - 0.08), (0.82, 0.5), (-0.92, 0.5)))
    else:  # a liner or a ferry
        for level in range(2 + c.chance(0.5)):
            y = deck - 0.17 * level
            c.box(upper, -0.75 + 0.12 * level, y - 0.17, 0.6 - 0.2 * level, y + 0.02)
            c.stroke(GLASS[0], ((-0.68 + 0.12 * level, y - 0.08), (0.52 - 0.2 * level, y - 0.08)), 0.025)
        for x in (-0.3, 0.05):
            c.shape(accent, ((x, y - 0.17), (x - 0.04, y - 0.45), (x + 0.12, y - 0.45), (x + 0.16, y - 0.17)))
        c.shape(hull, ((-0.95, deck), (1.02, deck - 0.08), (0.75, 0.5), (-0.85, 0.5)))
    c.stroke(tint(hull, 0.6), ((-0.75, 0.45), (0.7, 0.45)), 0.06)
    if c.chance(0.8):  # the water before it
        foam = c.pick(((225, 235, 240), (90, 130, 160), (60, 100, 130)))
        c.shape(foam, ((-1.1, 0.44), (-0.6, 0.5), (0, 0.44), (0.6, 0.5), (1.1, 0.44), (1, 0.56), (-1, 0.56)))


# ---------------------------------------------------------------------------------------------- animals


def _eyes(c: Canvas, x: float, y: float, apart: float, radius: float, iris: Colour) -> None:
    for side in (-1, 1):
        c.oval(iris, x + side * apart, y, radius, radius)
        c.oval(BLACK, x + side * apart, y, 0.6 * radius, 0.8 * radius)


def _body(c: Canvas, coat: Colour, leg: float, thick: float, depth: float, head: tuple[float, float]) -> None:
    """Draw trunk, neck and four legs of an animal that stands or walks to the right."""
    stride, ground = c.between(-0.22, 0.22), depth + leg
    for colour, swing, shift in ((tint(coat, 0.7), -stride, 0.08), (coat, stride, 0)):
        for hip, sign in ((-0.5, 1), (0.4, -1)):
            x, knee = hip + shift, hip + shift + sign * swing * 0.7
            c.stroke(
                colour, ((x, depth * 0.2), (knee, depth + leg * 0.35), (x + sign * swing, ground)), 1.8 * thick, thick
            )
        if not shift:
            continue
        c.stroke(coat, ((0.3, 0.05), (0.55, head[1] / 2), head), 0.8 * depth, 0.45 * depth)
        c.ball(coat, -0.04, 0, 0.66, depth)
        c.oval(coat, -0.45, 0, 0.25, depth)


def _cat(c: Canvas) -> None:
    coat, iris, kind = c.pick(COATS), c.pick(((200, 190, 60), (110, 180, 90), (120, 170, 210))), c.rng.random()
    if kind < 0.4:  # walking, tail up
        x, y, r = 0.72, c.between(-0.4, -0.2), 0.27
        c.stroke(coat, ((-0.6, -0.1), (-0.85, -0.35), (-0.8, -0.7), (-0.95, -0.9)), 0.07, 0.05)
        _body(c, coat, c.between(0.28, 0.4), 0.06, 0.27, (x, y))
    elif kind < 0.7:  # sitting, seen from the front
        x, y, r = 0.0, -0.45, 0.36
        c.stroke(tint(coat, 0.85), ((0.3, 0.75), (0.65, 0.7), (0.75, 0.4), (c.between(0.5, 0.95), 0.2)), 0.08, 0.05)
        c.ball(coat, 0, 0.4, 0.42, 0.55)
        for side in (-1, 1):
            c.stroke(tint(coat, 0.9), ((side * 0.14, 0.2), (side * 0.15, 0.9)), 0.09)
    else:  # the face alone
        x, y, r = 0.0, 0.05, 0.75
    for side in (-1, 1):
        c.shape(
            tint(coat, 0.85),
            ((x + side * r, y - 1.35 * r), (x + side * 0.98 * r, y - 0.1 * r), (x + side * 0.2 * r, y - 0.8 * r)),
        )
        c.shape(
            (215, 150, 145),
            (
                (x + side * 0.9 * r, y - 1.1 * r),
                (x + side * 0.85 * r, y - 0.4 * r),
                (x + side * 0.42 * r, y - 0.75 * r),
            ),
        )
    c.ball(coat, x, y, 1.05 * r, 0.9 * r)
    if c.chance(0.5):  # a tabby
        for shift in (-0.25, 0, 0.25):
            c.stroke(tint(coat, 0.5), ((x + shift * r, y - 0.8 * r), (x + 0.8 * shift * r, y - 0.4 * r)), 0.07 * r)
    _eyes(c, x, y - 0.1 * r, 0.42 * r, 0.19 * r, iris)
    c.oval(tint(coat, 1.4), x, y + 0.42 * r, 0.36 * r, 0.24 * r)
    c.shape((200, 110, 110), ((x - 0.12 * r, y + 0.22 * r), (x + 0.12 * r, y + 0.22 * r), (x, y + 0.38 * r)))
    for side in (-1, 1):
        for drop in (0.3, 0.55):
            c.stroke(WHITE, ((x + side * 0.3 * r, y + 0.4 * r), (x + side * 1.3 * r, y + drop * r)), 0.025 * r + 0.006)


def _dog(c: Canvas) -> None:
    coat, kind = c.pick(COATS), c.rng.random()
    ear = tint(coat, 0.65) if c.chance(0.7) else c.pick(COATS)
    if kind < 0.6:  # standing, seen from the side
        x, y = 0.78, c.between(-0.5, -0.25)
        c.stroke(coat, ((-0.6, -0.1), (-0.88, -0.3), (-0.98, c.between(-0.7, -0.1))), 0.07, 0.04)
        _body(c, coat, c.between(0.3, 0.55), 0.075, c.between(0.24, 0.31), (x, y))
        if c.chance(0.4):
            c.oval(ear, -0.15, -0.08, 0.25, 0.15)
        c.ball(coat, x, y, 0.25, 0.22)
        c.stroke(coat, ((x + 0.1, y + 0.05), (x + 0.42, y + 0.1)), 0.14, 0.1)
        c.oval(BLACK, x + 0.43, y + 0.04, 0.06, 0.055)
        c.oval(BLACK, x + 0.12, y - 0.06, 0.04, 0.04)
        c.oval(ear, x - 0.12, y + 0.1, 0.1, 0.24, 0.25)
        if c.chance(0.4):
            c.oval((215, 90, 100), x + 0.3, y + 0.25, 0.05, 0.1)
        return
    x, y, r = 0.0, 0.0, 0.72
    if kind < 0.8:  # sitting, seen from the front
        y, r = -0.42, 0.36
        c.ball(coat, 0, 0.42, 0.42, 0.52)
        c.oval(tint(coat, 1.3), 0, 0.35, 0.2, 0.35)
        for side in (-1, 1):
            c.stroke(tint(coat, 0.9), ((side * 0.18, 0.2), (side * 0.2, 0.9)), 0.1)
    c.ball(coat, x, y, 0.8 * r, 0.95 * r)
    for side in (-1, 1):
        c.oval(ear, x + side * 0.85 * r, y + 0.05 * r, 0.25 * r, 0.72 * r, -side * 0.2)
    _eyes(c, x, y - 0.2 * r, 0.36 * r, 0.12 * r, (60, 40, 25))
    c.ball(tint(coat, 1.35), x, y + 0.45 * r, 0.5 * r, 0.42 * r)
    c.oval(BLACK, x, y + 0.25 * r, 0.2 * r, 0.15 * r)
    c.stroke(BLACK, ((x, y + 0.3 * r), (x, y + 0.6 * r)), 0.03 * r)
    if c.chance(0.5):
        c.oval((215, 90, 100), x, y + 0.8 * r, 0.16 * r, 0.25 * r)


def _deer(c: Canvas) -> None:
    coat = c.pick(DEER)
    horn = tint(c.pick(((190, 165, 125), (120, 95, 65))), 1)
    x, y = c.between(0.6, 0.75), c.between(-0.72, -0.55)
    _body(c, coat, c.between(0.6, 0.72), 0.035, 0.22, (x, y))
    c.oval(tint(coat, 1.6), -0.66, -0.02, 0.08, 0.12)
    if c.chance(0.35):  # a fawn's spots
        for spot in range(6):
            c.oval(tint(coat, 1.6), -0.45 + 0.16 * spot, -0.1 + 0.07 * (spot % 3), 0.04, 0.035)
    c.oval(tint(coat, 0.8), x - 0.18, y - 0.1, 0.16, 0.06, 0.5)
    if c.chance(0.75):  # a stag
        for lean in (-0.22, 0.14):
            c.stroke(horn, ((x, y - 0.08), (x + lean, y - 0.25), (x + 1.7 * lean, y - 0.5)), 0.035, 0.025)
            for up in (0.2, 0.34):
                c.stroke(
                    horn, ((x + 2.6 * lean * up, y - up), (x + 2.6 * lean * up + 0.16, y - up - 0.13)), 0.028, 0.02
                )
    c.stroke(coat, ((x - 0.06, y - 0.03), (x + 0.36, y + 0.16)), 0.13, 0.06)
    c.oval(BLACK, x + 0.36, y + 0.15, 0.045, 0.045)
    c.oval(BLACK, x + 0.08, y - 0.01, 0.035, 0.035)


def _horse(c: Canvas) -> None:
    coat = c.pick(COATS)
    mane = tint(c.pick(((30, 26, 26), (225, 210, 170), (70, 45, 30))), 1)
    x, y = c.between(0.66, 0.82), c.between(-0.65, -0.4)
    c.stroke(mane, ((-0.6, -0.15), (-0.82, 0), (-0.86, c.between(0.35, 0.65))), 0.06, 0.09)
    _body(c, coat, c.between(0.5, 0.6), 0.055, 0.28, (x, y))
    c.stroke(mane, ((x - 0.02, y - 0.16), (x - 0.3, y / 2), (x - 0.45, -0.12)), 0.07, 0.06)
    c.shape(coat, ((x - 0.1, y - 0.1), (x - 0.02, y - 0.3), (x + 0.06, y - 0.1)))
    c.stroke(coat, ((x - 0.06, y - 0.06), (x + 0.3, y + 0.26)), 0.15, 0.1)
    c.oval(tint(coat, 0.6), x + 0.3, y + 0.25, 0.09, 0.09)
    c.oval(BLACK, x + 0.05, y - 0.03, 0.03, 0.03)
    if c.chance(0.25):  # saddled
        c.shape(c.pick(PAINTS), ((-0.25, -0.3), (0.12, -0.3), (0.08, 0.08), (-0.2, 0.08)))


def _bird(c: Canvas) -> None:
    plumage, wing = c.pick(FEATHERS), c.pick(FEATHERS)
    beak, breast = c.pick(((225, 160, 40), (60, 55, 50), (215, 90, 40))), c.pick(FEATHERS)
    kind = c.rng.random()
    if kind < 0.35:  # flying
        lift, span = c.between(-0.75, 0.2), c.between(0.6, 0.8)
        far = ((0.25, -0.05), (0.3 + 0.3 * span, lift), (-0.25, lift - 0.1), (-0.3, 0))
        c.shape(tint(wing, 0.75), far)
        c.shape(tint(plumage, 0.8), ((-0.4, 0), (-0.98, -0.12), (-0.9, 0.18)))
        c.ball(plumage, 0, 0.03, 0.5, 0.17)
        c.ball(plumage, 0.5, -0.05, 0.17, 0.15)
        c.shape(beak, ((0.64, -0.1), (0.86, -0.02), (0.64, 0.03)))
        c.oval(BLACK, 0.54, -0.08, 0.035, 0.035)
        c.shape(wing, ((0.25, 0.02), (-0.1, lift), (-0.35 - 0.5 * span, lift - 0.05), (-0.6, lift / 2), (-0.3, 0.08)))
        return
    tall = c.between(0.1, 0.3) if kind < 0.8 else c.between(0.45, 0.65)
    top = -0.5 if kind < 0.8 else -0.8
    for x in (-0.1, 0.08):
        c.stroke(beak, ((x, 0.2), (x - 0.03, 0.35 + tall), (x + 0.1, 0.37 + tall)), 0.025)
    c.shape(tint(wing, 0.8), ((-0.3, -0.05), (-1, 0.25), (-0.9, 0.42), (-0.25, 0.25)))
    c.ball(plumage, 0, 0.05, 0.5, 0.33, -0.35)
    c.oval(breast, 0.2, 0.1, 0.24, 0.2, -0.6)
    c.stroke(plumage, ((0.25, 0), (0.42, top / 2), (0.42, top)), 0.2, 0.12)
    c.ball(plumage, 0.43, top, 0.22, 0.2)
    c.shape(beak, ((0.6, top - 0.09), (0.92, top + c.between(-0.02, 0.08)), (0.6, top + 0.08)))
    c.oval(WHITE, 0.48, top - 0.04, 0.06, 0.06)
    c.oval(BLACK, 0.49, top - 0.04, 0.04, 0.04)
    c.oval(wing, -0.15, 0.06, 0.4, 0.18, -0.3)


def _frog(c: Canvas) -> None:
    skin, iris, kind = c.pick(SKINS), c.pick(((220, 180, 50), (200, 70, 40), (230, 220, 150))), c.rng.random()
    dark, belly = tint(skin, 0.7), c.pick(((215, 210, 160), (190, 200, 130), (230, 225, 200)))
    if kind < 0.4:  # from the side
        c.stroke(dark, ((-0.2, 0.35), (0.0, 0.62), (0.3, 0.62)), 0.07, 0.04)
        c.ball(skin, -0.15, 0.12, 0.68, 0.4, -0.4)
        c.oval(belly, 0.35, 0.22, 0.3, 0.2, -0.2)
        c.ball(skin, 0.45, -0.12, 0.42, 0.27)
        c.stroke(dark, ((0.25, 0.0), (0.86, 0.0)), 0.025)
        c.stroke(skin, ((0.2, 0.25), (0.42, 0.45), (0.35, 0.64), (0.62, 0.66)), 0.1, 0.04)
        c.ball(skin, -0.48, 0.3, 0.38, 0.24, -0.5)
        c.stroke(skin, ((-0.75, 0.45), (-0.3, 0.6), (-0.62, 0.68), (0.02, 0.7)), 0.09, 0.05)
        c.ball(skin, 0.42, -0.36, 0.17, 0.17)
        c.oval(iris, 0.46, -0.37, 0.11, 0.11)
        c.oval(BLACK, 0.48, -0.37, 0.07, 0.05)
        return
    front = kind < 0.75
    for side in (-1, 1):  # hind legs, folded
        c.stroke(dark, ((side * 0.3, 0.45), (side * 0.9, 0.15), (side * 0.62, 0.68), (side * 1.0, 0.74)), 0.16, 0.06)
        c.stroke(skin, ((side * 0.3, 0.1), (side * 0.5, 0.45), (side * 0.4, 0.75)), 0.11, 0.05)
    if front:
        c.ball(skin, 0, 0.3, 0.5, 0.42)
        c.oval(belly, 0, 0.42, 0.34, 0.3)
    else:  # from above
        c.ball(skin, 0, 0.2, 0.48, 0.6)
        for x, y in ((-0.2, 0.1), (0.18, 0.3), (-0.05, 0.5), (0.2, 0)):
            c.oval(dark, x, y, 0.09, 0.08)
    c.ball(skin, 0, -0.18, 0.6, 0.34)
    if front:
        c.stroke(dark, ((-0.52, -0.12), (0, 0.02), (0.52, -0.12)), 0.03)
    for side in (-1, 1):
        c.ball(skin, side * 0.38, -0.46, 0.2, 0.2)
        c.oval(iris, side * 0.38, -0.47, 0.13, 0.13)
        c.oval(BLACK, side * 0.38, -0.47, 0.1, 0.06)


# ---------------------------------------------------------------------------------------------- scenes

# name: (colours far away, from the top down; colours near, from the horizon down; lowest and highest horizon)
SCENES: dict[str, tuple[Colour, Colour, Colour, Colour, float, float]] = {
    "sky": ((95, 150, 220), (185, 215, 240), (185, 215, 240), (225, 230, 230), 0.7, 1.1),
    "sea": ((140, 180, 220), (210, 222, 230), (70, 115, 145), (40, 85, 120), 0.3, 0.65),
    "field": ((150, 190, 225), (215, 225, 220), (120, 150, 75), (80, 120, 45), 0.1, 0.6),
    "wood": ((50, 75, 45), (85, 105, 65), (95, 90, 55), (70, 70, 40), 0.3, 0.8),
    "road": ((170, 190, 205), (190, 185, 175), (125, 125, 128), (95, 95, 100), 0.3, 0.65),
    "room": ((205, 190, 165), (190, 170, 145), (140, 100, 70), (120, 85, 60), 0.4, 0.8),
    "sand": ((160, 195, 215), (205, 210, 205), (205, 185, 140), (180, 155, 115), 0.2, 0.6),
    "studio": ((235, 235, 235), (215, 215, 215), (210, 210, 210), (190, 190, 190), 0.5, 0.9),
    "night": ((25, 30, 50), (60, 60, 75), (50, 50, 55), (35, 38, 40), 0.3, 0.8),
}
_NAMES = tuple(SCENES)

# In the order of CIFAR-10's labels: the figure, the scenes it is more often seen in, the largest turn in radians.
FIGURES: tuple[tuple[Callable[[Canvas], None], tuple[str, ...], float], ...] = (
    (_airplane, ("sky", "sky", "field", "road"), 0.5),
    (_automobile, ("road", "road", "field", "studio"), 0.12),
    (_bird, ("sky", "wood", "field", "sea"), 0.25),
    (_cat, ("room", "room", "studio", "field"), 0.2),
    (_deer, ("field", "wood", "wood", "field"), 0.12),
    (_dog, ("field", "room", "sand", "studio"), 0.2),
    (_frog, ("wood", "field", "sand", "sea"), 0.3),
    (_horse, ("field", "field", "sand", "road"), 0.12),
    (_ship, ("sea", "sea", "sea", "sky"), 0.1),
    (_truck, ("road", "road", "sand", "field"), 0.1),
)
ANY_SCENE = 0.35  # the share of figures whose scene says nothing of their class


def _background(name: str, rng: np.random.Generator) -> Image.Image:
    """Return the empty scene: two gradients that meet at a horizon, with soft and fine texture."""
    *colours, low, high = SCENES[name]
    top, far, near, bottom = np.array(colours, np.float32) * rng.uniform(0.75, 1.2) + rng.normal(0, 10, (4, 3))
    rows = np.linspace(0, 1, SIZE)[:, None]
    horizon = rng.uniform(low, high)
    above, below = rows / max(horizon, 0.05), (rows - horizon) / max(1 - horizon, 0.05)
    gradient = np.where(rows < horizon, top + (far - top) * above, near + (bottom - near) * below)
    cells = int(rng.integers(3, 12))
    soft = Image.fromarray(rng.normal(0, rng.uniform(2, 16), (cells, cells)).astype(np.float32))
    texture = np.asarray(soft.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    pixels = gradient[:, None] + texture[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _things_behind(c: Canvas, scene: str) -> None:
    """Draw up to three things of the scene: clouds, trees, houses, furniture, islands."""
    for _ in range(int(c.rng.integers(0, 4))):
        x, y, size = c.between(-1, 1), c.between(-0.7, 0.1), c.between(0.1, 0.35)
        if scene in ("sky", "sea") or (y < -0.45 and scene in ("field", "sand")):
            cloud = (*c.pick((WHITE, (200, 205, 215))), 150)
            for shift in (-0.8, 0, 0.7):
                c.oval(cloud, x + shift * size, y, size, 0.5 * size)
        elif scene in ("field", "wood"):
            c.box(c.pick(((80, 60, 45), (110, 95, 80))), x - 0.18 * size, y, x + 0.18 * size, y + 2.5 * size)
            c.oval(c.pick(((50, 90, 40), (80, 115, 50), (130, 110, 50))), x, y, size, 1.2 * size)
        else:
            colour = c.pick(PAINTS + COATS)
            c.box(colour, x - size, y - size, x + size, y + 1.5 * size)
            c.box(tint(colour, 1.4), x - 0.6 * size, y - 0.6 * size, x - 0.1 * size, y)


def _things_before(c: Canvas) -> None:
    """Cover a part of the figure: a post, a blade of grass or a leaf that reaches in from an edge."""
    colour = c.pick(SKINS + COATS + PAINTS)
    x, y, wide = c.between(-0.9, 0.9), c.between(0.1, 1), c.between(0.06, 0.16)
    kind = c.rng.random()
    if kind < 0.35:
        c.stroke(colour, ((x, -1), (x + c.between(-0.2, 0.2), 1)), wide)
    elif kind < 0.7:
        for _ in range(5):
            foot = x + c.between(-0.5, 0.5)
            c.stroke(colour, ((foot, 1), (foot + c.between(-0.2, 0.2), y)), 0.06, 0.01)
    else:
        c.oval(colour, np.sign(x), c.between(-1, 1), c.between(0.3, 0.6), c.between(0.2, 0.5))


def _photograph(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Return the drawing as a camera would: light from a side, colour cast, little contrast, blur, noise."""
    small = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    if rng.random() < 0.35:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.9)))
    pixels = np.asarray(small, np.float32)
    ramp = np.linspace(-1, 1, SIZE, dtype=np.float32)
    light = 1 + rng.uniform(-0.25, 0.25) * ramp[:, None, None] + rng.uniform(-0.25, 0.25) * ramp[None, :, None]
    contrast, cast = rng.uniform(0.55, 1.1), rng.normal(1, 0.06, 3)
    pixels = ((pixels - 128) * contrast + 128 + rng.uniform(-25, 25)) * light * cast
    pixels += rng.standard_normal((SIZE, SIZE, 3), np.float32) * rng.uniform(1, 14)
    return pixels.clip(0, 255).astype(np.uint8)


def draw(label: int, rng: np.random.Generator) -> np.ndarray:
    """Return one image of the class: uint8 (32, 32, 3), RGB.

    `label` counts from 0 in CIFAR-10's order. The image depends on `label` and the state of `rng` alone.
    """
    figure, scenes, turn = FIGURES[label]
    scene = (
        _NAMES[int(rng.integers(len(_NAMES)))] if rng.random() < ANY_SCENE else scenes[int(rng.integers(len(scenes)))]
    )
    c = Canvas(_background(scene, rng), rng)
    _things_behind(c, scene)
    size = c.between(0.5, 0.95)
    free = 1.15 - size  # how far the middle may go until the figure leaves the image by a little
    stretch = c.between(0.85, 1.1) * (1 if c.chance(0.5) else -1)
    x, y = c.between(-free, free), c.between(-free, free) * 0.7
    c.place(x, y, size, c.between(-turn, turn), stretch)
    if scene not in ("sky", "sea"):
        c.oval((0, 0, 0, 70), 0, 0.75, 0.9, 0.16)
    figure(c)
    if c.chance(0.35):
        c.place(0, 0, 1)
        _things_before(c)
    return _photograph(c.image, rng)


def images(count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images, uint8 (count, 32, 32, 3), RGB, and their labels, uint8 (count,).

    Each ten images in turn hold every class once, in an order of their own, and each image has its own seed
    ([seed, index]): a larger set begins with the smaller ones. `progress(done, count)` is called at times.
    """
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.uint8)
    classes = len(FIGURES)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        if index % classes == 0:
            order = np.random.default_rng([seed, index, 1]).permutation(classes)
        labels[index] = order[index % classes]
        pixels[index] = draw(int(labels[index]), rng)
        if progress is not None and (index + 1) % 500 == 0:
            progress(index + 1, count)
    return pixels, labels
