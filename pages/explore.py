"""Explore: what the knobs do. Each section is a module of its own; the address says which is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pages.components import address, guarded, head_lab, run_table, surface, sweeps

# What the page has, in order: word in the address -> title and what draws it. (A text here would be drawn.)
SECTIONS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "runs": ("Runs", run_table.show),
    "lab": ("Head lab", head_lab.show),
    "sweep": ("Sweep", sweeps.show),
    "surface": ("Surface", surface.show),
}


def main() -> None:
    """Draw the page."""
    section = address.linked_choice(
        "Section", "section", {word: title for word, (title, _) in SECTIONS.items()}, "runs"
    )
    SECTIONS[section][1]()


guarded.page(main)
