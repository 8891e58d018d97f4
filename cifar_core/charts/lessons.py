"""Figures of the lessons: the outcomes of the conditions, and the internals of their networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import TEMPLATE, TRAINING, VALIDATION
from cifar_core.lessons import internals
from cifar_core.lessons.layer_probe import PIXELS, Layers
from cifar_core.lessons.results import Outcome
from cifar_core.network import architecture
from cifar_core.runs.curves import loss_metric

_BELOW = {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0, "xanchor": "left"}

Conditions = Mapping[str, Outcome]
"""Outcomes by the label of their condition, the recommended one first."""


def curves_figure(conditions: Conditions, metric: str, height: int = 400) -> go.Figure:
    """Return "accuracy" or "loss" of all conditions: validation as thick lines, training as pale ones.

    "loss" draws the cross-entropy if each run recorded it.
    """
    figure, percent = go.Figure(), metric == "accuracy"
    if metric == "loss":
        metric = loss_metric(*(outcome.curves for outcome in conditions.values()))
    form = style.metric_hover(metric)
    for number, (label, outcome) in enumerate(conditions.items()):
        color, dash = style.CONDITIONS[number], style.DASHES[number]
        training, validation = (outcome.curves.curves[name] for name in (metric, f"validation_{metric}"))
        figure.add_scatter(
            x=training.x,
            y=training.y,
            mode="lines",
            line={"color": color, "width": 1.2},
            opacity=0.4,
            name=f"{label}, training",
            hovertemplate=form,
            showlegend=False,
        )
        figure.add_scatter(
            x=validation.x,
            y=validation.y,
            mode="lines+markers",
            line={"color": color, "width": 2.5, "dash": dash},
            marker={"size": 7},
            name=label,
            hovertemplate=form,
        )
    title, unit = style.metric_titles(metric)
    _style(figure, f"{title}: validation thick, training pale", "epoch", unit, height)
    figure.update_yaxes(range=[0, 1.01], tickformat=".0%") if percent else figure.update_yaxes(rangemode="tozero")
    boundaries = {outcome.curves.boundary for outcome in conditions.values()} - {None}
    for boundary in boundaries:
        figure.add_vline(
            x=boundary,
            line={"color": style.NEUTRAL, "dash": "dash", "width": 1},
            annotation={"text": "backbone unfrozen", "font": {"size": 11}, "y": 0.02, "yanchor": "bottom"},
            annotation_position="right",
        )
    return figure


def histogram_figure(conditions: Conditions, height: int = 340) -> go.Figure:
    """Return the distribution of the pixel values in training, for each condition."""
    edges = np.linspace(-1, 1, internals.HISTOGRAM_BINS + 1)
    figure = go.Figure()
    for number, (label, outcome) in enumerate(conditions.items()):
        figure.add_scatter(
            x=edges,
            y=[*outcome.internals.histogram, outcome.internals.histogram[-1]],
            mode="lines",
            line={"color": style.CONDITIONS[number], "width": 2, "shape": "hv", "dash": style.DASHES[number]},
            name=label,
            hovertemplate="%{y:.1%}",
        )
    _style(figure, "Pixels as the network gets them", "value after scaling", "share of values", height)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def norms_figure(conditions: Conditions, height: int = 340) -> go.Figure:
    """Return the root mean square of the feature maps after each layer, for each condition."""
    figure = go.Figure()
    names = _short_names()
    for number, (label, outcome) in enumerate(conditions.items()):
        figure.add_scatter(
            x=names,
            y=outcome.internals.norms,
            mode="lines+markers",
            line={"color": style.CONDITIONS[number], "width": 2, "dash": style.DASHES[number]},
            marker={"size": 5},
            name=label,
            hovertemplate="%{y:.3g}",
        )
    _style(
        figure,
        "Size of the feature maps",
        "after the stem, block 0 to 16, the top convolution",
        "root mean square",
        height,
    )
    figure.update_xaxes(type="category", tickvals=names[::2], tickangle=0)
    largest = max(value for outcome in conditions.values() for value in outcome.internals.norms)
    smallest = min(value for outcome in conditions.values() for value in outcome.internals.norms)
    wide = largest > 30 * max(smallest, 1e-9)
    figure.update_yaxes(type="log", dtick=1) if wide else figure.update_yaxes(rangemode="tozero")
    return figure


def maps_figure(conditions: Conditions, height: int = 270) -> go.Figure:
    """Return a drawing and the last block's map of it in each condition, all on one scale of color."""
    titles = ["the drawing, 32×32"]
    for label, outcome in conditions.items():
        side = len(outcome.internals.last_map)
        titles.append(f"{label}: {side}×{side}")
    figure = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.02)
    figure.add_trace(go.Image(z=internals.drawing(), hoverinfo="skip"), 1, 1)
    top = max(max(map(max, outcome.internals.last_map)) for outcome in conditions.values())
    for column, outcome in enumerate(conditions.values(), 2):
        trace = go.Heatmap(
            z=outcome.internals.last_map,
            zmin=0,
            zmax=top,
            colorscale=style.SCALE,
            showscale=column == len(titles),
            colorbar={"title": {"text": "root mean square"}, "thickness": 12},
            hovertemplate="%{z:.2f}<extra></extra>",
            xgap=1,
            ygap=1,
        )
        figure.add_trace(trace, 1, column)
    figure.update_layout(
        template=TEMPLATE, height=height, margin={"l": 8, "r": 8, "t": 34, "b": 8}, hovermode="closest"
    )
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain")
    for column in range(1, len(titles) + 1):
        figure.update_yaxes(scaleanchor=f"x{column if column > 1 else ''}", row=1, col=column)
    figure.update_annotations(font={"size": 12})
    return figure


def width_figure(conditions: Conditions, height: int = 400) -> go.Figure:
    """Return accuracy against multiply-adds, one point an condition, as large as its file."""
    adds = [outcome.figures["multiply_adds"] / 1e6 for outcome in conditions.values()]
    sizes = [outcome.figures["model_bytes"] / 1e6 for outcome in conditions.values()]
    order = np.argsort(adds)
    labels = list(conditions)
    figure = go.Figure()
    for name, color, label in (
        ("training_accuracy", TRAINING, "training, last epoch"),
        ("validation_accuracy", VALIDATION, "validation, best epoch"),
    ):
        accuracies = [outcome.figures[name] for outcome in conditions.values()]
        figure.add_scatter(
            x=[adds[i] for i in order],
            y=[accuracies[i] for i in order],
            mode="lines+markers+text" if color == VALIDATION else "lines+markers",
            text=[labels[i] for i in order],
            textposition="bottom center",
            cliponaxis=False,
            line={"color": color, "width": 2},
            marker={"size": [8 + 2 * sizes[i] for i in order] if color == VALIDATION else 7},
            name=label,
            customdata=[[labels[i], sizes[i]] for i in order],
            hovertemplate="%{customdata[0]}: %{y:.1%}, %{x:.1f} million multiply-adds, %{customdata[1]:.1f} MB",
        )
    _style(figure, "Accuracy against cost", "multiply-adds for one image, millions", "share of images", height)
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(rangemode="tozero")
    figure.update_layout(hovermode="closest")
    return figure


def layers_figure(found: Layers, height: int = 460) -> go.Figure:
    """Return the accuracy of a linear probe after each layer, for the first weights and for random numbers."""
    figure = go.Figure()
    names = [PIXELS, *_short_names()]
    for number, network in enumerate(found.networks):
        figure.add_scatter(
            x=names,
            y=network.accuracies,
            mode="lines+markers",
            line={"color": (style.RIGHT, style.NEUTRAL)[number], "width": 2.5, "dash": style.DASHES[number]},
            marker={"size": 7},
            name=network.weights,
            customdata=network.features,
            hovertemplate="%{y:.1%} from %{customdata:,} numbers an image",
        )
    figure.add_hline(y=0.1, line={"color": style.NEUTRAL, "width": 1, "dash": "dot"}, annotation={"text": "guessing"})
    _style(
        figure,
        "What a linear classifier can read",
        "from the pixels, after the stem, block 0 to 16, the top convolution",
        "validation accuracy",
        height,
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[0, 1.01], tickformat=".0%")
    return figure


def _short_names() -> list[str]:
    """Return the layers' names for an axis: the stem, the blocks' numbers, the top convolution."""
    return ["stem", *map(str, range(architecture.BLOCK_COUNT)), "top"]


def _style(figure: go.Figure, title: str, x: str, y: str, height: int) -> None:
    figure.update_layout(template=TEMPLATE, title={"text": title}, height=height, legend=_BELOW)
    figure.update_layout(margin={"b": 96}, showlegend=True)
    figure.update_xaxes(title={"text": x})
    figure.update_yaxes(title={"text": y})
