"""Clickable pictures with short texts: samples, galleries, neighbors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from pages.components import formatting

# Titles and notes are text, never HTML. The browser enlarges 32x32 pictures, so few bytes are sent.
_mount = st.components.v2.component(
    "tiles",
    css="""
    .tiles { display: grid; gap: .75rem; align-items: start; margin: 0; padding: 2px }
    .tile { all: unset; box-sizing: border-box; font: .87rem/1.35 var(--st-font); color: var(--st-text-color) }
    .tile img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 6px;
        margin-bottom: .25rem }
    .tile img.small { image-rendering: pixelated }
    .tile b, .tile span { display: block; overflow-wrap: anywhere }
    .right { color: var(--st-green-text-color) } .wrong { color: var(--st-red-text-color) }
    .unusual { color: var(--st-orange-text-color) }
    .card { padding: .6rem .8rem; border: 1px solid var(--st-border-color); border-radius: 6px }
    button.tile { cursor: pointer }
    button.card[aria-pressed=true] { outline: 2px solid var(--st-primary-color) }
    button.tile:hover img { outline: 2px solid var(--st-border-color) }
    button.tile[aria-pressed=true] img { outline: 3px solid var(--st-primary-color) }
    button.card:focus-visible { outline: 2px solid var(--st-text-color); outline-offset: 2px }
    button.tile:focus-visible img { outline: 2px solid var(--st-text-color); outline-offset: 2px }
    """,
    js=(formatting.FRONTEND / "tiles.js").read_text(),
)


@dataclass(frozen=True)
class Tile:
    """A picture (data URL), its alternative text, a title, and a note of tone "right", "wrong" or "unusual".

    A tile without a picture is a text card.
    """

    image: str
    alt: str
    title: str
    note: str = ""
    tone: str = ""


def show(
    tiles: Sequence[Tile],
    key: str,
    choose: Callable[[int], None] | None = None,
    chosen: Collection[int] = (),
    width: int = 104,
) -> None:
    """Show `tiles`, `width` pixels wide (0: full width); those at the positions `chosen` are marked.

    A click calls `choose` with the tile's position as a callback.
    """

    def take() -> None:
        number = st.session_state[key].chosen
        if choose and isinstance(number, int) and 0 <= number < len(tiles):
            choose(number)

    data = {
        "tiles": [asdict(tile) for tile in tiles],
        "chosen": list(chosen),
        "width": width,
        "clickable": bool(choose),
    }
    _mount(key=key, data=data, on_chosen_change=take)


def page(positions: Sequence[int], size: int, key: str) -> Sequence[int]:
    """Return the `positions` on the current page of `size`; draw page numbers if there is more than one page."""
    pages = -(-len(positions) // size)
    chosen = st.pagination(pages, key=key) if pages > 1 else 1
    return positions[(chosen - 1) * size : chosen * size]
