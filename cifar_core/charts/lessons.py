"""Figures of the lessons: outcomes of the conditions, and internals of their networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import TRAINING, VALIDATION
from cifar_core.lessons import experiments
from cifar_core.lessons.experiments import Outcome
from cifar_core.lessons.layer_probe import PIXELS, Layers
from cifar_core.network import architecture
from cifar_core.runs.curves import loss_metric

Conditions = Mapping[str, Outcome]
"""Outcomes by label of the condition, the recommended one first."""


def curves_figure(conditions: Conditions, metric: str) -> go.Figure:
    """Return "accuracy" or "loss" of all conditions: validation as thick lines, training as pale lines.

    "loss" is the cross-entropy if all runs recorded it.
    """
    if metric == "loss":
        metric = loss_metric(*(outcome.curves for outcome in conditions.values()))
    title, unit, hover = style.METRICS[metric]
    figure = style.figure(f"{title} (pale: training)", "epoch", unit, 400)
    for number, (label, outcome) in enumerate(conditions.items()):
        training, validation = (outcome.curves.curves[name] for name in (metric, f"validation_{metric}"))
        pale = {"line": {"color": style.CONDITIONS[number], "width": 1.2}, "opacity": 0.4, "showlegend": False}
        figure.add_scatter(x=training.x, y=training.y, mode="lines", name=f"{label}, training", **pale)
        _add_line(figure, number, label, validation.x, validation.y)
    figure.update_traces(hovertemplate=hover)
    style.show_percent(figure) if metric == "accuracy" else figure.update_yaxes(rangemode="tozero")
    note = {"text": "fine-tuning", "font": {"size": 11}, "y": 0.02, "yanchor": "bottom"}
    line = {"color": style.NEUTRAL, "dash": "dash", "width": 1}
    for boundary in {outcome.curves.boundary for outcome in conditions.values()} - {None}:
        figure.add_vline(x=boundary, line=line, annotation=note, annotation_position="right")
    return figure


def histogram_figure(conditions: Conditions) -> go.Figure:
    """Return the distribution of pixel values in training for each condition."""
    edges = np.linspace(-1, 1, experiments.HISTOGRAM_BINS + 1)
    figure = style.figure("Input pixels after scaling", "value after scaling", "share of values", 340)
    for number, (label, outcome) in enumerate(conditions.items()):
        shares = outcome.internals.histogram
        _add_line(figure, number, label, edges, [*shares, shares[-1]], mode="lines", hovertemplate="%{y:.1%}")
    figure.update_traces(line_shape="hv")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def norms_figure(conditions: Conditions) -> go.Figure:
    """Return the root mean square of the feature maps after each layer for each condition."""
    x = "stem, block 1 to 17, top"
    figure, names = style.figure("Activation magnitude", x, "root mean square", 340), _short_names()
    for number, (label, outcome) in enumerate(conditions.items()):
        _add_line(figure, number, label, names, outcome.internals.norms, hovertemplate="%{y:.3g}")
    figure.update_xaxes(type="category", tickvals=names[::2], tickangle=0)
    norms = [value for outcome in conditions.values() for value in outcome.internals.norms]
    wide = max(norms) > 30 * max(min(norms), 1e-9)
    figure.update_yaxes(type="log", dtick=1) if wide else figure.update_yaxes(rangemode="tozero")
    return figure


def maps_figure(conditions: Conditions) -> go.Figure:
    """Return a drawing and its map of the last block for each condition, with a common color scale."""
    maps = {label: outcome.internals.last_map for label, outcome in conditions.items()}
    titles = ["drawing", *(f"{label}: {len(rows)}×{len(rows)}" for label, rows in maps.items())]
    figure = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.02)
    figure.add_trace(go.Image(z=experiments.drawing(), hoverinfo="skip"), 1, 1)
    for column, rows in enumerate(maps.values(), 2):
        heat = go.Heatmap(z=rows, coloraxis="coloraxis", hovertemplate="%{z:.2f}<extra></extra>", xgap=1, ygap=1)
        figure.add_trace(heat, 1, column)
        figure.update_yaxes(scaleanchor=f"x{column}", row=1, col=column)
    top = max(max(map(max, rows)) for rows in maps.values())
    figure.update_layout(style.layout("The last feature map, root mean square", "", "", 240), hovermode="closest")
    colors = {"colorscale": style.SCALE, "cmin": 0, "cmax": top, "colorbar_thickness": 12}
    figure.update_layout(margin={"l": 8, "r": 8, "t": 70, "b": 8}, coloraxis=colors)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain")
    figure.update_annotations(font_size=12)
    return figure


def width_figure(conditions: Conditions) -> go.Figure:
    """Return accuracy against multiply-adds, one point for each condition, sized by its file."""
    x = "multiply-adds for one image, millions"
    figure = style.figure("Accuracy against cost", x, "share of images", 400)
    cheapest_first = sorted(conditions.items(), key=lambda item: item[1].figures["multiply_adds"])
    labels, figures = [label for label, _ in cheapest_first], [outcome.figures for _, outcome in cheapest_first]
    adds, sizes = ([one[name] / 1e6 for one in figures] for name in ("multiply_adds", "model_bytes"))
    for name, color, label, size, texts in (
        ("training_accuracy", TRAINING, "training, last epoch", 7, None),
        ("validation_accuracy", VALIDATION, "validation, best epoch", [8 + 2 * mb for mb in sizes], labels),
    ):
        figure.add_scatter(
            x=adds,
            y=[one[name] for one in figures],
            mode="lines+markers+text" if texts else "lines+markers",
            text=texts,
            textposition="bottom center",
            cliponaxis=False,
            line={"color": color, "width": 2},
            marker={"size": size},
            name=label,
            customdata=list(zip(labels, sizes, strict=True)),
            hovertemplate="%{customdata[0]}: %{y:.1%}, %{x:.1f} million multiply-adds, %{customdata[1]:.1f} MB",
        )
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(rangemode="tozero")
    return figure.update_layout(hovermode="closest")


def layers_figure(layers: Layers) -> go.Figure:
    """Return the accuracy of a linear probe after each layer, for initial and for random weights."""
    x = "pixels, stem, block 1 to 17, top"
    figure = style.figure("Accuracy of a linear classifier on each layer", x, "validation accuracy", 460)
    hover = "%{y:.1%} from %{customdata:,} numbers an image"
    names = [PIXELS, *_short_names()]
    for number, (network, color) in enumerate(zip(layers.networks, (style.RIGHT, style.NEUTRAL), strict=True)):
        more = {"customdata": network.features, "hovertemplate": hover, "line_color": color}
        _add_line(figure, number, network.weights, names, network.accuracies, **more)
    figure.add_hline(y=0.1, line={"color": style.NEUTRAL, "width": 1, "dash": "dot"}, annotation={"text": "guessing"})
    figure.update_xaxes(type="category")
    style.show_percent(figure)
    return figure


def _add_line(figure: go.Figure, number: int, name: str, x: Any, y: Sequence[float] | np.ndarray, **more: Any) -> None:
    """Add the line of condition `number`; `more` are arguments of `add_scatter`."""
    look = {"line_color": style.CONDITIONS[number], "line_dash": style.DASHES[number], "line_width": 2.5}
    figure.add_scatter(x=x, y=y, name=name, **{"mode": "lines+markers", "marker_size": 6} | look | more)


def _short_names() -> list[str]:
    """Return the layer names for an axis: the stem, the block numbers, the top convolution."""
    return ["stem", *map(str, range(1, architecture.BLOCK_COUNT + 1)), "top"]
