"""Explore: what the knobs do. Each section is a module of its own; the address says which is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from pages.components import address, guarded, head_lab, run_table, search

# What the page has, in order: word in the address -> title and what draws it. (A text here would be drawn.)
SECTIONS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "runs": ("Runs", run_table.show),
    "lab": ("Head lab", head_lab.show),
    "search": ("Search", search.show),
}
_OLD = ("sweep", "surface")  # what addresses of older versions call the section Search


def main() -> None:
    """Draw the page."""
    if st.query_params.get("section") in _OLD:
        st.query_params["section"] = "search"
    st.title("Explore what the settings do")
    titles = {word: title for word, (title, _) in SECTIONS.items()}
    section = address.linked_section("Section", "section", titles, "runs")
    SECTIONS[section][1]()


guarded.page(main)
