"""Explore: the effect of the settings. Each section is a module; the URL stores which one is open."""

from collections.abc import Callable, Mapping

import streamlit as st

from pages.components import address, guarded, head_lab, run_table, search

SECTIONS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "runs": ("Runs", run_table.show),
    "lab": ("Head lab", head_lab.show),
    "search": ("Search", search.show),
}
"""Sections in order: value in the URL -> title and draw function."""
_OLD = ("sweep", "surface")  # names of the section Search in URLs of older versions


def main() -> None:
    """Draw the page."""
    if st.query_params.get("section") in _OLD:
        st.query_params["section"] = "search"
    st.title("Explore what the settings do")
    titles = {word: title for word, (title, _) in SECTIONS.items()}
    section = address.linked_section("Section", "section", titles, "runs")
    SECTIONS[section][1]()


guarded.page(main)
