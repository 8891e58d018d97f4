"""The pictures of *Classify*: inputs, files read, the square crop for the network, and the live camera.

The browser classifies the live camera; a picture is sent only when the user presses its button.
"""

import base64
import contextlib
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_core.charts import answers as answer_charts
from cifar_core.data import cifar10
from cifar_core.errors import ImageError
from cifar_core.export import webpage
from cifar_core.inference.classifier import Classifier
from cifar_core.inference.pictures import SIDE, Crop, Picture, crop_box, read_compact, read_each
from cifar_core.network import litert_format
from cifar_core.untrusted import quoted, shown_name
from pages.components import address, formatting, guarded, tiles
from pages.components.tiles import Tile

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
FRAME = "camera.jpg"
"""File name of camera frames."""
_TOP = 3  # bars of the live camera
_PROGRESS_EVERY = 20  # pictures
_SHOWN_ERRORS = 200
_PASTED_CHARACTERS = 18_000_000
"""Limit of a paste in base64; the browser's WebSocket closes at 25 MB."""

# Streamlit's uploader takes no paste, so a script sends all files of the clipboard and scales down pictures that are
# too large for the WebSocket. A paste into an input field is left to that field.
_paste = formatting.component("paste")


def pictures() -> list[Picture]:
    """Return the pictures of this session, compact, in the order of input."""
    return st.session_state.setdefault("pictures", [])


def refused() -> list[Picture]:
    """Return the files that could not be read, each with its error."""
    return st.session_state.setdefault("refused", [])


def inputs(model: Classifier) -> None:
    """Draw all inputs (upload, camera, paste) and read new files; `model` classifies the live camera."""
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
            st.button("Clear", icon=":material/close:", key="clear", on_click=_show, args=([], []), type="tertiary")
        st.caption("PNG, JPEG, WebP, AVIF, BMP or GIF.", width="content")
        paste_hint()
    if camera_on:
        _live_camera(model)
    pasting("paste", take)


def paste_hint() -> None:
    """Show that photos can be dropped and pasted; hidden on a phone (see style)."""
    with st.container(key="mouse_paste", width="content"):
        st.caption("Or drop or paste photos here (Ctrl+V).")


def pasting(key: str, take_files: Any) -> None:
    """Listen for a paste; pass its files, and the errors of files that are too large, to `take_files`."""
    pasted = _paste(key=key, on_files_change=lambda: None, height=0).files
    if pasted:
        take_files(*pasted_files(pasted))
        st.rerun()


def uploaded(label: str, key: str, take_files: Any, **options: Any) -> None:
    """Draw an uploader of any number of files; pass them to `take_files`, then empty the uploader.

    The next script run shows a CifarError of `take_files`.

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
    guarded.attempt(take_files, ((file.name, file.getvalue()) for file in files))
    context: Any = get_script_run_ctx()
    for file in files:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
        file.truncate(0)  # the rerun's exception refers to it until the next garbage collection
    st.session_state[f"{key}_number"] = number + 1
    st.rerun()


def take(files: Iterable[tuple[str, bytes]], errors: Iterable[Picture] = ()) -> None:
    """Replace the pictures with those in `files` (name, bytes); `errors` are listed with those of unreadable files."""
    taken: list[Picture] = []
    bad = list(errors)
    for picture in counted(read_compact(files)):
        (bad if picture.error else taken).append(picture)
    _show(taken, bad)


def counted(pictures: Iterable[Any]) -> Iterator[Any]:
    """Yield `pictures`, and show their number while they are read."""
    bar = st.empty()
    for number, picture in enumerate(pictures, 1):
        if number % _PROGRESS_EVERY == 0:
            bar.progress(1.0, f"Reading pictures: {number:,}")
        yield picture
    bar.empty()


def read(files: Iterable[tuple[str, bytes]], most: int) -> tuple[list[Picture], list[Picture]]:
    """Return the pictures of `files` (name, bytes), compact, and those with an error; at most `most` are read."""
    found = [picture.compact() for picture in itertools.islice(read_each(files), most + 1)]
    if len(found) > most:
        found[most] = Picture("the rest", error=f"At most {most} files are read at a time; upload fewer.")
    return [one for one in found if not one.error], [one for one in found if one.error]


def sample(name: str) -> bytes:
    """Return the bytes of a sample photo (JPEG)."""
    return (_SAMPLES_FOLDER / f"{name}.jpg").read_bytes()


def samples(key: str, take_files: Any, width: int, named: bool = True) -> None:
    """Draw the sample photos as tiles, `named` or not; a click passes one of them to `take_files`."""
    names = list(SAMPLES)
    notes = dict.fromkeys(OTHERS, "none of the ten classes") if named else {}
    tiles.show(
        [Tile(data_url(sample(name)), SAMPLES[name], name if named else "", notes.get(name, "")) for name in names],
        key,
        lambda number: take_files([(f"{names[number]}.jpg", sample(names[number]))]),
        width=width,
    )


def take_example(image: np.ndarray, name: str) -> None:
    """Replace the pictures with a test image, uint8 (32, 32, 3)."""
    _show([Picture(name, Image.fromarray(image)).compact()], [])


def show_errors(bad: list[Picture]) -> None:
    """List the errors of files as text; more than 3 in an expander."""
    title = f"{len(bad):,} files could not be read"
    place: Any = st.expander(title, icon=":material/error:") if len(bad) > 3 else st.container()
    with place:
        for one in bad[:_SHOWN_ERRORS]:
            guarded.problem(one.error)
        if len(bad) > _SHOWN_ERRORS:
            st.caption(f"And {len(bad) - _SHOWN_ERRORS:,} more.")


def _show(taken: list[Picture], bad: list[Picture]) -> None:
    st.session_state["pictures"], st.session_state["refused"] = taken, bad
    st.session_state["gallery_tiles_chosen"] = 0
    st.session_state["gallery_page"] = 1


def pasted_files(pasted: object) -> tuple[list[tuple[str, bytes]], list[Picture]]:
    """Return (name, bytes) of pasted files, and the errors of those that the browser found too large.

    `pasted` is not validated: [{"name", "data" (a data URL) or "bytes" (the size)}].
    """
    files, errors = [], []
    for file in pasted if isinstance(pasted, list) else []:
        if not isinstance(file, Mapping):
            continue
        name, url, size = file.get("name"), file.get("data"), file.get("bytes")
        name = "pasted picture" if name in (None, "", "image.png") else str(name)
        if isinstance(url, str) and len(url) <= _PASTED_CHARACTERS:
            with contextlib.suppress(ValueError):
                files.append((name, base64.b64decode(url.partition(",")[2], validate=True)))
        elif isinstance(size, int):
            words = f"has {size / 1e6:,.0f} MB, too large to paste; save it and upload the file."
            errors.append(Picture(name, error=f"{quoted(name)} {words}"))
    return files, errors


def frames(urls: object) -> list[tuple[str, bytes]]:
    """Return (FRAME, JPEG) of each frame of a camera, a data URL, at most 200; they are not validated."""
    return pasted_files([{"name": FRAME, "data": url} for url in urls[:200]] if isinstance(urls, list) else [])[0]


_THINNEST = 1 / 6  # a thinner photo is stretched, so that the square can be seen and dragged

_square = formatting.component("crop_square")


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
        "image": data_url(picture.content) if isinstance(picture.content, bytes) else answer_charts.png(picture.image),
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


def data_url(content: bytes) -> str:
    """Return a JPEG or PNG file as a data URL."""
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_camera = formatting.component(
    "live_camera",
    "camera",
    before=f"const NETWORK = {json.dumps(webpage.source('network.js'))};\n{webpage.source('prepare.js')}\n",
)


def _live_camera(model: Classifier) -> None:
    """Draw the camera and the predictions of `model`, made in the browser; a kept picture replaces the others."""
    known = model.calibration
    message = camera_model(model.content, known.temperature if known else 1.0)
    data = {"model": message, "name": model.name, "classes": cifar10.CLASSES, "side": SIDE, "top": _TOP}

    def keep() -> None:
        take(frames([st.session_state["live_camera"].picture]))

    _camera(key="live_camera", data=data, on_picture_change=keep)


@functools.lru_cache(maxsize=2)
def camera_model(content: bytes, temperature: float) -> dict[str, Any]:
    """Return a LiteRT file in the format of the browser."""
    network, weights = webpage.parts(litert_format.probabilities_only(content), temperature)
    return {"network": network, "weights": base64.b64encode(weights).decode()}
