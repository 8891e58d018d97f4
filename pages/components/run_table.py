"""Explore, Runs: every run in one table; the curves of those that are selected above it, the comparison below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cifar_core import glossary, runs
from cifar_core.charts import training as training_charts
from cifar_core.config import KNOBS
from cifar_core.evaluation import listing
from cifar_core.evaluation.listing import Row
from pages.components import comparison, guarded, run_manager, run_picker, run_state

_POLL_SECONDS = 2.0
_PRESELECTED = 3
_MOST_SPARKLINES = 100
"""Runs whose metrics are read for the table; they are the best, and a long run's metrics are megabytes."""


def show() -> None:
    """Draw the section."""
    found = listing.rows()
    run_manager.undo_bar()
    if not found:
        st.info(
            "Your runs appear here: their curves, their accuracy against time, and a table.", icon=":material/info:"
        )
        st.page_link("pages/train.py", label="Train a first network", icon=":material/model_training:")
        run_manager.trash_panel()
        return
    curves = st.container()
    st.header("Runs")
    shown, chosen = _filtered(found), _choice(found)
    known = {row.run.id: row for row in found}
    names = run_state.short_names(found)
    chosen = _table([*shown, *(known[id_] for id_ in chosen if known[id_] not in shown)], chosen, names)
    if any(row.state in runs.LIVE_STATES for row in found):
        guarded.fragment(_watch, run_every=_POLL_SECONDS)(_signature(found))
    selected = [known[id_] for id_ in chosen]
    with curves:
        comparison.show(selected, shown, names)
    if len(selected) > 1:
        comparison.verdict(selected, names)
    run_manager.show(selected, names)


def _filtered(found: list[Row]) -> list[Row]:
    """Draw the filter; return the rows that pass, the best validation accuracy first."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Filter",
            key="filter",
            max_chars=100,
            bind="query-params",
            placeholder="name, state, alpha=0.5",
            help="Finds runs whose name, note, id or state contains every word; dropout=0.3 finds a setting.",
        )
        starred = st.toggle("Starred", key="starred", bind="query-params")
        own = run_picker.own(found)
        trials = len(found) - len(own)
        if trials and st.toggle(f"Trials of searches ({trials})", key="trials", bind="query-params"):
            own = found
    return listing.arrange(listing.select(own, words or "", (), starred))


def _choice(found: Sequence[Row]) -> list[str]:
    """Return the ids of the selected runs: the address's if it is a new one, else those of before, else the best."""
    known, asked = {row.run.id for row in found}, st.query_params.get("runs")
    if asked is not None and asked != st.session_state.get("runs_linked"):
        wanted = [] if asked == "none" else list(dict.fromkeys(asked.split(",")))[: training_charts.MOST_RUNS]
        missing = [name for name in wanted if name not in known]
        if missing:
            st.warning(
                f"{len(missing)} of the runs in the address are not here: deleted, or on another machine.",
                icon=":material/link_off:",
            )
        if asked == "none" or len(missing) < len(wanted):
            st.session_state["runs_chosen"] = wanted
            new_table()
    chosen = st.session_state.get("runs_chosen", _best(found))
    return [id_ for id_ in chosen if id_ in known]


def _best(found: Sequence[Row]) -> list[str]:
    """Return the ids of the runs that are selected at first."""
    ranked = listing.arrange(run_picker.own(found))[:_PRESELECTED]
    return [row.run.id for row in ranked if row.validation_accuracy is not None]


def new_table() -> None:
    """Let the table be a new one, which takes its ticks from the selected runs."""
    st.session_state["runs_generation"] = st.session_state.get("runs_generation", 0) + 1


def _table(shown: list[Row], chosen: list[str], names: dict[str, str]) -> list[str]:
    """Draw the table; return the selected ids, in the order in which they were selected."""
    ids = [row.run.id for row in shown]
    if ids != st.session_state.get("runs_listed"):  # a table that comes again, as after an undo, forgot its ticks
        st.session_state["runs_listed"] = ids
        new_table()
    knobs = listing.differing(shown)
    with st.container(key="runs_list"):
        event = st.dataframe(
            _columns(shown, knobs, names),
            key=f"runs_{st.session_state['runs_generation']}",
            hide_index=True,
            height=min(36 * (len(shown) + 1) + 3, 330),
            column_config=_looks(knobs),
            on_select="rerun",
            selection_mode="multi-row",
            selection_default={"selection": {"rows": [ids.index(id_) for id_ in chosen if id_ in ids]}},
            placeholder="",
        )
    picked = {ids[number] for number in event["selection"]["rows"] if number < len(ids)}
    selected = [id_ for id_ in chosen if id_ in picked] + [id_ for id_ in ids if id_ in picked and id_ not in chosen]
    if len(selected) > training_charts.MOST_RUNS:
        st.warning(f"Only the first {training_charts.MOST_RUNS} selected runs are compared.")
        selected = selected[: training_charts.MOST_RUNS]
    _remember(selected, _best(shown))
    with st.container(horizontal=True, vertical_alignment="center"):
        runs_word = "run" if len(shown) == 1 else "runs"
        st.caption(f"{len(shown)} {runs_word}, {len(selected)} selected. Click a heading to sort.")
        csv = listing.to_csv(shown)
        st.download_button(
            "CSV",
            csv,
            "runs.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            key="csv",
            on_click="ignore",
        )
    return selected


def _remember(selected: list[str], best: list[str]) -> None:
    """Put the selected runs into the session and the address, which leaves out the best ones."""
    st.session_state["runs_chosen"] = selected
    st.session_state["runs_linked"] = ",".join(selected) or "none"
    if selected != best:
        st.query_params["runs"] = st.session_state["runs_linked"]
    elif "runs" in st.query_params:
        del st.query_params["runs"]


def _columns(shown: Sequence[Row], knobs: Sequence[str], names: dict[str, str]) -> dict[str, list[Any]]:
    """Return the table's columns; a name or note is text in a cell, and nothing else."""
    return {
        "name": [("★ " if row.labels.starred else "") + names[row.run.id] for row in shown],
        "validation": [_times(row.validation_accuracy, 100) for row in shown],
        "seconds": [_times(row.seconds, 1 / 60) for row in shown],
        "curve": [_sparkline(row) for row in shown[:_MOST_SPARKLINES]] + [[] for _ in shown[_MOST_SPARKLINES:]],
        "interval": [f"{row.interval[0]:.1%} to {row.interval[1]:.1%}" if row.interval else "" for row in shown],
        "state": [row.state for row in shown],
        **{f"knob_{name}": [row.knob(name) for row in shown] for name in knobs},
        "size": [_times(row.model_bytes, 1e-6) for row in shown],
        "latency": [row.latency_ms for row in shown],
        "note": [row.labels.note for row in shown],
    }


def _sparkline(row: Row) -> list[float]:
    return [float(value) for value in comparison.curves_of(row).curves["validation_accuracy"].y]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _looks(knobs: Sequence[str]) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "name": text("Run", width=165),
        "validation": number("Validation", format="%.1f%%", width=80, help=glossary.TERMS["validation"]),
        "seconds": number("Time", format="%.1f min", width=75, help="Training time."),
        "curve": st.column_config.LineChartColumn(
            "By epoch", width=100, y_min=0, y_max=1, help="Validation accuracy after each epoch."
        ),
        "interval": text("95% interval", width=120),
        "state": text("State", width=75),
        **{f"knob_{name}": st.column_config.Column(KNOBS[name].label, help=KNOBS[name].help) for name in knobs},
        "size": number("Model file", format="%.1f MB", width=85),
        "latency": number("Latency", format="%.1f ms", width=80, help="Median time for one image on this machine."),
        "note": text("Note", width=200),
    }


def _signature(found: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.run.id, row.state) for row in found]


def _watch(before: list[tuple[str, str]]) -> None:
    """Draw the page anew when a run has changed its state. Runs by itself while one lives."""
    if _signature(listing.rows()) != before:
        st.rerun()
