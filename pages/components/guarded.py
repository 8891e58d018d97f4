"""Pages and fragments whose CifarError is shown as a sentence; start buttons that act once for a double click."""

from __future__ import annotations

import functools
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 - whole before any session draws: Plotly takes it half imported by another thread as it is
import streamlit as st

from cifar_core.errors import CifarError
from pages.components import messages

DOUBLE_CLICK_SECONDS = 1.0
_ACTED = "_acted_"
app_runs = False
"""Whether app.py has been run in this process."""


def page(main: Callable[[], None]) -> None:
    """Draw a page; a CifarError becomes a sentence on it.

    Streamlit takes a folder called pages for its older kind of app until app.py has declared its navigation, so a new
    server that is first asked for a page runs that page's file alone: then app.py is run in its place.
    """
    if not app_runs:
        runpy.run_path(str(Path(__file__).resolve().parents[2] / "app.py"))
        return
    try:
        main()
    except CifarError as error:
        messages.problem(error)


def fragment(draw: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
    """Return `draw` as a fragment of the page; a CifarError becomes a sentence in its place.

    Streamlit shows what a fragment raises by itself, so `page` does not see it.
    """

    @functools.wraps(draw)  # Streamlit identifies a fragment by its name
    def guarded(*arguments: Any) -> None:
        try:
            draw(*arguments)
        except CifarError as error:
            messages.problem(error)
        drawn()

    return st.fragment(guarded, run_every=run_every)


def button(label: str, action: Callable[..., Any], *arguments: Any, key: str, **options: Any) -> None:
    """Draw a button that calls `action(*arguments)` once and then draws the page anew.

    Not a callback: a server that was restarted calls none for the first press, since it has not drawn the button.
    """
    if st.button(label, key=key, **options):
        once(key, action, *arguments)
        st.rerun()


def once(name: str, action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` for a start button, once for each time that the button is drawn.

    Until the page is drawn again, the browser shows the old button and sends every further click on it. So after an
    action, presses of `name` are ignored until the page has been drawn completely, and for a second after that.
    """
    key = f"{_ACTED}{name}"
    if key in st.session_state:
        drawn = st.session_state[key]
        if drawn is None or time.monotonic() - drawn < DOUBLE_CLICK_SECONDS:
            return
    st.session_state[key] = None
    try:
        action(*arguments)
    except CifarError:
        del st.session_state[key]  # nothing was started
        raise


def drawn() -> None:
    """Record that the page, or a fragment of it, has been drawn to its end."""
    for key in [key for key in st.session_state if str(key).startswith(_ACTED)]:
        if st.session_state[key] is None:
            st.session_state[key] = time.monotonic()
