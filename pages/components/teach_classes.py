"""The classes of a project on *Teach*: names and pictures, from files, camera or zip."""

import functools
import io
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import streamlit as st
from PIL import Image

from cifar_core.charts.style import CLASS_COLORS
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.inference.pictures import Picture, read_each
from cifar_core.teach import project as projects
from cifar_core.teach.project import Label, Sample
from pages.components import formatting, guarded, uploads

EXAMPLE = ("airplane", "cat", "horse")
_EXAMPLE_EACH, _TEN_EACH, _EXAMPLE_FROM = 20, 40, 1_000
_SHOWN, _THUMB = 40, 64  # newest pictures of a class, and their side in pixels
_SAID = 8

_mount = formatting.component("teach", "camera")


def camera(key: str, take: Any, remove: Any = lambda key: None, **data: Any) -> None:
    """Draw pictures and a camera; frames, [(name, JPEG)], go to `take`, the key of a removed picture to `remove`."""
    data = {"name": "", "pictures": [], "more": 0, "live": False, "answered": 0} | data

    def got_frames() -> None:
        if frames := uploads.frames(st.session_state[key].frames):
            take(frames)

    def got_remove() -> None:
        if isinstance(st.session_state[key].remove, str):
            remove(st.session_state[key].remove)

    _mount(key=key, data=data, on_frames_change=got_frames, on_remove_change=got_remove)


def start(title: str) -> None:
    """Create and open a project with two empty classes."""
    name = _created(title)
    for _ in range(2):
        _new_class(name)


def example() -> None:
    """Create and open a project of a few training images."""
    _add_images(_created("example"), EXAMPLE, _EXAMPLE_EACH)


def _created(title: str) -> str:
    """Create and open an empty project; return its name."""
    name = projects.free_name(title)
    projects.create(name)
    _open(name)
    return name


def _open(name: str) -> None:
    """Record the owner of a new project, and show it in the next script run."""
    guarded.own(projects.folder(name))
    st.session_state["teach_open"] = name


def _add_images(name: str, classes: Iterable[str], each: int) -> None:
    """Add training images of some classes to a project; synthetic ones if CIFAR-10 is missing."""
    images, labels = cifar10.samples(_EXAMPLE_FROM)
    for label in classes:
        chosen = images[labels == cifar10.CLASSES.index(label)][:each]
        pictures = (Picture(f"{number}.png", Image.fromarray(image)) for number, image in enumerate(chosen))
        projects.add(name, [(label, picture) for picture in pictures])


def import_zip(files: Iterable[tuple[str, bytes]]) -> None:
    """Create and open a project from a zip with a folder for each class."""
    files = list(files)
    with st.spinner("Reading pictures"):
        name, st.session_state["teach_problems"] = projects.make(files[0][0].rpartition(".")[0], files)
    _open(name)


def _add_burst(name: str, label: str, frames: Iterable[tuple[str, bytes]]) -> None:
    pairs = [(label, one) for one in read_each(frames)]
    st.session_state["teach_problems"] = projects.add(name, pairs, burst=True)


def add(name: str, pairs: Iterable[tuple[str, Picture]]) -> None:
    """Add pictures with their classes to a project; `problems` shows the errors.

    Do not use it in callbacks: their progress bar is drawn above the page, and the browser rebuilds the page.
    """
    st.session_state["teach_problems"] = projects.add(name, uploads.counted(pairs))


def problems() -> None:
    """Show the errors of added pictures once, in a container that is always drawn: see `guarded.undo_bar`."""
    sentences = st.session_state.pop("teach_problems", [])
    more = [f"And {len(sentences) - _SAID:,} more."] if len(sentences) > _SAID else []
    with st.container():
        if sentences:
            st.warning("  \n".join(map(formatting.plain, [*sentences[:_SAID], *more])), icon=":material/warning:")


def undo_bar(name: str) -> None:
    """Draw a button that undoes the removal of a picture or class of this project."""
    project, words, *removed = st.session_state.get("teach_deleted", ("", ""))
    guarded.undo_bar("teach_deleted", words if project == name else "", projects.put_back, name, *removed)


def _remove(name: str, label_name: str, key: str | None = None) -> None:
    """Remove a picture of a class, or the class if `key` is None; both can be undone."""
    project = projects.load(name)
    number = project.position(label_name)
    label = project.classes[number]
    removed = [sample for sample in label.samples if key in (None, sample.key)]
    if key and not removed:  # by the first click of two: its undo stays
        return
    files: dict[Sample, bytes] = {}
    for sample in removed:
        with suppress(CifarError):  # its file is missing and cannot be restored
            files[sample] = projects.content(name, sample.key)
    projects.remove(name, label.name, key)
    words = "1 picture" if key else f"class {formatting.plain(label.name)}"
    st.session_state["teach_deleted"] = name, words, label.name, number, files


def classes(name: str, project: projects.Project) -> None:
    """Draw a card for each class, and the buttons that add classes."""
    for number, label in enumerate(project.classes):
        _card(name, number, label)
    with st.container(horizontal=True):
        if len(project.classes) < projects.MOST_CLASSES:
            guarded.button("Add a class", _new_class, name, key="teach_add", icon=":material/add:")
        fits = len(project.classes) + len(cifar10.CLASSES) <= projects.MOST_CLASSES
        if fits and not set(cifar10.CLASSES) & set(project.names):
            guarded.button(
                "Add the ten of CIFAR-10", _add_images, name, cifar10.CLASSES, _TEN_EACH, key="teach_add_ten",
                icon=":material/grid_view:", busy="Adding",
                help=f"{_TEN_EACH} training images of each class, beside your own.",
            )  # fmt: skip
    with st.expander("All classes from one ZIP file", icon=":material/folder_zip:", key="teach_zip"):
        words = "A ZIP file with a folder for each class"
        uploads.uploaded(words, "teach_more", lambda files: add(name, projects.by_folder(files)), type=["zip"])


def _new_class(name: str) -> None:
    with projects.changed(name) as project:
        number = next(n for n in range(len(project.classes) + 1, 99) if f"Class {n}" not in project.names)
        project.label(f"Class {number}")


def _card(name: str, number: int, label: Label) -> None:
    key = f"teach_{name}_{number}"
    with st.container(border=True, key=f"{key}_card"):
        color = CLASS_COLORS[number % len(CLASS_COLORS)]
        st.html(f"<style>.st-key-{key}_card{{border-top:4px solid {color}!important}}</style>")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.session_state[f"{key}_name"] = label.name
            st.text_input(
                "Name of the class",
                key=f"{key}_name",
                max_chars=projects.MOST_LETTERS,
                label_visibility="collapsed",
                on_change=lambda: guarded.attempt(projects.rename, name, label.name, st.session_state[f"{key}_name"]),
            )
            st.markdown(f"{len(label.samples)} pictures" if len(label.samples) != 1 else "1 picture", width="content")
            guarded.button(
                "", _remove, name, label.name, icon=":material/delete:", type="tertiary", key=f"{key}_delete",
                help=f"Delete {formatting.plain(label.name)}; it can be undone",
            )  # fmt: skip
        camera(
            f"{key}_pictures",
            lambda frames: guarded.attempt(_add_burst, name, label.name, frames),
            lambda picture: guarded.attempt(_remove, name, label.name, picture),
            name=label.name,
            pictures=[{"key": s.key, "url": thumbnail(name, s.key)} for s in label.samples[::-1][:_SHOWN]],
            more=max(0, len(label.samples) - _SHOWN),
        )
        uploads.uploaded(
            f"Pictures of {label.name}",
            f"{key}_files",
            lambda files: add(name, ((label.name, one) for one in read_each(files))),
            label_visibility="collapsed",
        )


@functools.lru_cache(maxsize=4096)
def thumbnail(name: str, key: str, side: int = _THUMB) -> str:
    """Return a picture as a small data URL, or "" if it is missing or damaged."""
    try:
        picture = projects.image(name, key)
    except CifarError:
        return ""
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return uploads.data_url(buffer.getvalue())
