"""Login, errors as sentences, buttons whose action runs once for a double click, and fragments."""

import functools
import runpy
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pandas  # noqa: F401 - import it before any session: Plotly would use a half-imported pandas of another thread
import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from cifar_core import machine
from cifar_core.doctor import SECRETS
from cifar_core.errors import CifarError, RunError
from cifar_core.jobs import Job
from cifar_core.runs import records
from cifar_core.runs.records import Person
from pages.components import address, formatting

app_runs = False
"""Whether app.py has been run in this process."""


@dataclass
class _Actions:
    """State of a session's buttons: number of actions of each, lock during an action, pending results.

    `pressed` are the actions of clicked buttons until they are called, `failed` is an error to show, `address` the
    query parameters that a script run changed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    pressed: dict[str, Callable[[], object]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    failed: CifarError | None = None
    address: tuple[ScriptRunContext | None, dict[str, list[str]]] = (None, {})


def _actions() -> _Actions:
    return st.session_state.setdefault("_actions", _Actions())


def problem(error: object) -> None:
    """Show an error, or its message, as text."""
    st.error(formatting.plain(error), icon=":material/error:")


def page(main: Callable[[], None]) -> None:
    """Draw a page; show a CifarError on it.

    Until app.py declares its navigation, Streamlit treats a folder called pages as an older kind of multipage app. If
    the first request to a new server is for a page, it runs that page's file alone; app.py is then run instead.
    """
    if not app_runs:
        runpy.run_path(str(machine.app_dir() / "app.py"))
        return
    address.place_notices()
    actions = _actions()
    with actions.lock:  # a second click starts another thread; Streamlit then ignores what the first one sends
        run, changed = actions.address
        if changed and run is not get_script_run_ctx():
            st.query_params.update(changed)
        actions.address = None, {}
        _show_failure()
    try:
        main()
        if actions.pressed:  # the button is no longer on the page
            _act(next(iter(actions.pressed)))
    except CifarError as error:
        problem(error)


def _show_failure() -> None:
    """Show the error of an action if its own place was not drawn.

    It is in a container that is always drawn: an element that comes or goes makes the browser rebuild what follows.
    """
    actions = _actions()
    with st.container():
        if actions.failed is not None:
            problem(actions.failed)
            actions.failed = None


def fragment(draw: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
    """Return `draw` as a fragment; a CifarError is shown in its place.

    Streamlit handles the exceptions of a fragment itself, so `page` does not see them.
    """

    @functools.wraps(draw)  # Streamlit identifies a fragment by its name
    def guarded(*arguments: Any) -> None:
        _show_failure()
        try:
            draw(*arguments)
        except CifarError as error:
            problem(error)

    return st.fragment(guarded, run_every=run_every)


def polled(draw: Callable[..., object], live: Callable[[], object], seconds: float = 0.7) -> Callable[..., None]:
    """Return `draw` as a fragment that runs every `seconds` while `live()` is true. The page reruns if it changes."""
    key = f"polled_{draw.__name__}"
    st.session_state[key] = live()

    @functools.wraps(draw)
    def look(*arguments: Any) -> None:
        draw(*arguments)
        if live() != st.session_state[key]:
            st.rerun()

    return fragment(look, seconds if st.session_state[key] else None)


def panel(title: str, icon: str, draw: Callable[..., object], *arguments: Any, **options: Any) -> None:
    """Draw an expander with `options`, and while it is open `draw(*arguments)` in it."""
    place = st.expander(title, icon=f":material/{icon}:", on_change="rerun", **options)
    if place.open:
        with place:
            draw(*arguments)


def button(label: str, action: Callable[..., Any], *arguments: Any, key: str, busy: str = "", **options: Any) -> None:
    """Draw a button that calls `action(*arguments)` once and reruns the page; a CifarError is shown beside it.

    `busy` is shown beside the button during an action that may take a second or more.

    After an action the button gets a new key, so Streamlit ignores further clicks on the old one. A callback stores the
    action, as another click may interrupt the script before it reaches the button. It does not call it: its arguments
    are those of the last script run, and a restarted server calls no callback for the first click.
    """
    actions = _actions()
    count = actions.counts[key]

    def press() -> None:
        if actions.counts[key] == count:
            actions.pressed[key] = functools.partial(action, *arguments)

    if st.button(label, key=f"{key}_{count}" if count else key, on_click=press, **options):
        press()
    if key in actions.pressed:
        _act(key, busy)


def _act(key: str, busy: str = "") -> None:
    """Call the stored action of a button and rerun the page; show a CifarError instead."""
    actions = _actions()
    with actions.lock:
        try:
            with st.spinner(busy) if busy else nullcontext():
                if action := actions.pressed.pop(key, None):  # else another script run has called it
                    actions.counts[key] += 1
                    _in_own_thread(action)
        except CifarError as error:
            actions.counts[key] -= 1  # no rerun: this button stays
            actions.failed = error
        else:
            st.rerun()
    _show_failure()


def own_button(
    label: str, folder: Path, action: Callable[..., Any], *arguments: Any, disabled: bool = False, **options: Any
) -> None:
    """Draw a `button` that acts on what is in `folder`; disabled if that is another user's."""
    button(label, if_own, folder, action, *arguments, disabled=disabled or is_anothers(folder), **options)


def stop_button(job: Job, key: str) -> None:
    """Draw a button that asks `job` to stop, and says until then that it is stopping."""
    label = "Stopping" if job.is_stopping else "Stop"
    button(label, job.ask_to_stop, key=key, icon=":material/stop:", disabled=job.is_stopping)


def _in_own_thread(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` in its own thread: in the script's thread, another click would interrupt it."""
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


def undo_bar(key: str, words: str, action: Callable[..., Any], *arguments: Any) -> None:
    """Draw what was deleted, `words` in Markdown, with buttons that undo and forget it; nothing if `words` is empty.

    `st.session_state[key]` remembers the deletion. style.py places the bar above the page. Its container is always
    drawn, see `_show_failure`.
    """

    def undo() -> None:
        action(*arguments)
        st.session_state.pop(key, None)

    with st.container():
        if words:
            with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"undo_bar_{key}"):
                st.markdown(f":material/delete: Deleted: {words}")
                button("Undo", undo, icon=":material/undo:", key=f"undo_{key}")
                st.button("Hide", key=f"hide_{key}", type="tertiary", on_click=st.session_state.pop, args=(key, None))


def act(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` and rerun the page; a CifarError is shown here."""
    try:
        action(*arguments)
    except CifarError as error:
        problem(error)
    else:
        st.rerun()


def confirm(title: str, text: str, key: str, action: Callable[..., Any], *arguments: Any) -> None:
    """Open a dialog with a button *Delete* that calls `action(*arguments)`."""

    def ask() -> None:
        st.markdown(text)
        if st.button("Delete", type="primary", key=key, on_click=attempt, args=(action, *arguments)):
            st.rerun()

    st.dialog(title)(ask)()


def attempt(action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` in a callback; the next page or fragment shows a CifarError."""
    try:
        action(*arguments)
    except CifarError as error:
        _actions().failed = error


def person() -> Person:
    """Return the logged-in user, or an empty Person without login."""
    if not st.user.get("is_logged_in"):
        return Person()
    return Person(str(st.user.get("sub") or ""), str(st.user.get("name") or st.user.get("email") or "somebody"))


def own(folder: Path) -> None:
    """Record the logged-in user as the owner of a run, a search or a project. Raises RunError."""
    records.save_owner(folder, person())


def is_anothers(folder: Path) -> bool:
    """Return whether a run, a search or a project belongs to another user; False without a login."""
    return belongs_to_others()(folder)


def belongs_to_others() -> Callable[[Path], bool]:
    """Return `is_anothers` of this session for many folders: Streamlit reads its files for each look at the user."""
    me = person().id
    return lambda folder: bool(me) and records.owner(folder).id != me


def if_own(folder: Path, action: Callable[..., Any], *arguments: Any) -> None:
    """Call `action(*arguments)` on what is in `folder`. Raises RunError if that is another person's."""
    if is_anothers(folder):
        raise RunError(f"{folder.name} belongs to another person; only they can stop, change or delete it.")
    action(*arguments)


def require_login() -> None:
    """Stop the page unless the user is logged in, if secrets.toml exists (docs/hosting.md).

    A file without a readable [auth] section is an error and also stops the page.
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
