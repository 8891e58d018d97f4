"""The lab's figures: the curves of the settings that are tried, and the decision map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from cifar_core.charts import style
from cifar_core.data.cifar10 import CLASSES
from cifar_core.search import head_lab_map
from cifar_core.search.head_lab_map import Map

_OLDEST, _NEWEST = 0.16, 0.6  # how visible earlier curves are
Rows = Sequence[Mapping[str, float]]


def curves(rows: Rows, earlier: Sequence[tuple[str, Rows]], metric: str, epochs: int, height: int = 320) -> go.Figure:
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
        x=found.x, y=found.y, z=head_lab_map.ground(found, predicted), zmin=-0.5, zmax=9.5, colorscale=steps,
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
