"""Try a project on *Teach*: predictions for photos or the live camera, with the user's nearest pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.inference.pictures import Picture, read_each
from cifar_core.teach import project as projects
from cifar_core.teach.model import Answer, Model
from cifar_core.untrusted import shown_name
from pages.components import formatting, guarded, teach_classes, tiles, uploads
from pages.components.tiles import Tile

_MOST, _TOP = 24, 6
_SIDE = 224


def try_it(fitted: Model) -> None:
    """Draw all inputs, and the prediction for the selected picture."""
    uploads.uploaded("Photos to try", "teach_try", _take, label_visibility="collapsed")
    teach_classes.camera("teach_live", _take, live=True, name="try", answered=st.session_state.get("teach_frames", 0))
    uploads.pasting("teach_paste", _take)
    uploads.show_errors(st.session_state.get("teach_refused", []))
    tried: list[Picture] = st.session_state.get("teach_photos", [])
    if tried:
        answers = [fitted.answer(picture.image) for picture in tried]
        chosen = min(st.session_state.get("teach_chosen", 0), len(tried) - 1)
        _answer(fitted, tried[chosen], answers[chosen])
        if len(tried) > 1:
            rows = [_tile(fitted, picture, answer) for picture, answer in zip(tried, answers, strict=True)]
            tiles.show(rows, "teach_photo_tiles", lambda n: st.session_state.update(teach_chosen=n), [chosen], width=84)
    uploads.paste_hint()
    st.caption("Or take a sample:")
    samples = [Tile(uploads.sample_url(name), about, "") for name, about in uploads.SAMPLES.items()]
    tiles.show(samples, "teach_samples", lambda number: _sample(list(uploads.SAMPLES)[number]), width=46)


def _take(files: Iterable[tuple[str, bytes]], errors: Iterable[Picture] = ()) -> None:
    """Replace the pictures to try with those in `files`."""
    good: list[Picture] = []
    bad = list(errors)
    for picture in read_each(files):
        (bad if picture.error else good).append(picture.compact())
        if len(good) >= _MOST:
            break
    st.session_state.update(teach_photos=good, teach_refused=bad, teach_chosen=0)
    st.session_state["teach_frames"] = st.session_state.get("teach_frames", 0) + 1


def _sample(name: str) -> None:
    _take([(f"{name}.jpg", uploads.sample(name))])


def _answer(fitted: Model, picture: Picture, answer: Answer) -> None:
    names = fitted.project.names
    best = int(answer.probabilities.argmax())
    with st.container(key="teach_big_try"):
        st.markdown(f"### {formatting.plain(names[best])}, {formatting.share(answer.probabilities[best])}")
    if answer.is_none:
        st.markdown(
            ":orange-badge[:material/help: Like none of these]",
            help="It is farther from all your pictures than nearly all of them are from each other. The prediction "
            "may still be correct.",
        )
    if picture.name == teach_classes.FRAME:  # the camera already shows the picture
        st.html(_bars(names, answer.probabilities))
    else:
        left, right = st.columns([2, 3], vertical_alignment="center", wrap=False)
        words = "Green parts are evidence for the prediction, red parts against it: is it the thing, or its background?"
        why = right.toggle("Show why", key="teach_why", help=words)
        small = fitted.evidence(picture.image) if why else picture.image
        small.thumbnail((_SIDE, _SIDE))
        left.image(small, alt=f"Photo {shown_name(picture.name)}", width="stretch")
        right.html(_bars(names, answer.probabilities))
    key = f"teach_add_to_{fitted.project.count}_pictures"  # another key closes it once a picture was added
    with st.popover("Add it to a class", icon=":material/add_photo_alternate:", key=key):
        for number, name in enumerate(names):
            label, key = formatting.plain(name), f"teach_add_to_{number}"
            guarded.button(label, _add, fitted.name, name, picture, key=key, width="stretch")
    st.caption("Nearest of your pictures, by the distance of their features (0 to 1.41)")
    tiles.show(
        [
            Tile(teach_classes.thumbnail(fitted.name, sample.key, 128), f"A picture of {label}", label, f"{far:.2f}")
            for label, sample, far in answer.nearest
        ],
        "teach_nearest",
        width=64,
    )


def _add(name: str, label: str, picture: Picture) -> None:
    st.session_state["teach_problems"] = projects.add(name, [(label, picture)])


def _bars(names: list[str], probabilities: np.ndarray) -> str:
    order = [i for i in np.argsort(-probabilities, kind="stable")[:_TOP] if probabilities[i]]  # 0: without pictures
    return formatting.bars(names, probabilities, order)


def _tile(fitted: Model, picture: Picture, answer: Answer) -> Tile:
    best = int(answer.probabilities.argmax())
    title = f"{fitted.project.names[best]} {formatting.share(answer.probabilities[best])}"
    small = picture.image
    small.thumbnail((128, 128))
    note, tone = ("like none", "unusual") if answer.is_none else (shown_name(picture.name), "")
    return Tile(answer_charts.png(small), shown_name(picture.name), title, note, tone)
