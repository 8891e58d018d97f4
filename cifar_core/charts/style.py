"""Style of all figures: colors with a fixed meaning, the template, titles and axes.

All colors have a contrast of at least 3:1 to the backgrounds of both themes (WCAG 2.2 AA, graphical objects). Training
and validation, and head and fine-tuning, also differ under deuteranopia and protanopia.
"""

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

TRAINING, VALIDATION = "#2b7bba", "#d97706"
HEAD, FINE_TUNING = "#808b9e", "#8e5fc0"
RIGHT, WRONG = "#1b9e77", "#c2410c"
NEUTRAL = HEAD
MARK = "#d6249f"
"""Frames, rings and paths: what is chosen or pointed at."""
PARTS = {
    "features": "#0a848d",
    "start": "#a7845f",
    "head": HEAD,
    "fine_tune": FINE_TUNING,
    "evaluate": "#b44479",
}
"""Colors of the parts of a run."""
CLASS_COLORS = (
    "#2398e8", "#e56b81", "#719b1c", "#b379dc", "#a7845f", "#966013", "#237e1d", "#b2437a", "#0b8180", "#6a66a0"
)  # fmt: skip
"""In the order of CLASSES. Lines of classes also have labels: ten colors are too many to distinguish."""
CLASS_INKS = ("#000000",) * 5 + ("#ffffff",) * 5
"""Colors of text on CLASS_COLORS, with a contrast of at least 4.5:1."""
SERIES = ("#2796e8", "#e76c63", "#2f7d1b", "#b579dd", "#99600a", "#4c5fd5", "#809d16", "#b44479", "#0a848d", "#74648c")
"""Colors of compared runs, in order."""
CONDITIONS = (RIGHT, WRONG, SERIES[0], SERIES[3])
"""Colors of a lesson's conditions, the recommended one first."""
DASHES = ("solid", "dash", "dot", "dashdot")
SCALE = "Viridis"
"""The color scale of continuous values."""
CELLS = {True: tuple(bytes.fromhex(RIGHT[1:])), False: tuple(bytes.fromhex(WRONG[1:]))}
"""RGB of a full cell in a confusion matrix, for correct and wrong predictions."""
BACKGROUNDS = {"light": (252, 252, 250), "dark": (18, 23, 30)}
"""RGB of the theme backgrounds, as in .streamlit/config.toml."""
INVISIBLE = "rgba(0,0,0,0)"
GROUND, GUIDE = "rgba(128,140,160,0.25)", "rgba(128,128,128,0.6)"

LEGEND = {"orientation": "h", "xref": "container", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"}
"""Below the axis title and as wide as the figure: in a narrow one, it would cover the figure's title or be cut."""

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": INVISIBLE,
        "plot_bgcolor": INVISIBLE,
        "margin": {"l": 64, "r": 16, "t": 44, "b": 44},
        "font": {"size": 13},
        "title": {"x": 0, "xanchor": "left", "font": {"size": 15, "weight": 600}},
        "legend": LEGEND,
        "modebar": {"bgcolor": INVISIBLE, "color": NEUTRAL, "activecolor": TRAINING},
        "hovermode": "x unified",
        "colorway": list(SERIES),
        "xaxis": {
            "gridcolor": "rgba(128,128,128,0.15)",
            "zeroline": False,
            "title": {"font": {"size": 13}},
            "automargin": True,
            "spikecolor": NEUTRAL,
            "spikethickness": -2,  # 1 pixel, without a white border
        },
        "yaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False, "title": {"font": {"size": 13}}},
    }
)

METRICS = {
    "accuracy": ("Accuracy", "share of images", "%{y:.1%}"),
    "cross_entropy": ("Cross-entropy", "nats", "%{y:.3f}"),
    "loss": ("Loss", "loss (with penalties)", "%{y:.3f}"),  # L2 and label smoothing
}
"""Figure title, y axis title and Plotly's hover template of each metric."""


def layout(title: str, x: str, y: str, height: int) -> dict[str, Any]:
    """Return a layout with the titles of figure and axes and the height in pixels."""
    return {
        "template": TEMPLATE,
        "title": {"text": title},
        "height": height,
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }


def figure(title: str, x: str, y: str, height: int, **more: Any) -> go.Figure:
    """Return an empty figure with this `layout`; `more` is passed to `update_layout`."""
    return go.Figure(layout=layout(title, x, y, height)).update_layout(**more)


def block_figure(values: Sequence[float], title: str, unit: str, height: int, color: str, hover: str) -> go.Figure:
    """Return a bar for each block; `hover` is part of Plotly's hover template."""
    bars, more = figure(title, "block", unit, height), {"hovertemplate": f"block %{{x}}: {hover}<extra></extra>"}
    return bars.add_bar(x=list(range(1, len(values) + 1)), y=list(values), marker_color=color, **more)


def show_percent(figure: go.Figure, **more: Any) -> None:
    """Set the y axis to percent, by default from 0% to 100%."""
    figure.update_yaxes(**{"tickformat": ".0%", "range": [0, 1.01]} | more)


def escaped(name: str) -> str:
    """Return `name` escaped for Plotly, which renders some HTML."""
    return html.escape(name, quote=False)
