"""Figures of what a model says and why: watching it learn, what-ifs, how sure it is."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from cifar_core.charts import style
from cifar_core.charts.style import TEMPLATE
from cifar_core.data.cifar10 import CLASSES
from cifar_core.inference.calibration import Reliability
from cifar_core.inference.pins import Watch, Watched
from cifar_core.inference.what_if import Change, Sweep
from cifar_core.runs.metrics import PHASE_NAMES

_PICTURE, _LINES, _BARS = 0.27, 0.36, 0.3  # shares of the height
_LABELLED = 0.25


def watch_figure(watch: Watch, planned: float = 0, scrubs: bool = False, height: int = 620) -> go.Figure:
    """Return the pinned pictures, below each its ten probabilities as lines over the epochs, below these as bars.

    `planned` is how far the axis reaches at least, in epochs. With `scrubs` a slider and a play button move through
    the recorded moments, where there are any, in the browser alone.
    """
    watched, moments = watch.watched, _moments(watch)
    scrubs = scrubs and bool(moments)
    columns = max(len(watched), 1)
    figure = make_subplots(2, columns, shared_yaxes=True, horizontal_spacing=0.018, vertical_spacing=0.09)
    end = max([planned, *(float(one.epochs[-1]) for one in watched if len(one.epochs)), 1])
    moment = moments[-1] if moments else 0.0
    for column, one in enumerate(watched, 1):
        for trace in _lines(one):
            figure.add_trace(trace, 1, column)
        figure.add_trace(_cursor(moment), 1, column)
        figure.add_trace(_bars(one, moment), 2, column)
        _label_ends(figure, one, column)
        _picture(figure, one, column)
    _mark_fine_tuning(figure, watch, end, columns)
    top = 1 - _PICTURE
    figure.update_layout(
        template=TEMPLATE, height=height, showlegend=False, hovermode="closest", barmode="overlay", uirevision="keep"
    )
    figure.update_layout(margin={"l": 84, "r": 12, "t": 12, "b": 96 if scrubs else 40})
    figure.update_yaxes(domain=[top - _LINES, top - 0.015], range=[0, 1.04], tickformat=".0%", row=1)
    figure.update_xaxes(range=[0, end * 1.02], title={"text": "epoch", "standoff": 2, "font": {"size": 11}}, row=1)
    figure.update_yaxes(domain=[0, _BARS], autorange="reversed", showgrid=False, dtick=1, tickfont={"size": 11}, row=2)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5], tickformat=".0%", tickfont={"size": 11}, row=2)
    if scrubs:
        _add_scrubber(figure, watch)
    return figure


def sweep_figure(change: Change, sweep: Sweep, value: float, answer: int, height: int = 74) -> go.Figure:
    """Return the answer's probability over a slider's range, with the set value and the points where it flips."""
    middle, color = (change.low + change.high) / 2, style.CLASS_COLORS[answer]
    notes = [
        {
            "x": at,
            "y": 1,
            "yref": "paper",
            "text": f"{CLASSES[label]} at {at:g}{change.unit}",
            "font": {"size": 12},
            "showarrow": False,
            "xanchor": "left" if at < middle else "right",
            "yanchor": "top",
        }
        for at, label in sweep.flips
    ]
    line = {
        "type": "scatter",
        "x": sweep.values,
        "y": sweep.probabilities[:, answer],
        "mode": "lines",
        "line": {"color": color, "width": 2},
        "fill": "tozeroy",
        "hovertemplate": f"{CLASSES[answer]} %{{y:.0%}} at %{{x:g}}{change.unit}<extra></extra>",
    }
    layout = {  # at once, as adding one thing after the other to a figure takes ten times as long
        "template": TEMPLATE,
        "height": height,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 2, "b": 2},
        "xaxis": {"range": [change.low, change.high], "visible": False},
        "yaxis": {"range": [0, 1.02], "visible": False},
        "shapes": [
            _upright(value, {"color": style.TRAINING, "width": 2}),
            *(
                _upright(at, {"color": style.CLASS_COLORS[label], "width": 2, "dash": "dot"})
                for at, label in sweep.flips
            ),
        ],
        "annotations": notes,
    }
    return go.Figure([line], layout)


def reliability_figure(before: Reliability, after: Reliability, images: str, height: int = 360) -> go.Figure:
    """Return the reliability diagram of `images` before and after temperature scaling."""
    figure = go.Figure()
    line = {"color": style.HEAD, "dash": "dash", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, name="honest", hoverinfo="skip")
    for found, color, name in ((before, style.NEUTRAL, "as trained"), (after, style.TRAINING, "calibrated")):
        figure.add_scatter(
            x=found.stated,
            y=found.right,
            customdata=found.count,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 5 + 12 * np.sqrt(found.count / found.count.max())},
            name=f"{name}: ECE {found.ece:.1%}",
            hovertemplate="says %{x:.0%}, right %{y:.0%}, %{customdata:,} images<extra></extra>",
        )
    figure.update_layout(template=TEMPLATE, height=height, hovermode="closest", margin={"t": 70})
    figure.update_layout(title={"text": f"Reliability on {images}", "y": 0.97, "yanchor": "top"})
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", title={"text": "stated probability of the answer"})
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", title={"text": "share that is right"})
    return figure


def _upright(x: float, line: dict[str, Any]) -> dict[str, Any]:
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


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
    said = one.probabilities[place] if place >= 0 else np.zeros(len(CLASSES))
    text = [f"{share:.0%}" if share >= 0.1 else "" for share in said]
    inside = ["inside" if share > 0.45 else "outside" for share in said]
    return go.Bar(
        x=said,
        y=list(CLASSES),
        orientation="h",
        marker={"color": list(style.CLASS_COLORS)},
        text=text,
        textposition=inside,
        textfont={"size": 11},
        textangle=0,
        constraintext="none",
        cliponaxis=False,
        hovertemplate="%{y} %{x:.1%}<extra></extra>",
    )


def _label_ends(figure: go.Figure, one: Watched, column: int) -> None:
    if not len(one.epochs):
        return
    best = int(one.probabilities[-1].argmax())
    figure.add_annotation(
        x=float(one.epochs[-1]),
        y=float(one.probabilities[-1, best]),
        text=f"<b>{CLASSES[best]}</b>",
        font={"color": style.CLASS_COLORS[best], "size": 13},
        showarrow=False,
        xanchor="right",
        yanchor="top" if one.probabilities[-1, best] > 0.5 else "bottom",
        row=1,
        col=column,
    )


def _picture(figure: go.Figure, one: Watched, column: int) -> None:
    left, right = figure.get_subplot(1, column).xaxis.domain
    figure.add_layout_image(
        source=png(one.pin.image),
        xref="paper",
        yref="paper",
        x=(left + right) / 2,
        y=1,
        xanchor="center",
        yanchor="top",
        sizex=right - left,
        sizey=_PICTURE - 0.03,
    )


def _mark_fine_tuning(figure: go.Figure, watch: Watch, end: float, columns: int) -> None:
    if watch.boundary is None:
        return
    for column in range(1, columns + 1):
        color = style.FINE_TUNING
        where: dict[str, Any] = {"row": 1, "col": column}
        figure.add_vrect(x0=watch.boundary, x1=end * 1.02, fillcolor=color, opacity=0.09, line_width=0, **where)
        figure.add_vline(x=watch.boundary, line={"color": color, "dash": "dash", "width": 1.5}, **where)


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
    steps = [
        {"method": "animate", "label": _moment_name(moment, watch.boundary), "args": [[f"{moment:g}"], quick]}
        for moment in moments
    ]
    play = {"frame": {"duration": 260, "redraw": False}, "transition": {"duration": 220}, "fromcurrent": False}
    figure.update_layout(
        sliders=[
            {
                "steps": steps,
                "active": len(steps) - 1,
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
                "font": {"size": 1, "color": "rgba(0,0,0,0)"},
            }
        ],
        updatemenus=[
            {
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
        ],
    )


def _moment_name(moment: float, boundary: float | None) -> str:
    phase = "fine_tune" if boundary is not None and moment > boundary else "head"
    return "before any training" if moment == 0 else f"{PHASE_NAMES[phase]}, epoch {round(moment, 2):g}"
