"""Figures of the data map: one dot for each image, with the image's position as `customdata`."""

import io
from collections.abc import Collection, Mapping

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from cifar_core.charts import style
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation.data_map import Dynamics

TOOLS = {"modeBarButtons": [["select2d", "lasso2d", "zoom2d", "pan2d", "resetScale2d"]]}
"""Plotly's mode bar buttons."""
SHEET_COLUMNS = 40  # st.image makes pictures of more than 1,460 pixels smaller
_SIZE = 6


def hardness_figure(known: Dynamics, chosen: Collection[int] = ()) -> go.Figure:
    """Return confidence against variability; an image is green if its last prediction is correct, else red."""
    right, xy = known.right[-1], np.stack([known.variability, known.confidence])
    parts = {"correct": (style.RIGHT, np.flatnonzero(right)), "wrong": (style.WRONG, np.flatnonzero(~right))}
    groups = {f"{name} at the end": part for name, part in parts.items()}
    figure = _figure("Easy, ambiguous, hard", 460, groups, xy, known.labels, chosen)
    figure.update_xaxes(title_text="variability over the epochs", rangemode="tozero")
    figure.update_yaxes(title_text="confidence in the label", tickvals=[0, 0.25, 0.5, 0.75, 1])
    style.show_percent(figure, range=[-0.1, 1.1])
    for text, x, y in (("easy", 0, 1), ("ambiguous", 1, 0.5), ("hard", 0, 0)):
        place = {"xref": "x domain", "yref": "y domain", "x": x, "y": y, "xanchor": "right" if x else "left"}
        figure.add_annotation(text=f"<b>{text}</b>", showarrow=False, **place)
    return figure


def feature_figure(
    title: str,
    places: np.ndarray,
    positions: np.ndarray,
    labels: np.ndarray,
    is_right: np.ndarray,
    chosen: Collection[int] = (),
) -> go.Figure:
    """Return the images `positions`, int (m,), at `places` (m, 2), colored by class.

    `labels` and `is_right`, (n,), belong to all images; wrong predictions have a ring.
    """
    xy = np.zeros((2, len(labels)))
    xy[:, positions] = places.T
    groups = {
        name: (style.CLASS_COLORS[label], positions[labels[positions] == label]) for label, name in enumerate(CLASSES)
    }
    figure = _figure(title, 520, groups, xy, labels, chosen)
    for trace, (_, dots) in zip(figure.data, groups.values(), strict=True):
        ringed = ~is_right[dots] & (np.isin(dots, list(chosen)) | (not chosen))
        trace.marker.line = {"color": style.WRONG, "width": np.where(ringed, 2, 0).tolist()}
        trace.marker.size = np.where(ringed, _SIZE + 3, _SIZE).tolist()
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def sheet(images: np.ndarray) -> bytes:
    """Return images, uint8 (n, side, side, 3), as one JPEG of rows of SHEET_COLUMNS."""
    count, side = images.shape[:2]
    rows = -(-count // SHEET_COLUMNS)
    cells = np.zeros((rows * SHEET_COLUMNS, side, side, 3), np.uint8)
    cells[:count] = images
    whole = cells.reshape(rows, SHEET_COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, -1, 3)
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _figure(
    title: str,
    height: int,
    groups: Mapping[str, tuple[str, np.ndarray]],
    xy: np.ndarray,
    labels: np.ndarray,
    chosen: Collection[int],
) -> go.Figure:
    """Return a figure of selectable dots; the selection box disappears after the selection.

    Each of the `groups` has a name, a color and positions of images, int (k,); `xy`, float (2, n), are the places of
    all images. If any are `chosen`, the others fade.
    """
    look = {"hovermode": "closest", "hoverdistance": 30, "dragmode": "select", "clickmode": "event+select"}
    figure = style.figure(title, "", "", height, selectionrevision=str(chosen), selections=[], **look)
    for name, (color, dots) in groups.items():
        x, y = xy[:, dots].astype(np.float32)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=name,
            customdata=dots.tolist(),
            hovertext=[f"image {i + 1}, labeled {CLASSES[labels[i]]}" for i in dots],
            hoverinfo="text",
            marker={"color": color, "size": _SIZE, "opacity": 0.75},
            unselected={"marker": {"color": style.GROUND}},
            selectedpoints=np.flatnonzero(np.isin(dots, list(chosen))).tolist() if chosen else None,
        )
    return figure
