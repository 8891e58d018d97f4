"""Augmentation preview on *Train* and *Learn*: one picture at each strength, with a model's predictions."""

from typing import Any

import numpy as np
import streamlit as st

from cifar_core import runs
from cifar_core.charts import answers as answer_charts
from cifar_core.data import augmentation, cifar10, synthetic
from cifar_core.errors import CifarError, ImageError
from cifar_core.evaluation import listing
from cifar_core.inference import calibration, classifier, model_file, neighbors, pictures
from pages.components import formatting, guarded, picture_view, run_picker

_FILES = (model_file.FILE, calibration.FILE, neighbors.FILE)
_FROM = 200  # first images of the data set; so few that synthetic ones are drawn quickly
_DRAWINGS, _SEED = 20, 5
SOURCES = {"data": "training image", "drawing": "drawing", "own": "your photo"}


@guarded.fragment
def panel(run_id: str | None = None, expanded: bool = False) -> None:
    """Draw the preview in an expander. The model is the finished run `run_id`, else the best finished run."""
    guarded.panel("Augmentation preview", "view_column", _preview, run_id, expanded=expanded, key="preview_panel")


def _preview(run_id: str | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look: dict[str, Any] = {"default": "data", "required": True, "format_func": SOURCES.__getitem__}
        source = st.segmented_control("One picture at every strength", list(SOURCES), key="preview_source", **look)
        if source != "own":
            _another("Another picture", ":material/casino:", "picture")
        about = "New random rotation, shift, zoom and brightness, the same at every strength."
        _another("New random values", ":material/shuffle:", "draw", about)
    try:
        image, truth = _own() if source == "own" else _picture(source)
    except CifarError as error:
        guarded.problem(error)
        return
    if image is None:
        st.caption("Upload a picture to see it at every strength.")
        return
    model = _model(run_id)
    st.html(_row(image, _number("draw"), runs.Run(model) if model else None))
    known = f"The picture is labeled {truth}. " if truth else ""
    after = "Train a model to see its prediction below each picture."
    if model is not None:
        title = formatting.plain(picture_view.model_title(model))
        after = f"Below each: the prediction of {title}, pink where it differs from that at strength 0."
    st.caption(f"{known}At 0.5: {augmentation.ranges(0.5)}. At 3: {augmentation.ranges(3)}. {after}")


def _another(label: str, icon: str, what: str, about: str | None = None) -> None:
    """Draw a button that counts up the number of `what`."""
    changes = {f"preview_{what}_number": _number(what) + 1}
    key = f"preview_{what}"
    st.button(label, icon=icon, key=key, on_click=st.session_state.update, kwargs=changes, help=about)


def _picture(source: str) -> tuple[np.ndarray | None, str]:
    """Return a picture of the data set or a drawing, and its class."""
    images, labels = synthetic.images(_DRAWINGS, _SEED) if source == "drawing" else cifar10.samples(_FROM)
    number = _number("picture") % len(images)
    return images[number], cifar10.CLASSES[int(labels[number])]


def _own() -> tuple[np.ndarray | None, str]:
    """Return the network input of an uploaded picture, or None without one. Raises ImageError."""
    file = st.file_uploader("Your picture", key="preview_file", label_visibility="collapsed")
    if file is None:
        return None, ""
    picture = next(iter(pictures.read_each([(file.name, file.getvalue())])), None)
    if picture is None or picture.error:
        raise ImageError((picture and picture.error) or "This file contains no picture; upload another one.")
    return picture.network_input("centre"), ""


def _model(run_id: str | None) -> str | None:
    """Return the model for the predictions: `run_id` if it is finished, else the best one, or None."""
    known = listing.classifiers()
    if any(row.run.id == run_id for row in known):
        return run_id
    best = listing.best(known)
    return best.run.id if best else classifier.BUNDLED if classifier.has_bundled() else None


@st.cache_data(max_entries=200, show_spinner=False, hash_funcs=run_picker.by_files(*_FILES))
def _row(image: np.ndarray, draw: int, model: runs.Run | None) -> str:
    """Return the preview as HTML: each picture with strength and prediction, marked if it differs from strength 0."""
    images = augmentation.preview(image, draw)
    answers = classifier.open_classifier(model.id).answer(images) if model else None
    figures = []
    for number, (image, strength) in enumerate(zip(images, augmentation.PREVIEW_STRENGTHS, strict=True)):
        words = f"strength <b>{strength:g}</b>"
        if answers is not None:
            label = int(answers.labels[number])
            changed = ' class="changed"' if label != answers.labels[0] else ""
            share = formatting.share(float(answers.probabilities[number, label]))
            words += f"<br><span{changed}><b>{cifar10.CLASSES[label]}</b> {share}</span>"
        figures.append(
            f'<figure><img src="{answer_charts.png(image)}" alt="at strength {strength:g}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    return f'<div class="preview">{"".join(figures)}</div>'


def _number(what: str) -> int:
    return st.session_state.get(f"preview_{what}_number", 0)
