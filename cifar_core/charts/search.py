"""Findings of a sweep -> Plotly figures. Where Optuna draws well it draws, in this app's look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from cifar_core.charts import style
from cifar_core.charts.style import RIGHT, TRAINING, VALIDATION
from cifar_core.config import KNOBS
from cifar_core.search.findings import COSTS, Cell, Findings, Trial
from cifar_core.search.space import Range

if TYPE_CHECKING:
    from optuna import Study

_PERCENT = ".1~%"  # of trials that differ by less than a point, too
_ACCURACY = "validation accuracy"
_STATES = {"finished": ("finished", TRAINING, "circle"), "pruned": ("ended early", style.HEAD, "x")}
_UNSEEN = "rgba(0,0,0,0.001)"
_NOT_PALE = {"marker": {"opacity": 1}}
"""A click would make all other points of its figure pale."""
_EACH_NUMBERED = 20
"""Up to so many trials have each its tick."""
_WIDE = 100
_FEW = 3
"""Fewer ended trials than this say nothing of importances or surfaces."""


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
    item = next(item for item in found.plan.ranges if item.knob == knob)
    if item.choices:
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(item.choices))
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


def parallel(found: Findings, height: int = 360) -> go.Figure | None:
    """Return parallel coordinates: a line for each trial through its values, bright is better; None for too few.

    Drawn as lines, as Plotly's own kind has a white ground in dark mode and no points to be clicked.
    """
    if len(found.ended) < _FEW:
        return None
    accuracies = [trial.accuracy or 0.0 for trial in found.ended]
    low, high = min(accuracies), max(accuracies)
    names = [item.knob for item in found.plan.ranges]
    figure = go.Figure()
    for trial in sorted(found.ended, key=lambda trial: trial.accuracy or 0.0):
        share = ((trial.accuracy or 0.0) - low) / (high - low or 1.0)
        heights = [_place(item, trial.params.get(item.knob)) for item in found.plan.ranges]
        figure.add_scatter(
            x=[*range(len(names)), len(names)],
            y=[*heights, share],
            mode="lines+markers",  # unseen markers, as a line cannot be clicked
            marker={"size": 16, "color": _UNSEEN},
            unselected=_NOT_PALE,
            line={
                "color": sample_colorscale(style.SCALE, [0.15 + 0.85 * share])[0],
                "width": 1 + 2 * share,
                "shape": "spline",
            },
            opacity=0.45 + 0.5 * share,
            customdata=[trial.number] * (len(names) + 1),
            hovertemplate=f"trial {trial.number + 1}: {trial.accuracy:.1%}<br>{_words(trial)}<extra></extra>",
        )
    ends = [(0.0, f"{low:.1%}"), (1.0, f"{high:.1%}")]
    marks = [*(_marks(item) for item in found.plan.ranges), ends]
    for column, mark in enumerate(marks):
        figure.add_vline(x=column, line={"color": style.GUIDE, "width": 1})
        for y, text in mark:
            figure.add_annotation(
                x=column, y=y, text=text, showarrow=False, xanchor="left", xshift=5, font={"size": 11}, opacity=0.85
            )
    _style(figure, "Every trial a line, bright is better", "", "", height)
    labels = [*(KNOBS[name].label for name in names), "Validation accuracy"]
    figure.update_xaxes(
        tickvals=list(range(len(labels))), ticktext=labels, range=[-0.1, len(names) + 0.35], showgrid=False
    )
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
    figure.update_layout(showlegend=False, margin={"l": 16})
    return figure


def importances(found: Findings, height: int = 300) -> go.Figure | None:
    """Return which knobs decided the accuracy, shares that add up to 1 (fANOVA, Optuna's); None for too few trials."""
    from optuna import importance

    if len(found.ended) < _FEW:
        return None
    try:
        shares = importance.get_param_importances(_study(found), evaluator=importance.FanovaImportanceEvaluator(seed=1))
    except (RuntimeError, ValueError):  # all trials alike
        return None
    names = list(shares)[::-1]
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


def surface(found: Findings, x: str, y: str, height: int = 380) -> go.Figure | None:
    """Return accuracy over two knobs, drawn through the trials by Optuna; None for too few trials."""
    if len(found.ended) < _FEW or x == y:
        return None
    from optuna.visualization import plot_contour

    drawn = plot_contour(_study(found), params=[x, y], target_name=_ACCURACY)
    if drawn.data[0].z is None:  # one of the knobs had one value only
        return None
    # Optuna puts the knobs in the order of the alphabet, whatever was asked for.
    figure = go.Figure([trace if x < y else _turned(trace) for trace in drawn.data])
    _style(figure, f"{KNOBS[x].label} × {KNOBS[y].label}", _axis(x), _axis(y), height)
    figure.update_traces(
        selector={"type": "contour"},
        colorscale=style.SCALE,
        reversescale=False,
        colorbar={"title": {"text": "accuracy"}, "tickformat": _PERCENT, "thickness": 12},
    )
    figure.update_layout(showlegend=False)
    for knob, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        item = next(item for item in found.plan.ranges if item.knob == knob)
        if item.log:
            update(**_scale_of(item))
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


def cell_curves(cell: Cell, height: int = 300) -> go.Figure:
    """Return the validation accuracy of a cell's trials by epoch, one line for each seed."""
    figure = go.Figure()
    for trial in cell.trials:
        if trial.curve:
            epochs, accuracies = zip(*trial.curve, strict=True)
            figure.add_scatter(
                x=epochs,
                y=accuracies,
                name=f"seed {trial.params.get('seed', '?')}",
                mode="lines+markers",
                hovertemplate="%{y:.1%}",
            )
    words = ", ".join(f"{KNOBS[name].label} {KNOBS[name].say(value)}" for name, value in cell.values.items())
    _style(figure, words, "epoch, over both phases", _ACCURACY, height)
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(tickformat=_PERCENT)
    figure.update_layout(showlegend=True)
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
    if not item.log:
        return {"type": "linear"}
    return {"type": "log", "exponentformat": "power", "dtick": 1 if item.high / item.low >= _WIDE else None}


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


def _turned(trace: Any) -> Any:
    """Return a trace with its axes exchanged."""
    trace.x, trace.y = trace.y, trace.x
    if trace.type == "contour":
        trace.z = np.asarray(trace.z, object).T
    return trace


def _place(item: Range, value: Any) -> float:
    """Return where `value` lies in its range, 0 to 1."""
    if item.choices:
        return item.choices.index(value) / max(len(item.choices) - 1, 1) if value in item.choices else 0.0
    scale = math.log if item.log else float
    return (scale(value) - scale(item.low)) / (scale(item.high) - scale(item.low))


def _marks(item: Range) -> list[tuple[float, str]]:
    """Return the places and words along the axis of a range."""
    say = KNOBS[item.knob].say
    if item.choices:
        return [(_place(item, value), say(value)) for value in item.choices]
    return [(0.0, say(item.low)), (1.0, say(item.high))]


def _words(trial: Trial) -> str:
    return "<br>".join(
        f"{KNOBS[name].label} {KNOBS[name].say(value)}" for name, value in trial.params.items() if name in KNOBS
    )


def _study(found: Findings) -> Study:
    """Return the ended trials as a study for Optuna's figures; those that ended early count with what they had."""
    import optuna

    study = optuna.create_study(direction="maximize")
    spaces = {item.knob: item.distribution() for item in found.plan.ranges}
    for trial in found.ended:
        params = {knob: trial.params[knob] for knob in spaces}
        study.add_trial(optuna.create_trial(value=trial.accuracy, params=params, distributions=spaces))
    return study
