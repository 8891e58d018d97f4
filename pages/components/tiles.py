"""Clickable pictures with short texts: samples, galleries, neighbors."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st

from pages.components import formatting

# Titles and notes are text, never HTML. The browser enlarges 32x32 pictures, so few bytes are sent.
_mount = formatting.component("tiles")


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


def pick(tiles: Sequence[Tile], ids: Sequence[Any], key: str, first: Any = None) -> Any:
    """Show `tiles`, of which a click selects one; return the ID of the selected one, at first `first`.

    `ids` are those of the tiles; the selected one may be on another page.
    """
    chosen = st.session_state.get(f"{key}_chosen", first)
    marked = [place for place, id_ in enumerate(ids) if id_ == chosen]
    show(tiles, key, lambda place: st.session_state.update({f"{key}_chosen": ids[place]}), marked, 84)
    return chosen


def page(positions: Sequence[int], size: int, key: str) -> Sequence[int]:
    """Return the `positions` on the current page of `size`; draw page numbers if there is more than one page."""
    pages = -(-len(positions) // size)
    chosen = st.pagination(pages, key=key) if pages > 1 else 1
    return positions[(chosen - 1) * size : chosen * size]
