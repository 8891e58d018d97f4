"""Explore, Sweep: choose knobs, let many trials try them, and see what they do."""

from __future__ import annotations

import contextlib
from typing import Any

import streamlit as st

from cifar_core.charts import search as search_charts
from cifar_core.config import KNOBS
from cifar_core.errors import CifarError
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.findings import Findings, Trial
from cifar_core.search.space import Goal, Plan, Range
from pages.components import address, formatting, guarded, knobs, live_chart, messages, sweep_parts
from pages.components.live_chart import Chart

PAIRS = (("alpha", "dropout"), ("alpha", "augmentation"))
"""Surfaces that are drawn when their knobs are varied."""
SECTION = sweep_parts.Section(
    "sweep",
    "trial",
    "Sweep",
    False,
    "extend it to go on",
    "There is no sweep yet. Choose some knobs above and press **Start sweep**: trials that only train the head take "
    "seconds each, as the frozen part is stored, and every trial becomes a run.",
)


def show() -> None:
    """Draw the section."""
    found = sweep_parts.opened(SECTION, new_sweep)
    if found is None:
        return
    every = sweep_parts.POLL_SECONDS if found.is_live else None
    guarded.fragment(progress_panel, run_every=every)(found.name)
    trial_panel(found)
    guarded.fragment(figures_panel, run_every=every)(found.name)


def new_sweep() -> None:
    """Let a person choose what is tried, and start it."""
    base = sweep_parts.base_choice("sweep")
    _asked_ranges()
    knobs = st.multiselect(
        "Knobs to vary",
        [name for name in KNOBS if name not in space.FIXED],
        format_func=lambda name: KNOBS[name].label,
        key="sweep_knobs",
        persist_state="session",
    )
    problems = sweep_parts.no_images()
    with st.container(key="wide_ranges"):
        columns = st.columns(2)
        ranges = [_range(columns[number % 2], knob, problems) for number, knob in enumerate(knobs)]
    address.link(
        "sweep_vary",
        ";".join(item.text for item in ranges if item),
        ";".join(_first(name).text for name in space.DEFAULT_KNOBS),
    )
    until, count, name_column = st.columns(3, vertical_alignment="bottom")
    with until:
        unit = address.linked_choice("Until", "sweep_until", {"trials": "trials", "minutes": "minutes"}, "trials")
    amount = _amount(count, unit)
    name = sweep_parts.name_input(name_column, "sweep")
    for text in problems:
        st.error(messages.plain(text), icon=":material/error:")
    st.button(
        "Start sweep",
        type="primary",
        icon=":material/play_arrow:",
        key="sweep_start",
        disabled=bool(problems) or not ranges,
        on_click=guarded.once,
        args=("sweep", start, name, base, [item for item in ranges if item], unit, amount),
    )
    st.caption(
        "TPE (Optuna) proposes each trial from those before it, and ends hopeless ones early. Ranks by validation "
        "accuracy. Trials wait for the training slot like any run."
    )


def _asked_ranges() -> None:
    """Give the choice of knobs and their ranges its first value: what the address says, else the usual one."""
    if "sweep_knobs" in st.session_state:
        return
    asked = {}
    for text in st.query_params.get("sweep_vary", "")[:2_000].split(";"):
        with contextlib.suppress(CifarError):
            item = space.parse_range(text)
            if bool(item.choices) == bool(KNOBS[item.knob].choices):  # a slider has no choices
                asked[item.knob] = item
    st.session_state["sweep_asked"] = asked
    st.session_state["sweep_knobs"] = list(asked) or list(space.DEFAULT_KNOBS)


def _amount(place: Any, unit: str) -> int:
    """Let a person say how many trials or minutes, which the address keeps; return it."""
    key, default = f"sweep_{unit}", 30 if unit == "trials" else 10
    if key not in st.session_state:
        asked = st.query_params.get(key, "")
        is_number = asked.isdecimal() and len(asked) < 6 and 1 <= int(asked) <= space.MOST_TRIALS
        st.session_state[key] = int(asked) if is_number else default
    amount = place.number_input(
        "How many" if unit == "trials" else "Minutes of training",
        min_value=1,
        max_value=space.MOST_TRIALS,
        key=key,
        persist_state="session",
    )
    address.link(key, str(amount), str(default))
    return int(amount)


def _range(place: Any, name: str, problems: list[str]) -> Range | None:
    """Show the range of one knob, prefilled from the table; return it, None (and why) if it is none."""
    knob, first = KNOBS[name], st.session_state["sweep_asked"].get(name) or _first(name)
    common: dict[str, Any] = {
        "key": f"sweep_range_{name}",
        "help": messages.plain(knob.help),
        "persist_state": "session",
    }
    kind = type(knob.default)
    ends = kind(first.low), kind(first.high)
    label = f"{knob.label} ({knob.unit})" if knob.unit else knob.label
    try:
        if knob.choices:
            values = place.multiselect(
                label, list(knob.choices), default=list(first.choices), format_func=knob.say, **common
            )
            return Range(name, choices=tuple(values))
        if knob.log:
            steps = sorted({*knobs.log_steps(knob, ends[0]), kind(_first(name).low), ends[1]})
            low, high = place.select_slider(f"{label}, logarithmic", steps, value=ends, format_func=knob.say, **common)
        else:
            low, high = place.slider(
                label,
                min_value=kind(knob.low),
                max_value=kind(knob.high),
                value=ends,
                step=kind(knob.step),
                **common,
            )
        return Range(name, low, high)
    except CifarError as error:
        problems.append(str(error))
        return None


def _first(name: str) -> Range:
    """Return the range that a knob begins with: the table's, cheap choices where cost grows with them."""
    cheap = {"alpha": (0.35, 0.5, 0.75), "image_size": (32, 64, 96)}
    return Range(name, choices=cheap[name]) if name in cheap else space.table_range(name)


def start(name: str, base: Any, ranges: list[Range], unit: str, amount: int) -> None:
    """Start the sweep and show it."""
    with sweep_parts.starting(SECTION, name):
        goal = Goal(amount) if unit == "trials" else Goal(space.MOST_TRIALS, amount * 60.0)
        sweep_workers.start(name, Plan(base, tuple(ranges)), goal)


def progress_panel(name: str) -> None:
    """Say how the sweep stands and draw its history. Runs by itself while the sweep goes on."""
    found = sweep_parts.found(name)
    sweep_parts.status_line(SECTION, found, lambda: extend_button(found))
    sweep_parts.failures(found)
    if not found.ended:
        st.caption("The first points appear when the first trial has ended.")
        return
    cards(found)
    edge_notice(found)
    trial_chart(live_chart.chart(search_charts.history(found, opened_trial(found))), "history")
    st.caption("Click a point to open its trial.")


def trial_chart(chart: Chart, key: str) -> None:
    """Draw a chart whose points are trials; a click opens one."""
    clicked = live_chart.show(chart, f"sweep_{key}")
    if clicked is not None:
        st.query_params["trial"] = str(clicked + 1)
        st.rerun()


def extend_button(found: Findings) -> None:
    """Offer to let the sweep go on."""
    with st.popover("Extend", icon=":material/add:"):
        by_time = found.goal.seconds is not None
        amount = st.number_input(
            "More minutes of training" if by_time else "More trials", 1, 1_000, 10, key="sweep_extend_amount"
        )
        arguments = (found.name, 0, float(amount)) if by_time else (found.name, int(amount), 0.0)
        st.button(
            "Extend",
            key="sweep_extend",
            on_click=guarded.once,
            args=("extend", sweep_parts.act, sweep_workers.extend, *arguments),
        )


def cards(found: Findings) -> None:
    """Show the figures of the sweep so far."""
    states = [trial.state for trial in found.trials]
    counts = {"ended early": states.count("pruned"), "failed": states.count("failed")}
    ends = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    best = found.best
    with st.container(key="cards_sweep"):
        accuracy, done, time, pace = st.columns(4)
    card: dict[str, Any] = {"border": True, "height": "stretch", "delta_color": "off", "delta_arrow": "off"}
    if best is not None:
        help_ = "On the validation images."
        accuracy.metric("Best accuracy", f"{best.accuracy:.1%}", f"trial {best.number + 1}", help=help_, **card)
    done.metric("Trials", found.done, ends or None, **card)
    time.metric("Training time", formatting.seconds(found.spent_seconds), **card)
    measured = [trial.seconds for trial in found.ended if trial.seconds]
    a_trial = sum(measured) / len(measured) if measured else 0.0
    pace.metric("A trial takes", f"{a_trial:.1f} s" if a_trial < 90 else formatting.seconds(a_trial), **card)


def edge_notice(found: Findings) -> None:
    """Point out a best value at the end of what was tried."""
    for knob, side in found.at_edge.items():
        table = KNOBS[knob]
        item = next(item for item in found.plan.ranges if item.knob == knob)
        end = min(item.choices) if side == "low" and item.choices else max(item.choices) if item.choices else None
        end = end if end is not None else item.low if side == "low" else item.high
        limit = (min if side == "low" else max)(table.choices) if table.choices else getattr(table, side)
        advice = ", where the knob itself ends." if end == limit else "; try a wider range."
        st.info(
            f"The best **{messages.plain(table.label)}** lies at the {side} end of its range, "
            f"{messages.plain(table.say(end))}{advice}",
            icon=":material/align_horizontal_right:" if side == "high" else ":material/align_horizontal_left:",
        )


def opened_trial(found: Findings) -> Trial | None:
    """Return the trial that the address names, else the best; None where there is none."""
    asked = st.query_params.get("trial", "")
    numbers = {str(trial.number + 1): trial for trial in found.trials if trial.run}
    return numbers.get(asked) or found.best


def trial_panel(found: Findings) -> None:
    """Show the opened trial, at the top of the screen while one scrolls through the figures."""
    trial = opened_trial(found)
    if trial is None or not found.ended:
        return
    with st.container(border=True, key="opened_trial"):
        st.markdown(f"**Trial {trial.number + 1}**, {_result(trial, found)}")
        st.caption(
            ", ".join(
                messages.plain(f"{KNOBS[name].label} {KNOBS[name].say(value)}") for name, value in trial.params.items()
            )
        )
        sweep_parts.trial_actions(found, trial, "sweep")


def _result(trial: Trial, found: Findings) -> str:
    if trial.accuracy is None:
        return trial.state
    words = f"validation accuracy {trial.accuracy:.1%}"
    if trial == found.best:
        words += ", the best so far"
    return words + (f", ended early after {len(trial.curve)} epochs" if trial.state == "pruned" else "")


@st.cache_resource(max_entries=128, show_spinner=False)
def _optuna_charts(name: str, ended: int, identity: str, pairs: tuple[tuple[str, str], ...]) -> dict[Any, Any]:
    """Return Optuna's figures as charts (None for none), built once for each number of ended trials, for all people."""
    found = sweep_parts.found(name)
    drawn: dict[Any, Any] = {pair: search_charts.surface(found, *pair) for pair in pairs}
    drawn |= {"parallel": search_charts.parallel(found), "importances": search_charts.importances(found)}
    return {what: figure and live_chart.chart(figure) for what, figure in drawn.items()}


def figures_panel(name: str) -> None:
    """Draw what the trials say. Runs by itself while the sweep goes on."""
    found = sweep_parts.found(name)
    knobs, opened = [item.knob for item in found.plan.ranges], opened_trial(found)
    if not found.ended:
        return
    pairs = [pair for pair in PAIRS if set(pair) <= set(knobs)]
    drawn = _optuna_charts(name, len(found.ended), studies.identity(name), tuple(pairs))
    if drawn["parallel"] is None:
        st.caption("Importances, lines and surfaces appear after three trials.")
    else:
        trial_chart(drawn["parallel"], "parallel")
    with st.container(key="wide_sweep"):
        columns = st.columns(2)
        if drawn["importances"] is not None:
            with columns[0]:
                live_chart.show(drawn["importances"], "sweep_importances")
        for number, knob in enumerate(knobs, drawn["importances"] is not None):
            with columns[number % 2]:
                trial_chart(live_chart.chart(search_charts.slices(found, knob, opened)), f"slice_{knob}")
    surfaces(found, knobs, pairs, drawn)
    label = {cost: words for cost, (words, _) in findings.COSTS.items()}
    cost = address.linked_choice("Accuracy against", "cost", label, "latency_ms")
    trial_chart(live_chart.chart(search_charts.front(found, cost, opened)), "front")


def surfaces(found: Findings, knobs: list[str], pairs: list[tuple[str, str]], drawn: dict[Any, Any]) -> None:
    """Draw accuracy over pairs of knobs: the usual ones, and one that a person chooses."""
    if len(knobs) < 2 or drawn["parallel"] is None:
        return
    with st.container(key="wide_surfaces"):
        columns = st.columns(2)
        for number, pair in enumerate(pairs):
            with columns[number % 2]:
                live_chart.show(drawn[pair], f"sweep_surface_{pair[1]}")
    if len(knobs) == 2 and pairs:
        return
    labels = {knob: KNOBS[knob].label for knob in knobs}
    every = [(x, y) for x in knobs for y in knobs if x != y]
    first = next((pair for pair in every if pair not in pairs and pair[::-1] not in pairs), every[0])
    address.linked("x", labels, first[0])
    address.linked("y", labels, first[1])
    left, right = st.columns(2)
    x = left.selectbox("Across", knobs, key="x", format_func=labels.__getitem__, persist_state="session")
    y = right.selectbox("Up", knobs, key="y", format_func=labels.__getitem__, persist_state="session")
    address.link("x", x, first[0])
    address.link("y", y, first[1])
    if x == y:
        st.caption("Choose two different knobs to see their surface.")
        return
    own = _optuna_charts(found.name, len(found.ended), studies.identity(found.name), ((x, y),))[(x, y)]
    if own is not None:
        live_chart.show(own, "sweep_surface_own")
