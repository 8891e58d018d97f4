"""Rows -> named series -> Plotly figures. One look for all of them.

Training is always blue and validation orange, the head phase grey and fine-tuning purple; they differ in
lightness too, so that colour-blind readers tell them apart (checked against deuteranopia and protanopia).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core import metrics

TRAINING, VALIDATION = "#2b7bba", "#e8871e"
PHASE_COLOURS = {"head": "#8a94a6", "fine_tune": "#8e5fc0"}
CORRECT, WRONG = "#1b9e77", "#c2410c"
MOST_POINTS = 160  # of a line: as many as can be told apart, and few enough to calm a step's noise

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 44, "b": 44},
        "font": {"size": 13},
        "title": {"x": 0, "xanchor": "left", "font": {"size": 15}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        "hovermode": "x unified",
        "colorway": [TRAINING, VALIDATION, PHASE_COLOURS["fine_tune"], CORRECT, PHASE_COLOURS["head"]],
        "xaxis": {"gridcolor": "rgba(128,128,128,0.15)", "zeroline": False},
        "yaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False},
    }
)


@dataclass(frozen=True)
class Curve:
    """One line: x in epochs since the run's start (fractions within an epoch), y in the metric's unit."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Curves:
    """What the metrics rows of a run say, ready to be drawn.

    `curves` holds "accuracy", "loss", "validation_accuracy", "validation_loss", "learning_rate", "images_per_second"
    and "elapsed_seconds", the clock of all rows; `boundary` is where fine-tuning began, in epochs, None without;
    `planned` is how many epochs there will be at most.
    """

    curves: Mapping[str, Curve]
    boundary: int | None
    planned: int


def curves(rows: Sequence[dict[str, Any]], planned_epochs: Mapping[str, int] | None = None) -> Curves:
    """Return the curves of the metrics rows of one run, at most MOST_POINTS points each.

    `planned_epochs` (phase -> epochs) says how far the axis reaches while the run goes on.
    """
    planned_epochs = planned_epochs or {}
    kept = [row for row in metrics.sound_rows(rows) if row["kind"] in ("step", "epoch")]
    head_epochs = max((row["epoch"] for row in kept if row["phase"] == "head"), default=0)
    fine_tuned = [row["epoch"] for row in kept if row["phase"] == "fine_tune"]
    before = {"head": 0, "fine_tune": head_epochs}
    steps = [row for row in kept if row["kind"] == "step"]
    epochs = [row for row in kept if row["kind"] == "epoch"]
    step_x = np.array([before[row["phase"]] + row["epoch"] - 1 + row["step"] / row["steps"] for row in steps])
    epoch_x = np.array([before[row["phase"]] + row["epoch"] for row in epochs], float)
    found = {}
    for name in ("accuracy", "loss", "learning_rate", "images_per_second"):
        found[name] = _thinned(name, step_x, np.array([row[name] for row in steps], float))
    for name in ("validation_accuracy", "validation_loss"):
        found[name] = _thinned(name, epoch_x, np.array([row[name] for row in epochs], float))
    clocked = [row for row in kept if isinstance(row.get("elapsed_seconds"), int | float)]
    found["elapsed_seconds"] = Curve(
        "elapsed_seconds",
        np.array(
            [before[row["phase"]] + row["epoch"] - 1 + row.get("step", 1) / row.get("steps", 1) for row in clocked]
        ),
        np.array([row["elapsed_seconds"] for row in clocked], float),
    )
    planned_head = head_epochs if fine_tuned else max(head_epochs, planned_epochs.get("head", 0))
    planned = planned_head + max([*fine_tuned, planned_epochs.get("fine_tune", 0)])
    return Curves(found, head_epochs if fine_tuned and head_epochs else None, planned)


def metric_figure(
    run: Curves, metric: str, ghost: Curves | None = None, ghost_name: str = "", height: int = 320
) -> go.Figure:
    """Return the figure of "accuracy" or "loss": training, validation, the phases and a pale earlier run."""
    figure = go.Figure()
    percent = metric == "accuracy"
    if ghost is not None:
        curve = ghost.curves[f"validation_{metric}"]
        line = {"color": VALIDATION, "width": 2, "dash": "dot"}
        figure.add_scatter(x=curve.x, y=curve.y, name=ghost_name, mode="lines", line=line, opacity=0.45)
    for name, colour, label in (
        (metric, TRAINING, "training"),
        (f"validation_{metric}", VALIDATION, "validation"),
    ):
        curve = run.curves[name]
        is_validation = colour == VALIDATION
        figure.add_scatter(
            x=curve.x,
            y=curve.y,
            name=label,
            mode="lines+markers" if is_validation else "lines",
            line={"color": colour, "width": 2.5 if is_validation else 1.5},
            marker={"size": 7},
            hovertemplate="%{y:.1%}" if percent else "%{y:.3f}",
        )
    title, unit = ("Accuracy", "share of images") if percent else ("Loss", "cross-entropy, nats")
    style(figure, title, "epoch", unit, height)
    figure.update_layout(showlegend=True)
    _mark_phases(figure, run, label="top of the base unfrozen")
    figure.update_yaxes(range=[0, 1.01], tickformat=".0%") if percent else figure.update_yaxes(rangemode="tozero")
    return figure


def small_figure(run: Curves, name: str, height: int = 220) -> go.Figure:
    """Return the figure of "learning_rate" or "images_per_second"."""
    curve = run.curves[name]
    figure = go.Figure(
        go.Scatter(x=curve.x, y=curve.y, mode="lines", line={"color": TRAINING, "width": 1.5, "shape": "hv"})
    )
    if name == "learning_rate":
        style(figure, "Learning rate", "epoch", "step size", height)
        figure.update_yaxes(type="log", dtick=1, exponentformat="power")
        top = np.log10(curve.y.max()) if len(curve.y) else -2.0
        figure.update_yaxes(range=[top - 3, top + 0.2])
    else:
        style(figure, "Throughput", "epoch", "images per second", height)
        figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False)
    _mark_phases(figure, run, label="")
    return figure


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


def _mark_phases(figure: go.Figure, run: Curves, label: str) -> None:
    """Draw the boundary at which the top of the base is unfrozen, and fix the axis so that nothing jumps."""
    figure.update_xaxes(range=[0, max(run.planned, 1) * 1.02])
    if run.boundary is None:
        return
    end = max(run.planned, run.boundary + 1) * 1.02
    figure.add_vrect(x0=run.boundary, x1=end, fillcolor=PHASE_COLOURS["fine_tune"], opacity=0.09, line_width=0)
    figure.add_vline(
        x=run.boundary,
        line={"color": PHASE_COLOURS["fine_tune"], "dash": "dash", "width": 1.5},
        annotation={"text": label, "font": {"size": 11}, "y": 0.03, "yanchor": "bottom"},
        annotation_position="right",
    )


def style(figure: go.Figure, title: str, x: str, y: str, height: int) -> None:
    """Give `figure` the look of all: title, the two axes' names, height in pixels."""
    figure.update_layout(template=TEMPLATE, title={"text": title}, height=height, uirevision="keep")
    figure.update_xaxes(title={"text": x})
    figure.update_yaxes(title={"text": y})


def _thinned(name: str, x: np.ndarray, y: np.ndarray) -> Curve:
    """Return at most MOST_POINTS points: the first, then means of equal stretches at their ends."""
    if len(x) > MOST_POINTS:
        stretches = [np.array([0]), *np.array_split(np.arange(1, len(x)), MOST_POINTS - 1)]
        x, y = np.array([x[s[-1]] for s in stretches]), np.array([y[s].mean() for s in stretches])
    return Curve(name, x, y)
