"""The style of every figure: colors with a fixed meaning, the template, titles and axes.

Every color has a contrast of at least 3:1 to both themes' backgrounds (WCAG 2.2 AA, graphical objects). Training and
validation, and head and fine-tuning, also differ under deuteranopia and protanopia.
"""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

TRAINING, VALIDATION = "#2b7bba", "#d97706"
HEAD, FINE_TUNING = "#808b9e", "#8e5fc0"
RIGHT, WRONG = "#1b9e77", "#c2410c"
NEUTRAL = HEAD
PARTS = {
    "features": "#0a848d",
    "start": "#a7845f",
    "head": HEAD,
    "fine_tune": FINE_TUNING,
    "evaluate": "#b44479",
}
"""The parts of a run."""
CLASS_COLORS = (
    "#2398e8",
    "#e56b81",
    "#719b1c",
    "#b379dc",
    "#a7845f",
    "#966013",
    "#237e1d",
    "#b2437a",
    "#0b8180",
    "#6a66a0",
)
"""In the order of CLASSES; lines of classes also have labels, as ten colors are too many to distinguish."""
SERIES = ("#2796e8", "#e76c63", "#2f7d1b", "#b579dd", "#99600a", "#4c5fd5", "#809d16", "#b44479", "#0a848d", "#74648c")
"""Runs that are compared, in their order."""
CONDITIONS = (RIGHT, WRONG, SERIES[0], SERIES[3])
"""The conditions of a lesson, the recommended one first."""
DASHES = ("solid", "dash", "dot", "dashdot")
SCALE = "Viridis"
"""The color scale of continuous values."""
CELLS = {True: tuple(bytes.fromhex(RIGHT[1:])), False: tuple(bytes.fromhex(WRONG[1:]))}
"""RGB of a full cell of a confusion matrix: right, wrong."""
BACKGROUNDS = {"light": (252, 252, 250), "dark": (18, 23, 30)}
"""RGB of the themes' backgrounds, as in .streamlit/config.toml."""
INVISIBLE = "rgba(0,0,0,0)"
GROUND, GUIDE = "rgba(128,140,160,0.25)", "rgba(128,128,128,0.6)"

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"}
"""Below the axis title: beside the figure's title it would cover it where the figure is narrow."""

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": INVISIBLE,
        "plot_bgcolor": INVISIBLE,
        "margin": {"l": 56, "r": 16, "t": 44, "b": 44},
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
            "spikethickness": -2,  # 1 pixel without a white border
        },
        "yaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False, "title": {"font": {"size": 13}}},
    }
)

_METRICS = {
    "accuracy": ("Accuracy", "share of images"),
    "cross_entropy": ("Cross-entropy", "nats"),
    "loss": ("Loss", "loss (with penalties)"),  # L2 and smoothed labels
}


def layout(title: str, x: str, y: str, height: int) -> dict[str, Any]:
    """Return a layout with the titles of figure and axes, and the height in pixels."""
    return {
        "template": TEMPLATE,
        "title": {"text": title},
        "height": height,
        "uirevision": "keep",
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }


def figure(title: str, x: str, y: str, height: int, **more: Any) -> go.Figure:
    """Return an empty figure with this `layout`, and `more` of Plotly's."""
    return go.Figure(layout=layout(title, x, y, height)).update_layout(**more)


def show_percent(figure: go.Figure, **more: Any) -> None:
    """Let the y axis show shares, by default from 0% to 100%."""
    figure.update_yaxes(**{"tickformat": ".0%", "range": [0, 1.01]} | more)


def metric_titles(metric: str) -> tuple[str, str]:
    """Return the title and the y axis title of "accuracy", "cross_entropy" or "loss"."""
    return _METRICS[metric]


def metric_hover(metric: str) -> str:
    """Return Plotly's hover template of "accuracy" or "loss"."""
    return "%{y:.1%}" if metric == "accuracy" else "%{y:.3f}"


def escaped(name: str) -> str:
    """Return `name` for Plotly, which renders some HTML."""
    return html.escape(name, quote=False)
