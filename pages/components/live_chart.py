"""A Plotly figure that is updated in place: `st.plotly_chart` replaces a changed figure, which blinks and loses zoom.

A message holds the whole figure, which has few points (track.MOST_POINTS a line), rather than what is new: any message
may then be left out, and all people who watch a run are sent the same bytes, which are made once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from streamlit.components import v1

# The second generation of components has no folder of files for an app that is not an installed package; the first has.
_OWN = v1.declare_component("frontend", Path(__file__).parent / "frontend").name
_PLOTLY = v1.declare_component("plotly", Path(plotly.__file__).parent / "package_data").name
_MODULE = f"component/{_OWN}/live_chart.js?plotly=../{_PLOTLY}/plotly.min.js%3F{plotly.__version__}"
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
    """A figure as it is sent."""

    message: bytes
    height: int


def chart(figure: go.Figure, alt: str, revision: str = "", *, tools: bool = True) -> Chart:
    """Return `figure`, whose layout has a height, ready to be shown; `alt` is its text alternative.

    Zoom and hidden traces last while `revision` stays; `tools` is whether it has Plotly's toolbar.
    """
    figure.layout.uirevision = revision or "keep"
    about = json.dumps({"alt": alt, "tools": tools})
    return Chart(f'{{"about":{about},"figure":{figure.to_json()}}}'.encode(), figure.layout.height)


def show(drawn: Chart, key: str) -> Any:
    """Show a chart; return the `customdata` of the point whose click caused this run of the page, None without."""
    return _mount(key=key, data=drawn.message, height=drawn.height, on_clicked_change=lambda: None).clicked
