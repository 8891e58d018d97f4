"""Widgets linked to the URL: it sets them in a new session, on another page, and after Back or Forward.

A change of a widget adds an entry to the browser's history.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_core.untrusted import one_line, quoted, shown_name
from pages.components import formatting

_LINKED, _NOTICES = "_linked", "_notices"
_MOST_NAMED = 6


def forget_other_page(page: str) -> None:
    """Delete the values of another page's linked widgets: the URL of `page` sets its own."""
    if st.session_state.get("_page") != page:
        st.session_state["_page"] = page
        for key in st.session_state.pop(_LINKED, ()):
            st.session_state.pop(key, None)


def place_notices() -> None:
    """Make the place where `known` reports; call it before the page is drawn."""
    st.session_state[_NOTICES] = st.container()


def decides(key: str) -> bool:
    """Return whether the widget `key` takes its value from the URL now, not from the session."""
    st.session_state.setdefault(_LINKED, set()).add(key)
    return key not in st.session_state or is_history()


def is_history() -> bool:
    """Return whether Back or Forward caused this run; the browser then ignores changes of the URL."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def linked(key: str, valid: Collection[str], default: str) -> None:
    """Initialize the widget `key` from the URL if that value is `valid`, else with `default`.

    If pages use one query parameter for different things, the key is the page, a colon and the parameter.
    """
    if decides(key) or st.session_state[key] not in valid:
        value = st.query_params.get(_word(key))
        st.session_state[key] = value if known(_word(key), value, valid) else default


def known(word: str, value: str | None, valid: Collection[str]) -> bool:
    """Return whether `value`, that of a query parameter, is `valid`; if it is not, say so above the page."""
    if value is not None and value not in valid:
        names = ", ".join(shown_name(name) for name in [*valid][:_MOST_NAMED] if name)
        expected = f"expected {names}{', …' * (len(valid) > _MOST_NAMED)}" if names else "but there is none"
        notice(f"The address of this page has {word}={quoted(value)}, {expected}.")
    return value in valid


def known_of(word: str, values: Sequence[str], valid: Collection[str]) -> list[str]:
    """Return those `values` of a query parameter that are `valid`, each once; `known` reports the first other one."""
    known(word, next((value for value in values if value not in valid), None), valid)
    return [value for value in dict.fromkeys(values) if value in valid]


def notice(text: str) -> None:
    """Say above the page what is wrong with its address."""
    st.session_state[_NOTICES].warning(formatting.plain(text), icon=":material/link_off:")


def link(key: str, value: str, default: str) -> None:
    """Store `key=value` in the URL; remove it if `value` is the default."""
    word = _word(key)
    if value != default:
        if st.query_params.get(word) != value:
            st.query_params[word] = value
    elif word in st.query_params:
        del st.query_params[word]


def _word(key: str) -> str:
    return key.rpartition(":")[2]


def linked_text(label: str, key: str, limit: int, **options: Any) -> str:
    """Draw a text input of up to `limit` characters, linked to the URL. Unlike one that is bound, Back clears it."""
    if decides(key):
        st.session_state[key] = one_line(st.query_params.get(key, ""))[:limit]
    text = st.text_input(label, key=key, max_chars=limit, **options)
    link(key, text, "")
    return text


def linked_toggle(label: str, key: str, **look: Any) -> bool:
    """Draw a toggle, linked to the URL."""
    if decides(key):
        value = st.query_params.get(key)
        st.session_state[key] = known(key, value, ("true", "false")) and value == "true"
    on = st.toggle(label, key=key, **look)
    link(key, "true" if on else "", "")
    return on


def linked_select(
    label: str, key: str, options: Mapping[str, str], default: str, draw: Callable[..., Any] = st.selectbox, **look: Any
) -> str:
    """Draw the choice of one of `options` (name -> label), by default as a select box, linked to the URL."""
    linked(key, options, default)
    chosen: str = draw(label, list(options), key=key, format_func=options.__getitem__, **look)
    link(key, chosen, default)
    return chosen


def linked_choice(label: str, key: str, options: Mapping[str, str], default: str, **look: Any) -> str:
    """Draw a segmented control of `options` (name -> label), linked to the URL."""
    return linked_select(label, key, options, default, st.segmented_control, required=True, **look)


def bound(key: str, valid: Collection[str], pair: bool = False) -> dict[str, Any]:
    """Return the options of a widget that Streamlit links to the URL, and say which of its values there are ignored.

    Those are all that are not `valid`, and any number of values but two if the widget takes a `pair`.
    """
    if decides(key):
        values = st.query_params.get_all(key)
        if pair and len(values) not in (0, 2):
            notice(f"The address of this page has {key} {len(values)} times, expected two values of it.")
        else:
            known_of(key, values, valid)
    return {"key": key, "bind": "query-params"}


def linked_section(label: str, key: str, options: Mapping[str, str], default: str) -> str:
    """Draw the choice of a page's section. A change removes the previous section's parameters from the URL.

    Streamlit removes those of bound widgets one run later, which would add an entry to the history.
    """
    linked(key, options, default)
    look: dict[str, Any] = {"format_func": options.__getitem__, "label_visibility": "collapsed"}
    chosen: str = st.segmented_control(label, list(options), key=key, required=True, **look) or default
    if chosen != st.query_params.get(key, default):
        st.query_params.from_dict({} if chosen == default else {key: chosen})
    return chosen
