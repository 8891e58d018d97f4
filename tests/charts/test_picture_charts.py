"""The small pictures: sound SVG with a text alternative, which follows the setting."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cifar_core.charts import pictures
from cifar_core.lessons.catalogue import LESSONS
from cifar_core.network import architecture


def marks(svg: str, name: str) -> list[dict[str, str]]:
    """The attributes of the elements called `name` of a picture."""
    return [found.attrib for found in ET.fromstring(svg).iter() if found.tag.endswith(name)]


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_a_picture_with_a_text_alternative(name: str) -> None:
    svg = LESSONS[name].picture
    (root,) = marks(svg, "svg")
    assert root["role"] == "img" and root["aria-label"] == pictures.alt(svg)


def bars(alpha: float, size: int, trained: int) -> list[dict[str, str]]:
    shapes = architecture.block_shapes(alpha, size)
    return marks(pictures.blocks(shapes, range(17 - trained, 17)), "rect")


def test_blocks_are_wider_with_channels_and_taller_with_the_image() -> None:
    for one, wide, large in zip(bars(0.5, 96, 4), bars(1.4, 96, 4), bars(0.5, 224, 4), strict=True):
        assert float(one["width"]) == float(large["width"]) < float(wide["width"])
        assert float(one["height"]) == float(wide["height"]) < float(large["height"]) <= 80
    last = bars(1.4, 96, 4)[-1]
    assert float(last["x"]) + float(last["width"]) == pytest.approx(320, abs=5)


def test_trained_blocks_have_another_color() -> None:
    colors = [bar["fill"] for bar in bars(0.5, 96, 4)]
    assert len(set(colors[:13])) == len(set(colors[13:])) == 1 and colors[0] != colors[-1]
    assert len({bar["fill"] for bar in bars(0.5, 96, 0)}) == 1


def test_the_share_of_empty_dots_is_the_dropout() -> None:
    dots = marks(pictures.units(0.3), "circle")
    assert sum(dot["fill"] == "none" for dot in dots) == 30 and len(dots) == 100


def test_rows_hold_every_image() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert len(marks(pictures.rows([images, images], "two rows"), "image")) == 8
