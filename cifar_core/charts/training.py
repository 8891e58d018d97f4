"""Learning curves of one or several runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core.charts import style
from cifar_core.charts.style import TRAINING, VALIDATION
from cifar_core.runs.curves import Curve, Curves, LinearProbe, loss_metric

AXES: Mapping[str, str] = {"epoch": "epoch", "time": "seconds since the start"}
MOST_RUNS = 3 * len(style.SERIES)
"""Maximum number of runs with distinguishable lines."""


def metric_figure(run: Curves, metric: str, ghost: Curves | None = None, height: int = 320) -> go.Figure:
    """Return the figure of "accuracy" or "loss": training, validation, the phases and a pale earlier run, `ghost`.

    "loss" is the cross-entropy if all runs recorded it. "accuracy" also shows the linear probe as a dashed line.
    """
    if metric == "loss":
        metric = loss_metric(*filter(None, (run, ghost)))
    title, unit, hover = style.METRICS[metric]
    validation, shared = f"validation_{metric}", {"hovertemplate": hover}
    dots: dict[str, Any] = {"name": "validation", "mode": "lines+markers", "marker": {"size": 7}}
    traces = [
        _trace(run.curves[metric], TRAINING, 1.5, name="training", **shared),
        _trace(run.curves[validation], VALIDATION, 2.5, **dots, **shared),
    ]
    if ghost is not None:
        pale = {"name": "earlier run, validation", "opacity": 0.45}
        traces.insert(0, _trace(ghost.curves[validation], VALIDATION, 2, "dot", **pale))
    yaxis = {"range": [0, 1.01], "tickformat": ".0%"} if metric == "accuracy" else {"rangemode": "tozero"}
    if metric == "accuracy" and run.linear_probe:
        ends, at = np.array([0, _end(run)]), np.full(2, run.linear_probe.accuracy)
        more = {"name": _probe_words(run.linear_probe), "hoverinfo": "skip"}
        traces.append(_trace(Curve(ends, at), style.NEUTRAL, 1.5, "dash", **more))
    return _live_figure(run, traces, (title, unit, height), yaxis, "fine-tuning")


def _end(run: Curves) -> float:
    """Return the end of the epoch axis."""
    return max(run.planned, 1) * 1.02


def _probe_words(probe: LinearProbe) -> str:
    return f"{probe.name}: {probe.accuracy:.1%}"


def _trace(curve: Curve, color: str, width: float, dash: str | None = None, **more: Any) -> dict[str, Any]:
    line = {"color": color, "width": width, "dash": dash}
    return {"type": "scatter", "x": curve.x, "y": curve.y, "mode": "lines", "line": line} | more


def metric_words(run: Curves, name: str) -> str:
    """Return the last values of "accuracy", "loss", "learning_rate" or "images_per_second" as a sentence."""
    if name == "loss":
        name = loss_metric(run)
    names, look = {"training": name, "validation": f"validation_{name}"}, ".1%" if name == "accuracy" else ".4g"
    lines = [(label, run.curves[key]) for label, key in names.items() if key in run.curves]
    ends = [f"{label} {line.y[-1]:{look}} at epoch {line.x[-1]:.3g}" for label, line in lines if len(line.y)]
    title = "Cross-entropy" if name == "cross_entropy" else name.replace("_", " ").capitalize()
    probe = f" Dashed: {_probe_words(run.linear_probe)}." if name == "accuracy" and run.linear_probe else ""
    return f"{title} over the epochs: {', '.join(ends) or 'no values yet'}.{probe}"


def small_figure(run: Curves, name: str) -> go.Figure:
    """Return the figure of "learning_rate" or "images_per_second"."""
    curve = run.curves[name]
    trace = _trace(curve, TRAINING, 1.5)
    trace["line"]["shape"] = "hv"
    if name != "learning_rate":
        return _live_figure(run, [trace], ("Throughput", "images per second", 220), {"rangemode": "tozero"}, "")
    top = np.log10(curve.y.max()) if len(curve.y) else -2.0
    yaxis = {"type": "log", "dtick": 1, "exponentformat": "power", "range": [top - 3, top + 0.2]}
    return _live_figure(run, [trace], ("Learning rate", "step size", 220), yaxis, "")


def change_figure(changes: Sequence[float]) -> go.Figure:
    """Return the change of each block's weights as bars."""
    title = "Change of each block's weights"
    figure = style.block_figure(changes, title, "relative change", 220, style.FINE_TUNING, "%{y:.1%}")
    return figure.update_yaxes(tickformat=".0%", rangemode="tozero")


def _live_figure(
    run: Curves, traces: list[dict[str, Any]], words: tuple[str, str, int], yaxis: dict[str, Any], label: str
) -> go.Figure:
    """Return lines over the epochs of `run`; `words` are title, unit and height, `label` is at the boundary.

    Plotly does not validate the figure: that takes 5 ms, and a page draws one twice a second for each viewer. Single
    precision halves the data to send.
    """
    title, unit, height = words
    layout = style.layout(title, "epoch", unit, height) | {"showlegend": bool(label)}
    layout |= _phases(run, label, falls="rangemode" in yaxis)
    hover = {"unifiedhovertitle": {"text": "epoch %{x:.1f}"}}
    layout["xaxis"] |= {"range": [0, _end(run)], **hover}  # a fixed range, so the figure does not jump
    layout["yaxis"] |= yaxis
    data = [trace | {axis: np.float32(trace[axis]) for axis in "xy"} for trace in traces]
    return go.Figure({"data": data, "layout": layout}, _validate=False)


def _phases(run: Curves, label: str, falls: bool) -> dict[str, Any]:
    """Return the start of fine-tuning as part of a layout.

    The label is at the bottom, or at the top if the curve `falls`.
    """
    if run.boundary is None:
        return {}
    color, axes, end = style.FINE_TUNING, {"xref": "x", "yref": "y domain"}, max(run.planned, run.boundary + 1) * 1.02
    high = {**axes, "x0": run.boundary, "y0": 0, "y1": 1}
    shade = {"type": "rect", "x1": end, "fillcolor": color, "opacity": 0.09, "line": {"width": 0}}
    line = {"type": "line", "x1": run.boundary, "line": {"color": color, "dash": "dash", "width": 1.5}}
    words = {"text": label, "font": {"size": 11}, "showarrow": False, "x": run.boundary, "xanchor": "left"}
    place = {"y": 0.98, "yanchor": "top"} if falls else {"y": 0.03, "yanchor": "bottom"}
    return {"shapes": [high | shade, high | line], "annotations": [axes | words | place]}


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average of float (n,), with the bias correction of Adam."""
    average, means = 0.0, np.empty(len(values))
    for number, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        means[number] = average / (1 - weight ** (number + 1))
    return means


def overlay_figure(chosen: Sequence[tuple[str, Curves]], metric: str, axis: str, smoothing: float) -> go.Figure:
    """Return a figure of a metric for runs, (name, curves), along `axis` of AXES; names are text, never markup.

    Lines are smoothed by `smoothing`, 0 to below 1; dots are the measured validation values. "loss" is the
    cross-entropy if all runs recorded it.
    """
    chosen = chosen[:MOST_RUNS]
    if metric == "loss":
        metric = loss_metric(*(run for _, run in chosen))
    title, unit, hover = style.METRICS[metric]
    figure = style.figure(title, AXES[axis], unit, 360, showlegend=len(chosen) > 0)
    validated, ends = [np.empty(0)], [np.empty(0)]  # validation curves, and the ends of training curves
    for number, (name, run) in enumerate(chosen):
        training, validation = (on_axis(run, run.curves[curve], axis) for curve in (metric, f"validation_{metric}"))
        validated.append(validation.y)
        ends.append(smoothed(training.y, smoothing)[-1:])
        color, dash = style.SERIES[number % len(style.SERIES)], style.DASHES[number // len(style.SERIES)]
        shared = {"name": style.escaped(name), "legendgroup": str(number), "hoverinfo": "skip"}
        pale: dict[str, Any] = {"opacity": 0.4, "showlegend": False}
        for curve, width, more in ((training, 1, pale), (validation, 2.5, {})):
            line, y = {"color": color, "dash": dash, "width": width}, smoothed(curve.y, smoothing)
            figure.add_scatter(x=curve.x, y=y, mode="lines", line=line, **shared | more)
        dots = {"marker": {"color": color, "size": 7}, "showlegend": False, "hoverinfo": None}
        figure.add_scatter(x=validation.x, y=validation.y, mode="markers", **shared | dots)
    figure.update_traces(hovertemplate=hover, selector={"mode": "markers"})
    figure.update_xaxes(rangemode="tozero")
    form = ".0%" if metric == "accuracy" else None
    figure.update_yaxes(tickformat=form, range=_range(np.concatenate(validated), np.concatenate(ends), metric))
    return figure


@dataclass(frozen=True)
class Dot:
    """A run: validation accuracy 0..1; `place` is its position among the chosen runs, or None."""

    name: str
    seconds: float
    accuracy: float
    place: int | None


def time_figure(runs: Sequence[Dot]) -> go.Figure:
    """Return validation accuracy against training time; chosen runs have the color of their curves."""
    titles = ("Accuracy against training time", "minutes of training", "validation accuracy")
    figure = style.figure(*titles, 360, showlegend=True, hovermode="closest")
    chosen = sorted((run for run in runs if run.place is not None), key=lambda run: run.place or 0)
    for dots in [[run for run in runs if run.place is None], *([run] for run in chosen)]:  # chosen runs on top
        place = dots[0].place if dots else None
        look = {"color": style.NEUTRAL, "size": 9}
        if place is not None:
            look = {"color": style.SERIES[place % len(style.SERIES)], "size": 15}
        figure.add_scatter(
            x=[run.seconds / 60 for run in dots],
            y=[run.accuracy for run in dots],
            text=[style.escaped(run.name) for run in dots],
            name=style.escaped(dots[0].name) if dots else "",
            showlegend=place is not None,
            mode="markers",
            marker=look,
            hovertemplate="%{text}<br>%{y:.1%} in %{x:.1f} min<extra></extra>",
        )
    longest = max((run.seconds / 60 for run in runs), default=1.0)
    figure.update_xaxes(range=[-0.04 * longest, 1.06 * longest])  # dots at 0 are whole
    accuracies = [run.accuracy for run in runs] or [0.05, 0.95]
    low, high = max(0.0, min(accuracies) - 0.05), min(1.02, max(accuracies) + 0.05)
    style.show_percent(figure, range=[low, high])  # with one run, Plotly's range exceeds 100%
    return figure


def _range(validated: np.ndarray, ends: np.ndarray, metric: str) -> list[float]:
    """Return a y axis range for the finite validation values and up to `ends`; training may begin outside of it."""
    validated, ends = (values[np.isfinite(values)] for values in (validated, ends))
    if not len(validated):
        return [0.0, 1.0]
    low, high = float(validated.min()), float(max([*validated, *ends]))
    room = max(high - low, 0.05) * 0.5
    return [max(low - room, 0.0), min(high + room, 1.005)] if metric == "accuracy" else [0.0, high + room]


def on_axis(run: Curves, curve: Curve, axis: str) -> Curve:
    """Return `curve` of `run` along `axis` of AXES, or along epochs if the run has no times."""
    if axis == "epoch" or not len(run.curves["elapsed_seconds"].x):
        return curve
    clock = run.curves["elapsed_seconds"]
    return Curve(np.interp(curve.x, clock.x, clock.y), curve.y)
