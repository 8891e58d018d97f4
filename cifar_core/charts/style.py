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
PHASES = {"head": HEAD, "fine_tune": FINE_TUNING}
CLASS_COLORS = (
    "#3a90cc",
    "#c2410c",
    "#ad8206",
    "#d97706",
    "#8c6d46",
    "#8e5fc0",
    "#1b9e77",
    "#c46fb4",
    "#3a6fc4",
    "#6b7685",
)
"""In the order of CLASSES; lines of classes also have labels, as ten colors are too many to distinguish."""
SERIES = ("#2b7bba", "#d97706", "#1b9e77", "#8e5fc0", "#c2410c", "#2e9487", "#ad8206", "#d6618f", "#6b7280", "#4c5fd5")
"""Runs that are compared, in their order."""
CONDITIONS = (RIGHT, WRONG, FINE_TUNING, TRAINING)
"""The conditions of a lesson, the recommended one first."""
DASHES = ("solid", "dash", "dot", "dashdot")
SCALE = "Viridis"
"""The color scale of continuous values."""
CELLS = {True: (31, 106, 165), False: (180, 83, 9)}
"""RGB of a full cell of a confusion matrix: right, wrong."""
EMPTY_CELL = (247, 248, 250)
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
        "hovermode": "x unified",
        "colorway": list(SERIES),
        "xaxis": {
            "gridcolor": "rgba(128,128,128,0.15)",
            "zeroline": False,
            "title": {"font": {"size": 13}},
            "automargin": True,
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
