"""Learning curves of one run and of several, and the bars of one prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core.charts import style
from cifar_core.charts.style import TRAINING, VALIDATION
from cifar_core.runs.curves import Curve, Curves, loss_metric

AXES: Mapping[str, str] = {"epoch": "epoch", "time": "seconds since the start"}
MOST_RUNS = 3 * len(style.SERIES)
"""More lines than these cannot be told apart."""


def metric_figure(
    run: Curves, metric: str, ghost: Curves | None = None, ghost_name: str = "", height: int = 320
) -> go.Figure:
    """Return the figure of "accuracy" or "loss": training, validation, the phases and a pale earlier run.

    "loss" draws the cross-entropy if each run recorded it.
    """
    percent = metric == "accuracy"
    if metric == "loss":
        metric = loss_metric(*filter(None, (run, ghost)))
    traces: list[dict[str, Any]] = []
    if ghost is not None:
        curve = ghost.curves[f"validation_{metric}"]
        line = {"color": VALIDATION, "width": 2, "dash": "dot"}
        traces.append({"x": curve.x, "y": curve.y, "name": ghost_name, "mode": "lines", "line": line, "opacity": 0.45})
    for name, color, label in (
        (metric, TRAINING, "training"),
        (f"validation_{metric}", VALIDATION, "validation"),
    ):
        curve = run.curves[name]
        is_validation = color == VALIDATION
        traces.append(
            {
                "x": curve.x,
                "y": curve.y,
                "name": label,
                "mode": "lines+markers" if is_validation else "lines",
                "line": {"color": color, "width": 2.5 if is_validation else 1.5},
                "marker": {"size": 7},
                "hovertemplate": style.metric_hover(metric),
            }
        )
    title, unit = style.metric_titles(metric)
    yaxis = {"range": [0, 1.01], "tickformat": ".0%"} if percent else {"rangemode": "tozero"}
    return _live_figure(run, traces, (title, unit, height), yaxis, "top of the backbone unfrozen")


def metric_words(run: Curves, name: str) -> str:
    """Return what the figure of "accuracy", "loss", "learning_rate" or "images_per_second" ends at, as a sentence."""
    if name == "loss":
        name = loss_metric(run)
    lines = {"training": run.curves[name]}
    if name in ("accuracy", "loss", "cross_entropy"):
        lines["validation"] = run.curves[f"validation_{name}"]
    look = ".1%" if name == "accuracy" else ".4g"
    ends = [f"{label} {line.y[-1]:{look}} at epoch {line.x[-1]:.3g}" for label, line in lines.items() if len(line.y)]
    title = "Cross-entropy" if name == "cross_entropy" else name.replace("_", " ").capitalize()
    return f"{title} over the epochs: {', '.join(ends) or 'no values yet'}."


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
    colors = [style.CLASS_COLORS[i] if i == order[-1] else style.NEUTRAL for i in order]
    figure = go.Figure(
        go.Bar(
            x=probabilities[order],
            y=[classes[i] for i in order],
            orientation="h",
            marker={"color": colors},
            text=[f"{probabilities[i]:.1%}" for i in order],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
        )
    )
    style.apply(figure, "Probabilities", "probability", "", height)
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_layout(hovermode="closest", margin={"l": 86, "r": 24})
    return figure


def _live_figure(
    run: Curves, traces: list[dict[str, Any]], words: tuple[str, str, int], yaxis: dict[str, Any], label: str
) -> go.Figure:
    """Return lines over the epochs of `run`; `words` are title, unit and height, `label` stands at the boundary.

    Put together at once: Plotly checks a figure at every change, and these are drawn twice a second. In single
    precision they are half as much to send.
    """
    title, unit, height = words
    layout = style.layout(title, "epoch", unit, height) | {"showlegend": bool(label)} | _phases(run, label)
    layout["xaxis"] |= {"range": [0, max(run.planned, 1) * 1.02]}  # fixed, so that nothing jumps
    layout["yaxis"] |= yaxis
    data = [{"type": "scatter", **trace, **{axis: np.float32(trace[axis]) for axis in "xy"}} for trace in traces]
    return go.Figure({"data": data, "layout": layout})


def _phases(run: Curves, label: str) -> dict[str, Any]:
    """Return the boundary at which the top of the backbone is unfrozen, as part of a layout."""
    if run.boundary is None:
        return {}
    color, high = style.FINE_TUNING, {"xref": "x", "yref": "y domain", "y0": 0, "y1": 1}
    end = max(run.planned, run.boundary + 1) * 1.02
    shade = {"type": "rect", "x0": run.boundary, "x1": end, "fillcolor": color, "opacity": 0.09, "line": {"width": 0}}
    line = {"type": "line", "x0": run.boundary, "x1": run.boundary}
    words = {"text": label, "font": {"size": 11}, "showarrow": False, "x": run.boundary, "xanchor": "left"}
    return {
        "shapes": [shade | high, line | high | {"line": {"color": color, "dash": "dash", "width": 1.5}}],
        "annotations": [words | {"xref": "x", "yref": "y domain", "y": 0.03, "yanchor": "bottom"}],
    }


@dataclass(frozen=True)
class Lines:
    """One run's lines of a metric; x in epochs or seconds. `measured` are the validation's values as they are."""

    training: Curve
    validation: Curve
    measured: Curve


def overlay_lines(run: Curves, metric: str, axis: str, smoothing: float) -> Lines:
    """Return the lines of "accuracy", "cross_entropy" or "loss" along `axis` of AXES; `smoothing` is 0 to below 1."""
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


def overlay_figure(
    chosen: Sequence[tuple[str, Curves]], metric: str, axis: str, smoothing: float, height: int = 360
) -> go.Figure:
    """Return one figure of a metric for runs as (name, curves); a name is text, whatever it holds.

    "loss" draws the cross-entropy if each run recorded it.
    """
    if metric == "loss":
        metric = loss_metric(*(run for _, run in chosen[:MOST_RUNS]))
    drawn, validated = go.Figure(), []
    for number, (name, run) in enumerate(chosen[:MOST_RUNS]):
        look = {"color": style.SERIES[number % len(style.SERIES)], "dash": style.DASHES[number // len(style.SERIES)]}
        found, shared = (
            overlay_lines(run, metric, axis, smoothing),
            {"name": style.escaped(name), "legendgroup": str(number)},
        )
        validated.append(found.measured.y)
        value = style.metric_hover(metric)
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
    title, unit = style.metric_titles(metric)
    style.apply(drawn, title, AXES[axis], unit, height)
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


def time_figure(runs: Sequence[Dot], height: int = 360) -> go.Figure:
    """Return validation accuracy against training time; a chosen run has the color of its curve."""
    drawn = go.Figure()
    runs = sorted(runs, key=lambda run: run.place is not None)  # the chosen on top
    drawn.add_scatter(
        x=[run.seconds / 60 for run in runs],
        y=[run.accuracy for run in runs],
        text=[style.escaped(run.name) for run in runs],
        mode="markers",
        marker={
            "size": [9 if run.place is None else 15 for run in runs],
            "color": [
                style.NEUTRAL if run.place is None else style.SERIES[run.place % len(style.SERIES)] for run in runs
            ],
        },
        hovertemplate="%{text}<br>%{y:.1%} in %{x:.1f} min<extra></extra>",
    )
    style.apply(drawn, "Accuracy against training time", "minutes of training", "validation accuracy", height)
    drawn.update_layout(showlegend=False, hovermode="closest")
    drawn.update_xaxes(rangemode="tozero")
    if runs:  # around a single run Plotly would go beyond 100%
        accuracies = [run.accuracy for run in runs]
        drawn.update_yaxes(range=[max(0.0, min(accuracies) - 0.05), min(1.02, max(accuracies) + 0.05)])
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


def _along(run: Curves, curve: Curve, axis: str) -> Curve:
    clock = run.curves["elapsed_seconds"]
    if axis == "epoch" or not len(clock.x):
        return curve
    return Curve(curve.name, np.interp(curve.x, clock.x, clock.y), curve.y)
