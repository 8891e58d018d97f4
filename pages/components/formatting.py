"""Formatting of text, numbers, times and small images; the files of the app's own components."""

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from cifar_core import glossary
from cifar_core.charts.style import CLASS_COLORS
from cifar_core.data import cifar10

FRONTEND = Path(__file__).parent / "frontend"
"""JavaScript and CSS of the pages."""
_MARKDOWN = str.maketrans({character: "\\" + character for character in "\\`*_{}[]<>()#+-.!|~$&"} | {":": "\\:\u2060"})


def component(name: str, *parts: str, before: str = "", **options: Any) -> Any:
    """Return a component made of the CSS and JavaScript files called `name`, which follow those called `parts`.

    `before` is JavaScript in front of them; `options` are those of Streamlit's component.
    """
    css, js = (
        "".join(path.read_text("utf-8") for part in (*parts, name) if (path := FRONTEND / f"{part}.{kind}").exists())
        for kind in ("css", "js")
    )
    return st.components.v2.component(name, css=css or None, js=before + js, **options)


def plain(text: object) -> str:
    """Escape all Markdown in `text`.

    Streamlit also matches icons (`:material/x:`) and emoji in escaped text, so a word joiner (U+2060) follows each
    colon.
    """
    return str(text).translate(_MARKDOWN)


def images(label: object) -> str:
    """Return the label of a data set as escaped text."""
    return plain(cifar10.shown_label(label))


def _terms(words: str) -> str | None:
    return glossary.explain(words.replace("\\", ""))


def text(words: str) -> None:
    """Draw Markdown with a tooltip that explains its terms."""
    st.markdown(words, help=_terms(words))


def caption(words: str) -> None:
    """Draw a Markdown caption with a tooltip that explains its terms."""
    st.caption(words, help=_terms(words))


def alert(show: Callable[..., Any], words: str, icon: str) -> None:
    """Draw an alert, `show` is `st.info` or another one; a tooltip beside it explains its terms."""
    with st.container(horizontal=True, vertical_alignment="center"):
        show(words, icon=icon)
        if terms := _terms(words):
            st.markdown("", help=terms, width="content")


def csv_button(label: str, data: str | bytes | Callable[[], str], file_name: str, key: str) -> None:
    """Draw a download button for a CSV file; if `data` is a function, a click calls it."""
    content = (lambda: data().encode()) if callable(data) else data
    look: dict[str, Any] = {"icon": ":material/download:", "type": "tertiary", "on_click": "ignore"}
    st.download_button(label, content, file_name, "text/csv", key=key, **look)


SHARE_COLUMN = st.column_config.NumberColumn(format="%.1f%%")
"""A table column of values in percent."""


def percent(value: float | None) -> float | None:
    """Return a share from 0 to 1 in percent, for a column of SHARE_COLUMN."""
    return None if value is None else 100 * value


def figure_config(name: str) -> dict[str, Any]:
    """Return a Plotly configuration; the toolbar saves the figure as an image called `name`."""
    return {"toImageButtonOptions": {"filename": name, "scale": 2}}


def share(value: float) -> str:
    """Return a probability as text: "87%"; above 0.99 "over 99%", never "100%"."""
    return "over 99%" if value > 0.99 else f"{value:.0%}"


def seconds(value: float) -> str:
    """Return seconds as text: "40 s", "2 min 10 s", "1 h 05 min"."""
    whole = round(value)
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(value: float) -> str:
    """Return a number as text: "876,602", "17.9 million", "1.25 billion"."""
    if value >= 1e9:
        return f"{value / 1e9:.2f} billion"
    return f"{value / 1e6:.1f} million" if value >= 1e6 else f"{value:,.0f}"


def bars(names: Sequence[str], probabilities: np.ndarray, order: Iterable[int]) -> str:
    """Return a bar for each class in `order` as HTML."""
    rows = (
        f"<span>{html.escape(names[i])}</span><b><i style='width:{probabilities[i]:.1%};"
        f"background:{CLASS_COLORS[i % len(CLASS_COLORS)]}'></i></b><span>{probabilities[i]:.1%}</span>"
        for i in order
    )
    return f"<div class='bars'>{''.join(rows)}</div>"


def enlarged(image: np.ndarray, factor: int) -> Image.Image:
    """Return an image, uint8 (32, 32, 3), with each pixel enlarged by `factor`."""
    return Image.fromarray(image).resize((factor * image.shape[1], factor * image.shape[0]), Image.Resampling.NEAREST)
