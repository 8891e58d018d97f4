"""Views that the address reproduces: it decides at first, on another page, and after Back or Forward.

A change by a widget adds an entry to the browser's history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_core import untrusted

_LINKED = "_linked"


def forget_other_page(page: str) -> None:
    """Forget what the widgets of another page were set to: the address of `page` decides about its own."""
    if st.session_state.get("_page") != page:
        st.session_state["_page"] = page
        for key in st.session_state.pop(_LINKED, ()):
            st.session_state.pop(key, None)


def decides(key: str) -> bool:
    """Return whether the widget `key` takes its value from the address now, not from the session."""
    st.session_state.setdefault(_LINKED, set()).add(key)
    return key not in st.session_state or is_history()


def is_history() -> bool:
    """Return whether Back or Forward caused this run; the browser then ignores changes of the address."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def first(key: str, read: Callable[[str | None], Any]) -> Any:
    """Return what `read` makes of the address's word: the default for the widget `key`, its value after Back.

    To be called before the widget is drawn, which then needs no other value. A session that a restarted server has
    just begun takes what the browser shows.
    """
    value = read(st.query_params.get(_word(key)))
    if is_history():
        st.session_state[key] = value
    return value


def linked(key: str, valid: Collection[str], default: str) -> None:
    """Give the widget `key` its first value: what the address says if that is `valid`, else `default`.

    Where pages use one word of the address for different things, a widget's key is its page, a colon and the word.
    """
    if decides(key) or st.session_state[key] not in valid:
        value = st.query_params.get(_word(key))
        st.session_state[key] = value if value in valid else default


def link(key: str, value: str, default: str) -> None:
    """Let the address say that `key` is `value`, so that it reproduces the view; the default goes without saying."""
    word = _word(key)
    if value != default:
        if st.query_params.get(word) != value:
            st.query_params[word] = value
    elif word in st.query_params:
        del st.query_params[word]


def _word(key: str) -> str:
    return key.rpartition(":")[2]


def linked_text(label: str, key: str, limit: int, **options: Any) -> str:
    """Let a person write one line of up to `limit` characters, which the address keeps."""
    if decides(key):
        st.session_state[key] = untrusted.one_line(st.query_params.get(key, ""))[:limit]
    text = st.text_input(label, key=key, max_chars=limit, **options)
    link(key, text, "")
    return text


def linked_toggle(label: str, key: str) -> bool:
    """Let a person switch something on, which the address keeps."""
    if decides(key):
        st.session_state[key] = st.query_params.get(key) == "true"
    on = st.toggle(label, key=key)
    link(key, "true" if on else "", "")
    return on


def linked_choice(label: str, key: str, options: Mapping[str, str], default: str, **look: Any) -> str:
    """Let a person choose one of `options` (name -> words); the address says which, the default without saying."""
    linked(key, options, default)
    chosen = st.segmented_control(label, list(options), key=key, required=True, format_func=options.__getitem__, **look)
    chosen = chosen or default  # a choice is required, which Streamlit's types do not know
    link(key, chosen, default)
    return chosen


def linked_section(label: str, key: str, options: Mapping[str, str], default: str) -> str:
    """Let a person choose a section of a page. The words of the one before leave the address with it.

    Streamlit takes those of bound widgets away one step later, which would be an entry of the history by itself.
    """
    linked(key, options, default)
    look: dict[str, Any] = {"format_func": options.__getitem__, "label_visibility": "collapsed"}
    chosen: str = st.segmented_control(label, list(options), key=key, required=True, **look) or default
    if chosen != st.query_params.get(key, default):
        st.query_params.from_dict({} if chosen == default else {key: chosen})
    return chosen
