"""The small pictures: sound SVG with a text alternative, which follows the setting."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cifar_core.charts import pictures
from cifar_core.lessons.catalogue import LESSONS


def marks(svg: str, name: str) -> list[dict[str, str]]:
    """The attributes of the elements called `name` of a picture."""
    return [found.attrib for found in ET.fromstring(svg).iter() if found.tag.endswith(name)]


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_a_picture_with_a_text_alternative(name: str) -> None:
    svg = pictures.LESSONS[name]()
    (root,) = marks(svg, "svg")
    assert root["role"] == "img" and root["aria-label"] == pictures.alt(svg)


def test_bars_grow_with_the_width_up_to_the_widest_network() -> None:
    def heights(alpha: float) -> list[float]:
        return [float(bar["height"]) for bar in marks(pictures.channels(alpha), "rect")]

    half, whole = heights(0.5), heights(1.4)
    assert half[::2] == whole[::2] == whole[1::2]
    assert all(one < other for one, other in zip(half[1::2], whole[1::2], strict=True))


def test_the_share_of_empty_dots_is_the_dropout() -> None:
    dots = marks(pictures.units(0.3), "circle")
    assert sum(dot["fill"] == "none" for dot in dots) == 30 and len(dots) == 100


def test_rows_hold_every_image() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert len(marks(pictures.rows([images, images], "two rows"), "image")) == 8
