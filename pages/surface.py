"""Explore, Surface: a small grid over two knobs, trained at once, as a heat map that fills in."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.config import KNOBS, Knob
from cifar_core.errors import CifarError
from cifar_core.explore import findings, launch_sweep, plans, search, sweep_charts
from cifar_core.explore.findings import Cell, Findings
from cifar_core.explore.plans import Goal, Plan, Range
from pages import controls, sweep_parts, ui

MOST_VALUES = 8
DEFAULT_X, DEFAULT_Y = "head_learning_rate", "dropout"
_FIRST = {
    "alpha": (0.35, 0.5, 0.75),
    "image_size": (32, 64, 96),
    "dropout": (0.0, 0.2, 0.4, 0.6),
    "augmentation": (0.0, 0.5, 1.0),
    "head_learning_rate": (1e-4, 1e-3, 1e-2),
    "fine_tune_learning_rate": (1e-4, 5e-4, 2e-3),
    "dense_units": (32, 128, 512),
    "l2": (1e-5, 1e-4, 1e-3),
}
"""Values that a grid begins with."""


def show() -> None:
    """Draw the section."""
    sweep_parts.undo_bar()
    known = sweep_parts.names(grid=True)
    with st.expander("New surface", expanded=not known, icon=":material/add:"):
        new_surface()
    name = sweep_parts.chosen("grid", True, "Surface")
    if name is None:
        sweep_parts.problem()
        st.info(
            "There is no surface yet. Choose two knobs above and press **Train the grid**: every combination is "
            "trained, and the map fills in while you watch.",
            icon=":material/info:",
        )
        return
    live = sweep_parts.found(name).state in findings.LIVE_STATES
    st.session_state["grid_live"] = (name, live)
    ui.fragment(panel, run_every=sweep_parts.POLL_SECONDS if live else None)(name)


def new_surface() -> None:
    """Let a person choose two knobs and their values, and train the grid."""
    base = sweep_parts.base_choice("grid")
    knobs = [name for name in KNOBS if name not in plans.FIXED]
    labels = {name: KNOBS[name].label for name in knobs}
    ui.linked("grid_x", knobs, DEFAULT_X)
    ui.linked("grid_y", knobs, DEFAULT_Y)
    left, right = st.columns(2)
    ranges, problems = [], []
    for column, key, words, default in ((left, "grid_x", "Across", DEFAULT_X), (right, "grid_y", "Up", DEFAULT_Y)):
        knob = column.selectbox(words, knobs, key=key, format_func=labels.__getitem__, persist_state="session")
        ui.link(key, knob, default)
        chosen = _chosen_values(column, key, knob)
        try:
            if not chosen:
                raise search.SweepError(f"{labels[knob]}: choose some values.")
            ranges.append(Range(knob, choices=tuple(sorted(chosen) if not isinstance(chosen[0], str) else chosen)))
        except CifarError as error:
            problems.append(str(error))
    if not problems and ranges[0].knob == ranges[1].knob:
        problems.append("Choose two different knobs.")
    name = sweep_parts.name_input(st, "surface")
    for text in problems:
        st.warning(ui.plain(text), icon=":material/warning:")
    cells = 0 if problems else len(ranges[0].choices) * len(ranges[1].choices)
    st.button(
        f"Train the grid ({cells} trainings)",
        type="primary",
        icon=":material/grid_on:",
        key="grid_start",
        disabled=bool(problems),
        on_click=start,
        args=(name, base, ranges),
    )


def _chosen_values(column: Any, axis: str, knob: str) -> list[Any]:
    """Let a person choose values of `knob` for an axis, which the address keeps."""
    options, key, word = values(KNOBS[knob]), f"{axis}_values_{knob}", f"{axis}_values"
    first = [value for value in _FIRST.get(knob, options[:3]) if value in options]
    if key not in st.session_state:
        asked = st.query_params.get(word, "").split(",") if st.query_params.get(axis, knob) == knob else []
        st.session_state[key] = [value for value in options if str(value) in asked][:MOST_VALUES] or first
    chosen: list[Any] = column.multiselect(
        f"Values of {KNOBS[knob].label.lower()}",
        options,
        format_func=KNOBS[knob].say,
        key=key,
        max_selections=MOST_VALUES,
        persist_state="session",
    )
    ui.link(word, ",".join(map(str, chosen)), ",".join(map(str, first)))
    return chosen


def values(knob: Knob) -> list[Any]:
    """Return the values of `knob` that a grid offers."""
    if knob.choices:
        return list(knob.choices)
    kind = type(knob.default)
    if knob.log:
        table = plans.table_range(knob.name)
        return [value for value in controls.log_steps(knob, knob.default) if value >= table.low]
    steps = round(((knob.high or 0) - (knob.low or 0)) / (knob.step or 1))
    return [kind(round((knob.low or 0) + number * (knob.step or 1), 6)) for number in range(steps + 1)]


def start(name: str, base: Any, ranges: list[Range]) -> None:
    """Train the grid and show it."""
    try:
        plan = Plan(base, tuple(ranges), grid=True)
        launch_sweep.start(name, plan, Goal(len(plan.cells())))
    except CifarError as error:
        st.session_state["sweep_error"] = str(error)
        return
    sweep_parts.forget_name("surface")
    st.session_state["choice_grid"] = st.query_params["grid"] = name
    st.query_params.pop("cell", None)


def panel(name: str) -> None:
    """Draw the grid as it stands. Runs by itself while it fills in."""
    found = sweep_parts.found(name)
    if st.session_state.get("grid_live") != (name, found.state in findings.LIVE_STATES):
        st.rerun()
    sweep_parts.status_line(found, lambda: repeat_button(found))
    sweep_parts.failures(found)
    cells = found.cells()
    if len(found.plan.ranges) != 2:
        st.info("This grid has not two knobs and cannot be drawn as a map; `sweep show` on the command line lists it.")
        return
    x, y = (item.knob for item in found.plan.ranges)
    shown = "mean"
    if any(cell.spread is not None for cell in cells):
        shown = ui.linked_choice("Show", "show", {"mean": "mean accuracy", "spread": "spread over seeds"}, "mean")
    event = st.plotly_chart(
        sweep_charts.heat_map(cells, x, y, shown == "spread"),
        key="grid_map",
        on_select="rerun",
        selection_mode="points",
        config={"displaylogo": False},
    )
    clicked = [point.get("customdata") for point in event["selection"]["points"]]
    clicked = [int(place) for place in clicked if isinstance(place, int | float) and 0 <= place < len(cells)]
    if clicked and clicked[0] != st.session_state.get("grid_clicked"):
        st.session_state["grid_clicked"] = clicked[0]
        st.query_params["cell"] = str(clicked[0] + 1)
    noise_words(cells)
    cell_panel(found, cells)


def repeat_button(found: Findings) -> None:
    """Offer to train every cell again with another seed."""
    st.button(
        "Repeat with another seed",
        icon=":material/casino:",
        key="grid_repeat",
        on_click=sweep_parts.act,
        args=(launch_sweep.repeat, found.name),
        help="Trains every cell once more, with a seed of its own for split, order and first weights of the head.",
    )


def noise_words(cells: list[Cell]) -> None:
    """Say how much of the map is noise."""
    spreads = [cell.spread for cell in cells if cell.spread is not None]
    means = [cell.mean for cell in cells if cell.mean is not None]
    if not spreads:
        st.caption("Click a cell to see its curves. One seed each: small differences may be noise; repeat to see it.")
        return
    noise = (sum(spread**2 for spread in spreads) / len(spreads)) ** 0.5
    st.caption(
        f"Click a cell to see its curves. Between seeds, accuracy spreads by ±{noise * 100:.1f} points (standard "
        f"deviation); between the cells' means it ranges over {(max(means) - min(means)) * 100:.1f} points."
    )


def cell_panel(found: Findings, cells: list[Cell]) -> None:
    """Show the curves of one cell: the one that the address names, else the best."""
    asked = st.query_params.get("cell", "")
    known = [cell for cell in cells if cell.mean is not None]
    if not known:
        st.caption("The first cell is being trained; the map fills in from there.")
        return
    place = int(asked) - 1 if asked.isdecimal() and len(asked) < 5 and 0 < int(asked) <= len(cells) else None
    cell = cells[place] if place is not None else max(known, key=lambda cell: cell.mean or 0.0)
    with st.container(border=True):
        mean, spread = cell.mean, cell.spread
        words = "not trained yet" if mean is None else f"validation accuracy {mean:.1%}"
        if spread is not None:
            words = f"mean of {len(cell.accuracies)} seeds {mean:.1%}, ± {spread * 100:.1f} points"
        st.markdown(f"**{'The chosen cell' if place is not None else 'The best cell'}**: {words}")
        st.plotly_chart(sweep_charts.cell_curves(cell), key="grid_curves", config={"displaylogo": False})
        trial = max(cell.trials, key=lambda trial: trial.accuracy or 0.0, default=None)
        if trial is not None:
            sweep_parts.trial_actions(found, trial, "grid")
