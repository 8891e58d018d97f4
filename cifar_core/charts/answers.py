"""Figures of predictions: confusion matrix, classes, robustness, calibration, and single pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import RIGHT, TEMPLATE, WRONG
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.phase_summary import ClassChange
from cifar_core.evaluation.predictions import ClassFigures
from cifar_core.evaluation.robustness import CORRUPTIONS, Measured
from cifar_core.inference.calibration import Reliability
from cifar_core.inference.explain import Change, Effect
from cifar_core.inference.pins import Watch, Watched
from cifar_core.runs.curves import PHASE_NAMES

_PICTURE, _HEADING = 116, 38  # pixels
_LINES, _BARS = 0.345, 0.285  # shares of the row height
_WATCH_HEIGHT, _WATCH_BELOW = 656, {True: 96, False: 40}  # pixels; bottom margin with and without a slider
_NARROW_COLUMNS = 3  # on a phone
_LABELLED = 0.25


def confusion_rates(counts: np.ndarray) -> np.ndarray:
    """Return the share of each cell of its row, float (10, 10)."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def highest_mistake(counts: np.ndarray) -> float:
    """Return the highest share of a wrong prediction, at least 2%: the full red of a confusion matrix."""
    return max(confusion_rates(counts)[~np.eye(len(CLASSES), dtype=bool)].max(), 0.02)


def confusion_figure(
    counts: np.ndarray, chosen: tuple[int, int] | None = None, shares: bool = False, top: float | None = None
) -> go.Figure:
    """Return the confusion matrix `counts`, int (10, 10): rows are labels, columns predictions.

    The cell `chosen` has a frame. Correct predictions are green, wrong ones red, by their share of the row; full red is
    the share `top`, by default the highest. The cells show numbers of images, or percent if `shares`. The last trace
    has a point for each cell, row by row, with its number as `customdata`; its `meta["dark"]` contains the changes for
    the dark theme.
    """
    rates, diagonal = confusion_rates(counts), np.eye(len(CLASSES), dtype=bool)
    top = top or highest_mistake(counts)
    fill = rates / np.where(diagonal, 1.0, top)
    title = f"Confusion matrix ({'percent of the label' if shares else 'images'})"
    figure = style.figure(title, "prediction", "label", 560)
    for is_right, color in style.CELLS.items():
        z, most = np.where(diagonal == is_right, rates, np.nan), 1.0 if is_right else top
        scale = [[share, f"rgba{(*color, share)}"] for share in (0, 1)]  # starts transparent, for both themes
        figure.add_heatmap(z=z, x=CLASSES, y=CLASSES, zmin=0, zmax=most, colorscale=scale, showscale=False)
    figure.update_traces(hoverinfo="skip", xgap=1, ygap=1)
    if shares:
        digits = np.where(rates < 0.005, "&lt;1", np.char.mod("%.0f", 100 * rates))
    else:
        digits = np.vectorize("{:,}".format, otypes=[object])(counts)
    figure.add_scatter(
        x=np.tile(CLASSES, len(CLASSES)),
        y=np.repeat(CLASSES, len(CLASSES)),
        mode="markers+text",
        text=np.where(counts, digits, "").ravel(),
        customdata=list(range(counts.size)),
        hovertext=[f"{count:,} images, {rate:.1%}" for count, rate in zip(counts.flat, rates.flat, strict=True)],
        marker={"size": 34, "symbol": "square", "color": style.INVISIBLE},
        textfont={"color": _digit_colors(fill, "light"), "size": 14 if shares else 12},
        meta={"dark": {"textfont": {"color": _digit_colors(fill, "dark")}}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="label %{y}, prediction %{x}: %{hovertext} of the class<extra></extra>",
    )
    if chosen is not None:
        label, answer = chosen
        box = {"x0": answer - 0.5, "x1": answer + 0.5, "y0": label - 0.5, "y1": label + 0.5}
        figure.add_shape(type="rect", **box, line={"color": WRONG if label != answer else RIGHT, "width": 3})
    figure.update_layout(margin={"l": 90, "b": 84}, hovermode="closest", clickmode="event+select", dragmode=False)
    figure.update_xaxes(showgrid=False, tickangle=-45, range=[-0.5, 9.5])
    figure.update_yaxes(showgrid=False, range=[9.5, -0.5])
    return figure


def _digit_colors(fill: np.ndarray, theme: str) -> list[str]:
    """Return black or white for each cell, whichever has more contrast (WCAG 2); `fill`, 0..1, is (10, 10)."""
    full = np.where(np.eye(len(fill), dtype=bool)[..., None], style.CELLS[True], style.CELLS[False])
    background = np.array(style.BACKGROUNDS[theme])
    parts = (background + fill[..., None] * (full - background)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)  # at 0.179, black and white have the same contrast
    return ["#000000" if value > 0.179 else "#ffffff" for value in luminance.ravel()]


def class_figure(figures: Sequence[ClassFigures]) -> go.Figure:
    """Return precision, recall and F1 of all classes as dots; the axis starts below the lowest."""
    figure = style.figure("Each class", "", "share of images", 340)
    names = [one.name for one in figures]
    for field, color, symbol in (
        ("precision", style.SERIES[0], "circle"),
        ("recall", style.SERIES[1], "diamond"),
        ("F1", style.HEAD, "line-ew"),
    ):
        marker = {"color": color, "size": 12, "symbol": symbol, "line": {"color": color, "width": 2}}
        values = [getattr(one, field.lower()) for one in figures]
        figure.add_scatter(x=names, y=values, name=field, mode="markers", marker=marker, hovertemplate="%{y:.1%}")
    lowest = min((getattr(one, name) or 0 for one in figures for name in ("precision", "recall")), default=0.0)
    style.show_percent(figure, range=[max(0.0, np.floor(lowest * 10) / 10), 1.01])
    return figure


def robustness_figure(measured: Mapping[str, Measured]) -> go.Figure:
    """Return a small chart for each corruption, with a line for each run (name -> measures), at most 4."""
    corruptions = list(CORRUPTIONS.values())
    titles = [one.label + (f" ({one.unit})" if one.unit else "") for one in corruptions]
    spacing = {"vertical_spacing": 0.17, "horizontal_spacing": 0.025}
    figure = make_subplots(2, 4, shared_yaxes=True, subplot_titles=titles, **spacing)
    for place, corruption in enumerate(corruptions):
        where = {"row": place // 4 + 1, "col": place % 4 + 1}
        for number, (name, known) in enumerate(measured.items()):
            accuracies = known.accuracies.get(corruption.name, ())
            figure.add_scatter(
                x=(corruption.neutral, *corruption.strengths[: len(accuracies)]),
                y=(known.clean, *accuracies),
                name=style.escaped(name),
                legendgroup=name,
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": style.SERIES[number], "width": 2, "dash": style.DASHES[number]},
                marker={"size": 6},
                hovertemplate=f"%{{y:.1%}} at %{{x:g}} {corruption.unit}",
                **where,
            )
        weakest, strongest = corruption.neutral, corruption.strengths[-1]  # on the right, also where it is the lowest
        margin = 0.06 * (strongest - weakest)
        figure.update_xaxes(range=[weakest - margin, strongest + margin], **where)
    figure.update_layout(template=style.TEMPLATE, height=560)
    style.show_percent(figure)
    figure.update_yaxes(title_text="accuracy", col=1)
    return figure


def change_figure(changes: Sequence[ClassChange]) -> go.Figure:
    """Return the images of each class that fine-tuning fixed (up) and broke (down)."""
    figure = style.figure("What fine-tuning changed", "", "validation images", 340, barmode="relative")
    names = [one.name for one in changes]
    for label, color, counts in (
        ("corrected", RIGHT, np.array([one.corrected for one in changes])),
        ("broken", WRONG, -np.array([one.broken for one in changes])),
    ):
        hover = {"customdata": np.abs(counts), "hovertemplate": "%{customdata} images"}
        figure.add_bar(x=names, y=counts, name=label, marker_color=color, **hover)
    figure.update_yaxes(zeroline=True, zerolinecolor=style.GUIDE)
    return figure


def watch_figure(watch: Watch, planned: float = 0, scrubs: bool = False) -> go.Figure:
    """Return the pinned pictures, each with its prediction, and its probabilities as lines over the epochs and as bars.

    `planned` is the minimum end of the axis, in epochs. With `scrubs`, there is a frame for each recorded moment, if
    there are several, and `layout.meta["moments"]` contains their names. `layout.meta["narrow"]` contains the layout
    changes for a phone: rows of three.
    """
    watched = watch.watched
    recorded = sorted({float(epoch) for one in watched for epoch in one.epochs})
    scrubs = scrubs and len(recorded) > 1
    columns = max(len(watched), 1)
    figure = make_subplots(3, columns, shared_yaxes=True)
    end = max([planned, *(float(one.epochs[-1]) for one in watched if len(one.epochs)), 1]) * 1.02
    moment = recorded[-1] if recorded else 0.0
    for column, one in enumerate(watched, 1):
        figure.add_traces([*_lines(one), *_marks(one, moment)], [1] * (len(CLASSES) + 1) + [2, 3], column)
        place = {"xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "top"}
        figure.add_layout_image(source=png(one.pin.image), **place)
        if watch.boundary is not None:
            color, where = style.FINE_TUNING, {"row": 1, "col": column}
            figure.add_vrect(x0=watch.boundary, x1=end, fillcolor=color, opacity=0.09, line_width=0, **where)
            figure.add_vline(x=watch.boundary, line={"color": color, "dash": "dash", "width": 1.5}, **where)
    look = {"showlegend": False, "hovermode": "closest", "barmode": "overlay"}
    margin = {"l": 84, "r": 12, "t": 12, "b": _WATCH_BELOW[scrubs]}
    figure.update_layout(template=TEMPLATE, margin=margin, **look)
    figure.update_yaxes(range=[0, 1.04], tickformat=".0%", row=1)
    figure.update_xaxes(range=[0, end], title={"text": "epoch", "standoff": 2, "font": {"size": 11}}, row=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, dtick=1, tickfont={"size": 11}, row=2)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5], tickformat=".0%", tickfont={"size": 11}, row=2)
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True, row=3)
    figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True, row=3)
    meta: dict[str, Any] = {"narrow": _arranged(columns, _NARROW_COLUMNS, scrubs)}
    if scrubs:
        size = len(CLASSES) + 3  # traces of a picture; the last three change
        traces = [size * column + len(CLASSES) + part for column in range(columns) for part in range(3)]
        figure.frames = [
            {"name": f"{moment:g}", "data": [mark for one in watched for mark in _at(one, moment)], "traces": traces}
            for moment in recorded
        ]
        meta["moments"] = [_moment_name(moment, watch.boundary) for moment in recorded]
    return figure.update_layout(_arranged(columns, columns, scrubs), meta=meta)


def _arranged(count: int, columns: int, scrubs: bool) -> dict[str, Any]:
    """Return height and positions of `count` pictures, headings, lines and bars, `columns` per row, as layout."""
    rows, columns = -(-count // columns), min(count, columns)
    height, picture = (_WATCH_HEIGHT, _PICTURE) if rows == 1 else (rows * 466 + 56, 78)  # pixels
    width, share = (1 - 0.018 * (columns - 1)) / columns, (1 - 0.03 * (rows - 1)) / rows
    layout: dict[str, Any] = {"height": height, "images": []}
    pixel = 1 / (height - 12 - _WATCH_BELOW[scrubs])
    for number in range(count):
        row, column = divmod(number, columns)
        left, low = column * (width + 0.018), 1 - (row + 1) * share - 0.03 * row
        up_heading = low + share - picture * pixel
        top = up_heading - _HEADING * pixel
        for axis, down, up in (
            (number, top - share * _LINES, top),
            (number + count, low, low + share * _BARS),
            (number + 2 * count, top, up_heading),
        ):
            name = str(axis + 1) if axis else ""
            layout[f"xaxis{name}"] = {"domain": [left, left + width]}
            layout[f"yaxis{name}"] = {"domain": [down, up], "showticklabels": column == 0}
        place = {"x": left + width / 2, "y": low + share, "sizex": width, "sizey": picture * pixel}
        layout["images"].append(place)
    return layout


def effect_figure(change: Change, effect: Effect, value: float, answer: int) -> go.Figure:
    """Return the class's probability over a slider's range, the current value, and where the prediction flips."""
    color = style.CLASS_COLORS[answer]
    note = {"yref": "paper", "yanchor": "top", "showarrow": False, "font": {"size": 12}}
    line = {
        "type": "scatter",
        "x": effect.values,
        "y": effect.probabilities[:, answer],
        "mode": "lines",
        "line": {"color": color, "width": 2},
        "fill": "tozeroy",
        "hovertemplate": f"{CLASSES[answer]} %{{y:.0%}} at %{{x:g}}{change.unit}<extra></extra>",
    }
    verticals = [(value, style.TRAINING, "solid")]
    verticals += [(at, style.CLASS_COLORS[label], "dot") for at, label in effect.flips]
    layout = {  # built at once: adding elements one by one takes ten times as long
        "template": TEMPLATE,
        "height": 74,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 2, "b": 2},
        "xaxis": {"range": [change.low, change.high], "visible": False},
        "yaxis": {"range": [0, 1.02], "visible": False},
        "shapes": [
            {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": shade, "width": 2, "dash": dash}}
            for x, shade, dash in verticals
        ],
        "annotations": [
            note
            | {"x": at, "y": 1 - 0.25 * (number % 2), "text": f"{CLASSES[label]} at {change.text(at)}"}
            | {"xanchor": "left" if at < (change.low + change.high) / 2 else "right"}
            for number, (at, label) in enumerate(effect.flips)  # labels point inward, each second one is lower
        ],
    }
    return go.Figure([line], layout)


def reliability_figure(before: Reliability, after: Reliability, images: str, height: int = 360) -> go.Figure:
    """Return the reliability diagram of `images` before and after temperature scaling."""
    axes = ("predicted probability", "share of correct predictions")
    figure = style.figure(f"Reliability on {images}", *axes, height, hovermode="closest")
    line = {"color": style.HEAD, "dash": "dash", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, name="perfectly calibrated", hoverinfo="skip")
    for bins, color, name in ((before, style.NEUTRAL, "uncalibrated"), (after, style.TRAINING, "calibrated")):
        figure.add_scatter(
            x=bins.confidence,
            y=bins.accuracy,
            customdata=bins.count,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 5 + 12 * np.sqrt(bins.count / bins.count.max())},
            name=name,
            hovertemplate="predicted %{x:.0%}, correct %{y:.0%}, %{customdata:,} images<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    style.show_percent(figure, range=[0, 1.02])
    return figure


def similarity_figure(cosines: np.ndarray) -> go.Figure:
    """Return the cosine similarity of two models' outputs at each block, float (17,), as bars."""
    title = "Similarity of both models in each block"
    figure = style.block_figure(cosines.tolist(), title, "cosine", 300, style.TRAINING, "%{y:.2f}")
    return figure.update_yaxes(range=[min(0.0, float(cosines.min())), 1])


def png(image: Image.Image | np.ndarray) -> str:
    """Return a picture (an array is uint8 (h, w, 3)) as a data URL."""
    buffer, picture = io.BytesIO(), image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, "PNG", compress_level=1)  # takes a quarter of the time of level 6, and is a seventh larger
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _lines(one: Watched) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=one.epochs.astype(np.float32),  # half the data to send
            y=one.probabilities[:, label].astype(np.float32),
            mode="lines",
            line={"color": style.CLASS_COLORS[label], "width": 2.5, "shape": "spline", "smoothing": 0.5},
            opacity=1 if len(one.epochs) and one.probabilities[:, label].max() >= _LABELLED else 0.35,
            hovertemplate=f"{name} %{{y:.0%}} at epoch %{{x:.2f}}<extra></extra>",
        )
        for label, name in enumerate(CLASSES)
    ]


def _marks(one: Watched, moment: float) -> list[dict[str, Any]]:
    """Return a line at a moment, the probabilities then as bars, and the prediction as a heading."""
    cursor, bars, heading = _at(one, moment)
    cursor |= {"y": [0, 1.04], "mode": "lines", "line": {"color": style.HEAD, "width": 1.5}, "hoverinfo": "skip"}
    bars |= {
        "y": list(CLASSES),
        "orientation": "h",
        "marker": {"color": list(style.CLASS_COLORS)},
        "textfont": {"size": 11},
        "insidetextfont": {"color": list(style.CLASS_INKS)},
        "textangle": 0,
        "constraintext": "none",
        "cliponaxis": False,
        "hovertemplate": "%{y} %{x:.1%}<extra></extra>",
    }
    heading |= {"x": [0.5], "y": [1], "mode": "text", "textposition": "bottom center", "hoverinfo": "skip"}
    return [cursor, bars, heading]


def _at(one: Watched, moment: float) -> list[dict[str, Any]]:
    """Return what the moment changes in `_marks`; a frame holds only that, since Plotly checks it slowly.

    Below the prediction of a test image is its label in red if it differs, or "correct" in green.
    """
    place = int(np.searchsorted(one.epochs, moment, side="right")) - 1
    shares = one.probabilities[place] if place >= 0 else np.zeros(len(CLASSES))
    said, words = CLASSES[shares.argmax()] if place >= 0 else "", ""
    if said and one.pin.label:
        color, note = ("green", "correct") if said == one.pin.label else ("red", f"labeled {one.pin.label}")
        words = f'<br><span style="color:var(--st-{color}-text-color)">{note}</span>'
    texts = [f"{min(share, 0.99):.0%}" if share >= 0.1 else "" for share in shares]
    inside = ["inside" if share > 0.45 else "outside" for share in shares]
    return [
        {"type": "scatter", "x": [moment, moment]},
        {"type": "bar", "x": shares, "text": texts, "textposition": inside},
        {"type": "scatter", "text": [f"<b>{said}</b>{words}"]},
    ]


def _moment_name(moment: float, boundary: float | None) -> str:
    phase = "fine_tune" if boundary is not None and moment > boundary else "head"
    return "before any training" if moment == 0 else f"{PHASE_NAMES[phase]}, epoch {round(moment, 2):g}"
