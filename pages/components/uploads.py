"""The pictures of *Classify*: inputs, files read, and the square crop for the network."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_core.charts import answers as answer_charts
from cifar_core.data import cifar10
from cifar_core.errors import ImageError
from cifar_core.inference.pictures import SIDE, Crop, Picture, crop_box, read_compact
from cifar_core.untrusted import quoted, shown_name
from pages.components import address, formatting

SAMPLES = {
    "cat": "a tabby cat's face",
    "dog": "a tall brown dog on a meadow",
    "horse": "a race horse with its jockey",
    "airplane": "a jet trainer above clouds",
    "rocket": "a rocket on its launch pad at night",
    "coffee": "a red cup of espresso",
}
"""Sample photos in pages/samples and what they show."""
OTHERS = ("rocket", "coffee")
"""Samples of none of the ten classes."""
CROPS = {"centre": "Crop non-square photos", "squeeze": "Squeeze non-square photos"}
_SAMPLES_FOLDER = Path(__file__).resolve().parents[1] / "samples"
EXAMPLES = 6
EXAMPLES_FROM = 200  # first test images; so few that synthetic ones are drawn quickly
_PROGRESS_FROM = 20
_SHOWN_ERRORS = 200
_PASTED_CHARACTERS = 18_000_000
"""Limit of a paste in base64; the browser's WebSocket closes at 25 MB."""
_LOCAL = re.compile(r"https:|http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)")
"""URLs at which browsers allow a camera (W3C Secure Contexts)."""

# Streamlit's uploader takes no paste, so a script sends all files of the clipboard and scales down pictures that are
# too large for the WebSocket. A paste into an input field is left to that field.
_paste = st.components.v2.component(
    "cifar_paste",
    js=(formatting.FRONTEND / "paste.js").read_text(),
)


def pictures() -> list[Picture]:
    """Return the pictures of this session, compact, in the order of input."""
    return st.session_state.setdefault("pictures", [])


def refused() -> list[Picture]:
    """Return the files that could not be read, each with its error."""
    return st.session_state.setdefault("refused", [])


def inputs(live_camera: Callable[[], None]) -> None:
    """Draw all inputs (upload, camera, paste) and read new files; `live_camera` draws the camera."""
    has_any = bool(pictures() or refused())
    if not has_any:
        st.caption(f"The network knows ten classes and always predicts one of them: {', '.join(cifar10.CLASSES)}.")
    with st.container(key="drop_more" if has_any else "drop_zone"):
        uploaded(
            "Other photos, or ZIP files of photos" if has_any else "Your photos, or ZIP files of photos", "files", take
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        camera_on = st.toggle("Camera", key="camera_on")
        if has_any:
            address.linked_choice("Photos that are not square", "crop", CROPS, "centre", label_visibility="collapsed")
            st.button("Clear", icon=":material/close:", key="clear", on_click=clear, type="tertiary")
        st.caption("PNG, JPEG, WebP, AVIF, BMP or GIF.", width="content")
        paste_hint()
    if camera_on and not camera_allowed(st.context.url):
        st.warning(
            "Browsers allow a camera over https or at localhost only. Upload a photo instead, or serve the app over "
            "https.",
            icon=":material/no_photography:",
        )
    elif camera_on:
        live_camera()
    pasting("paste", take)


def paste_hint() -> None:
    """Show that photos can be dropped and pasted; hidden on a phone (see style)."""
    with st.container(key="mouse_paste", width="content"):
        st.caption("Or drop or paste photos here (Ctrl+V).")


def pasting(key: str, take_files: Any) -> None:
    """Listen for a paste; pass its files, and the errors of files that are too large, to `take_files`."""
    pasted = _paste(key=key, on_files_change=lambda: None, height=0).files
    if pasted:
        take_files(pasted_files(pasted), pasted_errors(pasted))
        st.rerun()


def uploaded(label: str, key: str, take_files: Any, **options: Any) -> None:
    """Draw an uploader of any number of files; pass them to `take_files`, then empty the uploader.

    Removed pictures do not come back, and no file stays in the server's memory.
    """
    number = st.session_state.setdefault(f"{key}_number", 0)
    files = st.file_uploader(
        label,
        accept_multiple_files=True,
        key=f"{key}_{number}",
        help="At most 200 MB a file; a proxy in front of the app may allow less.",
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
        file.truncate(0)  # the rerun's exception refers to it until the next garbage collection
    st.session_state[f"{key}_number"] = number + 1
    st.rerun()


def camera_allowed(address: str | None) -> bool:
    """Return whether browsers allow the camera at URL `address`; True if the URL is unknown."""
    return not address or bool(_LOCAL.match(address))


def take(files: Iterable[tuple[str, bytes]], errors: Iterable[Picture] = ()) -> None:
    """Replace the pictures with those in `files` (name, bytes); `errors` are listed with those of unreadable files."""
    taken: list[Picture] = []
    bad = list(errors)
    bar = st.empty()
    for picture in read_compact(files):
        (bad if picture.error else taken).append(picture)
        if len(taken) >= _PROGRESS_FROM and len(taken) % 10 == 0:
            bar.progress(1.0, f"Reading pictures: {len(taken):,}")
    bar.empty()
    _show(taken, bad)


def take_sample(name: str) -> None:
    """Replace the pictures with a sample photo."""
    take([(f"{name}.jpg", sample(name))])


def sample(name: str) -> bytes:
    """Return the bytes of a sample photo (JPEG)."""
    return (_SAMPLES_FOLDER / f"{name}.jpg").read_bytes()


@functools.cache
def sample_url(name: str) -> str:
    """Return a sample photo as a data URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(sample(name)).decode()}"


def take_example(image: np.ndarray, name: str) -> None:
    """Replace the pictures with a test image, uint8 (32, 32, 3)."""
    _show([Picture(name, Image.fromarray(image)).compact()], [])


def clear() -> None:
    """Remove all pictures."""
    _show([], [])


def test_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return EXAMPLES test images: positions, images, labels. `next_examples` changes the selection."""
    all_images, all_labels = cifar10.samples(EXAMPLES_FROM, test=True)
    rng = np.random.default_rng(st.session_state.get("examples", 1))
    chosen = np.sort(rng.choice(EXAMPLES_FROM, EXAMPLES, replace=False))
    return chosen, np.array(all_images[chosen]), all_labels[chosen]


def next_examples() -> None:
    """Select other test images."""
    st.session_state["examples"] = st.session_state.get("examples", 1) + 1


def show_errors(bad: list[Picture]) -> None:
    """List the errors of files as text; more than 3 in an expander."""
    title = f"{len(bad):,} files could not be read"
    place: Any = st.expander(title, icon=":material/error:") if len(bad) > 3 else st.container()
    with place:
        for one in bad[:_SHOWN_ERRORS]:
            st.error(formatting.plain(one.error), icon=":material/error:")
        if len(bad) > _SHOWN_ERRORS:
            st.caption(f"And {len(bad) - _SHOWN_ERRORS:,} more.")


def _show(taken: list[Picture], bad: list[Picture]) -> None:
    st.session_state["pictures"], st.session_state["refused"] = taken, bad
    st.session_state["chosen_picture"] = 0
    st.session_state["gallery_page"] = 1


def pasted_files(pasted: object) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of pasted files: [{"name", "data" (a data URL) or "bytes" (the size)}], unvalidated."""
    for file in _pasted(pasted):
        url = file.get("data")
        if not isinstance(url, str) or len(url) > _PASTED_CHARACTERS:
            continue
        try:
            yield _pasted_name(file), base64.b64decode(url.partition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            continue


def pasted_errors(pasted: object) -> list[Picture]:
    """Return the errors of the files that the browser found too large to paste."""
    return [
        Picture(
            _pasted_name(file),
            error=f"{quoted(_pasted_name(file))} has {file['bytes'] / 1e6:,.0f} MB, too large to paste; save it and "
            "upload the file.",
        )
        for file in _pasted(pasted)
        if isinstance(file.get("bytes"), int)
    ]


def _pasted(pasted: object) -> list[Mapping[str, Any]]:
    return [file for file in pasted if isinstance(file, Mapping)] if isinstance(pasted, list) else []


def _pasted_name(file: Mapping[str, Any]) -> str:
    name = file.get("name")
    return "pasted picture" if name in (None, "", "image.png") else str(name)


_THINNEST = 1 / 6  # a thinner photo is stretched, so that the square can be seen and dragged

_square = st.components.v2.component(
    "crop_square",
    css="""
    .crop { position: relative; overflow: hidden; border-radius: 8px; }
    .crop img { display: block; width: 100%; height: 100% }
    .square { all: unset; position: absolute; box-sizing: border-box; cursor: move; touch-action: none;
        border: 3px solid var(--st-primary-color); box-shadow: 0 0 0 200rem rgb(128 128 128 / .6) }
    .square[hidden] { display: none }
    .square:focus-visible { outline: 3px solid var(--st-text-color); outline-offset: -6px }
    .square i { position: absolute; right: -3px; bottom: -3px; width: min(44px, 60%); height: min(44px, 60%);
        cursor: nwse-resize }
    .square i::after { content: ""; position: absolute; right: 0; bottom: 0; width: min(22px, 100%);
        height: min(22px, 100%); background: var(--st-primary-color); border-radius: 6px 0 0 0 }
    """,
    js=(formatting.FRONTEND / "crop_square.js").read_text(),
)


def crop_square(picture: Picture, crop: Crop) -> None:
    """Show a photo and the square crop for the network; no square if `crop` is "squeeze"."""
    image = picture.image
    width, height = image.size
    ratio = min(max(width / height, _THINNEST), 1 / _THINNEST)
    shorter = min(width, height)
    left, top, right, _ = crop_box(image.size, crop)
    square = None if crop == "squeeze" else [left / width, top / height, (right - left) / shorter]
    key = f"crop_{picture.key}"
    data: dict[str, Any] = {
        "image": _url(picture),
        "alt": f"Photo {shown_name(picture.name)}",
        "ratio": ratio,
        "square": square,
        "shares": [shorter / width, shorter / height],
    }
    _square(key=key, data=data, on_square_change=lambda: _take_square(picture.key, st.session_state[key].square))


def _take_square(picture: str, square: object) -> None:
    """Store a square sent by the browser as the crop of a picture, if it is valid."""
    try:
        x, y, side = map(float, square if isinstance(square, list) else ())
        crop_box((SIDE, SIDE), (x, y, side))
    except (ImageError, TypeError, ValueError):
        return
    own_crops()[picture] = x, y, side


def own_crops() -> dict[str, tuple[float, float, float]]:
    """Return the squares that the user dragged, by the key of the picture."""
    return st.session_state.setdefault("own_crops", {})


def _url(picture: Picture) -> str:
    content = picture.content
    if not isinstance(content, bytes):
        return answer_charts.png(picture.image)
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
