"""Figures of sweeps and of the head lab.

The `customdata` of a point is the number of its trial; a ring marks the opened trial.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cifar_core.charts import style
from cifar_core.charts.style import MARK, RIGHT, TRAINING, VALIDATION
from cifar_core.config import KNOBS
from cifar_core.data.cifar10 import CLASSES
from cifar_core.search import head_lab, space
from cifar_core.search.findings import COSTS, Cell, Findings, Trial
from cifar_core.search.head_lab import Map
from cifar_core.search.space import Range

_PERCENT = ".1~%"  # also for trials that differ by less than a point
_ACCURACY = "validation accuracy"
_STATES = {"finished": (TRAINING, "circle"), "pruned": (style.HEAD, "x")}
_EACH_NUMBERED = 20
"""Maximum number of trials with one tick each."""
_WIDE = 100
_OLDEST, _NEWEST = 0.16, 0.6  # opacity of earlier curves in the lab
Rows = Sequence[Mapping[str, float]]


def history(sweep: Findings, opened: Trial | None = None) -> go.Figure:
    """Return the accuracy of all trials in order, and the best so far."""
    figure = _figure("Trials in order", "trial", _ACCURACY, 320)
    numbers = [trial.number + 1 for trial in sweep.ended]
    _add_by_state(figure, sweep.ended, opened, lambda trial: trial.number + 1)
    best = list(itertools.accumulate((trial.accuracy or 0.0 for trial in sweep.ended), max))
    line = {"color": VALIDATION, "width": 2, "shape": "hv"}
    figure.add_scatter(x=numbers, y=best, name="best so far", mode="lines", line=line, hoverinfo="skip")
    _fit_accuracy(figure, sweep)
    last = max(numbers, default=1)
    figure.update_xaxes(range=[0.4, last + 0.6], dtick=1 if last <= _EACH_NUMBERED else None)
    return figure


def slices(sweep: Findings, knob: str, opened: Trial | None = None) -> go.Figure:
    """Return accuracy against the values of a knob."""
    figure = _figure(KNOBS[knob].label, _axis(knob), _ACCURACY, 300)
    _add_by_state(figure, sweep.ended, opened, lambda trial: trial.params[knob])
    _fit_accuracy(figure, sweep)
    item = _range_of(sweep, knob)
    figure.update_xaxes(**_scale_of(item))
    if not item.choices:  # the whole range, which shows untested values
        low, high = map(math.log10 if item.log else float, (item.low, item.high))
        figure.update_xaxes(range=[low - 0.04 * (high - low), high + 0.04 * (high - low)])
    return figure


def front(sweep: Findings, cost: str, opened: Trial | None = None) -> go.Figure:
    """Return accuracy against a cost (one of findings.COSTS), with the Pareto front."""
    label, unit = COSTS[cost]
    factor, unit = (1e-6, "MB") if unit == "bytes" else (1.0, unit)
    figure = _figure(f"Accuracy against {label.lower()}", f"{label.lower()}, {unit}", _ACCURACY, 340)
    best = sweep.front(cost)
    others = [trial for trial in sweep.ended if trial not in best and getattr(trial, cost) is not None]
    looks = (("trials", others, style.HEAD, "markers"), ("Pareto front", best, RIGHT, "lines+markers"))
    for name, trials, color, mode in looks:
        look: dict[str, Any] = {"name": name, "marker_color": color, "mode": mode}
        _add_trials(figure, trials, opened, lambda trial: getattr(trial, cost) * factor, **look)
    figure.update_traces(line_shape="hv", hovertemplate=f"%{{text}}<br>%{{x:.3g}} {unit}<extra></extra>")
    _fit_accuracy(figure, sweep)
    return figure


def importances(shares: Mapping[str, float]) -> go.Figure:
    """Return the share of the accuracy's variation that each setting explains, as bars; they add up to 1."""
    names = sorted(shares, key=shares.__getitem__)
    figure = _figure("Importance of each setting", "share of its variation", "", 300)
    figure.add_bar(
        x=[shares[name] for name in names],
        y=[KNOBS[name].label for name in names],
        orientation="h",
        marker_color=TRAINING,
        texttemplate="%{x:.0%}",
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.0%}<extra></extra>",
    )
    figure.update_xaxes(range=[0, 1.15], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(automargin=True)
    return figure


def heat_map(cells: Sequence[Cell], x: str, y: str, spread: bool = False, opened: int | None = None) -> go.Figure:
    """Return mean accuracy (or standard deviation over the seeds) of a grid by two knobs; empty cells are blank.

    Plotly reports no clicks on a heat map, so each cell has an invisible marker at its center. The `customdata` of
    a marker is the position of its cell in `cells`. A frame marks the cell at position `opened`.
    """
    if spread:
        title, scale = "Spread over the seeds (standard deviation)", "Cividis"
        bar: dict[str, Any] = {"title": {"text": "points"}, "tickprefix": "± "}
        values = [None if cell.spread is None else 100 * cell.spread for cell in cells]
    else:
        repeated = any(cell.spread is not None for cell in cells)
        title, scale = "Validation accuracy" + (", mean over the seeds" if repeated else ""), style.SCALE
        bar, values = {"title": {"text": "accuracy"}, "tickformat": ".1%"}, [cell.mean for cell in cells]
    deviations = ["" if cell.spread is None else f"± {100 * cell.spread:.1f}" for cell in cells]
    means = ["" if spread or cell.mean is None else f"{cell.mean:.1%}" for cell in cells]
    text = ["<br>".join(filter(None, words)) for words in zip(means, deviations, strict=True)]
    at = {axis: [KNOBS[knob].format(cell.values[knob]) for cell in cells] for axis, knob in (("x", x), ("y", y))}
    figure = _figure(title, _axis(x), _axis(y), 420)
    figure.add_heatmap(
        z=values,
        **at,
        text=text,
        texttemplate="%{text}",
        colorscale=scale,
        hoverinfo="skip",
        colorbar=bar | {"thickness": 12},
        xgap=2,
        ygap=2,
    )
    figure.add_scatter(
        **at,
        customdata=list(range(len(cells))),
        text=[words or "not trained yet" for words in text],
        mode="markers",
        marker={"size": 36, "symbol": "square", "color": style.INVISIBLE},
        hovertemplate=f"{KNOBS[x].label} %{{x}}, {KNOBS[y].label} %{{y}}: %{{text}}<extra></extra>",
        showlegend=False,
    )
    if opened is not None:
        column, row = (list(dict.fromkeys(names)).index(names[opened]) for names in at.values())
        corners = {"x0": column - 0.49, "x1": column + 0.49, "y0": row - 0.48, "y1": row + 0.48}
        figure.add_shape(type="rect", **corners, line={"color": MARK, "width": 3})
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    return figure.update_layout(hoverdistance=-1)  # at any distance from the center of the cell


def pair(sweep: Findings, x: str, y: str, opened: Trial | None = None) -> go.Figure:
    """Return the trials as points over two settings, colored by accuracy."""
    figure = _figure(f"{KNOBS[x].label} × {KNOBS[y].label}", _axis(x), _axis(y), 380)
    color = {
        "color": [trial.accuracy for trial in sweep.ended],
        "colorscale": style.SCALE,
        "colorbar": {"title": {"text": "accuracy"}, "tickformat": _PERCENT, "thickness": 12},
    }
    _add_trials(figure, sweep.ended, opened, lambda trial: trial.params[x], lambda trial: trial.params[y])
    figure.update_traces(marker=color, showlegend=False)
    figure.update_xaxes(**_scale_of(_range_of(sweep, x)))
    figure.update_yaxes(**_scale_of(_range_of(sweep, y)))
    return figure


def trial_curves(sweep: Findings, opened: Trial) -> go.Figure:
    """Return the validation accuracy of all trials by epoch, pale except for the opened one."""
    figure = _figure("Validation accuracy by epoch", "epoch, over both phases", _ACCURACY, 300)
    pale = {"line": {"color": TRAINING, "width": 1}, "marker": {"size": 4}, "opacity": 0.4, "showlegend": False}
    strong = {"line": {"color": MARK, "width": 3}, "marker": {"size": 8}, "showlegend": True}
    for trial in sorted(sweep.trials, key=lambda trial: trial.number == opened.number):
        if trial.curve:
            epochs, accuracies = zip(*trial.curve, strict=True)
            look = strong if trial.number == opened.number else pale
            figure.add_scatter(x=epochs, y=accuracies, name=f"trial {trial.number + 1}", mode="lines+markers", **look)
    figure.update_traces(hovertemplate="%{y:.1%}")
    figure.update_xaxes(dtick=1 if len(opened.curve) <= _EACH_NUMBERED else None)
    figure.update_yaxes(tickformat=_PERCENT)
    return figure


def lab_curves(rows: Rows, earlier: Sequence[tuple[str, Rows]], metric: str, epochs: int) -> go.Figure:
    """Return "accuracy" or "cross_entropy" of the lab: current and `earlier` settings as (text, rows), oldest first."""
    title, unit, hover = style.METRICS[metric]
    figure, validation = _figure(title, "epoch", unit, 300), f"validation_{metric}"

    def add(text: str, rows: Rows, key: str, color: str, width: float, **look: Any) -> None:
        x, y = ([row[name] for row in rows] for name in ("epoch", key))
        line, label = {"color": color, "width": width}, f"{hover}<extra>{text}</extra>"
        figure.add_scatter(x=x, y=y, line=line, hovertemplate=label, **look)

    for number, (text, old) in enumerate(earlier, 1):
        opacity = _OLDEST + (_NEWEST - _OLDEST) * number / len(earlier)
        add(text, old, validation, style.HEAD, 2, mode="lines", opacity=opacity, showlegend=False)
    for label, key, color, width in (("training", metric, TRAINING, 1.5), ("validation", validation, VALIDATION, 3)):
        add(label, rows, key, color, width, mode="lines+markers", marker={"size": 4 + width}, name=label)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(range=[0.7, epochs + 0.3], dtick=1)
    figure.update_yaxes(tickformat=".0%" if metric == "accuracy" else None)
    if not rows and not earlier:
        figure.update_yaxes(range=[0, 1] if metric == "accuracy" else [0, 2.5])
    return figure


def decision_map(lab_map: Map, predicted: np.ndarray) -> go.Figure:
    """Return the map colored by `predicted`, int (n,), the class of each image; crosses mark mistakes."""
    figure = _figure("Decision map", "", "", 660)
    scale = [(edge / 10, style.CLASS_COLORS[number]) for number in range(10) for edge in (number, number + 1)]
    z = head_lab.background_classes(lab_map, predicted)
    look = {"colorscale": scale, "opacity": 0.22, "showscale": False, "hoverinfo": "skip"}
    figure.add_heatmap(x=lab_map.x, y=lab_map.y, z=z, zmin=-0.5, zmax=9.5, **look)
    for number, name in enumerate(CLASSES):
        of_class = np.flatnonzero(predicted == number)
        of_class = of_class[np.argsort(lab_map.labels[of_class] != number, kind="stable")]  # the legend shows the first
        right, color = lab_map.labels[of_class] == number, style.CLASS_COLORS[number]
        figure.add_scatter(
            x=lab_map.points[of_class, 0],
            y=lab_map.points[of_class, 1],
            mode="markers",
            name=name,
            marker={
                "color": color,
                "size": np.where(right, 6, 8),
                "symbol": np.where(right, "circle", "x-thin"),
                "line": {"width": np.where(right, 0, 2), "color": color},
            },
            text=[CLASSES[label] for label in lab_map.labels[of_class]],
            hovertemplate=f"prediction {name}, label %{{text}}<extra></extra>",
        )
    figure.update_layout(margin={"l": 8, "r": 8, "b": 8}, legend={"itemsizing": "constant"})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def _figure(title: str, x: str, y: str, height: int) -> go.Figure:
    return style.figure(title, x, y, height, hovermode="closest")


def _fit_accuracy(figure: go.Figure, sweep: Findings) -> None:
    """Set the accuracy axis to the range of the trials with a margin; with one trial, Plotly's reaches 150%."""
    accuracies = [trial.accuracy for trial in sweep.ended if trial.accuracy is not None]
    figure.update_yaxes(tickformat=_PERCENT)
    if accuracies:
        low, high = min(accuracies), max(accuracies)
        margin = max(0.08 * (high - low), 0.01)
        figure.update_yaxes(range=[low - margin, high + margin])


def _scale_of(item: Range) -> dict[str, Any]:
    """Return Plotly's axis settings for a range; a wide logarithmic range has ticks only at powers of ten."""
    if item.choices:
        return {"type": "category", "categoryorder": "array", "categoryarray": list(item.choices)}
    if not item.log:
        return {"type": "linear"}
    return {"type": "log", "exponentformat": "power", "dtick": 1 if item.high / item.low >= _WIDE else None}


def _range_of(sweep: Findings, knob: str) -> Range:
    return next(item for item in sweep.plan.ranges if item.knob == knob)


def _axis(knob: str) -> str:
    return ", ".join(filter(None, (KNOBS[knob].label, KNOBS[knob].unit)))


def _add_by_state(figure: go.Figure, trials: Sequence[Trial], opened: Trial | None, x: Callable[[Trial], Any]) -> None:
    for state, (color, symbol) in _STATES.items():
        look: dict[str, Any] = {"name": state, "marker_color": color, "marker_symbol": symbol}
        _add_trials(figure, [trial for trial in trials if trial.state == state], opened, x, **look)


def _add_trials(
    figure: go.Figure,
    trials: Sequence[Trial],
    opened: Trial | None,
    x: Callable[[Trial], Any],
    y: Callable[[Trial], Any] = attrgetter("accuracy"),
    **more: Any,
) -> None:
    """Add one point for each trial, with a ring if it is `opened`; `more` is passed to `add_scatter`."""
    ringed = [opened is not None and trial.number == opened.number for trial in trials]
    texts = [[f"trial {trial.number + 1}: {trial.accuracy:.1%}", *space.in_words(trial.params)] for trial in trials]
    figure.add_scatter(
        x=list(map(x, trials)),
        y=list(map(y, trials)),
        customdata=[trial.number for trial in trials],
        text=["<br>".join(lines) for lines in texts],
        marker={
            "size": [15 if yes else 10 for yes in ringed],
            "opacity": 1,
            "line": {"color": MARK, "width": [3 if yes else 0 for yes in ringed]},
        },
        unselected={"marker": {"opacity": 1}},  # otherwise a click fades all other points
        hovertemplate="%{text}<extra></extra>",
        **{"mode": "markers"} | more,
    )
