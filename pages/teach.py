"""Teach: the user's own classes, learned in a second by a linear head on the frozen network."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st

from cifar_core import runs
from cifar_core.charts import answers as answer_charts
from cifar_core.inference.pictures import Picture
from cifar_core.teach import project as projects
from cifar_core.teach.model import Answer, Model
from cifar_core.untrusted import shown_name
from pages.components import address, formatting, guarded, teach_classes, teach_result, tiles, uploads
from pages.components.tiles import Tile

_STEPS = {
    ":material/collections: 1 Classes": "A cup or a hand, ripe or unripe, your cat or the neighbors': add ten pictures "
    "of each, from files or with the camera.",
    ":material/bolt: 2 Train": "Only the last layer trains, in a second. The accuracy is measured on held-out pictures "
    "(cross-validation).",
    ":material/photo_camera: 3 Try": "Classify photos or the live camera, and see the nearest of your pictures. "
    "Export the model as one HTML file that runs in any browser.",
}
_MOST, _TOP = 24, 6  # pictures to try, bars of a prediction
_SIDE = 224


def main() -> None:
    """Draw the start page, or a project in three steps."""
    place = runs.folder_beside_runs("teach")
    names = [name for name in projects.names() if not guarded.is_anothers(place / name)]
    if not names:
        address.known("project", st.query_params.get("project"), names)
        begin()
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Teach it your own classes")
        name = choose(names)
    teach_classes.problems()
    teach_classes.undo_bar(name)
    project = projects.load(name)
    left, middle, right = st.container(key="teach_steps").columns([5, 4, 4], gap="large")
    with left:
        st.markdown("## 1 Classes")
        teach_classes.classes(name, project)
    with middle, st.container(key="teach_train"):
        st.markdown("## 2 Train")
        model = teach_result.model(name)
        if model:
            teach_result.result(model)
        teach_result.settings(name, project)
        if model:
            teach_result.tried(model)
            teach_result.export(model)
    with right, st.container(key="teach_try"):
        st.markdown("## 3 Try")
        if model:
            guarded.fragment(try_it)(model)
        else:
            st.caption("Once two classes have pictures, try photos or the camera here.")


def choose(names: list[str]) -> str:
    """Draw the widgets that select, create and delete projects; return the selected name."""
    if (opened := st.session_state.pop("teach_open", None)) in names:
        st.session_state["project"] = opened
    address.linked("project", names, names[0])  # the URL always has it
    name: str = st.selectbox("Project", names, key="project", width=180)
    address.link("project", name, "")
    with st.popover("New", icon=":material/add:", key=f"teach_new_{len(names)}"):  # closed by another key
        text = st.text_input("Name of the project", "my classes", key="teach_wish", max_chars=40)
        ways("Two empty classes", text)
    with st.popover("", icon=":material/delete:", key=f"teach_delete_{len(names)}", help="Delete this project"):
        st.markdown(f"Delete the project **{name}** with its pictures?")
        guarded.button("Delete project", remove, name, key="teach_delete_project", type="primary")
    offer_restore()
    return name


def begin() -> None:
    """Draw the start page, shown if there are no projects."""
    st.title("Teach it your own classes")
    for column, (title, text) in zip(st.container(key="teach_begin").columns(3), _STEPS.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"## {title}\n{text}")
    offer_restore()
    with st.container(width=520):
        ways("Start with two empty classes", "my classes", type="primary")


def ways(label: str, title: str, **look: Any) -> None:
    """Draw the three ways to create a project: two empty classes, the example, a zip."""
    look |= {"key": "teach_start", "icon": ":material/add:", "width": "stretch"}
    guarded.button(label, teach_classes.start, title, **look)
    look = {"key": "teach_example", "icon": ":material/auto_awesome:", "width": "stretch", "busy": "Starting"}
    guarded.button("Example: airplane, cat, horse", teach_classes.example, **look)
    words = "Or a ZIP file with a folder for each class"
    uploads.uploaded(words, "teach_import", teach_classes.import_zip, type=["zip"])


def remove(name: str) -> None:
    """Delete a project; it can be restored."""
    projects.delete(name)
    st.session_state["teach_removed"] = name


def offer_restore() -> None:
    """Draw a button that restores the project deleted in this session."""
    if removed := st.session_state.get("teach_removed"):
        guarded.button(f"Restore {removed}", restore, removed, key="teach_restore", icon=":material/undo:")


def restore(name: str) -> None:
    """Restore a deleted project and select it."""
    projects.restore(name)
    st.session_state["teach_open"] = name
    del st.session_state["teach_removed"]


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
    uploads.samples("teach_samples", _take, 46, named=False)


def _take(files: Iterable[tuple[str, bytes]], errors: Iterable[Picture] = ()) -> None:
    """Replace the pictures to try with those in `files`; `errors` are listed with those of unreadable files."""
    good, bad = uploads.read(files, _MOST)
    st.session_state.update(teach_photos=good, teach_refused=[*errors, *bad], teach_chosen=0)
    st.session_state["teach_frames"] = st.session_state.get("teach_frames", 0) + 1


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
    if picture.name == uploads.FRAME:  # the camera already shows the picture
        st.html(_bars(names, answer.probabilities))
    else:
        left, right = st.columns([2, 3], vertical_alignment="center", wrap=False)
        words = "Green parts are evidence for the prediction, red parts against it: is it the thing, or its background?"
        why = right.toggle("Show why", key="teach_why", help=words)
        small = fitted.evidence(picture.image) if why else picture.image
        small.thumbnail((_SIDE, _SIDE))
        left.image(small, alt=f"Photo {shown_name(picture.name)}", width="stretch")
        right.html(_bars(names, answer.probabilities))
    key = f"teach_add_to_{len(fitted.project.samples)}_pictures"  # another key closes it once a picture was added
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


guarded.page(main)
