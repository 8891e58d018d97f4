"""Figures of what a finished run gets right and wrong: confusion, classes, robustness, what fine-tuning changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import RIGHT, TEMPLATE, WRONG
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.mistakes import ClassFigures
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.evaluation.story import ClassChange

_ROWS, _COLUMNS = 2, 4


_CELLS = {True: (31, 106, 165), False: (180, 83, 9)}  # RGB of a full cell: right, wrong
_EMPTY_CELL = (247, 248, 250)


def confusion_figure(
    counts: np.ndarray, chosen: tuple[int, int] | None = None, height: int = 560, shares: bool = False
) -> go.Figure:
    """Return the confusion matrix `counts`, int (10, 10), rows labels, columns answers; `chosen` is framed.

    Right answers are blue, wrong ones orange, each by their share of the row; the digits are images, or percent with
    `shares`. The last trace is a point for each cell, in the order of the rows, which can be selected: a heat map
    cannot.
    """
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(CLASSES), dtype=bool)
    tops = {True: 1.0, False: max(rates[~diagonal].max(), 0.02)}
    figure = go.Figure()
    for is_right, color in _CELLS.items():
        figure.add_heatmap(
            z=np.where(diagonal == is_right, rates, np.nan),
            x=list(CLASSES),
            y=list(CLASSES),
            zmin=0,
            zmax=tops[is_right],
            colorscale=[[0, f"rgb{_EMPTY_CELL}"], [1, f"rgb{color}"]],
            showscale=False,
            hoverinfo="skip",
            xgap=1,
            ygap=1,
        )
    digits = [
        f"{100 * rate:.0f}" if shares else f"{count:,}" for rate, count in zip(rates.flat, counts.flat, strict=True)
    ]
    figure.add_scatter(
        x=[name for _ in CLASSES for name in CLASSES],
        y=[name for name in CLASSES for _ in CLASSES],
        mode="markers+text",
        text=[digit if count else "" for digit, count in zip(digits, counts.flat, strict=True)],
        customdata=np.stack([rates.ravel(), counts.ravel()], axis=1),
        marker={"size": 34, "symbol": "square", "color": "rgba(0,0,0,0)"},
        textfont={"color": _digit_colors(rates, diagonal, tops), "size": 14},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="labelled %{y}, called %{x}: %{customdata[1]:,} images, %{customdata[0]:.1%} of the class"
        "<extra></extra>",
    )
    if chosen is not None:
        label, answer = chosen
        box = {"x0": answer - 0.5, "x1": answer + 0.5, "y0": label - 0.5, "y1": label + 0.5}
        figure.add_shape(type="rect", **box, line={"color": WRONG if label != answer else RIGHT, "width": 3})
    _style(figure, f"Confusion matrix ({'percent of the label' if shares else 'images'})", height)
    figure.update_layout(margin={"l": 90, "b": 84}, hovermode="closest", clickmode="event+select", dragmode=False)
    figure.update_xaxes(title={"text": "the network's answer"}, showgrid=False, tickangle=-45, range=[-0.5, 9.5])
    figure.update_yaxes(title={"text": "the label"}, showgrid=False, range=[9.5, -0.5])
    return figure


def _digit_colors(rates: np.ndarray, diagonal: np.ndarray, tops: Mapping[bool, float]) -> list[str]:
    """Return black or white for each cell, whichever stands out more against its color (WCAG 2)."""
    fill = (rates / np.where(diagonal, tops[True], tops[False]))[..., None]
    colors = _EMPTY_CELL + fill * (np.where(diagonal[..., None], _CELLS[True], _CELLS[False]) - np.array(_EMPTY_CELL))
    parts = colors / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)  # black and white stand out alike at 0.179
    return ["#000000" if value > 0.179 else "#ffffff" for value in luminance.ravel()]


def class_figure(figures: Sequence[ClassFigures], height: int = 340) -> go.Figure:
    """Return precision, recall and F1 of every class as dots; these, unlike bars, may leave out the empty part."""
    figure = go.Figure()
    looks = {
        "precision": (style.SERIES[0], "circle"),
        "recall": (style.SERIES[1], "diamond"),
        "f1": (style.HEAD, "line-ew"),
    }
    for name, (color, symbol) in looks.items():
        figure.add_scatter(
            x=[one.name for one in figures],
            y=[getattr(one, name) for one in figures],
            name="F1" if name == "f1" else name,
            mode="markers",
            marker={"color": color, "size": 12, "symbol": symbol, "line": {"color": color, "width": 2}},
            hovertemplate="%{y:.1%}",
        )
    _style(figure, "Each class", height)
    lowest = min((getattr(one, name) or 0 for one in figures for name in ("precision", "recall")), default=0.0)
    figure.update_yaxes(range=[max(0.0, np.floor(lowest * 10) / 10), 1.01], tickformat=".0%", title="share of images")
    return figure


def robustness_figure(measured: Mapping[str, Measured], height: int = 560) -> go.Figure:
    """Return a small chart for each corruption, a line for each run (its words -> its measures), 4 at most."""
    titles = [
        f"{corruption.label}{f' ({corruption.unit})' if corruption.unit else ''}" for corruption in CORRUPTIONS.values()
    ]
    figure = make_subplots(
        _ROWS, _COLUMNS, shared_yaxes=True, subplot_titles=titles, vertical_spacing=0.17, horizontal_spacing=0.025
    )
    for number, (name, known) in enumerate(measured.items()):
        for place, corruption in enumerate(CORRUPTIONS.values()):
            found = known.accuracies.get(corruption.name, ())
            x = (corruption.neutral, *corruption.strengths[: len(found)])
            figure.add_scatter(
                x=x,
                y=(known.clean, *found),
                name=style.escaped(name),
                legendgroup=name,
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": style.SERIES[number], "width": 2, "dash": style.DASHES[number]},
                marker={"size": 6},
                hovertemplate=f"%{{y:.1%}} at %{{x:g}} {corruption.unit}",
                row=place // _COLUMNS + 1,
                col=place % _COLUMNS + 1,
            )
    _style(figure, "", height)
    figure.update_layout(margin={"t": 70, "b": 40}, legend={"y": 1.07})
    figure.update_yaxes(range=[0, 1.01], tickformat=".0%")
    figure.update_yaxes(title={"text": "accuracy"}, col=1)
    for place, corruption in enumerate(CORRUPTIONS.values()):
        if corruption.neutral > corruption.strengths[0]:  # worse is to the right everywhere
            figure.update_xaxes(autorange="reversed", row=place // _COLUMNS + 1, col=place % _COLUMNS + 1)
    return figure


def change_figure(changes: Sequence[ClassChange], height: int = 340) -> go.Figure:
    """Return how many images of each class fine-tuning put right (up) and wrong (down)."""
    figure = go.Figure()
    for name, color, sign in (("fixed", RIGHT, 1), ("broken", WRONG, -1)):
        values = [sign * getattr(one, name) for one in changes]
        figure.add_bar(
            x=[one.name for one in changes],
            y=values,
            customdata=np.abs(values),
            name="put right" if sign > 0 else "put wrong",
            marker={"color": color},
            hovertemplate="%{customdata} images",
        )
    _style(figure, "What fine-tuning changed (validation images)", height)
    figure.update_layout(barmode="relative")
    figure.update_yaxes(title={"text": "images"}, zeroline=True, zerolinecolor=style.GUIDE)
    return figure


def _style(figure: go.Figure, title: str, height: int, **layout: Any) -> None:
    figure.update_layout(template=TEMPLATE, title={"text": title}, height=height, uirevision="keep", **layout)
