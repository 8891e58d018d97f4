"""Curves of several runs over each other, aligned by epoch or by time."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from cifar_core import charts
from cifar_core.runs.curves import Curve, Curves

AXES: Mapping[str, str] = {"epoch": "epoch", "time": "seconds since the start"}
COLOURS = ("#2b7bba", "#e8871e", "#1b9e77", "#8e5fc0", "#c2410c", "#56b4a9", "#b8860b", "#d6618f", "#6b7280", "#4c5fd5")
_UNCHOSEN = "#8a94a6"
DASHES = ("solid", "dash", "dot")
MOST_RUNS = len(COLOURS) * len(DASHES)
"""More lines than these cannot be told apart."""


@dataclass(frozen=True)
class Lines:
    """One run's lines of a metric; x in epochs or seconds. `measured` are the validation's values as they are."""

    training: Curve
    validation: Curve
    measured: Curve


def lines(run: Curves, metric: str, axis: str, smoothing: float) -> Lines:
    """Return the lines of "accuracy" or "loss" along `axis` of AXES; `smoothing` is 0 (none) to below 1."""
    training, validation = (_along(run, run.curves[name], axis) for name in (metric, f"validation_{metric}"))
    return Lines(
        Curve(training.name, training.x, smoothed(training.y, smoothing)),
        Curve(validation.name, validation.x, smoothed(validation.y, smoothing)),
        validation,
    )


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average of float (n,), without the pull of its start towards 0 (as in Adam)."""
    average, found = 0.0, np.empty(len(values))
    for number, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        found[number] = average / (1 - weight ** (number + 1))
    return found


def figure(
    chosen: Sequence[tuple[str, Curves]], metric: str, axis: str, smoothing: float, height: int = 360
) -> go.Figure:
    """Return one figure of a metric for runs as (name, curves); a name is text, whatever it holds."""
    drawn, validated = go.Figure(), []
    for number, (name, run) in enumerate(chosen[:MOST_RUNS]):
        look = {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS)]}
        found, shared = lines(run, metric, axis, smoothing), {"name": as_text(name), "legendgroup": str(number)}
        validated.append(found.measured.y)
        value = "%{y:.1%}" if metric == "accuracy" else "%{y:.3f}"
        drawn.add_scatter(
            x=found.training.x, y=found.training.y, mode="lines", line={**look, "width": 1}, opacity=0.4,
            showlegend=False, hoverinfo="skip", **shared,
        )  # fmt: skip
        drawn.add_scatter(
            x=found.validation.x, y=found.validation.y, mode="lines", line={**look, "width": 2.5},
            hoverinfo="skip", **shared,
        )  # fmt: skip
        drawn.add_scatter(
            x=found.measured.x, y=found.measured.y, mode="markers", marker={"color": look["color"], "size": 7},
            showlegend=False, hovertemplate=value, **shared,
        )  # fmt: skip
    title, unit = ("Accuracy", "share of images") if metric == "accuracy" else ("Loss", "cross-entropy, nats")
    charts.style(drawn, title, AXES[axis], unit, height)
    drawn.update_layout(legend={"y": -0.22, "yanchor": "top", "x": 0, "xanchor": "left"}, showlegend=len(chosen) > 0)
    drawn.update_xaxes(rangemode="tozero")
    drawn.update_yaxes(tickformat=".0%" if metric == "accuracy" else None, range=_range(validated, metric))
    return drawn


@dataclass(frozen=True)
class Dot:
    """A run: validation accuracy 0..1; `place` is that among the chosen runs, None where it is not one of them."""

    name: str
    seconds: float
    accuracy: float
    place: int | None


def dots(runs: Sequence[Dot], height: int = 360) -> go.Figure:
    """Return validation accuracy against training time; a chosen run has the color of its curve."""
    drawn = go.Figure()
    runs = sorted(runs, key=lambda run: run.place is not None)  # the chosen on top
    drawn.add_scatter(
        x=[run.seconds / 60 for run in runs],
        y=[run.accuracy for run in runs],
        text=[as_text(run.name) for run in runs],
        mode="markers",
        marker={
            "size": [9 if run.place is None else 15 for run in runs],
            "color": [_UNCHOSEN if run.place is None else COLOURS[run.place % len(COLOURS)] for run in runs],
        },
        hovertemplate="%{text}<br>%{y:.1%} in %{x:.1f} min<extra></extra>",
    )
    charts.style(drawn, "Accuracy against training time", "minutes of training", "validation accuracy", height)
    drawn.update_layout(showlegend=False, hovermode="closest")
    drawn.update_xaxes(rangemode="tozero")
    drawn.update_yaxes(tickformat=".0%")
    return drawn


def _range(validated: Sequence[np.ndarray], metric: str) -> list[float] | None:
    """Return the y axis that shows validation well; the training's first steps, far off, may leave it."""
    values = np.concatenate([*validated, np.empty(0)])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 0.05) * 0.5
    return [max(low - room, 0.0), min(high + room, 1.005)] if metric == "accuracy" else [0.0, high + room]


def as_text(name: str) -> str:
    """Return `name` so that Plotly, which knows some HTML, shows it as it is."""
    return html.escape(name, quote=False)


def _along(run: Curves, curve: Curve, axis: str) -> Curve:
    clock = run.curves["elapsed_seconds"]
    if axis == "epoch" or not len(clock.x):
        return curve
    return Curve(curve.name, np.interp(curve.x, clock.x, clock.y), curve.y)
