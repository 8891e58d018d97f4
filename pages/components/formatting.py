"""Text, numbers, times and small images as pages show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from cifar_core import glossary
from cifar_core.untrusted import shown_name

FRONTEND = Path(__file__).parent / "frontend"
"""The JavaScript of the components."""
_MARKDOWN = str.maketrans({character: "\\" + character for character in "\\`*_{}[]<>()#+-.!|~$&"} | {":": "\\:\u2060"})


def plain(text: object) -> str:
    """Return `text` with every markdown sign escaped, for places that render markdown.

    An icon (`:material/x:`) or emoji is looked for behind the escapes, so an invisible joiner follows each colon.
    """
    return str(text).translate(_MARKDOWN)


def file_name(name: str) -> str:
    """Return a file's name as pages show it: at most 60 characters, as text."""
    return plain(shown_name(name))


def images(label: object) -> str:
    """Return the label of a data set as text; files call synthetic images generated."""
    return plain(label).replace("generated", "synthetic")


def _terms(words: str) -> str | None:
    return glossary.explain(words.replace("\\", ""))


def text(words: str) -> None:
    """Draw Markdown with a help that explains the terms in it."""
    st.markdown(words, help=_terms(words))


def caption(words: str) -> None:
    """Draw small Markdown with a help that explains the terms in it."""
    st.caption(words, help=_terms(words))


def csv_button(label: str, data: str | bytes | Callable[[], str], file_name: str, key: str) -> None:
    """Offer `data` as a CSV file; a function is called when the button is pressed."""
    content = (lambda: data().encode()) if callable(data) else data
    look: dict[str, Any] = {"icon": ":material/download:", "type": "tertiary", "on_click": "ignore"}
    st.download_button(label, content, file_name, "text/csv", key=key, **look)


SHARE_COLUMN = st.column_config.NumberColumn(format="%.1f%%")
"""A table column of values in percent."""


def percent(value: float | None) -> float | None:
    """Return a share, 0 to 1, in percent, for a column of SHARE_COLUMN."""
    return None if value is None else 100 * value


def figure_config(name: str) -> dict[str, Any]:
    """Return Plotly's configuration of a figure that its camera saves as `name`."""
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
    """Return a number as text: "876,602", from a million on "17.9 million"."""
    return (
        f"{value / 1e9:.2f} billion"
        if value >= 1e9
        else f"{value / 1e6:.1f} million"
        if value >= 1e6
        else f"{value:,.0f}"
    )


def enlarged(images: np.ndarray, factor: int = 3, gap: int = 1) -> Image.Image:
    """Return uint8 (n, 32, 32, 3) side by side as one picture, every pixel `factor` wide."""
    padded = np.pad(images, ((0, 0), (0, 0), (gap, gap), (0, 0)), constant_values=255)
    row = np.concatenate(list(padded), axis=1)
    return Image.fromarray(row).resize((row.shape[1] * factor, row.shape[0] * factor), Image.Resampling.NEAREST)
