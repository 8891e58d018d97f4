"""Explore, Runs: every run in one table, to be filtered, sorted, chosen, compared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cifar_core import runs
from cifar_core.charts import overlay
from cifar_core.config import KNOBS
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import listing
from cifar_core.evaluation.listing import ORDERS, Row
from cifar_core.runs import trash
from pages.components import address, comparison, guarded, messages

_POLL_SECONDS = 2.0
_FILTER_LIMIT = 100
_ORDER_OF_COLUMN = {"star": "starred", "interval": "validation", "seconds": "time"}
"""The order of ORDERS that belongs to a column of another name."""
_NO_SORTING_IN_MENUS = (
    "<style>[data-testid=stDataFrameColumnMenu] [role=menu]>:nth-child(n+2):nth-child(-n+4){display:none}</style>"
)
"""Hides a column menu's "Sort ascending", "Sort descending" and the line below: the address would not tell of it."""


def show() -> None:
    """Draw the section."""
    found = listing.rows()
    _after_delete()
    if "explore_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("explore_error")), icon=":material/error:")
    if not found:
        st.info("There are no runs yet: start one on **Train**, and it will be listed here.", icon=":material/info:")
        _trash()
        return
    shown = _chosen_rows(found)
    chosen = _choice(found)
    chosen = _table(shown, chosen)
    if any(row.state in runs.LIVE_STATES for row in found):
        guarded.fragment(_watch, run_every=_POLL_SECONDS)(_signature(found))
    _below(shown, chosen)
    if chosen:
        known = {row.run.id: row for row in found}
        comparison.show([known[id_] for id_ in chosen])


def _chosen_rows(found: list[Row]) -> list[Row]:
    """Draw filter and order; return the rows that pass, in that order."""
    with st.container(key="wide_filters"):
        text, order, more = st.columns([2.4, 1.6, 2], vertical_alignment="bottom")
    with text:
        words = address.linked_text(
            "Filter",
            "filter",
            _FILTER_LIMIT,
            placeholder="words of a name or note, or alpha=0.5",
            help="Every word has to occur in a run's name, note, id or state, or be a knob with its value, as in "
            "dropout=0.3.",
        )
    differing = listing.differing(found)
    options = [name for name in ORDERS if name not in KNOBS or name in differing]
    with order:
        address.linked("sort", options, "validation")
        sort = st.selectbox(
            "Sort by", options, key="sort", format_func=lambda name: ORDERS[name].label, persist_state="session"
        )
        address.link("sort", sort, "validation")
    with more, st.container(horizontal=True, vertical_alignment="bottom"):
        reverse = _switch("Reverse", "reverse")
        starred = _switch("Starred only", "starred")
    present = [state for state in runs.STATES if any(row.state == state for row in found)]
    states = address.linked_choices("States", "states", present) if len(present) > 1 else []
    return listing.arrange(listing.select(found, words, states, starred), sort, reverse)


def _switch(label: str, key: str) -> bool:
    """Draw a switch that the address keeps."""
    if key not in st.session_state:
        st.session_state[key] = st.query_params.get(key) == "1"
    on = st.toggle(label, key=key, persist_state="session")
    address.link(key, "1" if on else "", "")
    return on


def _choice(found: Sequence[Row]) -> list[str]:
    """Return the ids of the chosen runs: the address's if it is a new one, else those of before that still exist."""
    known, asked = {row.run.id for row in found}, st.query_params.get("runs")
    if asked is not None and asked != st.session_state.get("runs_linked"):
        wanted = list(dict.fromkeys(asked.split(",")))[: overlay.MOST_RUNS]
        st.session_state["runs_chosen"] = wanted
        _new_table()
        if missing := [name for name in wanted if name not in known]:
            st.warning(
                f"{len(missing)} of the runs that the address names are not here: they were deleted, or belong to "
                "another machine.",
                icon=":material/link_off:",
            )
    return [id_ for id_ in st.session_state.get("runs_chosen", []) if id_ in known]


def _table(shown: list[Row], chosen: list[str]) -> list[str]:
    """Draw the table; return the chosen ids, in the order in which they were chosen."""
    ids = [row.run.id for row in shown]
    if ids != st.session_state.get("runs_listed"):  # a table that comes again, as after an undo, forgot its ticks
        st.session_state["runs_listed"] = ids
        _new_table()
    knobs = listing.differing(shown)
    key = f"runs_{st.session_state['runs_generation']}"
    st.html(_NO_SORTING_IN_MENUS)
    with st.container(key="runs_list"):
        event = st.dataframe(
            _columns(shown, knobs),
            key=key,
            hide_index=True,
            height=min(36 * (len(shown) + 1) + 3, 470),
            column_config=_looks(knobs),
            on_select=functools.partial(_sort_by_column, key),
            selection_mode=["multi-row", "single-column"],  # with which the browser does not sort by itself
            selection_default={"selection": {"rows": [ids.index(id_) for id_ in chosen if id_ in ids]}},
            placeholder="",
        )
    picked = {ids[number] for number in event["selection"]["rows"] if number < len(ids)}
    kept = [id_ for id_ in chosen if id_ in picked or id_ not in ids]
    kept += [id_ for id_ in ids if id_ in picked and id_ not in kept]
    if len(kept) > overlay.MOST_RUNS:
        st.warning(f"The first {overlay.MOST_RUNS} of the chosen runs are compared; more could not be told apart.")
        kept = kept[: overlay.MOST_RUNS]
    st.session_state["runs_chosen"] = kept
    st.session_state["runs_linked"] = ",".join(kept)
    address.link("runs", ",".join(kept), "")
    return kept


def _sort_by_column(table: str) -> None:
    """Sort by the column whose heading was clicked, the other way the second time; the address then tells of it."""
    clicked = st.session_state[table]["selection"]["columns"]
    if not clicked:
        return
    order = _ORDER_OF_COLUMN.get(clicked[0], clicked[0].removeprefix("knob_"))
    if order in ORDERS:
        st.session_state["reverse"] = st.session_state["sort"] == order and not st.session_state["reverse"]
        st.session_state["sort"] = order
    _new_table()  # in which no column is marked


def _new_table() -> None:
    """Let the table be a new one, which takes its ticks from the chosen runs."""
    st.session_state["runs_generation"] = st.session_state.get("runs_generation", 0) + 1


def _columns(shown: Sequence[Row], knobs: Sequence[str]) -> dict[str, list[Any]]:
    """Return the table's columns; a name or note is text in a cell, and nothing else."""
    intervals = [row.interval for row in shown]
    return {
        "star": ["★" if row.labels.starred else "" for row in shown],
        "name": [row.name for row in shown],
        "state": [row.state for row in shown],
        "validation": [_times(row.validation_accuracy, 100) for row in shown],
        "interval": [f"{low:.1%} to {high:.1%}" if low is not None else "" for low, high in _pairs(intervals)],
        **{f"knob_{name}": [row.knob(name) for row in shown] for name in knobs},
        "seconds": [row.seconds for row in shown],
        "size": [_times(row.model_bytes, 1e-6) for row in shown],
        "latency": [row.latency_ms for row in shown],
        "test": [_times(row.test_accuracy, 100) for row in shown],
        "note": [row.labels.note for row in shown],
    }


def _pairs(intervals: Sequence[tuple[float, float] | None]) -> list[tuple[Any, Any]]:
    return [interval or (None, None) for interval in intervals]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _looks(knobs: Sequence[str]) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "star": text("★", width=36, pinned=True),
        "name": text("Name", pinned=True, width=215),
        "state": text("State", width=80),
        "validation": number("Validation accuracy", format="%.1f %%", width=150),
        "interval": text("95 % interval", width=130),
        **{f"knob_{name}": st.column_config.Column(KNOBS[name].label, help=KNOBS[name].help) for name in knobs},
        "seconds": number("Time", format="%.0f s", width=80),
        "size": number("Model file", format="%.1f MB", width=90),
        "latency": number("Latency", format="%.1f ms", width=80, help="Median of one picture on this machine."),
        "test": number("Test accuracy", format="%.1f %%", width=110, help="Nothing should be chosen by it."),
        "note": text("Note", width=240),
    }


def _below(shown: Sequence[Row], chosen: Sequence[str]) -> None:
    """Draw the line below the table: how many, CSV, trash."""
    with st.container(horizontal=True, vertical_alignment="center"):
        hidden = len(set(chosen) - {row.run.id for row in shown})
        hint = f"{len(chosen)} chosen" if chosen else "tick rows on the left to compare them"
        st.caption(f"{len(shown)} runs; {hint}{f', {hidden} of them hidden by the filter' if hidden else ''}.")
        if chosen:
            st.button("Choose none", icon=":material/deselect:", type="tertiary", key="none", on_click=_choose_none)
        st.download_button(
            "CSV",
            listing.to_csv(shown),
            "runs.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            key="csv",
            on_click="ignore",
        )
        _trash()


def _choose_none() -> None:
    st.session_state["runs_chosen"] = []
    _new_table()


def _trash() -> None:
    """Offer what was deleted."""
    deleted = trash.contents()
    if not deleted:
        return
    with st.popover(f"Trash ({len(deleted)})", icon=":material/delete:", type="tertiary"):
        st.caption(f"Deleted runs stay here, {trash.size_bytes() / 1e6:.0f} MB, until the trash is emptied.")
        chosen = st.selectbox("Run", deleted, key="trash_run")
        st.button("Restore", icon=":material/undo:", key="restore", on_click=_restore, args=([chosen],))
        st.button("Empty the trash for good", icon=":material/delete_forever:", key="empty", on_click=trash.clear)


def _after_delete() -> None:
    """Offer to undo the last deletion."""
    deleted = {id_: name for id_, name in st.session_state.get("runs_deleted", {}).items() if id_ in trash.contents()}
    if not deleted:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo_bar"):
        st.markdown(f":material/delete: Deleted: {messages.plain(', '.join(deleted.values()))}")
        st.button("Undo", icon=":material/undo:", key="undo", on_click=_restore, args=(list(deleted),))


def _restore(ids: Sequence[str]) -> None:
    for id_ in ids:
        try:
            trash.restore(id_)
            st.session_state["runs_chosen"] = [*st.session_state.get("runs_chosen", []), id_]
        except RunError as error:
            st.session_state["explore_error"] = str(error)
    st.session_state.pop("runs_deleted", None)


def _signature(found: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.run.id, row.state) for row in found]


def _watch(before: list[tuple[str, str]]) -> None:
    """Draw the page anew when a run has changed its state. Runs by itself while one lives."""
    try:
        if _signature(listing.rows()) != before:
            st.rerun()
    except CifarError as error:
        messages.problem(error)
