"""Tables of runs, trials and conditions; on a phone each row is a card."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import streamlit as st

from cifar_core import glossary
from pages.components import tiles
from pages.components.tiles import Tile

_A_PAGE = 20  # cards per page


def show(
    columns: Mapping[str, Sequence[Any]],
    key: str,
    looks: Mapping[str, Any] | None = None,
    choose: Callable[[int], None] | None = None,
    chosen: Collection[int] = (),
    narrow: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,
) -> None:
    """Draw a table of `columns`, and the same rows as cards; CSS shows one of them (see style).

    `looks` are Streamlit's column configurations, `options` those of `st.dataframe`. A tap on a card calls `choose`
    with its row as a callback; the rows `chosen` are marked. Cards have the columns `narrow`, by default those of the
    table.
    """
    looks = {name: _explained(name, (looks or {}).get(name, {})) for name in columns}
    with st.container(key=f"wide_{key}"):
        st.dataframe(columns, key=key, hide_index=True, column_config=looks, placeholder="", **options)
    with st.container(key=f"narrow_{key}"):
        narrow = narrow or columns
        rows = tiles.page(range(len(next(iter(narrow.values())))), _A_PAGE, f"page_{key}")
        cards = [_card({name: values[row] for name, values in narrow.items()}, looks) for row in rows]
        marked = [place for place, row in enumerate(rows) if row in chosen]
        tiles.show(cards, f"cards_{key}", choose and (lambda place: choose(rows[place])), marked, width=0)


def _explained(name: str, look: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column configuration; without help, it gets an explanation of the terms in its label.

    Headings are always on the left, so numbers are, too.
    """
    default = {"help": glossary.explain(look.get("label") or name), "alignment": "left"}
    return default | {k: v for k, v in look.items() if v is not None}


def _card(values: Mapping[str, Any], looks: Mapping[str, Any]) -> Tile:
    """Return a row as a card: the first value as title, the others with their labels; without curves."""
    first, *others = values
    title = values[first] if isinstance(values[first], str) else f"{first} {values[first]}"
    lines = [
        f"{looks.get(name, {}).get('label') or name}: {_text(values[name], looks.get(name, {}))}"
        for name in others
        if values[name] not in ("", None) and not isinstance(values[name], list)
    ]
    return Tile("", "", title, " · ".join(lines))


def _text(value: Any, look: Mapping[str, Any]) -> str:
    form = (look.get("type_config") or {}).get("format") or ("%.4g" if isinstance(value, float) else "")
    return form % value if form and isinstance(value, int | float) else str(value)
