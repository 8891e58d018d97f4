"""A live camera, classified in the browser; a picture is sent only when the user presses its button."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

from cifar_core.data.cifar10 import CLASSES
from cifar_core.export import webpage
from cifar_core.inference.classifier import Classifier
from cifar_core.inference.pictures import SIDE
from cifar_core.network import litert_format
from pages.components import formatting, uploads

_TOP = 3
_mount = st.components.v2.component(
    "live_camera",
    css="""
    .live-camera { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; font: 1rem/1.5 var(--st-font);
        color: var(--st-text-color) }
    .live-camera video { width: min(100%, 360px); aspect-ratio: 1; object-fit: cover; border-radius: 8px;
        background: var(--st-secondary-background-color) }
    .live-camera .front { transform: scaleX(-1) }
    .live-camera > div { flex: 1 1 16rem; min-width: 0 }
    .live-camera h3 { margin: 0 0 .5rem; min-height: 1.5em; font-size: 1.6rem; line-height: 1.3 }
    .live-camera ol { list-style: none; margin: 0; padding: 0 }
    .live-camera li { display: grid; grid-template-columns: 6rem 1fr 4rem; gap: .6rem; align-items: center;
        font-variant-numeric: tabular-nums }
    .live-camera li div { height: .8rem; border-radius: 3px; background: var(--st-border-color); overflow: hidden }
    .live-camera li i { display: block; height: 100%; background: var(--st-primary-color) }
    .live-camera .row { display: flex; flex-wrap: wrap; gap: .5rem; margin: .8rem 0 0 }
    .live-camera button { font: inherit; color: inherit; background: none; border: 1px solid var(--st-border-color);
        border-radius: var(--st-base-radius); padding: .3rem .8rem; min-height: 2.5rem; cursor: pointer }
    .live-camera button:hover { border-color: var(--st-primary-color) }
    .live-camera button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px }
    .live-camera p { margin: .5rem 0 0; font-size: .9rem; opacity: .8 }
    """,
    js=f"const NETWORK = {json.dumps(webpage.source('network.js'))};\n"
    f"{webpage.source('prepare.js')}\n{(formatting.FRONTEND / 'live_camera.js').read_text()}",
)


def show(model: Classifier, take: Callable[[Iterable[tuple[str, bytes]]], None]) -> None:
    """Draw the camera and the predictions of `model`; a kept picture, [(name, JPEG)], goes to `take`."""
    known = model.calibration
    data: dict[str, Any] = {
        "model": _message(model.content, known.temperature if known else 1.0),
        "name": model.name,
        "classes": CLASSES,
        "side": SIDE,
        "top": _TOP,
    }

    def got_picture() -> None:
        url = st.session_state["live_camera"].picture
        if isinstance(url, str):
            take([("camera.jpg", content) for _, content in uploads.pasted_files([{"data": url}])])

    _mount(key="live_camera", data=data, on_picture_change=got_picture)


@functools.lru_cache(maxsize=2)
def _message(content: bytes, temperature: float) -> dict[str, Any]:
    """Return a model in the format of the browser."""
    network, weights = webpage.parts(litert_format.probabilities_only(content), temperature)
    return {"network": network, "weights": base64.b64encode(weights).decode()}
