"""Figures of single answers and their calibration: watched pictures, what-ifs, the reliability diagram."""

from __future__ import annotations

import base64
import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import TEMPLATE
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference.calibration import Reliability
from cifar_core.inference.explain import Change, Sweep
from cifar_core.inference.pins import Watch, Watched
from cifar_core.runs.curves import PHASE_NAMES

_PICTURE, _LINES, _BARS = 0.27, 0.36, 0.3  # shares of the height
_LABELLED = 0.25


def watch_figure(watch: Watch, planned: float = 0, scrubs: bool = False) -> go.Figure:
    """Return the pinned pictures, below each its ten probabilities as lines over the epochs, below these as bars.

    `planned` is how far the axis reaches at least, in epochs. With `scrubs` a slider and a play button move through
    the recorded moments, where there are any, in the browser alone.
    """
    watched, moments = watch.watched, _moments(watch)
    scrubs = scrubs and bool(moments)
    columns = max(len(watched), 1)
    figure = make_subplots(2, columns, shared_yaxes=True, horizontal_spacing=0.018, vertical_spacing=0.09)
    end = max([planned, *(float(one.epochs[-1]) for one in watched if len(one.epochs)), 1]) * 1.02
    moment = moments[-1] if moments else 0.0
    for column, one in enumerate(watched, 1):
        figure.add_traces([*_lines(one), _cursor(moment)], 1, column)
        figure.add_trace(_bars(one, moment), 2, column)
        _label_end(figure, one, column)
        _add_picture(figure, one, column)
        if watch.boundary is not None:
            color, where = style.FINE_TUNING, {"row": 1, "col": column}
            figure.add_vrect(x0=watch.boundary, x1=end, fillcolor=color, opacity=0.09, line_width=0, **where)
            figure.add_vline(x=watch.boundary, line={"color": color, "dash": "dash", "width": 1.5}, **where)
    look = {"showlegend": False, "hovermode": "closest", "barmode": "overlay", "uirevision": "keep"}
    margin = {"l": 84, "r": 12, "t": 12, "b": 96 if scrubs else 40}
    figure.update_layout(template=TEMPLATE, height=620, margin=margin, **look)
    top = 1 - _PICTURE
    figure.update_yaxes(domain=[top - _LINES, top - 0.015], range=[0, 1.04], tickformat=".0%", row=1)
    figure.update_xaxes(range=[0, end], title={"text": "epoch", "standoff": 2, "font": {"size": 11}}, row=1)
    figure.update_yaxes(domain=[0, _BARS], autorange="reversed", showgrid=False, dtick=1, tickfont={"size": 11}, row=2)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5], tickformat=".0%", tickfont={"size": 11}, row=2)
    if scrubs:
        _add_scrubber(figure, watch)
    return figure


def sweep_figure(change: Change, sweep: Sweep, value: float, answer: int) -> go.Figure:
    """Return the answer's probability over a slider's range, with the set value and the points where it flips."""
    middle, color = (change.low + change.high) / 2, style.CLASS_COLORS[answer]
    note = {"y": 1, "yref": "paper", "yanchor": "top", "showarrow": False, "font": {"size": 12}}
    line = {
        "type": "scatter",
        "x": sweep.values,
        "y": sweep.probabilities[:, answer],
        "mode": "lines",
        "line": {"color": color, "width": 2},
        "fill": "tozeroy",
        "hovertemplate": f"{CLASSES[answer]} %{{y:.0%}} at %{{x:g}}{change.unit}<extra></extra>",
    }
    uprights = [(value, style.TRAINING, "solid")]
    uprights += [(at, style.CLASS_COLORS[label], "dot") for at, label in sweep.flips]
    layout = {  # at once, as adding one thing after the other to a figure takes ten times as long
        "template": TEMPLATE,
        "height": 74,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 2, "b": 2},
        "xaxis": {"range": [change.low, change.high], "visible": False},
        "yaxis": {"range": [0, 1.02], "visible": False},
        "shapes": [
            {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": shade, "width": 2, "dash": dash}}
            for x, shade, dash in uprights
        ],
        "annotations": [
            note | {"x": at, "text": f"{CLASSES[label]} at {at:g}{change.unit}", "xanchor": side}
            for at, label in sweep.flips
            for side in ("left" if at < middle else "right",)
        ],
    }
    return go.Figure([line], layout)


def reliability_figure(before: Reliability, after: Reliability, images: str, height: int = 360) -> go.Figure:
    """Return the reliability diagram of `images` before and after temperature scaling."""
    axes = ("stated probability of the answer", "share that is right")
    figure = style.figure(f"Reliability on {images}", *axes, height, hovermode="closest", margin={"t": 70})
    figure.update_layout(title={"y": 0.97, "yanchor": "top"})
    line = {"color": style.HEAD, "dash": "dash", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, name="perfectly calibrated", hoverinfo="skip")
    for found, color, name in ((before, style.NEUTRAL, "as trained"), (after, style.TRAINING, "calibrated")):
        figure.add_scatter(
            x=found.stated,
            y=found.right,
            customdata=found.count,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 5 + 12 * np.sqrt(found.count / found.count.max())},
            name=f"{name}: ECE {found.ece:.1%}",
            hovertemplate="stated %{x:.0%}, right %{y:.0%}, %{customdata:,} images<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    style.show_percent(figure, range=[0, 1.02])
    return figure


def png(image: Image.Image | np.ndarray) -> str:
    """Return a picture (an array is uint8 (h, w, 3)) as a data URL."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _lines(one: Watched) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=one.epochs.astype(np.float32),  # half of what is sent
            y=one.probabilities[:, label].astype(np.float32),
            mode="lines",
            line={"color": style.CLASS_COLORS[label], "width": 2.5, "shape": "spline", "smoothing": 0.5},
            opacity=1 if len(one.epochs) and one.probabilities[:, label].max() >= _LABELLED else 0.35,
            hovertemplate=f"{name} %{{y:.0%}} at epoch %{{x:.2f}}<extra></extra>",
        )
        for label, name in enumerate(CLASSES)
    ]


def _cursor(moment: float) -> go.Scatter:
    line = {"color": style.HEAD, "width": 1.5}
    return go.Scatter(x=[moment, moment], y=[0, 1.04], mode="lines", line=line, hoverinfo="skip")


def _bars(one: Watched, moment: float) -> go.Bar:
    place = int(np.searchsorted(one.epochs, moment, side="right")) - 1
    shares = one.probabilities[place] if place >= 0 else np.zeros(len(CLASSES))
    return go.Bar(
        x=shares,
        y=list(CLASSES),
        orientation="h",
        marker={"color": list(style.CLASS_COLORS)},
        text=[f"{share:.0%}" if share >= 0.1 else "" for share in shares],
        textposition=["inside" if share > 0.45 else "outside" for share in shares],
        textfont={"size": 11},
        textangle=0,
        constraintext="none",
        cliponaxis=False,
        hovertemplate="%{y} %{x:.1%}<extra></extra>",
    )


def _label_end(figure: go.Figure, one: Watched, column: int) -> None:
    if not len(one.epochs):
        return
    best = int(one.probabilities[-1].argmax())
    share = float(one.probabilities[-1, best])
    look = {"font": {"color": style.CLASS_COLORS[best], "size": 13}, "showarrow": False, "xanchor": "right"}
    where = {"x": float(one.epochs[-1]), "y": share, "yanchor": "top" if share > 0.5 else "bottom"}
    figure.add_annotation(text=f"<b>{CLASSES[best]}</b>", **look, **where, row=1, col=column)


def _add_picture(figure: go.Figure, one: Watched, column: int) -> None:
    left, right = figure.get_subplot(1, column).xaxis.domain
    place = {"xref": "paper", "yref": "paper", "x": (left + right) / 2, "y": 1, "xanchor": "center", "yanchor": "top"}
    figure.add_layout_image(source=png(one.pin.image), **place, sizex=right - left, sizey=_PICTURE - 0.03)


def _moments(watch: Watch) -> list[float]:
    return sorted({float(epoch) for one in watch.watched for epoch in one.epochs})


def _add_scrubber(figure: go.Figure, watch: Watch) -> None:
    moments, watched = _moments(watch), watch.watched
    per_pin = len(CLASSES) + 2  # lines, cursor, bars
    places = [column * per_pin + len(CLASSES) + part for column in range(len(watched)) for part in (0, 1)]
    figure.frames = [
        go.Frame(
            name=f"{moment:g}",
            data=[trace for one in watched for trace in (_cursor(moment), _bars(one, moment))],
            traces=places,
        )
        for moment in moments
    ]
    quick = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 120}}
    play = {"frame": {"duration": 260, "redraw": False}, "transition": {"duration": 220}, "fromcurrent": False}
    slider = {
        "steps": [
            {"method": "animate", "label": _moment_name(moment, watch.boundary), "args": [[f"{moment:g}"], quick]}
            for moment in moments
        ],
        "active": len(moments) - 1,
        "x": 0.09,
        "len": 0.91,
        "y": -0.06,
        "pad": {"t": 0, "b": 0},
        "currentvalue": {"prefix": "", "font": {"size": 13, "color": style.NEUTRAL}, "xanchor": "left"},
        "bgcolor": style.GROUND,
        "activebgcolor": style.TRAINING,
        "bordercolor": style.GROUND,
        "ticklen": 0,
        "minorticklen": 3,
        "font": {"size": 1, "color": style.INVISIBLE},
    }
    menu = {
        "type": "buttons",
        "showactive": False,
        "bgcolor": style.GROUND,
        "bordercolor": style.GROUND,
        "font": {"color": style.NEUTRAL},
        "x": 0.0,
        "y": -0.09,
        "xanchor": "left",
        "yanchor": "top",
        "buttons": [{"label": "▶ Play", "method": "animate", "args": [None, play]}],
    }
    figure.update_layout(sliders=[slider], updatemenus=[menu])


def _moment_name(moment: float, boundary: float | None) -> str:
    phase = "fine_tune" if boundary is not None and moment > boundary else "head"
    return "before any training" if moment == 0 else f"{PHASE_NAMES[phase]}, epoch {round(moment, 2):g}"
