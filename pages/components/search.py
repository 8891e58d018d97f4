"""Explore, Search: many short runs with different settings. Selection of a search, and the form of a new one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from cifar_core.config import ALL_IMAGES, KNOBS, PRESETS, Knob, TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan, Range
from pages.components import address, formatting, guarded, knobs, search_results

BASES = {name: name for name in ("quick", "standard", "classic")}
UNITS = {name: name for name in ("trials", "minutes")}
IMAGES = (1_000, 2_000, 5_000, 10_000, 20_000, ALL_IMAGES)
GRID_KNOBS = ("head_learning_rate", "dropout")
MOST_VALUES = 8
_TRIALS = (5, 10, 15, 20, 30, 50, 100, 200, 500, 1_000)
_MINUTES = (2, 5, 10, 20, 30, 60, 120, 300, 600)
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
"""Values selected by default."""


def show() -> None:
    """Draw the section."""
    search_results.undo_bar()
    known = sorted(studies.names(), key=search_results.is_anothers)
    if "search_form" not in st.session_state:  # a link to a form opens it
        st.session_state["search_form"] = any(word.startswith("search_") for word in st.query_params)
    name = _chosen(known)
    if name is not None:
        search_results.show(name)
    elif not known:
        st.info("The results of your search appear here: the best settings, a chart for each, and every trial.")
    look: dict[str, Any] = {"icon": ":material/add:", "key": f"search_new_{len(known)}"}  # closed by another key
    with st.expander("New search", expanded=not known or st.session_state["search_form"], **look):
        _new()


def _chosen(known: list[str]) -> str | None:
    """Draw the select box of the searches; return the selected one, or None without searches.

    The URL sets it ("grid" in older versions); the default is the newest.
    """
    wanted = st.query_params.get("sweep") or st.query_params.pop("grid", None)
    is_known = address.known("sweep", wanted, known)
    if not known:
        return None
    if is_known:
        st.session_state["search"] = wanted
    elif address.is_history() or st.session_state.get("search") not in known:
        mine = [one for one in known if not search_results.is_anothers(one)]
        st.session_state["search"] = search_results.newest(mine or known)
    name: str = st.selectbox("Search", known, key="search", on_change=_open)
    if wanted is not None and st.query_params.get("sweep") != name:
        st.query_params["sweep"] = name
    return name


def _open(name: str | None = None) -> None:
    st.query_params["sweep"] = name or st.session_state["search"]
    st.query_params.pop("trial", None)


def _new() -> None:
    """Draw the form of a new search."""
    formatting.caption(
        "A search trains many times with different settings and ranks the trials by validation accuracy. Optuna (TPE) "
        "proposes the settings and ends trials that fall behind (pruning); a grid trains every combination."
    )
    base = _base()
    grid = address.linked_toggle("Grid: every combination of two settings", "search_grid")
    labels = {name: KNOBS[name].label for name in KNOBS if name not in space.FIXED}
    chosen = st.multiselect(
        "Settings to vary",
        list(labels),
        list(GRID_KNOBS if grid else space.DEFAULT_KNOBS),
        format_func=labels.__getitem__,
        max_selections=2 if grid else None,
        **address.bound("search_vary_grid" if grid else "search_vary", ["", *labels.values()]),
    )
    problems = [error] if (error := cifar10.status()["error"]) else []
    ranges = []
    if chosen:
        with st.grid(2, min_column_width=300):
            ranges = [_range(KNOBS[name], grid, problems) for name in chosen]
    if grid and len(ranges) != 2:
        problems.append("Choose two settings for a grid.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        goal = None if grid else _goal()
        if "search_name" not in st.session_state:
            st.session_state["search_name"] = studies.free_name("search", studies.names())
        name = st.text_input("Name", max_chars=40, key="search_name", help="a-z, 0-9 and -", width=160)
    plan = None
    if not problems:
        try:
            plan = Plan(base, tuple(item for item in ranges if item), grid)
        except CifarError as error:
            problems.append(str(error))
    for text in problems:
        st.warning(formatting.plain(text), icon=":material/warning:")
    with st.container(horizontal=True, vertical_alignment="center"):
        look: dict[str, Any] = {"type": "primary", "icon": ":material/play_arrow:", "disabled": plan is None}
        guarded.button("Start search", _start, name, plan, goal, key="search_start", busy="Starting", **look)
        if plan is not None:
            st.markdown(_expected(plan, goal))


def _base() -> TrainConfig:
    """Draw the settings shared by all trials; return them."""
    with st.grid(3, min_column_width=200, vertical_alignment="bottom"):
        about = "The values of all settings that the search does not vary."
        preset = address.linked_select("Base preset", "search_preset", BASES, "quick", help=about)
        images = _slider("Training images per trial", IMAGES, 5_000, "search_images", KNOBS["train_images"].format)
        about = "A trial then takes minutes instead of seconds."
        tunes = address.linked_toggle("Include fine-tuning", "search_fine_tune", help=about)
    base = replace(PRESETS[preset], train_images=images)
    return base if tunes else replace(base, fine_tune_epochs=0)


def _goal() -> Goal:
    """Draw the stopping criterion; return it."""
    unit = address.linked_choice("Stop after", "search_unit", UNITS, "trials")
    steps, first = (_TRIALS, 30) if unit == "trials" else (_MINUTES, 10)
    amount = _slider(unit.capitalize(), steps, first, f"search_{unit}", str, width=200)
    return Goal(amount) if unit == "trials" else Goal(space.MOST_TRIALS, amount * 60.0)


def _range(knob: Knob, grid: bool, problems: list[str]) -> Range | None:
    """Draw the range of one setting; return it. If it is empty, add why to `problems` and return None."""
    key, every, about = f"search_{knob.name}{'_values' if grid else ''}", _values(knob), knobs.help_of(knob)
    if grid or knob.choices:
        first = [value for value in _FIRST.get(knob.name, every[:3]) if value in every]
        look = address.bound(key, ["", *map(knob.format, every)])
        chosen = st.multiselect(
            knob.title, every, first, max_selections=MOST_VALUES, format_func=knob.format, help=about, **look
        )
        if chosen:
            return Range(knob.name, choices=tuple(value for value in every if value in chosen))
        problems.append(f"{knob.label}: choose some values.")
        return None
    label, form = (f"{knob.title}, logarithmic", knob.format) if knob.log else (knob.title, knob.short)
    low, high = _slider(label, every, _ends(knob), key, form, help=about)
    try:
        return Range(knob.name, low, high)
    except CifarError as error:
        problems.append(str(error))
        return None


def _slider(label: str, steps: Sequence[Any], first: Any, key: str, form: Callable[[Any], str], **look: Any) -> Any:
    """Draw a slider of `steps`, linked to the URL as `form` writes them; `first` is its default, a pair for a range."""
    link = address.bound(key, [form(step) for step in steps], isinstance(first, tuple))
    return st.select_slider(label, steps, first, format_func=form, **look, **link)


def _ends(knob: Knob) -> tuple[Any, Any]:
    """Return the lowest and highest value that a search tries by default."""
    table, kind = space.table_range(knob.name), type(knob.default)
    return kind(table.low), kind(table.high)


def _values(knob: Knob) -> list[Any]:
    """Return the values of `knob` to choose from."""
    if knob.choices:
        return list(knob.choices)
    if knob.log:
        ends = _ends(knob)
        return [value for value in knobs.log_steps(knob, knob.default, *ends) if value >= ends[0]]
    low, step, kind = knob.low or 0, knob.step or 1, type(knob.default)
    return [kind(round(low + number * step, 6)) for number in range(round(((knob.high or 0) - low) / step) + 1)]


def _expected(plan: Plan, goal: Goal | None) -> str:
    """Return the expected duration of a search as text."""
    trials = len(plan.cells()) if plan.grid else goal.trials if goal else 0
    if goal and goal.seconds:
        return f"{formatting.seconds(goal.seconds)} of training"
    seconds = sweep_workers.expected_seconds(plan, trials)
    return f"{trials} trials, about **{formatting.seconds(seconds)}** on this machine"


def _start(name: str, plan: Plan, goal: Goal | None) -> None:
    """Start the search and open it."""
    sweep_workers.start(name, plan, goal or Goal(len(plan.cells())), owner=guarded.person())
    del st.session_state["search_name"]
    st.session_state["search_form"] = False
    _open(name)
