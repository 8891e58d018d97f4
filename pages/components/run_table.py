"""Explore, Runs: all runs in one table; rename, note, star and delete a run; the trash; the best run of each user."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cifar_core import glossary
from cifar_core.charts import training as training_charts
from cifar_core.config import KNOBS, Knob, differing_knobs
from cifar_core.evaluation import comparison as significance
from cifar_core.evaluation import listing
from cifar_core.evaluation.listing import Row
from cifar_core.inference import model_file
from cifar_core.network import architecture
from cifar_core.runs import LIVE_STATES, labels, records, trash
from pages.components import address, comparison, formatting, guarded, knobs, run_picker, tables

_POLL_SECONDS = 2.0
_PRESELECTED = 3
_MOST_SPARKLINES = 100
"""Only the best runs get a sparkline: a long run's metrics are megabytes."""
_MOST_SCORES = 20
_number, _text = st.column_config.NumberColumn, st.column_config.TextColumn


def show() -> None:
    """Draw the section."""
    rows = listing.rows()
    undo_bar()
    if not rows:
        st.info("Your runs appear here, as in this example.", icon=":material/info:")
        run_picker.to_train()
        comparison.example()
        trash_panel()
        return
    names = run_picker.short_names(rows)
    if os.environ.get("CIFAR_HIGH_SCORES"):
        high_scores(rows, names)
    shown, chosen = _filtered(rows), _choice(rows)
    known = {row.run.id: row for row in rows}
    shown += [known[id_] for id_ in chosen if known[id_] not in shown]
    chosen = _selected(shown, chosen)
    with st.container():  # always drawn, like the next ones: the browser would rebuild what follows
        if any(row.state in LIVE_STATES for row in rows):
            guarded.polled(lambda: None, _signature, _POLL_SECONDS)()
    selected = [known[id_] for id_ in chosen]
    comparison.show(selected, shown, names)
    with st.container():
        if len(selected) > 1:
            comparison.verdict(selected, names)
    st.header("Runs")
    _table(shown, chosen, names)
    manage(selected, names)


def _filtered(rows: list[Row]) -> list[Row]:
    """Draw the filter; return the matching rows, sorted by validation accuracy."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        about = "Finds runs whose name, note, id or state contains every word; dropout=0.3 finds a setting."
        words = address.linked_text("Filter", "filter", 100, placeholder="name, state, alpha=0.5", help=about)
        starred = address.linked_toggle("Starred", "starred")
        own_rows = run_picker.own(rows)
        trials = len(rows) - len(own_rows)
        if trials and address.linked_toggle(f"Trials of searches ({trials})", "trials"):
            own_rows = rows
    return run_picker.mine_first(listing.sort_rows(listing.filter_rows(own_rows, words, starred)))


def _choice(rows: Sequence[Row]) -> list[str]:
    """Return the IDs of the selected runs: from a changed URL, else from the session, else the best runs."""
    known, linked = {row.run.id for row in rows}, st.query_params.get("runs")
    if linked is not None and linked != st.session_state.get("runs_linked"):
        wanted = [] if linked == "none" else list(dict.fromkeys(linked.split(",")))[: training_charts.MOST_RUNS]
        if missing := sum(name not in known for name in wanted):
            address.notice(f"{missing} of the runs in the address do not exist on this machine.")
        if linked == "none" or missing < len(wanted):
            st.session_state["runs_chosen"] = wanted
            new_table()
    elif linked is None and address.is_history():
        st.session_state.pop("runs_chosen", None)
        new_table()
    chosen = st.session_state.get("runs_chosen", _best(rows))
    return [id_ for id_ in chosen if id_ in known]


def _best(rows: Sequence[Row]) -> list[str]:
    """Return the IDs of the runs that are selected by default."""
    ranked = listing.sort_rows(run_picker.own(rows))[:_PRESELECTED]
    return [row.run.id for row in ranked if row.validation_accuracy is not None]


def new_table() -> None:
    """Give the table a new key, so that its selection is set from the selected runs."""
    st.session_state["runs_generation"] = st.session_state.get("runs_generation", 0) + 1


def _selected(shown: list[Row], chosen: list[str]) -> list[str]:
    """Return the IDs of the runs selected in the table, `chosen` if it is new, in order of selection.

    They are stored in the session, and in the URL if they are not the default. The table is drawn later, below them.
    """
    ids = [row.run.id for row in shown]
    if ids != st.session_state.get("runs_listed"):  # rows changed, for example by an undo: the selection is lost
        st.session_state["runs_listed"] = ids
        new_table()
    if event := st.session_state.get(f"runs_{st.session_state['runs_generation']}"):
        rows = event["selection"]["rows"]  # what a browser sends may not fit the table
        picked = [id_ for row, id_ in enumerate(ids) if row in rows]
        chosen = [*(id_ for id_ in chosen if id_ in picked), *(id_ for id_ in picked if id_ not in chosen)]
    with st.container():
        if len(chosen) > training_charts.MOST_RUNS:
            st.warning(f"Only the first {training_charts.MOST_RUNS} selected runs are compared.")
            chosen = chosen[: training_charts.MOST_RUNS]
    words = ",".join(chosen) or "none"
    st.session_state.update(runs_chosen=chosen, runs_linked=words)
    address.link("runs", words, ",".join(_best(shown)) or "none")
    return chosen


def _table(shown: list[Row], chosen: list[str], names: dict[str, str]) -> None:
    """Draw the table of all runs, with the chosen ones selected."""
    ids, table = [row.run.id for row in shown], _columns(shown, names)
    columns = {name: values for name, (values, _) in table.items()}
    facts = {name: columns[name] for name in ("name", "validation", "seconds", "state")}
    rows = [ids.index(id_) for id_ in chosen]
    tables.show(
        columns,
        f"runs_{st.session_state['runs_generation']}",
        {name: look for name, (_, look) in table.items()},
        lambda place: _toggle(ids[place]),
        rows,
        facts | {"Settings": [comparison.settings_in_words(row) for row in shown], "note": columns["note"]},
        height=min(36 * (len(shown) + 1) + 3, 330),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": rows}},
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(shown)} run{'s' * (len(shown) != 1)}, {len(chosen)} selected.")
        formatting.csv_button("CSV", listing.to_csv(shown), "runs.csv", "csv")


def _toggle(id_: str) -> None:
    """Select or deselect a run."""
    selected = st.session_state["runs_chosen"]
    st.session_state["runs_chosen"] = [one for one in selected if one != id_] + [id_] * (id_ not in selected)
    new_table()


def _columns(shown: Sequence[Row], names: dict[str, str]) -> dict[str, tuple[list[Any], Any]]:
    """Return the values and the look of each column. Names and notes are unescaped: cells render no Markdown."""
    curves = [comparison.curves_of(row).curves["validation_accuracy"].y.tolist() for row in shown[:_MOST_SPARKLINES]]
    curves += [[] for _ in shown[_MOST_SPARKLINES:]]
    intervals = [f"{row.interval[0]:.1%} to {row.interval[1]:.1%}" if row.interval else "" for row in shown]
    about = "Validation accuracy after each epoch, from its lowest to its highest value."
    differing = differing_knobs(row.config for row in shown if row.config)
    return {
        "name": (
            [("★ " if row.labels.starred else "") + names[row.run.id] for row in shown],
            _text("Run", width=comparison.NAME_WIDTH),
        ),
        "validation": (
            [formatting.percent(row.validation_accuracy) for row in shown],
            _number("Validation", format="%.1f%%", width=80, help=glossary.TERMS["validation"]),
        ),
        "seconds": (
            [row.seconds and row.seconds / 60 for row in shown],
            _number("Time", format="%.1f min", width=75, help="Training time."),
        ),
        "curve": (curves, st.column_config.LineChartColumn("By epoch", width=100, help=about)),
        "interval": (intervals, _text("95% interval", width=120)),
        "state": ([row.state for row in shown], _text("State", width=75)),
        **{f"knob_{name}": _setting(shown, KNOBS[name]) for name in differing},
        "size": (
            [row.model_bytes and row.model_bytes / 1e6 for row in shown],
            _number("Model file", format="%.1f MB", width=85),
        ),
        "latency": (
            [row.latency_ms for row in shown],
            _number("Latency", format="%.1f ms", width=80, help="Median time for one image on this machine."),
        ),
        "note": ([row.labels.note for row in shown], _text("Note", width=200)),
    }


def _setting(shown: Sequence[Row], knob: Knob) -> tuple[list[Any], Any]:
    """Return the column of a setting: numbers, with the unit in the heading, or texts if one value is a text."""
    values, about = [row.knob(knob.name) for row in shown], knobs.help_of(knob)
    if any(isinstance(value, str) or value in knob.labels for value in values):
        return ["" if value is None else knob.format(value) for value in values], _text(knob.label, help=about)
    form = "localized" if isinstance(knob.default, int) else None
    return values, _number(knob.title, format=form, help=about)


def _signature() -> list[tuple[str, str]]:
    """Return the ID and state of each run."""
    return [(row.run.id, row.state) for row in listing.rows()]


def manage(chosen: Sequence[Row], names: dict[str, str]) -> None:
    """Draw the actions for one of the `chosen` runs in an expander."""
    with st.expander("Rename, note, star, delete", icon=":material/edit:", key="manage"):
        if chosen:
            known = {row.run.id: row for row in chosen}
            _run(known[st.selectbox("Run", list(known), format_func=names.__getitem__, key="managed")])
        else:
            st.caption("Select a run in the table.")
        trash_panel()


def _run(row: Row) -> None:
    """Draw a run's labels as a form, and its buttons."""
    run, id_ = row.run, row.run.id
    with st.form(f"labels_{id_}", border=False):
        limit = labels.NAME_LIMIT
        name = st.text_input("Name", row.labels.name, key=f"name_{id_}", max_chars=limit, placeholder=row.name)
        note = st.text_area("Note", row.labels.note, key=f"note_{id_}", max_chars=labels.NOTE_LIMIT, height=68)
        starred = st.checkbox("Starred", row.labels.starred, key=f"star_{id_}")
        is_anothers = guarded.is_anothers(run.path)
        if st.form_submit_button("Save", key=f"save_{id_}", disabled=is_anothers):
            change = functools.partial(labels.change, run, name=name, note=note, starred=starred)
            guarded.act(guarded.if_own, run.path, change)
    with st.container(horizontal=True, vertical_alignment="center"):
        run_picker.state_badge(row.state)
        st.page_link("pages/train.py", label="Open", icon=":material/open_in_new:", query_params={"run": id_})
        if row.config:
            query = knobs.link(row.config)
            st.page_link("pages/train.py", label="Use its settings", icon=":material/tune:", query_params=query)
        if row.latency_ms is None and row.state == "finished":
            about = "Time of the model for one image."
            look: dict[str, Any] = {"icon": ":material/timer:", "type": "tertiary", "help": about}
            guarded.button("Measure latency", model_file.measure_latency, run, key="time", **look)
        look = {"icon": ":material/delete:", "type": "tertiary", "help": "Moves it to the trash."}
        is_live = row.state in LIVE_STATES
        guarded.own_button("Delete", run.path, _delete, row, key="delete", disabled=is_live, **look)


def trash_panel() -> None:
    """Draw the user's deleted runs with buttons to restore them and to empty the trash."""
    deleted = [id_ for id_ in trash.contents() if not guarded.is_anothers(trash.trash_dir() / id_)]
    if deleted:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            titles = run_picker.deleted_titles(deleted)
            chosen = st.selectbox("Trash", deleted, format_func=titles.__getitem__, key="trash_run")
            guarded.button("Restore", _restore, [chosen], icon=":material/undo:", key="restore")
            if st.button("Empty the trash", icon=":material/delete_forever:", key="empty"):
                count = f"{len(deleted)} run{'s' * (len(deleted) != 1)}"
                text = f"This deletes {count} ({trash.size_bytes(deleted) / 1e6:.0f} MB) permanently."
                guarded.confirm("Empty the trash?", text, "empty_sure", trash.clear, deleted)


def undo_bar() -> None:
    """Draw a button that undoes the last deletion."""
    deleted = {id_: name for id_, name in st.session_state.get("runs_deleted", {}).items() if id_ in trash.contents()}
    guarded.undo_bar("runs_deleted", formatting.plain(", ".join(deleted.values())), _restore, list(deleted))


def _delete(row: Row) -> None:
    trash.move_to_trash(row.run)
    st.session_state["runs_deleted"] = {row.run.id: row.name}


def _restore(ids: Sequence[str]) -> None:
    for id_ in ids:
        trash.restore(id_)
    st.session_state["runs_chosen"] = [*st.session_state.get("runs_chosen", []), *ids]


def high_scores(rows: Sequence[Row], names: dict[str, str]) -> None:
    """Draw the best finished run of each user by validation accuracy and its cost; all runs without an owner."""
    best: dict[str, Row] = {}
    for row in listing.sort_rows(row for row in rows if row.state == "finished" and row.config):
        best.setdefault(records.owner(row.run.path).id or row.run.id, row)
    shown = list(best.values())[:_MOST_SCORES]
    if not shown:
        return
    configs = [row.config for row in shown if row.config]
    costs = [architecture.cost(one.alpha, one.image_size, one.dense_units, one.fine_tune_blocks) for one in configs]
    columns: dict[str, list[Any]] = {
        "Who": [f"{place}. {records.owner(row.run.path).name}".strip() for place, row in enumerate(shown, 1)],
        "Run": [names[row.run.id] for row in shown],
        "Validation": [formatting.percent(row.validation_accuracy) for row in shown],
        "Time": [row.seconds and row.seconds / 60 for row in shown],
        "Multiply-adds": [formatting.count(cost.multiply_adds) for cost in costs],
        "Images": [one.train_images for one in configs],
    }
    looks = {
        "Validation": formatting.SHARE_COLUMN,
        "Time": _number(format="%.1f min", help="Training time."),
        "Multiply-adds": _text(help="Of one image."),
        "Images": _number(help="Training images."),
    }
    with st.expander("High scores", expanded=True, icon=":material/trophy:", key="high_scores"):
        tables.show(columns, "scores", looks)
        st.caption("The best finished run of each person, by validation accuracy.")
        if note := significance.leak_note({row.run.id: names[row.run.id] for row in shown}):
            st.warning(formatting.plain(note), icon=":material/warning:")
