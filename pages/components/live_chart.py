"""A Plotly figure that is updated in place: `st.plotly_chart` replaces a changed figure, which flickers and loses zoom.

All charts of the app are drawn here, so they look the same. A message holds the whole figure, which has few points (at
most curves.MOST_POINTS per line), not only the new ones. So any message can be dropped, and all viewers of a run get
the same bytes, which are built once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from streamlit.components import v1

# Components v2 serve files only for installed packages; components v1 serve a folder of any app.
_OWN = v1.declare_component("frontend", Path(__file__).parent / "frontend").name
_PLOTLY = v1.declare_component("plotly", Path(plotly.__file__).parent / "package_data").name
_MODULE = f"component/{_OWN}/live_chart.js?plotly=../{_PLOTLY}/plotly.min.js%3F{plotly.__version__}"
NO_TOOLBAR = {"displayModeBar": False}
"""Plotly configuration without a toolbar."""
_mount = st.components.v2.component(
    "live_chart",
    js=f"""export default async (mounted) => {{
        const {{ default: draw }} = await import(new URL("{_MODULE}", document.baseURI));
        return draw(mounted);
    }}""",
    isolate_styles=False,
)


@dataclass(frozen=True)
class Chart:
    """A figure, serialized for the browser."""

    message: bytes
    height: int


def chart(
    figure: go.Figure,
    alt: str = "",
    revision: str = "",
    config: Mapping[str, Any] | None = None,
    selects: bool = False,
    sheet: Mapping[str, Any] | None = None,
) -> Chart:
    """Return `figure`, whose layout must have a height, as a Chart.

    `alt` is its text alternative, by default made of the titles of figure and axes. Zoom and hidden traces persist
    while `revision` is the same. `config` is Plotly's. If `selects`, points are selected by a click or a box, see
    `on_select` of `show`. `sheet` shows images above the points once 60 or fewer are in view: "key" is the key of a
    container with one image that holds all of them in rows, "numbers" the `customdata` of each. Charts with the same
    sheet share what is hovered.
    """
    figure.layout.uirevision = revision or "keep"
    about = json.dumps(
        {"alt": alt or _words(figure.layout), "config": config or {}, "selects": selects, "sheet": sheet}
    )
    return Chart(f'{{"about":{about},"figure":{figure.to_json()}}}'.encode(), figure.layout.height)


def show(
    plot: Chart,
    key: str,
    on_click: Callable[[int], None] | None = None,
    on_select: Callable[[list[int]], None] | None = None,
) -> None:
    """Show a chart; a click on a point calls `on_click` with its `customdata`, an int, as a callback.

    `on_select` is called with those of all selected points; the list is empty after a double click.
    """

    def take() -> None:
        number = st.session_state[key].clicked
        if on_click and isinstance(number, int):
            on_click(number)

    def take_all() -> None:
        numbers = st.session_state[key].selected
        if on_select and isinstance(numbers, list) and all(isinstance(number, int) for number in numbers):
            on_select(numbers)

    options: dict[str, Any] = {"on_clicked_change": take, "on_selected_change": take_all}
    _mount(key=key, data=plot.message, height=plot.height, **options)


def draw(
    figure: go.Figure,
    key: str,
    alt: str = "",
    config: Mapping[str, Any] | None = None,
    on_click: Callable[[int], None] | None = None,
) -> None:
    """Show a figure that changes only when the page reruns; see `chart` and `show`."""
    show(chart(figure, alt, config=config), key, on_click)


def _words(layout: go.Layout) -> str:
    title, x, y = (part.title.text for part in (layout, layout.xaxis, layout.yaxis))
    return f"{title or 'Chart'}{f': {y}' if y else ''}{f' by {x}' if x else ''}."
