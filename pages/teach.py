"""Teach: the user's own classes, learned in a second by a linear head on the frozen network."""

from __future__ import annotations

import streamlit as st

from cifar_core import runs
from cifar_core.teach import project as projects
from pages.components import address, guarded, teach_classes, teach_result, teach_try, uploads

_STEPS = {
    ":material/collections: 1 Classes": "A cup or a hand, ripe or unripe, your cat or the neighbors': add ten pictures "
    "of each, from files or with the camera.",
    ":material/bolt: 2 Train": "Only the last layer trains, in a second. The accuracy is measured on held-out pictures "
    "(cross-validation).",
    ":material/photo_camera: 3 Try": "Classify photos or the live camera, and see the nearest of your pictures. "
    "Export the model as one HTML file that runs in any browser.",
}


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
            guarded.fragment(teach_try.try_it)(model)
        else:
            st.caption("Once two classes have pictures, try photos or the camera here.")


def choose(names: list[str]) -> str:
    """Draw the widgets that select, create and delete projects; return the selected name."""
    if (opened := st.session_state.pop("teach_open", None)) in names:
        st.session_state["project"] = opened
    address.linked("project", names, names[0])
    name: str = st.selectbox("Project", names, key="project", width=180)
    address.link("project", name, "")
    with st.popover("New", icon=":material/add:", key=f"teach_new_{len(names)}"):  # closed by another key
        text = st.text_input("Name of the project", "my classes", key="teach_wish", max_chars=40)
        guarded.button(
            "Two empty classes", teach_classes.start, text, key="teach_start", icon=":material/add:", width="stretch"
        )
        more_ways()
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
        guarded.button(
            "Start with two empty classes",
            teach_classes.start,
            "my classes",
            key="teach_start",
            type="primary",
            icon=":material/add:",
            width="stretch",
        )
        more_ways()


def more_ways() -> None:
    """Draw the example button and the zip upload."""
    guarded.button("Example: airplane, cat, horse", teach_classes.example, key="teach_example",
                   icon=":material/auto_awesome:", width="stretch")  # fmt: skip
    uploads.uploaded(
        "Or a ZIP file with a folder for each class",
        "teach_import",
        lambda files: guarded.attempt(teach_classes.import_zip, files),
        type=["zip"],
    )


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


guarded.page(main)
