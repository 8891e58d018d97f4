"""Figures of what a finished run gets right and wrong: confusion, classes, robustness, what fine-tuning changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import RIGHT, WRONG
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.predictions import ClassFigures
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.evaluation.story import ClassChange

_ROWS, _COLUMNS = 2, 4


def confusion_figure(counts: np.ndarray, chosen: tuple[int, int] | None = None, shares: bool = False) -> go.Figure:
    """Return the confusion matrix `counts`, int (10, 10), rows labels, columns answers; `chosen` is framed.

    Right answers are blue, wrong ones orange, each by their share of the row; the digits are images, or percent with
    `shares`. The last trace is a point for each cell, in the order of the rows, with its number as `customdata`.
    """
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(CLASSES), dtype=bool)
    tops = {True: 1.0, False: max(rates[~diagonal].max(), 0.02)}
    title = f"Confusion matrix ({'percent of the label' if shares else 'images'})"
    figure = style.figure(title, "the network's answer", "the label", 560)
    for is_right, color in style.CELLS.items():
        z = np.where(diagonal == is_right, rates, np.nan)
        scale = [[0, f"rgb{style.EMPTY_CELL}"], [1, f"rgb{color}"]]
        figure.add_heatmap(z=z, x=CLASSES, y=CLASSES, zmin=0, zmax=tops[is_right], colorscale=scale, showscale=False)
    figure.update_traces(hoverinfo="skip", xgap=1, ygap=1)
    digits = (
        np.char.mod("%.0f", 100 * rates) if shares else np.array([[f"{count:,}" for count in row] for row in counts])
    )
    figure.add_scatter(
        x=np.tile(CLASSES, len(CLASSES)),
        y=np.repeat(CLASSES, len(CLASSES)),
        mode="markers+text",
        text=np.where(counts, digits, "").ravel(),
        customdata=list(range(counts.size)),
        hovertext=[f"{count:,} images, {rate:.1%}" for count, rate in zip(counts.flat, rates.flat, strict=True)],
        marker={"size": 34, "symbol": "square", "color": style.INVISIBLE},
        textfont={"color": _digit_colors(rates, diagonal, tops), "size": 14},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="label %{y}, answer %{x}: %{hovertext} of the class<extra></extra>",
    )
    if chosen is not None:
        label, answer = chosen
        box = {"x0": answer - 0.5, "x1": answer + 0.5, "y0": label - 0.5, "y1": label + 0.5}
        figure.add_shape(type="rect", **box, line={"color": WRONG if label != answer else RIGHT, "width": 3})
    figure.update_layout(margin={"l": 90, "b": 84}, hovermode="closest", clickmode="event+select", dragmode=False)
    figure.update_xaxes(showgrid=False, tickangle=-45, range=[-0.5, 9.5])
    figure.update_yaxes(showgrid=False, range=[9.5, -0.5])
    return figure


def _digit_colors(rates: np.ndarray, diagonal: np.ndarray, tops: Mapping[bool, float]) -> list[str]:
    """Return black or white for each cell, whichever has more contrast to its color (WCAG 2)."""
    fill = (rates / np.where(diagonal, tops[True], tops[False]))[..., None]
    full = np.where(diagonal[..., None], style.CELLS[True], style.CELLS[False])
    parts = (style.EMPTY_CELL + fill * (full - np.array(style.EMPTY_CELL))) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)  # black and white have equal contrast at 0.179
    return ["#000000" if value > 0.179 else "#ffffff" for value in luminance.ravel()]


def class_figure(figures: Sequence[ClassFigures]) -> go.Figure:
    """Return precision, recall and F1 of every class as dots; the axis starts below the lowest."""
    figure = style.figure("Each class", "", "share of images", 340)
    looks = (
        ("precision", "precision", style.SERIES[0], "circle"),
        ("recall", "recall", style.SERIES[1], "diamond"),
        ("f1", "F1", style.HEAD, "line-ew"),
    )
    names = [one.name for one in figures]
    for field, name, color, symbol in looks:
        marker = {"color": color, "size": 12, "symbol": symbol, "line": {"color": color, "width": 2}}
        values = [getattr(one, field) for one in figures]
        figure.add_scatter(x=names, y=values, name=name, mode="markers", marker=marker, hovertemplate="%{y:.1%}")
    lowest = min((getattr(one, name) or 0 for one in figures for name in ("precision", "recall")), default=0.0)
    style.show_percent(figure, range=[max(0.0, np.floor(lowest * 10) / 10), 1.01])
    return figure


def robustness_figure(measured: Mapping[str, Measured]) -> go.Figure:
    """Return a small chart for each corruption, a line for each run (name -> measures), 4 at most."""
    corruptions = list(CORRUPTIONS.values())
    titles = [one.label + (f" ({one.unit})" if one.unit else "") for one in corruptions]
    spacing = {"vertical_spacing": 0.17, "horizontal_spacing": 0.025}
    figure = make_subplots(_ROWS, _COLUMNS, shared_yaxes=True, subplot_titles=titles, **spacing)
    for place, corruption in enumerate(corruptions):
        where = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
        for number, (name, known) in enumerate(measured.items()):
            found = known.accuracies.get(corruption.name, ())
            figure.add_scatter(
                x=(corruption.neutral, *corruption.strengths[: len(found)]),
                y=(known.clean, *found),
                name=style.escaped(name),
                legendgroup=name,
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": style.SERIES[number], "width": 2, "dash": style.DASHES[number]},
                marker={"size": 6},
                hovertemplate=f"%{{y:.1%}} at %{{x:g}} {corruption.unit}",
                **where,
            )
        if corruption.neutral > corruption.strengths[0]:  # worse is to the right everywhere
            figure.update_xaxes(autorange="reversed", **where)
    figure.update_layout(template=style.TEMPLATE, height=560, uirevision="keep")
    figure.update_layout(margin={"t": 70, "b": 40}, legend={"y": 1.07})
    style.show_percent(figure)
    figure.update_yaxes(title_text="accuracy", col=1)
    return figure


def change_figure(changes: Sequence[ClassChange]) -> go.Figure:
    """Return how many images of each class fine-tuning put right (up) and wrong (down)."""
    figure = style.figure("What fine-tuning changed (validation images)", "", "images", 340, barmode="relative")
    names = [one.name for one in changes]
    for label, color, counts in (
        ("put right", RIGHT, np.array([one.fixed for one in changes])),
        ("put wrong", WRONG, -np.array([one.broken for one in changes])),
    ):
        hover = {"customdata": np.abs(counts), "hovertemplate": "%{customdata} images"}
        figure.add_bar(x=names, y=counts, name=label, marker_color=color, **hover)
    figure.update_yaxes(zeroline=True, zerolinecolor=style.GUIDE)
    return figure
