"""Explore, Runs: name, note, star, open, delete a run; the trash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from cifar_core.errors import CifarError
from cifar_core.evaluation.listing import Row
from cifar_core.inference import model_file
from cifar_core.runs import LIVE_STATES, Run, labels, trash
from pages.components import messages, run_state


def show(chosen: Sequence[Row], names: dict[str, str]) -> None:
    """Draw what can be done with one of the `chosen` runs, folded."""
    with st.expander("Rename, note, star, delete", icon=":material/edit:", key="manage"):
        if chosen:
            known = {row.run.id: row for row in chosen}
            _run(known[st.selectbox("Run", list(known), format_func=names.__getitem__, key="managed")])
        else:
            st.caption("Select a run in the table.")
        trash_panel()


def _run(row: Row) -> None:
    """Draw the labels of a run as a form, and its buttons."""
    run, id_ = row.run, row.run.id
    with st.form(f"labels_{id_}", border=False):
        st.text_input("Name", row.labels.name, key=f"name_{id_}", max_chars=labels.NAME_LIMIT, placeholder=row.name)
        st.text_area("Note", row.labels.note, key=f"note_{id_}", max_chars=labels.NOTE_LIMIT, height=68)
        st.checkbox("Starred", row.labels.starred, key=f"star_{id_}")
        st.form_submit_button("Save", key=f"save_{id_}", type="primary", on_click=_save, args=(run,))
    with st.container(horizontal=True, vertical_alignment="center"):
        run_state.state_badge(run, row.state)
        st.page_link("pages/train.py", label="Open", icon=":material/open_in_new:", query_params={"run": id_})
        if row.config:
            query = {"settings": id_}
            st.page_link("pages/train.py", label="Use its settings", icon=":material/tune:", query_params=query)
        if row.latency_ms is None and row.state == "finished":
            st.button(
                "Measure latency", icon=":material/timer:", key="time", type="tertiary", on_click=_do,
                args=(model_file.measure_latency, run), help="Time of the model for one image.",
            )  # fmt: skip
        st.button(
            "Delete", icon=":material/delete:", key="delete", type="tertiary", disabled=row.state in LIVE_STATES,
            on_click=_delete, args=(row,), help="Moves it to the trash.",
        )  # fmt: skip


def trash_panel() -> None:
    """Offer what was deleted."""
    deleted = trash.contents()
    if deleted:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Trash", deleted, key="trash_run", width=320)
            st.button("Restore", icon=":material/undo:", key="restore", on_click=_restore, args=([chosen],))
            if st.button("Empty the trash", icon=":material/delete_forever:", key="empty"):
                _empty()


@st.dialog("Empty the trash?")
def _empty() -> None:
    st.markdown(f"This deletes {len(trash.contents())} runs ({trash.size_bytes() / 1e6:.0f} MB) permanently.")
    if st.button("Delete permanently", type="primary", key="empty_sure", on_click=_do, args=(trash.clear,)):
        st.rerun()  # closes the dialog


def undo_bar() -> None:
    """Show what went wrong with the last button, and offer to undo the last deletion."""
    if "explore_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("explore_error")), icon=":material/error:")
    deleted = {id_: name for id_, name in st.session_state.get("runs_deleted", {}).items() if id_ in trash.contents()}
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo_bar"):
            st.markdown(f":material/delete: Deleted: {messages.plain(', '.join(deleted.values()))}")
            st.button("Undo", icon=":material/undo:", key="undo", on_click=_restore, args=(list(deleted),))


def _do(action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Call `action`; what goes wrong is shown on the page."""
    try:
        action(*arguments, **options)
    except CifarError as error:
        st.session_state["explore_error"] = str(error)


def _save(run: Run) -> None:
    name, note, starred = (st.session_state[f"{part}_{run.id}"] for part in ("name", "note", "star"))
    _do(labels.change, run, name=name, note=note, starred=starred)


def _delete(row: Row) -> None:
    _do(trash.discard, row.run)
    st.session_state["runs_deleted"] = {row.run.id: row.name}


def _restore(ids: Sequence[str]) -> None:
    for id_ in ids:
        _do(trash.restore, id_)
    st.session_state["runs_chosen"] = [*st.session_state.get("runs_chosen", []), *ids]
    st.session_state.pop("runs_deleted", None)
