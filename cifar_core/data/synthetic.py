"""The built-in images: ten classes named as in CIFAR-10, drawn by the program.

They stand in wherever CIFAR-10 cannot be had, so that training, pages and tests work on any machine. Every image
is a scene, a figure (`drawings`) in some pose and colour, things behind and before it, and a camera's faults. A
class is a matter of shape: scenes, colours and sizes overlap between classes.

Measured on 2026-11-22 with 4,000 images for training, 1,000 for validation, seeds 1 and 2: a head on the frozen
ImageNet trunk at 96 px reaches 0.88 and 0.87 at alpha 0.5, 0.90 and 0.88 at 1.0, 0.79 and 0.77 at 0.35.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from cifar_core.data import drawings
from cifar_core.data.canvas import SCALE, SIZE, Canvas, Colour, palette, tint

VERSION = 3  # another number whenever a pixel changes: stored images are known by it
TRAIN_IMAGES = 12_000
TEST_IMAGES = 2_000

# Colours far away from the top down, then near from the horizon down; the highest and lowest horizon, 1 the bottom.
SCENES: dict[str, tuple[tuple[Colour, ...], float, float]] = {
    "sky": (palette("5f96dc b9d7f0 b9d7f0 e1e6e6"), 0.7, 1.1),
    "sea": (palette("8cb4dc d2dee6 467391 285578"), 0.3, 0.65),
    "field": (palette("96bee1 d7e1dc 78964b 50782d"), 0.1, 0.6),
    "wood": (palette("324b2d 556941 5f5a37 464628"), 0.3, 0.8),
    "road": (palette("aabecd beb9af 7d7d80 5f5f64"), 0.3, 0.65),
    "room": (palette("cdbea5 beaa91 8c6446 78553c"), 0.4, 0.8),
    "sand": (palette("a0c3d7 cdd2cd cdb98c b49b73"), 0.2, 0.6),
    "studio": (palette("ebebeb d7d7d7 d2d2d2 bebebe"), 0.5, 0.9),
    "night": (palette("323c5a 646478 55555a 44484c"), 0.3, 0.8),
}
ANY_SCENE = 0.35  # the share of figures whose scene says nothing of their class

# In the order of CIFAR-10's labels: the figure, the scenes it is more often seen in, its largest turn in radians.
FIGURES: tuple[tuple[Callable[[Canvas], None], tuple[str, ...], float], ...] = (
    (drawings.airplane, ("sky", "sky", "field", "road"), 0.5),
    (drawings.automobile, ("road", "road", "field", "studio"), 0.12),
    (drawings.bird, ("sky", "wood", "field", "sea"), 0.25),
    (drawings.cat, ("room", "room", "studio", "field"), 0.2),
    (drawings.deer, ("field", "wood", "wood", "field"), 0.12),
    (drawings.dog, ("field", "room", "sand", "studio"), 0.2),
    (drawings.frog, ("wood", "field", "sand", "sea"), 0.3),
    (drawings.horse, ("field", "field", "sand", "road"), 0.12),
    (drawings.ship, ("sea", "sea", "sea", "sky"), 0.1),
    (drawings.truck, ("road", "road", "sand", "field"), 0.1),
)

_CLOUDS, _TRUNKS = palette("f0f0ec c8cdd7"), palette("503c2d 6e5f50")
_CROWNS = palette("325a28 507332 826e32")
_ANYTHING = drawings.PAINTS + drawings.COATS
_ROWS = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None]
_RAMP = np.linspace(-1, 1, SIZE, dtype=np.float32)


def _background(scene: str, rng: np.random.Generator) -> Image.Image:
    """Return the empty scene, 32x32: two gradients that meet at a horizon, with a soft texture."""
    colours, low, high = SCENES[scene]
    shifts = rng.standard_normal((4, 3), np.float32) * 10
    top, far, near, bottom = np.array(colours, np.float32) * rng.uniform(0.75, 1.2) + shifts
    horizon = rng.uniform(low, high)
    above, below = _ROWS / horizon, (_ROWS - horizon) / max(1 - horizon, 0.05)
    gradient = np.where(horizon > _ROWS, top + (far - top) * above, near + (bottom - near) * below)
    cells = int(rng.integers(3, 12))
    soft = Image.fromarray(rng.standard_normal((cells, cells), np.float32) * rng.uniform(2, 14))
    texture = np.asarray(soft.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return Image.fromarray((gradient[:, None] + texture[..., None]).clip(0, 255).astype(np.uint8))


def _things_behind(c: Canvas, scene: str) -> None:
    """Draw up to three things of the scene: clouds, trees, houses or furniture."""
    for _ in range(int(c.rng.integers(0, 4))):
        x, y, size = c.between(-1, 1), c.between(-0.7, 0.1), c.between(0.1, 0.35)
        if scene in ("sky", "sea") or (y < -0.45 and scene in ("field", "sand")):
            cloud = (*c.pick(_CLOUDS), 150)
            for shift in (-0.8, 0, 0.7):
                c.oval(cloud, x + shift * size, y, size, 0.5 * size)
        elif scene in ("field", "wood"):
            c.box(c.pick(_TRUNKS), x - 0.18 * size, y, x + 0.18 * size, y + 2.5 * size)
            c.oval(c.pick(_CROWNS), x, y, size, 1.2 * size)
        else:
            colour = c.pick(_ANYTHING)
            c.box(colour, x - size, y - size, x + size, y + 1.5 * size)
            c.box(tint(colour, 1.4), x - 0.6 * size, y - 0.6 * size, x - 0.1 * size, y)


def _thing_before(c: Canvas) -> None:
    """Cover a part of the figure: a post, some grass, or something that reaches in from an edge."""
    colour, kind = c.pick(_ANYTHING + drawings.SKINS), c.rng.random()
    x, y = c.between(-0.9, 0.9), c.between(0.1, 1)
    if kind < 0.35:
        c.stroke(colour, ((x, -1), (x + c.between(-0.2, 0.2), 1)), c.between(0.05, 0.12))
    elif kind < 0.7:
        blade = c.pick(drawings.SKINS)
        for _ in range(5):
            foot = x + c.between(-0.5, 0.5)
            c.stroke(blade, ((foot, 1), (foot + c.between(-0.2, 0.2), y)), 0.06, 0.01)
    else:
        c.oval(colour, 1 if x > 0 else -1, c.between(-1, 1), c.between(0.25, 0.5), c.between(0.2, 0.5))


def _photograph(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Return the drawing as a camera gives it: light from a side, colour cast, contrast, blur, noise."""
    small = image.reduce(SCALE)
    if rng.random() < 0.25:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
    contrast, lift, down, right = rng.uniform((0.7, -22, -0.2, -0.2), (1.1, 22, 0.2, 0.2)).tolist()
    cast = 1 + rng.standard_normal(3, np.float32) * 0.05
    light = (1 + down * _RAMP[:, None] + right * _RAMP)[..., None] * cast
    pixels = ((np.asarray(small, np.float32) - 128) * contrast + (128 + lift)) * light
    pixels += rng.standard_normal((SIZE, SIZE, 3), np.float32) * rng.uniform(1, 8)
    return pixels.clip(0, 255).astype(np.uint8)


def draw(label: int, rng: np.random.Generator) -> np.ndarray:
    """Return one image of a class: uint8 (32, 32, 3), RGB.

    `label` counts from 0 to 9 in CIFAR-10's order. The image depends on `label` and the state of `rng` alone.
    """
    figure, scenes, turn = FIGURES[label]
    known = tuple(SCENES) if rng.random() < ANY_SCENE else scenes
    scene = known[int(rng.integers(len(known)))]
    c = Canvas(_background(scene, rng), rng)
    _things_behind(c, scene)
    size = c.between(0.55, 0.95)
    free = 1.1 - size  # how far the middle may go: by a little out of the picture
    stretch = c.between(0.85, 1.1) * (1 if c.chance(0.5) else -1)
    c.place(c.between(-free, free), 0.7 * c.between(-free, free), size, c.between(-turn, turn), stretch)
    if scene not in ("sky", "sea"):
        c.oval((0, 0, 0, 70), 0, 0.75, 0.9, 0.16)  # a shadow
    figure(c)
    if c.chance(0.3):
        c.place(0, 0, 1)
        _thing_before(c)
    return _photograph(c.image, rng)


def images(count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images, uint8 (count, 32, 32, 3), RGB, and their labels, uint8 (count,).

    Every ten images in turn hold each class once, in an order of their own, and every image has its own seed,
    [seed, index]: a larger set begins with the smaller ones. `progress(done, count)` is called now and then.
    """
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.uint8)
    classes = len(FIGURES)
    for start in range(0, count, classes):
        order = np.random.default_rng([seed, start, 1]).permutation(classes)
        for index, label in enumerate(order[: count - start].tolist(), start):
            labels[index] = label
            pixels[index] = draw(label, np.random.default_rng([seed, index]))
        if progress is not None and start % 200 == 0:
            progress(start, count)
    if progress is not None:
        progress(count, count)
    return pixels, labels
