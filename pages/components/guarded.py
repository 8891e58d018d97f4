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
app_runs = False
"""Whether app.py has been run in this process."""


def page(main: Callable[[], None]) -> None:
    """Draw a page; what is a person's to mend becomes a sentence.

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
    """Return `draw` as a fragment of the page; what is a person's to mend becomes a sentence in its place.

    Streamlit shows what a fragment raises by itself, so `run_page` never hears of it.
    """

    @functools.wraps(draw)  # by its name the fragment is known
    def guarded(*arguments: Any) -> None:
        try:
            draw(*arguments)
        except CifarError as error:
            messages.problem(error)

    return st.fragment(guarded, run_every=run_every)


def button(label: str, action: Callable[..., Any], *arguments: Any, key: str, **options: Any) -> None:
    """Draw a button that calls `action(*arguments)` once and then draws the page anew.

    Not a callback: a server that was restarted calls none for the first press, since it has not drawn the button.
    """
    if st.button(label, key=key, **options):
        once(key, action, *arguments)
        st.rerun()


def once(name: str, action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)`, unless `name` was started less than a second ago: the callback of a start button.

    Until the page is drawn anew, the browser still shows the button, and sends every further click on it.
    """
    key = f"_started_{name}"
    is_again = time.monotonic() - st.session_state.get(key, -DOUBLE_CLICK_SECONDS) < DOUBLE_CLICK_SECONDS
    try:
        if not is_again:
            action(*arguments)
    finally:
        st.session_state[key] = time.monotonic()
