"""*Inside* on Classify: a picture's activations in the 17 blocks, and the images that activate a channel most."""

from typing import Any

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from cifar_core import runs
from cifar_core.charts import answers as answer_charts
from cifar_core.charts import pictures as svg_pictures
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.inference import activations, explain
from cifar_core.inference.activations import BlockView
from cifar_core.inference.classifier import BUNDLED, Classifier, open_classifier
from cifar_core.inference.pictures import SIDE
from cifar_core.network.architecture import BLOCK_COUNT
from pages.components import formatting, live_chart, tiles
from pages.components.tiles import Tile

ABOUT = (
    "The network reads the picture in 17 **blocks**: early ones respond to edges and colors, late ones to whole "
    "objects. Green marks where a **channel** responds. *Fine-tuned blocks* on Train sets how many learn (purple)."
)
_SMALL, _LARGE = 96, 320  # side of a map in pixels
_STRENGTH = 0.8


def show(model: Classifier, pixels: np.ndarray, others: dict[str, str], block: int = BLOCK_COUNT - 3) -> None:
    """Draw the blocks, the strongest channels of the selected one, at first `block`, and one of these channels.

    `others` can be compared.
    """
    views = _views(model, pixels)
    number = st.select_slider("Block", range(1, BLOCK_COUNT + 1), block, key="inside_block") - 1
    svg = svg_pictures.blocks([(view.count, view.side) for view in views], _trained(model.name), number)
    st.image(svg, svg_pictures.alt(svg), width="stretch", alt=svg_pictures.alt(svg))
    view = views[number]
    formatting.caption(
        f"Block {number + 1} has {view.count} channels of {view.side}×{view.side} positions. The eight that respond "
        "most, compared with training images (+3 σ is rare):"
    )
    chosen = tiles.pick(
        [
            Tile(
                answer_charts.png(_overlay(pixels, view.maps[place], _SMALL)),
                f"Map of channel {channel + 1}",
                f"channel {channel + 1}",
                f"+{strength:.1f} σ" if strength > 0 else f"{strength:.1f} σ",
            )
            for place, (channel, strength) in enumerate(zip(view.channels, view.strengths, strict=True))
        ],
        range(len(view.channels)),
        "inside_channels",
        0,
    )
    _channel(model, pixels, number, view, chosen)
    _comparison(model, pixels, others)


def _views(model: Classifier, pixels: np.ndarray) -> list[BlockView]:
    """Return the activations of the blocks. A model's statistics on training images are computed once, with a bar."""
    key = (model.name, pixels.tobytes())
    if st.session_state.get("inside", (None,))[0] != key:
        bar = st.empty()

        def report(done: int, total: int) -> None:
            bar.progress(done / total, f"Reading training images: {done:,} of {total:,}")

        top_images = activations.top_images(model, report)
        bar.empty()
        st.session_state["inside"] = key, activations.views(model, pixels, top_images)
    return st.session_state["inside"][1]


def _trained(name: str) -> list[int]:
    """Return the blocks that were trained, from 0; all of them for the bundled model."""
    if name == BUNDLED:
        return list(range(BLOCK_COUNT))
    config = runs.Run(name).config
    return list(range(BLOCK_COUNT - config.fine_tune_blocks, BLOCK_COUNT)) if config.fine_tunes else []


def _overlay(pixels: np.ndarray, values: np.ndarray, side: int) -> Image.Image:
    return explain.overlay(Image.fromarray(pixels), np.maximum(values, 0), _STRENGTH, side)


def _channel(model: Classifier, pixels: np.ndarray, number: int, view: BlockView, place: int) -> None:
    """Draw a channel's map with its receptive field, and the training images with the strongest activation."""
    left, right = st.columns([2, 3])
    large = _overlay(pixels, view.maps[place], _LARGE)
    x, y, size = (_LARGE * part for part in view.place(place))
    ImageDraw.Draw(large).rectangle((x, y, x + size, y + size), outline="white", width=3)
    channel = int(view.channels[place])
    alt = f"Map of channel {channel + 1} over the picture, and the receptive field of its peak"
    left.image(large, width=_LARGE, alt=alt)
    if view.field >= 2 * SIDE:
        left.caption("The receptive field is the whole picture.")
    else:
        left.caption(f"White: receptive field of the strongest position, {view.field:.0f} of {SIDE} pixels.")
    with right:
        st.markdown("**Training images with the strongest activation**")
        images, labels = cifar10.samples(activations.IMAGES)
        rows = activations.top_images(model).rows[number][channel]
        tiles.show(
            [Tile(answer_charts.png(images[row]), "Training image", cifar10.CLASSES[labels[row]]) for row in rows],
            "inside_images",
            width=118,
        )


def _comparison(model: Classifier, pixels: np.ndarray, others: dict[str, str]) -> None:
    """Draw the select box of another model, and the similarity of both models' activations by block."""
    titles = {"": "none"} | {name: title for name, title in others.items() if name != model.name}
    if len(titles) == 1:
        return
    look: dict[str, Any] = {"format_func": titles.__getitem__, "key": "inside_with", "width": 360}
    chosen = st.selectbox("Compare its blocks with", list(titles), **look)
    if not chosen:
        return
    try:
        alike = activations.similarities([model, open_classifier(chosen)], pixels)
    except CifarError as error:
        st.info(formatting.plain(error), icon=":material/info:")
        return
    alt = "Cosine similarity of both models' activations in each block."
    live_chart.draw(answer_charts.similarity_figure(alike), "inside_alike", alt)
