"""Explore, Surface: a small grid over two knobs, trained at once, as a heat map that fills in."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.charts import search as search_charts
from cifar_core.config import KNOBS, Knob
from cifar_core.errors import CifarError
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.findings import Cell, Findings
from cifar_core.search.space import Goal, Plan, Range
from pages.components import address, guarded, knobs, live_chart, messages, sweep_parts

SECTION = sweep_parts.Section(
    "grid",
    "cell",
    "Surface",
    True,
    "repeat it with other seeds to tell differences from noise",
    "There is no surface yet. Choose two knobs above and press **Train the grid**: every combination is trained, and "
    "the map fills in while you watch.",
)
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
    found = sweep_parts.opened(SECTION, new_surface)
    if found is not None:
        guarded.fragment(panel, run_every=sweep_parts.POLL_SECONDS if found.is_live else None)(found.name)


def new_surface() -> None:
    """Let a person choose two knobs and their values, and train the grid."""
    base = sweep_parts.base_choice("grid")
    knobs = [name for name in KNOBS if name not in space.FIXED]
    labels = {name: KNOBS[name].label for name in knobs}
    address.linked("grid_x", knobs, DEFAULT_X)
    address.linked("grid_y", knobs, DEFAULT_Y)
    left, right = st.columns(2)
    ranges, problems = [], sweep_parts.no_images()
    for column, key, words, default in ((left, "grid_x", "Across", DEFAULT_X), (right, "grid_y", "Up", DEFAULT_Y)):
        knob = column.selectbox(words, knobs, key=key, format_func=labels.__getitem__, persist_state="session")
        address.link(key, knob, default)
        chosen = _chosen_values(column, key, knob)
        try:
            if not chosen:
                raise studies.SweepError(f"{labels[knob]}: choose some values.")
            ranges.append(Range(knob, choices=tuple(sorted(chosen) if not isinstance(chosen[0], str) else chosen)))
        except CifarError as error:
            problems.append(str(error))
    if not problems and ranges[0].knob == ranges[1].knob:
        problems.append("Choose two different knobs.")
    name = sweep_parts.name_input(st, "surface")
    for text in problems:
        st.warning(messages.plain(text), icon=":material/warning:")
    cells = 0 if problems else len(ranges[0].choices) * len(ranges[1].choices)
    st.button(
        f"Train the grid ({cells} trainings)",
        type="primary",
        icon=":material/grid_on:",
        key="grid_start",
        disabled=bool(problems),
        on_click=guarded.once,
        args=("grid", start, name, base, ranges),
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
    address.link(word, ",".join(map(str, chosen)), ",".join(map(str, first)))
    return chosen


def values(knob: Knob) -> list[Any]:
    """Return the values of `knob` that a grid offers."""
    if knob.choices:
        return list(knob.choices)
    kind = type(knob.default)
    if knob.log:
        table = space.table_range(knob.name)
        return [value for value in knobs.log_steps(knob, knob.default) if value >= table.low]
    steps = round(((knob.high or 0) - (knob.low or 0)) / (knob.step or 1))
    return [kind(round((knob.low or 0) + number * (knob.step or 1), 6)) for number in range(steps + 1)]


def start(name: str, base: Any, ranges: list[Range]) -> None:
    """Train the grid and show it."""
    with sweep_parts.starting(SECTION, name):
        plan = Plan(base, tuple(ranges), grid=True)
        sweep_workers.start(name, plan, Goal(len(plan.cells())))


def panel(name: str) -> None:
    """Draw the grid as it stands. Runs by itself while it fills in."""
    found = sweep_parts.found(name)
    sweep_parts.status_line(SECTION, found, lambda: repeat_button(found))
    sweep_parts.failures(found)
    cells = found.cells()
    if len(found.plan.ranges) != 2:
        st.info("This grid has not two knobs and cannot be drawn as a map; `sweep show` on the command line lists it.")
        return
    x, y = (item.knob for item in found.plan.ranges)
    noise, shown = findings.noise(cells), "mean"
    if noise:
        shown = address.linked_choice("Show", "show", {"mean": "mean accuracy", "spread": "spread over seeds"}, "mean")
    figure = search_charts.heat_map(cells, x, y, shown == "spread", opened_cell(cells))
    clicked = live_chart.show(live_chart.chart(figure), "grid_map")
    if clicked is not None and 0 <= clicked < len(cells):
        st.query_params["cell"] = str(clicked + 1)
        st.rerun()
    noise_words(noise)
    cell_panel(found, cells)


def opened_cell(cells: list[Cell]) -> int | None:
    """Return the place of the cell that the address names; None without."""
    asked = st.query_params.get("cell", "")
    return int(asked) - 1 if asked.isdecimal() and len(asked) < 5 and 0 < int(asked) <= len(cells) else None


def repeat_button(found: Findings) -> None:
    """Offer to train every cell again with another seed."""
    st.button(
        "Repeat with another seed",
        icon=":material/casino:",
        key="grid_repeat",
        on_click=guarded.once,
        args=("repeat", sweep_parts.act, sweep_workers.repeat, found.name),
        help="Trains every cell once more, with a seed of its own for split, order and first weights of the head.",
    )


def noise_words(noise: findings.Noise | None) -> None:
    """Say how much of the map is noise."""
    if noise is None:
        st.caption("Click a cell to see its curves. One seed each: small differences may be noise; repeat to see it.")
        return
    st.caption(f"Click a cell to see its curves. {noise.words}")


def cell_panel(found: Findings, cells: list[Cell]) -> None:
    """Show the curves of one cell: the one that the address names, else the best."""
    known = [cell for cell in cells if cell.mean is not None]
    if not known:
        st.caption("The first cell is being trained; the map fills in from there.")
        return
    place = opened_cell(cells)
    cell = cells[place] if place is not None else max(known, key=lambda cell: cell.mean or 0.0)
    with st.container(border=True):
        mean, spread = cell.mean, cell.spread
        words = "not trained yet" if mean is None else f"validation accuracy {mean:.1%}"
        if spread is not None:
            words = f"mean of {len(cell.accuracies)} seeds {mean:.1%}, ± {spread * 100:.1f} points"
        st.markdown(f"**{'The chosen cell' if place is not None else 'The best cell'}**: {words}")
        live_chart.show(live_chart.chart(search_charts.cell_curves(cell)), "grid_curves")
        trial = max(cell.trials, key=lambda trial: trial.accuracy or 0.0, default=None)
        if trial is not None:
            seed = f" (seed {trial.params.get('seed')}, its best)" if len(cell.trials) > 1 else ""
            sweep_parts.trial_actions(found, trial, "grid", f"Open as a run{seed}")
