"""The colors are legible on both themes, and no other module has colors of its own."""

import re
from pathlib import Path

import pytest

from cifar_core.charts import style
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference import explain

ROOT = Path(__file__).resolve().parent.parent.parent
NAMED = {
    name: getattr(style, name) for name in ("TRAINING", "VALIDATION", "HEAD", "FINE_TUNING", "RIGHT", "WRONG", "MARK")
}
COLORS = sorted({*NAMED.values(), *style.CLASS_COLORS, *style.SERIES, *style.PARTS.values()})
BACKGROUNDS = re.findall(
    r'^backgroundColor = "(#[0-9a-f]{6})"', (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"), re.M
)


def test_the_backgrounds_are_those_of_the_themes() -> None:
    assert [f"#{bytes(color).hex()}" for color in style.BACKGROUNDS.values()] == BACKGROUNDS


def luminance(color: str) -> float:
    """Return the relative luminance as WCAG 2.2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("color", COLORS)
def test_a_color_has_contrast_on_both_themes(color: str) -> None:
    assert len(BACKGROUNDS) == 2
    for background in BACKGROUNDS:
        low, high = sorted((luminance(color), luminance(background)))
        assert (high + 0.05) / (low + 0.05) >= 3


@pytest.mark.parametrize(("ink", "color"), [*zip(style.CLASS_INKS, style.CLASS_COLORS, strict=True)])
def test_text_is_legible_on_the_color_of_its_class(ink: str, color: str) -> None:
    low, high = sorted((luminance(ink), luminance(color)))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_color_has_one_meaning() -> None:
    assert [tuple(bytes.fromhex(one[1:])) for one in (style.RIGHT, style.WRONG)] == [explain.FOR, explain.AGAINST]
    assert len(set(NAMED.values())) == len(NAMED)
    assert len(set(style.CLASS_COLORS)) == len(CLASSES)
    assert len(set(style.SERIES)) == len(style.SERIES)
    assert not set(NAMED.values()) & {*style.CLASS_COLORS, *style.SERIES}, "orange is validation, and no class or run"


def test_figures_take_their_colors_from_the_style() -> None:
    modules = [file for file in (ROOT / "cifar_core" / "charts").glob("*.py") if file.stem != "style"]
    inks = {"#000000", "#ffffff"}  # digits on a cell of any color
    found = {file.name: set(re.findall(r"#[0-9a-f]{6}", file.read_text(encoding="utf-8"))) - inks for file in modules}
    assert len(found) > 4 and not any(found.values()), found
