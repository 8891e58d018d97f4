"""Who may see the app; errors as sentences; start buttons that act once for a double click."""

from __future__ import annotations

import functools
import runpy
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pandas  # noqa: F401 - whole before any session draws: Plotly takes it half imported by another thread as it is
import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from cifar_core.errors import CifarError, RunError
from cifar_core.runs import Run, owners
from cifar_core.runs.owners import Person
from pages.components import formatting

app_runs = False
"""Whether app.py has been run in this process."""


@dataclass
class _Actions:
    """What the buttons of a session did: how often each acted, a lock that is held meanwhile, what is left to be shown.

    `failed` is an error, `address` what a script run changed of the address.
    """

    counts: Counter[str] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)
    failed: CifarError | None = None
    address: tuple[ScriptRunContext | None, dict[str, list[str]]] = (None, {})


def _actions() -> _Actions:
    return st.session_state.setdefault("_actions", _Actions())


def problem(error: CifarError) -> None:
    """Show what went wrong, as text."""
    st.error(formatting.plain(error), icon=":material/error:")


def page(main: Callable[[], None]) -> None:
    """Draw a page; a CifarError becomes a sentence on it.

    Streamlit takes a folder called pages for its older kind of app until app.py has declared its navigation, so a new
    server that is first asked for a page runs that page's file alone: then app.py is run in its place.
    """
    if not app_runs:
        runpy.run_path(str(Path(__file__).resolve().parents[2] / "app.py"))
        return
    actions = _actions()
    with actions.lock:  # Streamlit answers a second click at once by another thread, and takes no more from the first
        run, changed = actions.address
        if changed and run is not get_script_run_ctx():
            st.query_params.update(changed)
        actions.address = None, {}
        _say_failed()
    try:
        main()
    except CifarError as error:
        problem(error)


def _say_failed() -> None:
    """Show the error of an action whose own place was not drawn."""
    actions = _actions()
    if actions.failed is not None:
        problem(actions.failed)
        actions.failed = None


def fragment(draw: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
    """Return `draw` as a fragment of the page; a CifarError becomes a sentence in its place.

    Streamlit shows what a fragment raises by itself, so `page` does not see it.
    """

    @functools.wraps(draw)  # Streamlit identifies a fragment by its name
    def guarded(*arguments: Any) -> None:
        _say_failed()
        try:
            draw(*arguments)
        except CifarError as error:
            problem(error)

    return st.fragment(guarded, run_every=run_every)


def polled(draw: Callable[..., object], live: object, seconds: float) -> Callable[..., None]:
    """Return `draw` as a fragment that runs every `seconds` if `live` is true.

    `draw` returns what `live` is by now; the page is drawn anew when that is another value.
    """
    key = f"polled_{draw.__name__}"
    st.session_state[key] = live

    @functools.wraps(draw)
    def look(*arguments: Any) -> None:
        if draw(*arguments) != st.session_state[key]:
            st.rerun()

    return fragment(look, seconds if live else None)


def button(label: str, action: Callable[..., Any], *arguments: Any, key: str, **options: Any) -> None:
    """Draw a button that calls `action(*arguments)` once and then draws the page anew; a CifarError is shown beside it.

    After an action its key is another one: Streamlit then ignores further clicks on the button that the browser still
    shows. Not a callback: a server that was restarted calls none for the first press.
    """
    actions = _actions()
    count = actions.counts[key]
    if st.button(label, key=f"{key}_{count}" if count else key, **options):
        with actions.lock:
            actions.counts[key] = count + 1
            try:
                _whole(action, *arguments)
            except CifarError as error:
                actions.counts[key] = count  # the page goes on, and with it this button
                actions.failed = error
        _say_failed()
        if actions.counts[key] > count:
            st.rerun()


def _whole(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` by a thread of its own: in the script's, another click would end it halfway."""
    context = get_script_run_ctx()

    def call() -> None:
        add_script_run_ctx(ctx=context)
        before = _address()
        action(*arguments)
        _actions().address = (
            context,
            {word: values for word, values in _address().items() if values != before.get(word)},
        )

    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


def _address() -> dict[str, list[str]]:
    return {word: st.query_params.get_all(word) for word in st.query_params}


def act(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` and draw the page anew; a CifarError is shown here."""
    try:
        action(*arguments)
    except CifarError as error:
        problem(error)
    else:
        st.rerun()


def confirm(title: str, text: str, key: str, action: Callable[..., Any], *arguments: Any) -> None:
    """Ask in a dialog, with a button *Delete*, before `action(*arguments)` is called."""

    def ask() -> None:
        st.markdown(text)
        if st.button("Delete", type="primary", key=key, on_click=attempt, args=(action, *arguments)):
            st.rerun()

    st.dialog(title)(ask)()


def attempt(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` in a callback; the page or fragment that is drawn next shows a CifarError."""
    try:
        action(*arguments)
    except CifarError as error:
        _actions().failed = error


def person() -> Person:
    """Return who has logged in; an empty one where nobody has to."""
    if not st.user.get("is_logged_in"):
        return Person()
    return Person(str(st.user.get("sub") or ""), str(st.user.get("name") or st.user.get("email") or "somebody"))


def is_anothers(run: Run) -> bool:
    """Return whether another person than the one who has logged in started `run`."""
    me, owner = person().id, owners.load(run).id if person().id else ""
    return bool(owner) and owner != me


def check_own(run: Run) -> None:
    """Raise RunError if `run` is another person's."""
    if is_anothers(run):
        raise RunError(f"Run {run.id} was started by another person; only they can stop or delete it.")


SECRETS = Path(__file__).resolve().parents[2] / ".streamlit" / "secrets.toml"


def require_login() -> None:
    """Let nobody past who has not logged in, where secrets.toml asks for a login (docs/hosting.md).

    A file that asks for none that Streamlit understands is a mistake, which must not open the door.
    """
    is_logged_in = st.user.get("is_logged_in")
    if is_logged_in or (is_logged_in is None and not SECRETS.exists()):
        return
    if is_logged_in is None:
        st.error(f"{SECRETS.name} has no [auth] that can be read, expected a login; correct it, or delete the file.")
    else:
        st.title("CIFAR Studio")
        st.button("Log in", type="primary", icon=":material/login:", key="login", on_click=st.login)
    st.stop()
