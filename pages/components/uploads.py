"""The pictures of *Classify*: every way in, and what was read, for the whole session."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_core.data import cifar10
from cifar_core.inference.pictures import Picture, read_compact
from cifar_core.untrusted import quoted
from pages.components import address, messages

SAMPLES = {
    "cat": "a tabby cat's face",
    "dog": "a tall brown dog on a meadow",
    "horse": "a race horse with its jockey",
    "airplane": "a jet trainer above clouds",
    "rocket": "a rocket on its launch pad at night",
    "coffee": "a red cup of espresso",
}
"""Sample photos in pages/samples and what they show; the last two are of none of the ten classes."""
CROPS = {"centre": "Crop non-square photos", "squeeze": "Squeeze them"}
_SAMPLES_FOLDER = Path(__file__).resolve().parents[1] / "samples"
EXAMPLES = 6
EXAMPLES_FROM = 200  # of the test images, so few that they are drawn at once where there is no CIFAR-10
_PROGRESS_FROM = 20
_SHOWN_ERRORS = 200
_PASTED_CHARACTERS = 18_000_000
"""Of a paste in base 64; the browser's socket closes at 25 MB."""
_LOCAL = re.compile(r"https:|http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)")
"""Addresses at which browsers allow a camera (W3C Secure Contexts)."""

# Streamlit's uploader takes no paste, so a script hands over all files of the clipboard, pictures scaled down where
# they would not go through the socket. A paste into a field belongs to that field.
_paste = st.components.v2.component(
    "cifar_paste",
    js="""
    const read = blob => new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.onerror = () => failed(reader.error);
        reader.readAsDataURL(blob);
    });
    const scaled = async (file, side) => {
        const picture = await createImageBitmap(file);
        const factor = Math.min(1, side / Math.max(picture.width, picture.height));
        const canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.round(picture.width * factor));
        canvas.height = Math.max(1, Math.round(picture.height * factor));
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(picture, 0, 0, canvas.width, canvas.height);
        picture.close();
        const probe = document.createElement("canvas").getContext("2d");
        probe.drawImage(canvas, 0, 0, 64, 64);
        const opaque = probe.getImageData(0, 0, 64, 64).data.every((value, at) => at % 4 < 3 || value === 255);
        return new Promise(done => canvas.toBlob(done, opaque ? "image/jpeg" : "image/webp", 0.95));  // JPEG is faster
    };
    const fitted = async (file, most) => {
        if (file.size <= most) return { name: file.name, data: await read(file) };
        for (const side of [2048, 1024, 512, 256]) {
            try {
                const blob = await scaled(file, side);
                if (blob && blob.size <= most) return { name: file.name, data: await read(blob) };
            } catch { break; }
        }
        return { name: file.name, bytes: file.size };
    };
    export default function({ setTriggerValue }) {
        const take = async event => {
            const field = event.composedPath()[0];
            if (field.closest?.("input, textarea, [contenteditable=true]")) return;
            const files = [...(event.clipboardData?.files ?? [])];
            if (!files.length) return;
            event.preventDefault();
            const found = [];
            for (const file of files) found.push(await fitted(file, 12e6 / files.length));
            setTriggerValue("files", found);
        };
        document.addEventListener("paste", take);
        return () => document.removeEventListener("paste", take);
    }""",
)


def pictures() -> list[Picture]:
    """Return the pictures of this session, compact, in the order in which they came."""
    return st.session_state.setdefault("pictures", [])


def refused() -> list[Picture]:
    """Return the files that could not be read, each with its error."""
    return st.session_state.setdefault("refused", [])


def inputs() -> None:
    """Draw every way in, and read what came through them."""
    has_any = bool(pictures() or refused())
    if not has_any:
        st.caption(f"The network knows ten classes and always answers with one of them: {', '.join(cifar10.CLASSES)}.")
    with st.container(key="drop_more" if has_any else "drop_zone"):
        uploaded("Drop photos here, or zips of photos", "files", take)
    with st.container(horizontal=True, vertical_alignment="center"):
        camera_on = st.toggle("Camera", key="camera_on")
        if has_any:
            address.linked_choice("Photos that are not square", "crop", CROPS, "centre", label_visibility="collapsed")
            st.button("Clear", icon=":material/close:", key="clear", on_click=clear, type="tertiary")
        st.caption("Or paste a photo (Ctrl V). PNG, JPEG, WebP, AVIF, BMP or GIF.", width="content")
    if camera_on and not camera_allowed(st.context.url):
        st.warning(
            "Browsers allow a camera over https only, or at localhost. Upload a photo instead, or ask who runs this "
            "app to serve it over https.",
            icon=":material/no_photography:",
        )
    elif camera_on:
        photo = st.camera_input("Camera", key="camera", label_visibility="collapsed", width=480)
        if photo and st.session_state.get("photo") != photo.file_id:
            st.session_state["photo"] = photo.file_id
            take([("camera.jpg", photo.getvalue())])
            st.rerun()
    pasted = _paste(key="paste", on_files_change=lambda: None, height=0).files
    if pasted:
        take(pasted_files(pasted), pasted_errors(pasted))
        st.rerun()


def uploaded(label: str, key: str, take_files: Any, **options: Any) -> None:
    """Draw an uploader of any number of files; what it gets goes to `take_files`, and it is empty again.

    So nothing comes back that was removed, and no file stays in the server's memory once it was read.
    """
    number = st.session_state.setdefault(f"{key}_number", 0)
    files = st.file_uploader(
        label,
        accept_multiple_files=True,
        key=f"{key}_{number}",
        help="At most 200 MB a file; a proxy in front of the app may allow less (it answers 413, or 403).",
        **options,
    )
    if not files:
        return
    take_files((file.name, file.getvalue()) for file in files)
    context = get_script_run_ctx()
    forget = getattr(context and context.uploaded_file_mgr, "remove_file", None)
    for file in files:
        if forget and context:
            forget(context.session_id, file.file_id)
        file.truncate(0)  # what raises a rerun refers to it until the next collection
    st.session_state[f"{key}_number"] = number + 1
    st.rerun()


def camera_allowed(address: str | None) -> bool:
    """Return whether a browser at `address` lets a page ask for its camera; where it is unknown, yes."""
    return not address or bool(_LOCAL.match(address))


def take(files: Iterable[tuple[str, bytes]], errors: Iterable[Picture] = ()) -> None:
    """Read the pictures in `files` (name, bytes), in place of those before; `errors` join those of bad files."""
    found: list[Picture] = []
    bad = list(errors)
    bar = st.empty()
    for picture in read_compact(files):
        (bad if picture.error else found).append(picture)
        if len(found) >= _PROGRESS_FROM and len(found) % 10 == 0:
            bar.progress(1.0, f"Reading pictures: {len(found):,}")
    bar.empty()
    _show(found, bad)


def take_sample(name: str) -> None:
    """Show a sample photo in place of the pictures before."""
    take([(f"{name}.jpg", (_SAMPLES_FOLDER / f"{name}.jpg").read_bytes())])


@functools.cache
def sample_url(name: str) -> str:
    """Return a sample photo as a data URL."""
    content = (_SAMPLES_FOLDER / f"{name}.jpg").read_bytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def take_example(image: np.ndarray, name: str) -> None:
    """Show a test image, uint8 (32, 32, 3), in place of the pictures before."""
    _show([Picture(name, Image.fromarray(image)).compact()], [])


def clear() -> None:
    """Forget all pictures."""
    _show([], [])


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
    """List the files that could not be read, as text; a long list is folded."""
    show_errors(refused())


def show_errors(bad: list[Picture]) -> None:
    """List the errors of files, as text; a long list is folded."""
    place: Any = st.expander(f"{len(bad):,} files could not be read") if len(bad) > 8 else st.container()
    with place:
        for one in bad[:_SHOWN_ERRORS]:
            st.error(messages.plain(one.error), icon=":material/error:")
        if len(bad) > _SHOWN_ERRORS:
            st.caption(f"And {len(bad) - _SHOWN_ERRORS:,} more.")


def _show(found: list[Picture], bad: list[Picture]) -> None:
    st.session_state["pictures"], st.session_state["refused"] = found, bad
    st.session_state["closer"] = 0
    st.session_state["gallery_page"] = 1


def pasted_files(pasted: object) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of what a browser says it pasted: [{"name", "data" (a data URL) or "bytes" (its size)}]."""
    for file in _pasted(pasted):
        url = file.get("data")
        if not isinstance(url, str) or len(url) > _PASTED_CHARACTERS:
            continue
        try:
            yield _pasted_name(file), base64.b64decode(url.partition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            continue


def pasted_errors(pasted: object) -> list[Picture]:
    """Return the errors of what the browser found too long to paste."""
    return [
        Picture(
            _pasted_name(file),
            error=f"{quoted(_pasted_name(file))} has {file['bytes'] / 1e6:,.0f} MB and could not be made smaller, too "
            "much for a paste; save it and upload the file.",
        )
        for file in _pasted(pasted)
        if isinstance(file.get("bytes"), int)
    ]


def _pasted(pasted: object) -> list[Mapping[str, Any]]:
    return [file for file in pasted if isinstance(file, Mapping)] if isinstance(pasted, list) else []


def _pasted_name(file: Mapping[str, Any]) -> str:
    name = file.get("name")
    return "pasted picture" if name in (None, "", "image.png") else str(name)
