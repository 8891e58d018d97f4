"""The drawing board: shapes land where the pose puts them."""

import numpy as np
import pytest
from PIL import Image

from cifar_core.data.canvas import Canvas, palette, tint

RED = (255, 0, 0)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(Image.new("RGB", (32, 32)), np.random.default_rng(5))


def painted(canvas: Canvas) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of what is red, where -1 to 1 spans the picture."""
    rows, columns = np.nonzero(np.asarray(canvas.image)[..., 0] == 255)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return left / 64 - 1, top / 64 - 1, right / 64 - 1, bottom / 64 - 1


def test_a_box_lies_where_it_is_asked_for(canvas: Canvas) -> None:
    canvas.box(RED, -0.5, -0.25, 0.75, 0.5)
    assert painted(canvas) == pytest.approx((-0.5, -0.25, 0.75, 0.5), abs=0.02)


def test_place_shifts_and_grows(canvas: Canvas) -> None:
    canvas.place(0.25, -0.5, 0.5)
    canvas.box(RED, -0.5, -0.5, 1, 0.5)
    assert painted(canvas) == pytest.approx((0, -0.75, 0.75, -0.25), abs=0.02)


def test_place_mirrors_and_stretches_before_it_turns(canvas: Canvas) -> None:
    canvas.place(0, 0, 1, angle=np.pi / 2, stretch=-0.5)  # x right -> left, halved -> up
    canvas.box(RED, 0, 0, 1, 0.25)
    assert painted(canvas) == pytest.approx((-0.25, -0.5, 0, 0), abs=0.02)


def test_an_oval_has_its_radii_and_turns(canvas: Canvas) -> None:
    canvas.oval(RED, 0.1, 0, 0.6, 0.2, angle=np.pi / 2)
    assert painted(canvas) == pytest.approx((-0.1, -0.6, 0.3, 0.6), abs=0.03)


def test_a_stroke_grows_from_its_first_width_to_its_last(canvas: Canvas) -> None:
    canvas.stroke(RED, ((-0.5, 0), (0.5, 0)), 0.1, 0.3)
    assert painted(canvas) == pytest.approx((-0.5, -0.3, 0.5, 0.3), abs=0.02)
    left_edge = np.asarray(canvas.image)[:, 34, 0] == 255
    assert left_edge.sum() / 64 == pytest.approx(0.2, abs=0.04)


def test_both_adds_the_mirror_image(canvas: Canvas) -> None:
    canvas.both(RED, ((0.2, -0.5), (0.6, 0.5)))
    pixels = np.asarray(canvas.image)[..., 0] == 255
    assert painted(canvas) == pytest.approx((-0.6, -0.5, 0.6, 0.5), abs=0.03)
    assert (pixels != pixels[:, ::-1]).mean() < 0.02


def test_opacity_lets_the_background_through(canvas: Canvas) -> None:
    canvas.box((255, 255, 255, 128), -1, -1, 1, 1)
    assert np.asarray(canvas.image)[64, 64].tolist() == pytest.approx([128] * 3, abs=2)


def test_a_picked_colour_is_near_one_of_the_choices(canvas: Canvas) -> None:
    choices = palette("646464 c80000")
    picked = np.array([canvas.pick(choices) for _ in range(200)])
    near_first = abs(picked - (100, 100, 100)).max(axis=1) <= 40
    near_second = abs(picked - (200, 0, 0)).max(axis=1) <= 65
    assert (near_first ^ near_second).all()
    assert 50 < near_first.sum() < 150


def test_tint_stays_a_colour() -> None:
    assert tint((100, 200, 0), 1.5) == (150, 255, 0)
    assert tint((100, 200, 0), 0.5) == (50, 100, 0)
