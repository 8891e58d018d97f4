"""Named series (track.py) -> Plotly figures. One look for all of them.

Training is always blue and validation orange, the head phase grey and fine-tuning purple; they differ in
lightness too, so that colour-blind readers tell them apart (checked against deuteranopia and protanopia).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core.runs.curves import Curves

TRAINING, VALIDATION = "#2b7bba", "#e8871e"
PHASE_COLOURS = {"head": "#8a94a6", "fine_tune": "#8e5fc0"}
CORRECT, WRONG = "#1b9e77", "#c2410c"

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 44, "b": 44},
        "font": {"size": 13},
        "title": {"x": 0, "xanchor": "left", "font": {"size": 15, "weight": 600}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        "hovermode": "x unified",
        "colorway": [TRAINING, VALIDATION, PHASE_COLOURS["fine_tune"], CORRECT, PHASE_COLOURS["head"]],
        "xaxis": {"gridcolor": "rgba(128,128,128,0.15)", "zeroline": False, "title": {"font": {"size": 13}}},
        "yaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False, "title": {"font": {"size": 13}}},
    }
)


def metric_figure(
    run: Curves, metric: str, ghost: Curves | None = None, ghost_name: str = "", height: int = 320
) -> go.Figure:
    """Return the figure of "accuracy" or "loss": training, validation, the phases and a pale earlier run."""
    percent = metric == "accuracy"
    traces: list[dict[str, Any]] = []
    if ghost is not None:
        curve = ghost.curves[f"validation_{metric}"]
        line = {"color": VALIDATION, "width": 2, "dash": "dot"}
        traces.append({"x": curve.x, "y": curve.y, "name": ghost_name, "mode": "lines", "line": line, "opacity": 0.45})
    for name, colour, label in (
        (metric, TRAINING, "training"),
        (f"validation_{metric}", VALIDATION, "validation"),
    ):
        curve = run.curves[name]
        is_validation = colour == VALIDATION
        traces.append(
            {
                "x": curve.x,
                "y": curve.y,
                "name": label,
                "mode": "lines+markers" if is_validation else "lines",
                "line": {"color": colour, "width": 2.5 if is_validation else 1.5},
                "marker": {"size": 7},
                "hovertemplate": "%{y:.1%}" if percent else "%{y:.3f}",
            }
        )
    title, unit = ("Accuracy", "share of images") if percent else ("Loss", "cross-entropy, nats")
    yaxis = {"range": [0, 1.01], "tickformat": ".0%"} if percent else {"rangemode": "tozero"}
    return _live_figure(run, traces, (title, unit, height), yaxis, "top of the base unfrozen")


def metric_words(run: Curves, name: str) -> str:
    """Return what the figure of "accuracy", "loss", "learning_rate" or "images_per_second" ends at, as a sentence."""
    lines = {"training": run.curves[name]}
    if name in ("accuracy", "loss"):
        lines["validation"] = run.curves[f"validation_{name}"]
    look = ".1%" if name == "accuracy" else ".4g"
    ends = [f"{label} {line.y[-1]:{look}} at epoch {line.x[-1]:.3g}" for label, line in lines.items() if len(line.y)]
    return f"{name.replace('_', ' ').capitalize()} over the epochs: {', '.join(ends) or 'no values yet'}."


def small_figure(run: Curves, name: str, height: int = 220) -> go.Figure:
    """Return the figure of "learning_rate" or "images_per_second"."""
    curve = run.curves[name]
    line = {"color": TRAINING, "width": 1.5, "shape": "hv"}
    words, yaxis = ("Throughput", "images per second", height), dict[str, Any](rangemode="tozero")
    if name == "learning_rate":
        words = ("Learning rate", "step size", height)
        top = np.log10(curve.y.max()) if len(curve.y) else -2.0
        yaxis = {"type": "log", "dtick": 1, "exponentformat": "power", "range": [top - 3, top + 0.2]}
    return _live_figure(run, [{"x": curve.x, "y": curve.y, "mode": "lines", "line": line}], words, yaxis, "")


def probability_figure(probabilities: np.ndarray, classes: Sequence[str], height: int = 330) -> go.Figure:
    """Return sorted bars of one picture's ten probabilities, float (10,)."""
    order = np.argsort(-probabilities, kind="stable")[::-1]  # of equals the first is on top, as argmax has it
    colours = [VALIDATION if i == order[-1] else PHASE_COLOURS["head"] for i in order]
    figure = go.Figure(
        go.Bar(
            x=probabilities[order],
            y=[classes[i] for i in order],
            orientation="h",
            marker={"color": colours},
            text=[f"{probabilities[i]:.1%}" for i in order],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
        )
    )
    style(figure, "Probabilities", "probability", "", height)
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_layout(hovermode="closest", margin={"l": 86, "r": 24})
    return figure


def _live_figure(
    run: Curves, traces: list[dict[str, Any]], words: tuple[str, str, int], yaxis: dict[str, Any], label: str
) -> go.Figure:
    """Return lines over the epochs of `run`; `words` are title, unit and height, `label` stands at the boundary.

    Put together at once: Plotly checks a figure at every change, and these are drawn twice a second.
    """
    title, unit, height = words
    layout = _layout(title, "epoch", unit, height) | {"showlegend": bool(label)} | _phases(run, label)
    layout["xaxis"] |= {"range": [0, max(run.planned, 1) * 1.02]}  # fixed, so that nothing jumps
    layout["yaxis"] |= yaxis
    return go.Figure({"data": [{"type": "scatter"} | trace for trace in traces], "layout": layout})


def _phases(run: Curves, label: str) -> dict[str, Any]:
    """Return the boundary at which the top of the base is unfrozen, as part of a layout."""
    if run.boundary is None:
        return {}
    colour, high = PHASE_COLOURS["fine_tune"], {"xref": "x", "yref": "y domain", "y0": 0, "y1": 1}
    end = max(run.planned, run.boundary + 1) * 1.02
    shade = {"type": "rect", "x0": run.boundary, "x1": end, "fillcolor": colour, "opacity": 0.09, "line": {"width": 0}}
    line = {"type": "line", "x0": run.boundary, "x1": run.boundary}
    words = {"text": label, "font": {"size": 11}, "showarrow": False, "x": run.boundary, "xanchor": "left"}
    return {
        "shapes": [shade | high, line | high | {"line": {"color": colour, "dash": "dash", "width": 1.5}}],
        "annotations": [words | {"xref": "x", "yref": "y domain", "y": 0.03, "yanchor": "bottom"}],
    }


def style(figure: go.Figure, title: str, x: str, y: str, height: int) -> None:
    """Give `figure` the look of all: title, the two axes' names, height in pixels."""
    figure.update_layout(_layout(title, x, y, height))


def _layout(title: str, x: str, y: str, height: int) -> dict[str, Any]:
    return {
        "template": TEMPLATE,
        "title": {"text": title},
        "height": height,
        "uirevision": "keep",
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }
