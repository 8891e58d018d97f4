"""Small SVG pictures of a setting's effect, for both themes: on *Train* below a slider, on *Learn* for a lesson.

Each function returns an SVG, 320 wide, with a text alternative as `aria-label` (see `alt`).
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cifar_core.charts import style
from cifar_core.charts.answers import png
from cifar_core.data import augmentation
from cifar_core.lessons.experiments import drawing
from cifar_core.network import architecture

_WIDTH = 320
_WIDEST = 1.4
_GAP = 4
_UNITS = 100
_ORDER = np.random.default_rng(1).permutation(_UNITS)


def alt(svg: str) -> str:
    """Return the text alternative of an SVG from this module."""
    return re.findall('aria-label="([^"]*)"', svg)[0]


def units(dropout: float) -> str:
    """Return a hundred inputs of the head, with the share `dropout` empty."""
    off = round(dropout * _UNITS)
    fills = ["none" if unit in _ORDER[:off] else style.TRAINING for unit in range(_UNITS)]
    dots = [
        _dot(16 * (unit % 20) + 8, 16 * (unit // 20) + 8, 5, fill, style.NEUTRAL) for unit, fill in enumerate(fills)
    ]
    return _svg(dots, f"{off} of {_UNITS} inputs of the head set to zero")


def rows(images: Sequence[np.ndarray], label: str) -> str:
    """Return rows of small images; each row is uint8 (n, 32, 32, 3) with the same n."""
    side = _WIDTH / len(images[0])
    placed = [_image(image, side * column, side * row, side - 3) for row, some in enumerate(images)
              for column, image in enumerate(some)]  # fmt: skip
    return _svg(placed, label, side * len(images))


def _network(trained: Sequence[int], label: str) -> str:
    """Return the 17 blocks and the head, with heights by map width; `trained` ones are colored."""
    bars = []
    for place, side in enumerate((48, 24, 24, 12, 12, 12, *[6] * 7, *[3] * 4, 12)):
        color = (style.TRAINING if place == 17 else style.FINE_TUNING) if place in trained else style.GROUND
        bars.append(_rect(17.5 * place, 40 - 1.4 * side**0.8, 13, 2.8 * side**0.8, color))
    return _svg(bars, label)


def blocks(
    shapes: Sequence[tuple[int, int]], trained: Sequence[int], chosen: int | None = None, label: str = ""
) -> str:
    """Return the network's blocks, each (channels, map side): width by channels, height by map side.

    `trained` blocks have the color of fine-tuning, the `chosen` block has a frame; `label` starts the text
    alternative.
    """
    widest = sum(count**0.5 for count, _ in architecture.block_shapes(_WIDEST, 32))
    scale = (_WIDTH - _GAP * len(shapes)) / widest
    widths = [scale * count**0.5 for count, _ in shapes]
    bars, left = [], (_WIDTH - sum(widths) - _GAP * (len(shapes) - 1)) / 2
    for place, (width, (_, side)) in enumerate(zip(widths, shapes, strict=True)):
        color = style.FINE_TUNING if place in trained else style.NEUTRAL
        bars.append(_rect(left, 40 - 3.5 * side**0.5, width, 7 * side**0.5, color, 3 if place == chosen else 0))
        left += width + _GAP
    key = "width by channels, height by the map's side; gray: frozen, purple: fine-tuned"
    return _svg(bars, f"The 17 blocks{label}: {key}")


def _pale() -> str:
    image = drawing()
    return rows([np.stack([image, 128 + image // 2, image, 128 + image // 2])], "A drawing, and the same drawing pale")


def _augmented() -> str:
    some = augmentation.preview(drawing(), 1)[[0, 2, 4, 8]]
    return rows([some], "A drawing at augmentation strength 0, 0.5, 1 and 3")


def _cells() -> str:
    """Return the drawing twice, with the cells of the last map at 32 px (1×1) and at 96 px (3×3)."""
    parts = []
    for left, cells in ((70, 1), (180, 3)):
        step = 72 / cells
        parts.append(_image(drawing(), left, 4, 72))
        for cell in range(cells * cells):
            x, y = left + step * (cell % cells), 4 + step * (cell // cells)
            parts.append(_rect(x, y, step, step, frame=2.5))
    return _svg(parts, "A drawing on a map of 1×1 positions, and on a map of 3×3 positions")


def _fields() -> str:
    """Return the drawing four times with growing receptive fields; the last covers all of it."""
    parts = []
    for number, side in enumerate((6, 18, 43, 72)):
        frame = _rect(80 * number + 40 - side / 2, 40 - side / 2, side, side, frame=2.5)
        parts += [_image(drawing(), 80 * number + 4, 4, 72), frame]
    return _svg(parts, "A drawing with a frame that grows until it holds the whole")


def _steps() -> str:
    """Return three descents on a parabola: many small steps, a few good ones, and diverging ones."""
    parts = []
    for left, factor in ((10, 0.95), (120, 0.5), (230, -1.12)):
        xs = [-0.95 * factor**step if factor > 0 else -0.55 * factor**step for step in range(6)]
        curve, path = ([(left + 40 + 40 * x, 72 - 64 * x * x) for x in line] for line in (np.linspace(-1, 1, 25), xs))
        parts += [_line(curve, style.NEUTRAL), _line(path, style.MARK), *(_dot(*at, 3.5, style.MARK) for at in path)]
    return _svg(parts, "Steps down a curve: small ones, fitting ones, and steps that grow")


def _splits() -> str:
    """Return the same twenty images four times, each with a different fifth held out."""
    rng = np.random.default_rng(2)
    dots = []
    for row in range(4):
        validation = set(rng.choice(20, 4, replace=False).tolist())
        colors = [style.VALIDATION if column in validation else style.TRAINING for column in range(20)]
        dots += [_dot(16 * column + 8, 20 * row + 10, 6, color) for column, color in enumerate(colors)]
    return _svg(dots, "Twenty images in four random splits into training and validation")


def _soft() -> str:
    """Return ten bars twice: a label, all in one class, and a teacher's probabilities, in several."""
    label, teacher = [0] * 3 + [1] + [0] * 6, [0.03, 0.02, 0.06, 0.7, 0.06, 0.35, 0.08, 0.05, 0.02, 0.02]
    bars = [
        _rect(left + 13 * place, 76 - 70 * share, 9, 2 + 70 * share, color)
        for left, shares, color in ((10, label, style.TRAINING), (180, teacher, style.FINE_TUNING))
        for place, share in enumerate(shares)
    ]
    return _svg(bars, "Ten bars twice: a label in one class, and a teacher's prediction in several")


_LESSONS: Mapping[str, Callable[[], str]] = {
    "inside": _fields,
    "scaling": _pale,
    "freezing": lambda: _network(range(18), "A network in which all blocks train"),
    "augmentation": _augmented,
    "width": lambda: blocks(architecture.block_shapes(0.5, 96), range(13, 17)),
    "resolution": _cells,
    "dropout": lambda: units(0.3),
    "phases": lambda: _network(range(13, 18), "A network in which the head and the top four blocks train"),
    "layers": lambda: _network((5,), "A network in which one block is examined"),
    "rate": _steps,
    "noise": _splits,
    "teacher": _soft,
}


@functools.cache
def lesson(name: str) -> str:
    """Return the picture of a lesson; it does not reveal the result."""
    return _LESSONS[name]()


def _image(image: np.ndarray, x: float, y: float, side: float) -> str:
    return (
        f'<image href="{png(image)}" x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" '
        'style="image-rendering:pixelated"/>'
    )


def _rect(x: float, y: float, width: float, height: float, fill: str = "none", frame: float = 0) -> str:
    """Return a rectangle with a frame `frame` pixels wide."""
    stroke = f'stroke="{style.MARK}" stroke-width="{frame}"' if frame else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="1.5" fill="{fill}" {stroke}/>'


def _dot(x: float, y: float, radius: float, fill: str, stroke: str = "none") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{stroke}"/>'


def _line(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _svg(parts: Sequence[str], label: str, height: float = 80) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )
