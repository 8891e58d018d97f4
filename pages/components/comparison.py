"""Explore, Runs: what can be done with the chosen runs, their curves in one chart, whether they really differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from cifar_core import charts, runs
from cifar_core.charts import overlay
from cifar_core.config import KNOBS
from cifar_core.errors import CifarError
from cifar_core.evaluation import comparison, listing
from cifar_core.evaluation.listing import Row
from cifar_core.inference import latency
from cifar_core.runs import LIVE_STATES, Run, curves, labels, trash
from pages.components import address, messages, run_state

_SMOOTHING = ("0", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95")
_AXES = {"epoch": "Epoch", "time": "Time"}


def show(chosen: Sequence[Row]) -> None:
    """Draw the chosen runs."""
    for number, row in enumerate(chosen):
        _card(row, number)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        axis = address.linked_choice("Align by", "axis", _AXES, "epoch")
        address.linked("smoothing", _SMOOTHING, "0")
        smoothing = st.select_slider(
            "Smoothing",
            _SMOOTHING,
            key="smoothing",
            width=260,
            persist_state="session",
            help="Share of each point that comes from those before it. Dots stay what was measured.",
        )
        address.link("smoothing", smoothing, "0")
    drawn = [(row.name, _curves(row.run.id, run_state.stamp(row.run, "metrics.jsonl"))) for row in chosen]
    with st.container(key="wide_overlay"):
        for column, metric in zip(st.columns(2), ("accuracy", "loss"), strict=True):
            figure = overlay.figure(drawn, metric, axis, float(smoothing))
            column.plotly_chart(figure, key=f"overlay_{metric}", config={"displaylogo": False})
    st.caption("Thick lines and dots: validation. Thin pale lines: training.")
    if len(chosen) > 1:
        _differences(chosen)
        _real(chosen)


def _card(row: Row, number: int) -> None:
    """Draw one chosen run: its colour, its figures, what can be done with it."""
    run, id_ = row.run, row.run.id
    with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"run_{number}"):
        colour = overlay.COLOURS[number % len(overlay.COLOURS)]
        st.html(
            f"<span style='display:inline-block;width:14px;height:14px;border-radius:7px;background:{colour}'></span>",
            width=18,
        )
        run_state.state_badge(run, row.state)
        st.markdown(f"**{messages.plain(row.name)}**{_figures(row)}", width="stretch")
        star = "Unstar" if row.labels.starred else "Star"
        st.button(
            star,
            icon=":material/star:",
            key=f"star_{id_}",
            type="tertiary",
            on_click=_do,
            args=(labels.change, run),
            kwargs={"starred": not row.labels.starred},
        )
        with st.popover("Name and note", icon=":material/edit:", type="tertiary"):
            st.text_input("Name", row.labels.name, key=f"name_{id_}", max_chars=labels.NAME_LIMIT, placeholder=row.name)
            st.text_area("Note", row.labels.note, key=f"note_{id_}", max_chars=labels.NOTE_LIMIT)
            st.button("Save", key=f"save_{id_}", type="primary", on_click=_write, args=(run,))
        if row.latency_ms is None and row.state == "finished":
            st.button(
                "Time it",
                icon=":material/timer:",
                key=f"time_{id_}",
                type="tertiary",
                on_click=_do,
                args=(latency.measure, run),
                help="Measures how long the model takes for one picture.",
            )
        st.page_link("pages/train.py", label="Open", icon=":material/open_in_new:", query_params={"run": id_})
        if row.config:
            st.page_link(
                "pages/train.py", label="Use its settings", icon=":material/tune:", query_params={"settings": id_}
            )
        st.button(
            "Delete",
            icon=":material/delete:",
            key=f"delete_{id_}",
            type="tertiary",
            disabled=row.state in LIVE_STATES,
            on_click=_delete,
            args=(row,),
            help="It goes to the trash and can be brought back.",
        )


def _figures(row: Row) -> str:
    """Return accuracy with interval, and the note, as markdown."""
    said = ""
    if row.validation_accuracy is not None and row.interval:
        low, high = row.interval
        said = f" · validation {row.validation_accuracy:.1%} ({low:.1%} to {high:.1%})"
    return said + (f" · {messages.plain(row.labels.note)}" if row.labels.note else "")


def _do(action: Callable[..., Any], run: Run, **options: Any) -> None:
    """Do `action` to `run`, keeping what goes wrong for the page to show."""
    try:
        action(run, **options)
    except CifarError as error:
        st.session_state["explore_error"] = str(error)


def _write(run: Run) -> None:
    _do(labels.change, run, name=st.session_state[f"name_{run.id}"], note=st.session_state[f"note_{run.id}"])


def _delete(row: Row) -> None:
    _do(trash.discard, row.run)
    st.session_state["runs_deleted"] = {row.run.id: row.name}


def _differences(chosen: Sequence[Row]) -> None:
    """Say which knobs differ."""
    knobs = listing.differing(chosen)
    st.markdown("##### What differs")
    if not knobs:
        st.caption("No knob: the runs were given the same settings.")
        return
    table = {"run": [row.name for row in chosen]}
    for name in knobs:
        knob = KNOBS[name]
        table[knob.label] = [knob.say(row.knob(name)) if row.config else "?" for row in chosen]
    st.dataframe(table, hide_index=True, key="differences")


def _real(chosen: Sequence[Row]) -> None:
    """Show whether the differences are significant."""
    finished = [row.run for row in chosen if row.state == "finished"]
    st.markdown("##### Is the difference significant?")
    if len(finished) < 2:
        st.caption("Choose two finished runs to test their difference.")
        return
    stamps = tuple(run_state.stamp(run, "evaluation.npz") for run in finished)
    pairs = _pairs(tuple(run.id for run in finished), stamps)
    names = {row.run.id: f"“{row.name}”" for row in chosen}
    compared = sum(pair.result is not None for pair in pairs)
    for pair in pairs:
        words = comparison.verdict(pair, names[pair.a.id], names[pair.b.id])
        st.markdown(f"- {messages.plain(words)}")
    st.caption(messages.plain(comparison.caution(compared)) + " McNemar's exact test.")


@st.cache_resource(max_entries=64, show_spinner=False)
def _pairs(ids: tuple[str, ...], stamps: tuple[tuple[int, ...], ...]) -> list[comparison.Pair]:
    """Return the tests of all pairs; made once for each state of the files."""
    return comparison.compare([Run(id_) for id_ in ids])


@st.cache_resource(max_entries=128, show_spinner=False)
def _curves(run_id: str, stamp: tuple[int, ...]) -> charts.Curves:
    """Return a run's curves; made once for each state of its metrics."""
    return curves.curves(runs.Run(run_id).metrics())
