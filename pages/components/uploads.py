"""The pictures that a person brought to *Classify*: kept for the session, whatever page is open."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from cifar_core.data import cifar10
from cifar_core.inference.album import Held, Refused, hold, hold_each
from pages.components import messages

TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "zip"]
EXAMPLES = 6
EXAMPLES_FROM = 200  # of the test images, so few that they are drawn at once where there is no CIFAR-10
_PROGRESS_FROM = 20
_PASTED_CHARACTERS = 30_000_000

# Streamlit's uploader takes no paste, so a small script hands over what the clipboard holds.
_paste = st.components.v2.component(
    "cifar_paste",
    js="""export default function({ setTriggerValue }) {
        const take = event => {
            const items = [...(event.clipboardData?.items ?? [])].filter(item => item.type.startsWith("image/"));
            if (!items.length) return;
            const reader = new FileReader();
            reader.onload = () => setTriggerValue("picture", reader.result);
            reader.readAsDataURL(items[0].getAsFile());
            event.preventDefault();
        };
        document.addEventListener("paste", take);
        return () => document.removeEventListener("paste", take);
    }""",
)


def album() -> list[Held]:
    """Return the kept pictures, in the order in which they came."""
    return st.session_state.setdefault("album", [])


def refused() -> list[Refused]:
    """Return the files that could not be used."""
    return st.session_state.setdefault("refused", [])


def inputs() -> None:
    """Draw every way in, and take what came through them."""
    files = st.file_uploader(
        "Pictures (PNG, JPEG, WebP, BMP or GIF), or a zip of them; 200 MB each at most",
        type=TYPES,
        accept_multiple_files=True,
        key="pictures",
        on_change=_remember,
        args=("files",),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        camera_on = st.toggle("Camera", key="camera_on")
        st.caption("A copied picture can be pasted anywhere on this page (Ctrl V).")
        if album() or refused():
            st.button("Clear", icon=":material/close:", key="clear", on_click=clear, type="tertiary")
    photo = (
        st.camera_input(
            "Camera", key="camera", label_visibility="collapsed", on_change=_remember, args=("camera",), width=480
        )
        if camera_on
        else None
    )
    pasted = _paste(key="paste", on_picture_change=lambda: None, height=0).picture
    news = st.session_state.pop("news", None)
    if news == "files":
        take((file.name, file.getvalue()) for file in files)
    elif news == "camera" and photo:
        take([("camera.jpg", photo.getvalue())])
    elif pasted:
        take([("pasted picture", _decoded(pasted))])


def take(files: Iterable[tuple[str, bytes]]) -> None:
    """Keep the pictures in `files` (name, bytes) in place of those before; a bad one is told of."""
    held: list[Held] = []
    bad: list[Refused] = []
    bar = st.empty()
    for one in hold_each(files):
        (held if isinstance(one, Held) else bad).append(one)  # type: ignore[arg-type]
        if len(held) >= _PROGRESS_FROM and len(held) % 10 == 0:
            bar.progress(1.0, f"Reading pictures: {len(held):,}")
    bar.empty()
    _keep(held, bad)


def keep_example(image: np.ndarray, name: str) -> None:
    """Keep a test image, uint8 (32, 32, 3), in place of the pictures before."""
    _keep([hold(Image.fromarray(image), name)], [])


def clear() -> None:
    """Forget all pictures."""
    _keep([], [])


def test_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a few test images, others at each press of the button: positions, images, labels."""
    all_images, all_labels = cifar10.samples(EXAMPLES_FROM, test=True)
    rng = np.random.default_rng(st.session_state.get("examples", 1))
    chosen = np.sort(rng.choice(EXAMPLES_FROM, EXAMPLES, replace=False))
    return chosen, np.array(all_images[chosen]), all_labels[chosen]


def next_examples() -> None:
    """Choose other test images."""
    st.session_state["examples"] = st.session_state.get("examples", 1) + 1


def show_refused() -> None:
    """Tell of every file that could not be used, as text; a long list is folded."""
    bad = refused()
    place: Any = st.expander(f"{len(bad):,} files could not be used") if len(bad) > 8 else st.container()
    with place:
        for one in bad[:200]:
            st.error(f"**{messages.plain(one.name)}**: {messages.plain(one.error)}", icon=":material/error:")
        if len(bad) > 200:
            st.caption(f"And {len(bad) - 200:,} more.")


def _remember(source: str) -> None:
    st.session_state["news"] = source


def _keep(held: list[Held], bad: list[Refused]) -> None:
    st.session_state["album"], st.session_state["refused"] = held, bad
    st.session_state["closer"] = 0
    st.session_state["gallery_page"] = 1


def _decoded(url: object) -> bytes:
    """Return the bytes of a data URL as the clipboard gave it; nothing if it is none."""
    text = url if isinstance(url, str) and len(url) <= _PASTED_CHARACTERS else ""
    try:
        return base64.b64decode(text.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
