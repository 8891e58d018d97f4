"""The square of a photo that the network gets: drag it, resize it at its corner, or use the keyboard."""

from __future__ import annotations

import base64
from typing import Any

import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.errors import ImageError
from cifar_core.inference import pictures
from cifar_core.inference.pictures import Crop, Picture
from cifar_core.untrusted import shown_name

_THINNEST = 1 / 6  # a photo that is thinner is shown stretched, so that it can be seen and dragged

_mount = st.components.v2.component(
    "crop_square",
    css="""
    .crop { position: relative; overflow: hidden; border-radius: 8px; }
    .crop img { display: block; width: 100%; height: 100% }
    .square { all: unset; position: absolute; box-sizing: border-box; cursor: move; touch-action: none;
        border: 3px solid var(--st-primary-color); box-shadow: 0 0 0 200rem rgb(128 128 128 / .6) }
    .square:focus-visible { outline: 3px solid var(--st-text-color); outline-offset: -6px }
    .square i { position: absolute; right: -3px; bottom: -3px; width: 22px; height: 22px; cursor: nwse-resize;
        background: var(--st-primary-color); border-radius: 6px 0 0 0 }
    """,
    js="""
    const HELP = "Square that the network gets. Arrow keys move it, plus and minus resize it.";
    const within = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

    function build(parent) {
        const crop = Object.assign(document.createElement("div"), { className: "crop" });
        const square = Object.assign(document.createElement("button"), { className: "square", ariaLabel: HELP });
        square.append(document.createElement("i"));
        crop.append(new Image(), square);
        parent.append(crop);
        return crop;
    }

    export default function({ data, parentElement, setTriggerValue }) {
        const crop = parentElement.querySelector(".crop") ?? build(parentElement);
        const [image, square] = crop.children;
        Object.assign(image, { src: data.image, alt: data.alt });
        crop.style.aspectRatio = data.ratio;
        crop.style.width = `min(100%, ${26 * data.ratio}rem)`;
        square.hidden = !data.square;
        if (!data.square || crop.grip) return;
        const [across, down] = data.shares;  // of the largest square, of width and height
        let [x, y, side] = data.square;
        const put = (left, top, size) => {
            side = within(size, 0.05, 1);
            x = within(left, 0, 1 - side * across);
            y = within(top, 0, 1 - side * down);
            const place = { left: x, top: y, width: side * across, height: side * down };
            for (const [name, share] of Object.entries(place)) square.style[name] = `${100 * share}%`;
        };
        const send = () => setTriggerValue("square", [x, y, side]);
        put(x, y, side);
        square.onpointerdown = (event) => {
            square.setPointerCapture(event.pointerId);
            crop.grip = { left: x, top: y, side, from: event, resizes: event.target !== square };
        };
        square.onpointermove = (event) => {
            if (!crop.grip) return;
            const { left, top, side: size, from, resizes } = crop.grip;
            const box = crop.getBoundingClientRect();
            const right = (event.clientX - from.clientX) / box.width;
            const below = (event.clientY - from.clientY) / box.height;
            if (resizes) put(left, top, within(size + Math.max(right / across, below / down), 0.05,
                Math.min((1 - left) / across, (1 - top) / down)));
            else put(left + right, top + below, size);
        };
        square.onlostpointercapture = () => {
            crop.grip = undefined;
            send();
        };
        square.onkeydown = (event) => {
            const step = event.shiftKey ? 0.1 : 0.02;
            const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
            const grows = { "+": step, "=": step, "-": -step };
            const [right, below] = moves[event.key] ?? [0, 0], grown = grows[event.key] ?? 0;
            if (!(event.key in moves) && !grown) return;
            event.preventDefault();
            put(x + right - grown * across / 2, y + below - grown * down / 2, side + grown);
            clearTimeout(crop.later);
            crop.later = setTimeout(send, 250);
        };
    }""",
)


def show(picture: Picture, crop: Crop) -> None:
    """Show a photo and the square of it that the network gets, none if `crop` is "squeeze"."""
    image = picture.image
    width, height = image.size
    ratio = min(max(width / height, _THINNEST), 1 / _THINNEST)
    shorter = min(width, height)
    left, top, right, _ = pictures.crop_box(image.size, crop)
    square = None if crop == "squeeze" else [left / width, top / height, (right - left) / shorter]
    key = f"crop_{picture.key}"
    data: dict[str, Any] = {
        "image": _url(picture),
        "alt": f"Photo {shown_name(picture.name)}",
        "ratio": ratio,
        "square": square,
        "shares": [shorter / width, shorter / height],
    }
    _mount(key=key, data=data, on_square_change=lambda: _take(picture.key, st.session_state[key].square))


def _take(picture: str, square: object) -> None:
    """Make what a browser sent the own square of a picture, if it is one."""
    try:
        x, y, side = map(float, square if isinstance(square, list) else ())
        pictures.crop_box((pictures.SIDE, pictures.SIDE), (x, y, side))
    except (ImageError, TypeError, ValueError):
        return
    own()[picture] = x, y, side


def own() -> dict[str, tuple[float, float, float]]:
    """Return the squares that were dragged, by the key of their picture."""
    return st.session_state.setdefault("own_crops", {})


def _url(picture: Picture) -> str:
    content = picture.content
    if not isinstance(content, bytes):
        return answer_charts.png(picture.image)
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
