"""Synthetic images: a data set with the ten class names of CIFAR-10, and pictures of no class.

The data set replaces CIFAR-10 if that is not available, so that training, pages and tests work on any machine. An
image contains a figure in a random pose and random colors on a random background, partly covered, with blur and noise.
Only shape separates the classes; colors and backgrounds have the same distribution for all.

The other pictures measure the out-of-distribution detection of each run. They are easier to detect than photographs of
other objects, of which the rule detects far fewer (measured by python -m tests.out_of_distribution).
"""

import cmath

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from cifar_core.machine import Progress

VERSION = 4  # increase it when a pixel changes; it identifies cached images
TRAIN_IMAGES = 12_000
TEST_IMAGES = 2_000
SIZE = 32
_SCALE = 4  # drawn at four times the size, then averaged, for soft edges as in photographs

# The drawings of each class, in the order of CIFAR-10's labels. A drawing is a list of parts, bottom first: a color
# role, then "o x y rx ry" (oval), "p x,y ..." (polygon) or "l width x,y ..." (line), in hundredths of half the figure's
# width, y down. Roles: a main color, d and l its dark and light tints, b accent, g glass, k black, w white.
FIGURES: dict[str, tuple[str, ...]] = {
    "airplane": (
        "d p 10,-5 -30,-50 -50,-50 -30,-5|b p -62,-5 -85,-52 -102,-52 -95,0|a o 0 0 95 14|k l 3 60,-5 -50,-5|"
        "d p 25,5 -25,55 -45,55 -15,5",
        "a p 0,-25 95,30 95,44 0,20 -95,44 -95,30|a p 0,62 38,80 38,92 0,85 -38,92 -38,80|d o 0 0 12 95|k o 0 -80 6 8",
    ),
    "automobile": (
        "l p 60,0 25,-45 -50,-45 -80,0|g p 45,-5 22,-38 -45,-38 -68,-5|a p 95,5 55,-6 -85,-6 -98,2 -100,32 100,32|"
        "k o -58 32 21 21|w o -58 32 10 10|k o 60 32 21 21|w o 60 32 10 10|w o 92 13 6 5",
        "k p -70,50 -45,50 -45,72 -70,72|k p 45,50 70,50 70,72 45,72|l p -50,-50 50,-50 70,0 -70,0|"
        "g p -42,-43 42,-43 58,-4 -58,-4|a p -72,-2 72,-2 78,54 -78,54|w o -55 16 13 9|w o 55 16 13 9|"
        "d p -35,20 35,20 35,36 -35,36",
    ),
    "bird": (
        "d p -30,-5 -100,28 -88,44 -20,22|k l 3 -8,30 -10,72|k l 3 10,30 8,72|a o -5 5 50 31|"
        "a p 5,-15 35,-62 62,-42 40,18|a o 43 -50 22 20|b p 60,-58 94,-45 60,-38|d o -15 6 36 16|k o 48 -54 5 5",
        "d p 30,0 45,-72 10,-58 -25,0|d p -40,0 -98,-14 -90,20|a o 0 5 50 18|a o 50 -5 19 16|"
        "b p 64,-12 94,-2 64,5|a p 25,2 -15,70 -90,76 -40,10|k o 55 -9 4 4",
    ),
    "cat": (
        "d l 10 30,78 75,70 75,28|a o 0 42 42 50|d l 7 -12,40 -12,88|d l 7 12,40 12,88|a p -40,-82 -38,-28 -6,-62|"
        "a p 40,-82 38,-28 6,-62|a o 0 -38 39 33|b o -16 -42 9 9|b o 16 -42 9 9|k o -16 -42 3 8|k o 16 -42 3 8|"
        "l o 0 -22 12 8|k p -5,-29 5,-29 0,-22|w l 2 -12,-22 -52,-27|w l 2 12,-22 52,-27",
        "a l 8 -55,-5 -85,-35 -84,-88|d l 8 -48,10 -54,74|d l 8 38,10 34,74|a l 8 -34,10 -32,76|a l 8 50,10 56,76|"
        "a o 0 3 64 25|a p 46,-66 48,-30 68,-50|a p 94,-66 92,-30 72,-50|a o 70 -34 27 22|b o 61 -37 6 6|"
        "b o 79 -37 6 6|k p 66,-29 74,-29 70,-23",
    ),
    "deer": (
        "d l 5 -46,10 -52,82|d l 5 42,10 36,82|a l 5 -36,10 -32,84|a l 5 50,10 56,84|a o -2 4 60 23|"
        "w o -62 0 9 12|a l 16 46,0 64,-52|a p 56,-68 99,-44 94,-35 58,-44|b l 4 60,-64 48,-94|"
        "b l 4 60,-64 84,-100|b l 3 53,-80 36,-94|b l 3 73,-82 94,-84|k o 70 -56 4 4",
    ),
    "dog": (
        "a l 7 -56,-6 -90,-46|d l 9 -46,10 -50,74|d l 9 38,10 34,74|a l 9 -32,10 -28,76|a l 9 50,10 56,76|"
        "a o 0 4 61 28|a l 24 45,0 64,-30|a o 68 -35 26 22|a o 92 -27 18 12|k o 107 -31 6 6|d o 55 -25 11 23|"
        "k o 76 -41 4 4",
        "a o 0 0 58 66|d o -62 6 18 52|d o 62 6 18 52|l o 0 32 37 31|k o 0 18 15 11|k o -25 -14 8 8|"
        "k o 25 -14 8 8|k l 3 0,25 0,50|b o 0 64 11 16",
    ),
    "frog": (
        "d p -30,48 -98,12 -70,72 -104,78 -50,80|d p 30,48 98,12 70,72 104,78 50,80|a o 0 25 56 43|l o 0 40 35 28|"
        "a o 0 -15 62 33|a o -38 -46 20 20|a o 38 -46 20 20|b o -38 -47 13 13|b o 38 -47 13 13|k o -38 -47 9 5|"
        "k o 38 -47 9 5|d l 3 -54,-12 0,3 54,-12",
        "a o -12 12 72 36|l o 38 24 30 18|a o 46 -12 44 27|d l 3 26,0 90,0|a o 42 -38 18 18|b o 46 -38 11 11|"
        "k o 47 -38 7 5|d o -50 30 40 24|a l 9 -78,46 -28,58 -66,70 4,72|a l 9 20,26 44,46 36,66 66,68",
    ),
    "horse": (
        "b l 12 -60,-10 -84,10 -86,58|d l 7 -48,8 -54,80|d l 7 40,8 36,80|a l 7 -36,8 -30,82|a l 7 52,8 58,82|"
        "a o -4 0 65 28|a l 28 44,-4 66,-46|b l 12 64,-68 42,-32 28,-10|a p 54,-62 102,-26 92,-12 52,-34|"
        "a p 56,-60 62,-80 70,-58|k o 72 -46 3 4",
    ),
    "ship": (
        "d p -78,-72 -62,-72 -62,-44 -78,-44|w p -88,-46 -52,-46 -52,14 -88,14|k l 3 -82,-34 -58,-34|"
        "b p -45,-18 -2,-18 -2,12 -45,12|d p 2,-12 45,-12 45,10 2,10|a p -98,12 102,4 76,50 -86,50|"
        "l l 5 -110,54 0,50 110,54",
        "k l 4 0,20 0,-98|w p -5,-96 -5,8 -68,8|b p 6,-86 6,6 64,6|a p -80,14 86,8 62,50 -70,50|"
        "l l 5 -110,54 0,50 110,54",
    ),
    "truck": (
        "k p -100,22 95,22 95,38 -100,38|b p -100,-66 42,-66 42,26 -100,26|"
        "a p 48,-42 78,-42 90,-6 100,0 100,34 48,34|g p 55,-35 74,-35 83,-7 55,-7|k o -78 38 18 18|"
        "k o -40 38 18 18|k o 72 38 18 18|w o -78 38 8 8|w o -40 38 8 8|w o 72 38 8 8",
        "k p -62,50 -38,50 -38,88 -62,88|k p 38,50 62,50 62,88 38,88|b p -70,-98 70,-98 70,50 -70,50|"
        "a p -62,-60 62,-60 62,66 -62,66|g p -53,-50 53,-50 53,-8 -53,-8|k p -32,8 32,8 32,42 -32,42|"
        "w o -48 38 10 10|w o 48 38 10 10",
    ),
}
_COLORS = np.array(
    [
        *((190, 35, 35), (35, 70, 162), (235, 235, 232), (40, 42, 48), (150, 155, 160)),
        *((215, 180, 50), (50, 115, 70), (200, 100, 40), (120, 78, 45), (185, 140, 90)),
    ]
)
_SCENES = np.array(  # the far color (top) and the near color (bottom)
    (
        ((95, 150, 220), (225, 230, 230)),
        ((140, 180, 220), (40, 85, 120)),
        ((150, 190, 225), (80, 125, 45)),
        ((50, 75, 45), (70, 70, 40)),
        ((170, 190, 205), (95, 95, 100)),
        ((205, 190, 165), (120, 85, 60)),
        ((235, 235, 235), (190, 190, 190)),
    )
)
_ROWS = np.linspace(0, 1, SIZE)[:, None, None]
_CIRCLE = np.exp(2j * np.pi * np.arange(20) / 20)
_FIGURES = tuple(FIGURES.values())
_LETTERS = "ABCDEFGHKMNPRSTXYZ23456789?&%§"


def _color(rng: np.random.Generator) -> np.ndarray:
    return _COLORS[rng.integers(len(_COLORS))] * rng.uniform(0.75, 1.2) + rng.uniform(-14, 14, 3)


def _rgb(color: np.ndarray) -> tuple[int, ...]:
    return tuple(color.clip(0, 255).astype(int).tolist())


def _background(rng: np.random.Generator) -> Image.Image:
    """Return a background, 32x32: two gradients that meet at a horizon, with a soft texture."""
    far, near = _SCENES[rng.integers(len(_SCENES))] * rng.uniform(0.75, 1.2) + rng.normal(0, 10, (2, 3))
    horizon = rng.uniform(0.2, 0.9)
    gradient = np.where(horizon > _ROWS, far + _ROWS / horizon * 20, near + (_ROWS - horizon) * 30)
    cells = int(rng.integers(3, 12))
    texture = Image.fromarray(rng.normal(0, rng.uniform(2, 14), (cells, cells)).astype(np.float32))
    soft = np.asarray(texture.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return Image.fromarray((gradient + soft[..., None]).clip(0, 255).astype(np.uint8))


def _draw_figure(image: Image.Image, figure: str, rng: np.random.Generator) -> None:
    """Draw `figure` on `image` in a random pose: position, size, rotation, stretch, mirroring, colors."""
    pen = ImageDraw.Draw(image)
    half, size, stretch = image.width / 2, rng.uniform(0.55, 0.95), rng.uniform(0.85, 1.1) * rng.choice((-1, 1))
    turn = cmath.rect(half * size / 100, rng.uniform(-0.2, 0.2))
    free = half * (1.1 - size)  # the figure may be cut off slightly
    center = complex(half + free * rng.uniform(-1, 1), half + 0.7 * free * rng.uniform(-1, 1))
    main, glass = _color(rng), np.array((70, 95, 115)) * rng.uniform(0.5, 1.6)
    black, white = np.full(3, 20), np.full(3, 235)
    roles = {"a": main, "b": _color(rng), "d": main * 0.7, "l": main * 1.3, "g": glass, "k": black, "w": white}
    for part in figure.split("|"):
        role, kind, *numbers = part.split()
        if kind == "o":
            x, y, rx, ry = map(float, numbers)
            points = complex(x, y) + rx * _CIRCLE.real + 1j * ry * _CIRCLE.imag
        else:
            points = np.array([complex(*map(float, pair.split(","))) for pair in numbers[kind == "l" :]])
        points = points + rng.normal(0, 1.5, 2) @ (1, 1j)
        placed = (stretch * points.real + 1j * points.imag) * turn + center
        corners, fill = placed.view(float).tolist(), _rgb(roles[role])
        if kind == "l":
            pen.line(corners, fill, max(1, round(2 * float(numbers[0]) * abs(turn))), joint="curve")
        else:
            pen.polygon(corners, fill)


def _cover(image: Image.Image, rng: np.random.Generator) -> None:
    """Cover a part of the image with a post or with a disk from one side."""
    pen, (width, height), fill = ImageDraw.Draw(image), image.size, _rgb(_color(rng))
    x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.1, 0.25) * width
    if rng.random() < 0.5:
        pen.line((x, 0, x + rng.normal(0, 10), height), fill, round(radius / 2))
    else:
        side = width * int(rng.integers(2))
        pen.ellipse((side - radius, y - radius, side + radius, y + radius), fill)


def _photograph(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Reduce the drawing and add color cast, contrast, blur and noise; return uint8 (32, 32, 3)."""
    small = image.reduce(_SCALE)
    if rng.random() < 0.25:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
    cast = rng.normal(1, 0.05, 3) * rng.uniform(0.7, 1.1)
    pixels = (np.asarray(small, float) - 128) * cast + rng.uniform(106, 150)
    return (pixels + rng.normal(0, rng.uniform(1, 8), pixels.shape)).clip(0, 255).astype(np.uint8)


def draw(label: int, rng: np.random.Generator) -> np.ndarray:
    """Return one image of class `label`, 0 to 9: uint8 (32, 32, 3), RGB. Depends only on `label` and `rng`."""
    image = _background(rng).resize((SIZE * _SCALE, SIZE * _SCALE), Image.Resampling.NEAREST)
    drawings = _FIGURES[label]
    _draw_figure(image, drawings[int(rng.integers(len(drawings)))], rng)
    if rng.random() < 0.3:
        _cover(image, rng)
    return _photograph(image, rng)


def images(count: int, seed: int, progress: Progress = lambda done, total: None) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images, uint8 (count, 32, 32, 3), RGB, and their labels, uint8 (count,), read-only.

    Each block of ten images contains each class once, in random order. Image `index` has its own seed, [seed, index],
    so a larger set begins with the smaller one. `progress(done, count)` is called every 200 images.
    """
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.uint8)
    classes = len(_FIGURES)
    for start in range(0, count, classes):
        order = np.random.default_rng([seed, start, 1]).permutation(classes)
        for index, label in enumerate(order[: count - start].tolist(), start):
            labels[index] = label
            pixels[index] = draw(label, np.random.default_rng([seed, index]))
        if start % 200 == 0:
            progress(start, count)
    progress(count, count)
    pixels.flags.writeable = labels.flags.writeable = False
    return pixels, labels


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Return uniform noise, uint8 (32, 32, 3)."""
    return rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Return smooth colored noise, uint8 (32, 32, 3)."""
    cells = int(rng.integers(3, 9))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _drawing(rng: np.random.Generator) -> np.ndarray:
    """Return a drawing of shapes, stripes, a checkerboard or letters, uint8 (32, 32, 3)."""
    image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), _any_color(rng))
    _DRAWINGS[int(rng.integers(len(_DRAWINGS)))](ImageDraw.Draw(image), rng)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


OTHER_KINDS = {"drawings": _drawing, "noise": _noise, "clouds": _clouds}


def other_images(kind: str, count: int, seed: int = 1) -> np.ndarray:
    """Return `count` pictures of the kind `kind`, a key of OTHER_KINDS: uint8 (count, 32, 32, 3), RGB."""
    make = OTHER_KINDS[kind]
    return np.stack([make(np.random.default_rng([seed, number])) for number in range(count)])


def _shapes(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.integers(-10, 110, 2).tolist()
        width, height = rng.integers(12, 80, 2).tolist()
        box, kind = (x, y, x + width, y + height), int(rng.integers(4))
        if kind == 0:
            pen.ellipse(box, _any_color(rng))
        elif kind == 1:
            pen.rectangle(box, _any_color(rng))
        elif kind == 2:
            pen.polygon([tuple(rng.integers(0, 128, 2).tolist()) for _ in range(3)], _any_color(rng))
        else:
            pen.line((x, y, x + width, y + height), _any_color(rng), int(rng.integers(2, 12)))


def _stripes(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    step, color, upright = int(rng.integers(8, 40)), _any_color(rng), rng.random() < 0.5
    for start in range(0, SIZE * _SCALE, step):
        end = start + step // 2
        pen.rectangle((start, 0, end, 128) if upright else (0, start, 128, end), color)


def _checks(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    step, color = int(rng.integers(8, 40)), _any_color(rng)
    for x in range(0, SIZE * _SCALE, step):
        for y in range(0, SIZE * _SCALE, step):
            if (x // step + y // step) % 2:
                pen.rectangle((x, y, x + step - 1, y + step - 1), color)


def _letters(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 5))):
        x, y, size = rng.integers((-5, -5, 30), (80, 80, 110)).tolist()
        letter = _LETTERS[int(rng.integers(len(_LETTERS)))]
        pen.text((x, y), letter, _any_color(rng), font=ImageFont.load_default(size))


_DRAWINGS = (_shapes, _stripes, _checks, _letters)


def _any_color(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())
