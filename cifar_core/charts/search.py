"""Figures of searches and of the head lab."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core.charts import style
from cifar_core.charts.style import RIGHT, TRAINING, VALIDATION
from cifar_core.config import KNOBS
from cifar_core.data.cifar10 import CLASSES
from cifar_core.search import head_lab
from cifar_core.search.findings import COSTS, Cell, Findings, Trial
from cifar_core.search.head_lab import Map
from cifar_core.search.space import Range

_PERCENT = ".1~%"  # of trials that differ by less than a point, too
_ACCURACY = "validation accuracy"
_STATES = {"finished": ("finished", TRAINING, "circle"), "pruned": ("pruned", style.HEAD, "x")}
_UNSEEN = "rgba(0,0,0,0.001)"
_NOT_PALE = {"marker": {"opacity": 1}}
"""A click would make all other points of its figure pale."""
_EACH_NUMBERED = 20
"""Up to so many trials have each its tick."""
_WIDE = 100
_OLDEST, _NEWEST = 0.16, 0.6  # opacity of the lab's earlier curves
Rows = Sequence[Mapping[str, float]]


def history(found: Findings, opened: Trial | None = None, height: int = 320) -> go.Figure:
    """Return every trial's accuracy in order, and the best so far.

    Here and below, a point's `customdata` is its trial's number, and a ring marks the `opened` one.
    """
    figure = go.Figure()
    for state in _STATES:
        own = [trial for trial in found.ended if trial.state == state]
        _add_points(figure, own, state, [trial.number + 1 for trial in own], opened)
    best = list(itertools.accumulate((trial.accuracy or 0.0 for trial in found.ended), max))
    figure.add_scatter(
        x=[trial.number + 1 for trial in found.ended],
        y=best,
        name="best so far",
        mode="lines",
        line={"color": VALIDATION, "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )
    _style(figure, "Trials in order", "trial", _ACCURACY, height)
    _fit_accuracy(figure, found)
    last = max((trial.number + 1 for trial in found.ended), default=1)
    figure.update_xaxes(range=[0.4, last + 0.6], dtick=1 if last <= _EACH_NUMBERED else None)
    return figure


def slices(found: Findings, knob: str, opened: Trial | None = None, height: int = 300) -> go.Figure:
    """Return accuracy against the values of one knob."""
    figure = go.Figure()
    for state in _STATES:
        own = [trial for trial in found.ended if trial.state == state and knob in trial.params]
        _add_points(figure, own, state, [trial.params[knob] for trial in own], opened)
    _style(figure, KNOBS[knob].label, _axis(knob), _ACCURACY, height)
    _fit_accuracy(figure, found)
    item = _range_of(found, knob)
    if item.choices:
        figure.update_xaxes(**_scale_of(item))
    else:  # the whole range, so that one sees where nothing was tried
        low, high = map(math.log10 if item.log else float, (item.low, item.high))
        figure.update_xaxes(range=[low - 0.04 * (high - low), high + 0.04 * (high - low)], **_scale_of(item))
    return figure


def front(found: Findings, cost: str, opened: Trial | None = None, height: int = 340) -> go.Figure:
    """Return accuracy against a cost (one of findings.COSTS), with the Pareto front."""
    label, unit = COSTS[cost]
    factor, unit = (1e-6, "MB") if unit == "bytes" else (1.0, unit)
    figure = go.Figure()
    best = found.front(cost)
    numbers = {trial.number for trial in best}
    for name, own, color, mode in (
        ("trials", [t for t in found.ended if t.number not in numbers], style.HEAD, "markers"),
        ("Pareto front", best, RIGHT, "lines+markers"),
    ):
        own = [trial for trial in own if trial.cost(cost) is not None]
        figure.add_scatter(
            x=[(trial.cost(cost) or 0.0) * factor for trial in own],
            y=[trial.accuracy for trial in own],
            customdata=[trial.number for trial in own],
            text=[f"trial {trial.number + 1}<br>{_words(trial)}" for trial in own],
            name=name,
            mode=mode,
            line={"color": color, "width": 2, "shape": "hv"},
            marker={"color": color, **_ringed(own, opened)},
            unselected=_NOT_PALE,
            hovertemplate=f"%{{text}}<br>%{{y:.1%}} at %{{x:.3g}} {unit}<extra></extra>",
        )
    _style(figure, f"Accuracy against {label.lower()}", f"{label.lower()}, {unit}", _ACCURACY, height)
    _fit_accuracy(figure, found)
    return figure


def importances(shares: Mapping[str, float], height: int = 300) -> go.Figure:
    """Return how much of the accuracy's variation each setting explains, as bars; `shares` add up to 1."""
    names = sorted(shares, key=shares.__getitem__)
    figure = go.Figure(
        go.Bar(
            x=[shares[name] for name in names],
            y=[KNOBS[name].label for name in names],
            orientation="h",
            marker={"color": TRAINING},
            text=[f"{shares[name]:.0%}" for name in names],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    _style(figure, "What decided the accuracy", "share of its variation", "", height)
    figure.update_xaxes(range=[0, 1.15], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(automargin=True)
    return figure


def heat_map(
    cells: Sequence[Cell], x: str, y: str, spread: bool = False, opened: int | None = None, height: int = 420
) -> go.Figure:
    """Return a grid's mean accuracy (or its standard deviation over the seeds) by two knobs; empty cells stay blank.

    Plotly does not tell of clicks on a heat map: the nearest of the unseen markers over it, one in the middle of each
    cell, is clicked. It carries the cell's place among `cells` as `customdata`. A frame marks the `opened` place.
    """
    columns = list(dict.fromkeys(cell.values[x] for cell in cells))
    rows = list(dict.fromkeys(cell.values[y] for cell in cells))
    at = [(columns.index(cell.values[x]), rows.index(cell.values[y])) for cell in cells]
    values = np.full((len(rows), len(columns)), np.nan)
    text = np.full(values.shape, "", object)
    for (column, row), cell in zip(at, cells, strict=True):
        value = cell.spread if spread else cell.mean
        if value is not None:
            more = "" if cell.spread is None else f"<br>± {cell.spread * 100:.1f}"
            values[row, column] = value * (100 if spread else 1)
            text[row, column] = f"± {value * 100:.1f}" if spread else f"{value:.1%}{more}"
    names_x, names_y = [KNOBS[x].say(value) for value in columns], [KNOBS[y].say(value) for value in rows]
    bar = ("points", "± ", "") if spread else ("accuracy", "", ".1%")
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=names_x,
            y=names_y,
            text=text,
            texttemplate="%{text}",
            colorscale="Cividis" if spread else style.SCALE,
            hoverinfo="skip",
            colorbar={"title": {"text": bar[0]}, "tickprefix": bar[1], "tickformat": bar[2], "thickness": 12},
            xgap=2,
            ygap=2,
        )
    )
    figure.add_scatter(
        x=[names_x[column] for column, _ in at],
        y=[names_y[row] for _, row in at],
        customdata=list(range(len(cells))),
        text=[text[row, column] or "not trained yet" for column, row in at],
        mode="markers",
        marker={"size": 36, "symbol": "square", "color": _UNSEEN},
        hovertemplate=f"{KNOBS[x].label} %{{x}}, {KNOBS[y].label} %{{y}}: %{{text}}<extra></extra>",
        showlegend=False,
    )
    if opened is not None:
        column, row = at[opened]
        corners = {"x0": column - 0.49, "x1": column + 0.49, "y0": row - 0.48, "y1": row + 0.48}
        figure.add_shape(type="rect", **corners, line={"color": VALIDATION, "width": 3})
    repeated = any(cell.spread is not None for cell in cells)
    title = "Validation accuracy" + (", mean over the seeds" if repeated else "")
    _style(figure, "Spread over the seeds (standard deviation)" if spread else title, _axis(x), _axis(y), height)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_layout(hoverdistance=-1)  # however far the middle of the cell is
    return figure


def pair(found: Findings, x: str, y: str, opened: Trial | None = None, height: int = 380) -> go.Figure:
    """Return the trials as points over two settings; the color is the accuracy."""
    own = [trial for trial in found.ended if x in trial.params and y in trial.params]
    ring = _ringed(own, opened)
    figure = go.Figure()
    figure.add_scatter(
        x=[trial.params[x] for trial in own],
        y=[trial.params[y] for trial in own],
        customdata=[trial.number for trial in own],
        text=[f"trial {trial.number + 1}: {trial.accuracy:.1%}<br>{_words(trial)}" for trial in own],
        mode="markers",
        marker={
            **ring,
            "size": [size + 4 for size in ring["size"]],
            "color": [trial.accuracy for trial in own],
            "colorscale": style.SCALE,
            "colorbar": {"title": {"text": "accuracy"}, "tickformat": _PERCENT, "thickness": 12},
        },
        unselected=_NOT_PALE,
        hovertemplate="%{text}<extra></extra>",
    )
    _style(figure, f"{KNOBS[x].label} × {KNOBS[y].label}", _axis(x), _axis(y), height)
    figure.update_layout(showlegend=False)
    for knob, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        update(**_scale_of(_range_of(found, knob)))
    return figure


def trial_curves(found: Findings, opened: Trial, height: int = 300) -> go.Figure:
    """Return the validation accuracy of every trial by epoch, pale, and of the opened one."""
    figure = go.Figure()
    for trial in sorted(found.trials, key=lambda trial: trial.number == opened.number):
        if trial.curve:
            epochs, accuracies = zip(*trial.curve, strict=True)
            is_opened = trial.number == opened.number
            figure.add_scatter(
                x=epochs,
                y=accuracies,
                name=f"trial {trial.number + 1}",
                mode="lines+markers",
                line={"color": VALIDATION if is_opened else TRAINING, "width": 3 if is_opened else 1},
                marker={"size": 8 if is_opened else 4},
                opacity=1 if is_opened else 0.4,
                showlegend=is_opened,
                hovertemplate="%{y:.1%}",
            )
    _style(figure, "Validation accuracy by epoch", "epoch, over both phases", _ACCURACY, height)
    figure.update_xaxes(dtick=1 if len(opened.curve) <= _EACH_NUMBERED else None)
    figure.update_yaxes(tickformat=_PERCENT)
    return figure


def _style(figure: go.Figure, title: str, x: str, y: str, height: int) -> None:
    style.apply(figure, title, x, y, height)
    figure.update_layout(hovermode="closest")


def _fit_accuracy(figure: go.Figure, found: Findings) -> None:
    """Let the axis of accuracies reach a little beyond those of the trials: around one, Plotly's would reach 150 %."""
    accuracies = [trial.accuracy for trial in found.ended if trial.accuracy is not None]
    figure.update_yaxes(tickformat=_PERCENT)
    if accuracies:
        low, high = min(accuracies), max(accuracies)
        margin = max(0.08 * (high - low), 0.01)
        figure.update_yaxes(range=[low - margin, high + margin])


def _scale_of(item: Range) -> dict[str, Any]:
    """Return Plotly's settings of an axis for the numbers of a range; where it is wide, powers of ten are named."""
    if item.choices:
        return {"type": "category", "categoryorder": "array", "categoryarray": list(item.choices)}
    if not item.log:
        return {"type": "linear"}
    return {"type": "log", "exponentformat": "power", "dtick": 1 if item.high / item.low >= _WIDE else None}


def _range_of(found: Findings, knob: str) -> Range:
    return next(item for item in found.plan.ranges if item.knob == knob)


def _axis(knob: str) -> str:
    unit = KNOBS[knob].unit
    label = KNOBS[knob].label
    return f"{label}, {unit}" if unit else label


def _ringed(trials: Sequence[Trial], opened: Trial | None) -> dict[str, Any]:
    """Return what of Plotly's markers shows which of `trials` is the opened one."""
    is_opened = [opened is not None and trial.number == opened.number for trial in trials]
    return {
        "size": [15 if yes else 9 for yes in is_opened],
        "opacity": 1,
        "line": {"color": VALIDATION, "width": [3 if yes else 0 for yes in is_opened]},
    }


def _add_points(figure: go.Figure, trials: Sequence[Trial], state: str, x: Sequence[Any], opened: Trial | None) -> None:
    """Draw trials of one state."""
    name, color, symbol = _STATES[state]
    figure.add_scatter(
        x=x,
        y=[trial.accuracy for trial in trials],
        customdata=[trial.number for trial in trials],
        text=[f"trial {trial.number + 1}: {trial.accuracy:.1%}<br>{_words(trial)}" for trial in trials],
        name=name,
        mode="markers",
        marker={"color": color, "symbol": symbol, **_ringed(trials, opened)},
        unselected=_NOT_PALE,
        hovertemplate="%{text}<extra></extra>",
    )


def _words(trial: Trial) -> str:
    return "<br>".join(
        f"{KNOBS[name].label} {KNOBS[name].say(value)}" for name, value in trial.params.items() if name in KNOBS
    )


def lab_curves(
    rows: Rows, earlier: Sequence[tuple[str, Rows]], metric: str, epochs: int, height: int = 320
) -> go.Figure:
    """Return "accuracy" or "cross_entropy": now, and `earlier` settings as (words, rows), the oldest first."""
    figure, value = go.Figure(), style.metric_hover(metric)
    for number, (words, old) in enumerate(earlier):
        share = (number + 1) / len(earlier)
        figure.add_scatter(
            x=[row["epoch"] for row in old],
            y=[row[f"validation_{metric}"] for row in old],
            mode="lines",
            line={"color": style.HEAD, "width": 2},
            opacity=_OLDEST + (_NEWEST - _OLDEST) * share,
            showlegend=False,
            hovertemplate=f"{value}<extra>{words}</extra>",
        )
    for name, label, color, width in (
        (metric, "training", style.TRAINING, 1.5),
        (f"validation_{metric}", "validation", style.VALIDATION, 3),
    ):
        figure.add_scatter(
            x=[row["epoch"] for row in rows],
            y=[row[name] for row in rows],
            name=label,
            mode="lines+markers",
            line={"color": color, "width": width},
            marker={"size": 4 + width},
            hovertemplate=f"{value}<extra>{label}</extra>",
        )
    title, unit = style.metric_titles(metric)
    style.apply(figure, title, "epoch", unit, height)
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_xaxes(range=[0.7, epochs + 0.3], dtick=1)
    figure.update_yaxes(tickformat=".0%" if metric == "accuracy" else None)
    if not rows and not earlier:
        figure.update_yaxes(range=[0, 1] if metric == "accuracy" else [0, 2.5])
    return figure


def decision_map(found: Map, predicted: np.ndarray, height: int = 660) -> go.Figure:
    """Return the map colored by `predicted`, int (n,), a class for each image; crosses are mistakes."""
    figure = go.Figure()
    steps = [(edge / 10, style.CLASS_COLORS[number]) for number in range(10) for edge in (number, number + 1)]
    figure.add_heatmap(
        x=found.x, y=found.y, z=head_lab.ground(found, predicted), zmin=-0.5, zmax=9.5, colorscale=steps,
        opacity=0.22, showscale=False, hoverinfo="skip",
    )  # fmt: skip
    for number, name in enumerate(CLASSES):
        of_class = np.flatnonzero(predicted == number)
        of_class = of_class[np.argsort(found.labels[of_class] != number, kind="stable")]  # the legend shows the first
        symbols = np.where(found.labels[of_class] == number, "circle", "x-thin")
        figure.add_scatter(
            x=found.points[of_class, 0],
            y=found.points[of_class, 1],
            mode="markers",
            name=name,
            marker={
                "color": style.CLASS_COLORS[number],
                "size": np.where(symbols == "circle", 6, 8),
                "symbol": symbols,
                "line": {"width": np.where(symbols == "circle", 0, 2), "color": style.CLASS_COLORS[number]},
            },
            text=[CLASSES[label] for label in found.labels[of_class]],
            hovertemplate=f"called {name}, is %{{text}}<extra></extra>",
        )
    style.apply(figure, "Decision map", "", "", height)
    figure.update_layout(
        hovermode="closest",
        margin={"l": 8, "r": 8, "b": 8},
        legend={"y": 0, "yanchor": "top", "x": 0, "xanchor": "left", "itemsizing": "constant"},
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure
