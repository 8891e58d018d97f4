"""Small SVG pictures of a setting's effect, for both themes.

Each function returns an SVG, 320 wide, with a text alternative as `aria-label` (see `alt`). The pictures of the lessons
are files (see `catalogue.Lesson.picture`).
"""

import re
from collections.abc import Sequence

import numpy as np

from cifar_core.charts import style
from cifar_core.charts.answers import png
from cifar_core.network import architecture

_WIDTH = 320
_WIDEST = 1.4
_GAP = 4
_UNITS = 100
_ORDER = np.random.default_rng(1).permutation(_UNITS)


def alt(svg: str) -> str:
    """Return the text alternative of a small SVG."""
    return re.findall('aria-label="([^"]*)"', svg)[0]


def units(dropout: float) -> str:
    """Return a hundred inputs of the head, with the share `dropout` empty."""
    off = round(dropout * _UNITS)
    dots = []
    for unit in range(_UNITS):
        fill = "none" if unit in _ORDER[:off] else style.TRAINING
        x, y = 16 * (unit % 20) + 8, 16 * (unit // 20) + 8
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{style.NEUTRAL}"/>')
    return _svg(dots, f"{off} of {_UNITS} inputs of the head set to zero")


def rows(images: Sequence[np.ndarray], label: str) -> str:
    """Return rows of small images; each row is uint8 (n, 32, 32, 3) with the same n."""
    side = _WIDTH / len(images[0])
    parts = []
    for row, some in enumerate(images):
        for column, image in enumerate(some):
            place = f'x="{side * column:.1f}" y="{side * row:.1f}" width="{side - 3:.1f}" height="{side - 3:.1f}"'
            parts.append(f'<image href="{png(image)}" {place} style="image-rendering:pixelated"/>')
    return _svg(parts, label, side * len(images))


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
    for number, (width, (_, side)) in enumerate(zip(widths, shapes, strict=True)):
        color = style.FINE_TUNING if number in trained else style.NEUTRAL
        frame = f'stroke="{style.MARK}" stroke-width="3"' if number == chosen else ""
        place = f'x="{left:.1f}" y="{40 - 3.5 * side**0.5:.1f}" width="{width:.1f}" height="{7 * side**0.5:.1f}"'
        bars.append(f'<rect {place} rx="1.5" fill="{color}" {frame}/>')
        left += width + _GAP
    key = "width by channels, height by the map's side; gray: frozen, purple: fine-tuned"
    return _svg(bars, f"The 17 blocks{label}: {key}")


def _svg(parts: Sequence[str], label: str, height: float = 80) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )
