"""Explore, Search: state, findings and trials of one search."""

from typing import Any

import streamlit as st

from cifar_core import glossary, runs
from cifar_core.charts import search as search_charts
from cifar_core.config import ALL_IMAGES, KNOBS
from cifar_core.errors import CifarError, SweepError
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.findings import Cell, Findings, Trial
from cifar_core.untrusted import csv_text
from pages.components import address, formatting, guarded, knobs, live_chart, tables

POLL_SECONDS = 2.0
LOOK = {
    "running": (":material/play_arrow:", "blue", ""),
    "stopping": (":material/pending:", "orange", "Stopping after the current epoch"),
    "stopped": (":material/stop:", "orange", "Stopped. Resume it to continue."),
    "interrupted": (":material/link_off:", "red", "Its process ended unexpectedly. Resume it; nothing is lost."),
    "failed": (":material/error:", "red", "Every trial failed. Open one below to see why."),
    "finished": (":material/check:", "green", "Done"),
}


def show(name: str) -> None:
    """Draw the search called `name`."""
    try:
        sweep = find(name)
    except CifarError as error:
        guarded.problem(error)
        _delete_button(name)
        return
    address.known("trial", st.query_params.get("trial"), _openable(sweep))
    guarded.polled(panel, lambda: find(name).is_live, POLL_SECONDS)(name)


def panel(name: str) -> None:
    """Draw the state and findings of a search."""
    sweep = find(name)
    head = st.container()  # its lines come and go; the charts below stay
    with st.container():
        _status(sweep)
    if not sweep.ended:
        has_failed = sweep.done and not sweep.is_live
        head.header("Every trial failed" if has_failed else "The first trial is not finished yet")
        return
    shares = _importances(tuple((trial.accuracy, *trial.params.items()) for trial in sweep.ended), sweep)
    cells = sweep.cells() if sweep.plan.grid and len(sweep.plan.ranges) == 2 else []
    noise = findings.noise(cells)
    sentence = findings.conclusion(sweep, shares)
    first, _, rest = sentence.partition(". ")
    head.header(formatting.plain(first), help=glossary.explain(f"{sentence} pruning"))
    if rest:
        head.markdown(formatting.plain(rest))
    with st.container():
        if noise:
            st.markdown(formatting.plain(noise.words))
        for knob, side in sweep.at_edge.items():
            words = f"The best {formatting.plain(KNOBS[knob].label)} is at the {side} end of its range"
            st.caption(f":material/arrow_right_alt: {words}: try a wider range.")
    opened = _openable(sweep).get(st.query_params.get("trial", "")) or sweep.best
    if cells:
        _heat_map(cells, [item.knob for item in sweep.plan.ranges], noise is not None, opened)
    else:
        _points(sweep, shares, opened)
    _table(sweep, opened)
    if opened is not None:
        _trial(sweep, opened)
    _more_charts(sweep, opened)


@st.cache_resource(max_entries=64, show_spinner="Reading the trials")
def _read_findings(name: str, stamp: tuple[int, int], workers: int) -> Findings:
    return findings.find(name)


def find(name: str) -> Findings:
    """Return the findings of the search called `name`, cached by the state of its journal, shared by all sessions."""
    return _read_findings(name, studies.stamp(name), len(sweep_workers.living_workers(name)))


@st.cache_resource(max_entries=64, show_spinner="Comparing the settings")
def _importances(trials: tuple[tuple[Any, ...], ...], _sweep: Findings) -> dict[str, float]:
    return findings.importances(_sweep)


def is_anothers(name: str) -> bool:
    """Return whether a search is another person's; one whose folder is a link is refused when it is opened."""
    return guarded.is_anothers(runs.folder_beside_runs("sweeps") / name)


def newest(known: list[str]) -> str:
    """Return the search in `known` that changed last; one that cannot be opened counts as oldest."""

    def stamp(name: str) -> tuple[int, int]:
        try:
            return studies.stamp(name)
        except SweepError:
            return 0, 0

    return max(known, key=stamp)


def _status(sweep: Findings) -> None:
    """Show the state of a search, its buttons, and the settings that all trials share."""
    icon, color, words = LOOK[sweep.state]
    name, place = sweep.name, studies.folder(sweep.name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":{color}[{icon}] **{words or _progress(sweep)}**", width="stretch")
        if sweep.is_live:
            look: dict[str, Any] = {"icon": ":material/stop:", "disabled": sweep.state == "stopping"}
            guarded.own_button("Stop", place, sweep_workers.stop, name, key=f"stop_{name}", busy="Stopping", **look)
        elif sweep.state != "finished":
            look = {"icon": ":material/play_arrow:", "key": f"resume_{name}"}
            guarded.own_button("Resume", place, sweep_workers.resume, name, busy="Starting", **look)
        if sweep.plan.grid:
            look = {"icon": ":material/casino:", "key": "search_repeat"}
            guarded.own_button("Repeat with another seed", place, sweep_workers.repeat, name, busy="Starting", **look)
        elif not guarded.is_anothers(place):
            _extend(sweep)
        if not sweep.is_live:
            _delete_button(name)
    if sweep.is_live:
        st.progress(sweep.share)
    varied = {item.knob: item for item in sweep.plan.ranges}
    base = [KNOBS[knob] for knob in KNOBS if knob not in varied and knob in ("train_images", "alpha", "image_size")]
    fixed = ", ".join(f"{knob.label}: {knob.short(getattr(sweep.plan.base, knob.name))}" for knob in base)
    tuned = "fine-tuning included" if sweep.plan.base.fine_tunes else "head only"
    took = f"{sweep.done} trial{'s' * (sweep.done != 1)} in {formatting.seconds(sweep.spent_seconds)}"
    formatting.caption(formatting.plain(f"{took} of training; {fixed}, {tuned}."))
    for reason in list(dict.fromkeys(trial.error for trial in sweep.trials if trial.error))[:3]:
        st.warning(formatting.plain(f"Trials failed: {reason}"), icon=":material/warning:")


def _progress(sweep: Findings) -> str:
    if not sweep.done or not sweep.spent_seconds:
        return f"{sweep.progress}; the first trial computes the feature cache"
    left = sweep.spent_seconds * (1 / sweep.share - 1)
    return f"{sweep.progress}, about {formatting.seconds(left)} left" if left >= 1 else sweep.progress


def _extend(sweep: Findings) -> None:
    """Draw a popover that extends the search."""
    key = f"search_extend_{sweep.goal.trials}_{sweep.goal.seconds}"  # another key closes it once it was extended
    with st.popover("Extend", icon=":material/add:", key=key):
        by_time = sweep.goal.seconds is not None
        amount = st.number_input("More minutes" if by_time else "More trials", 1, 1_000, 10, key="search_extend_amount")
        arguments = (sweep.name, 0, float(amount)) if by_time else (sweep.name, int(amount), 0.0)
        place = studies.folder(sweep.name)
        guarded.own_button("Extend", place, sweep_workers.extend, *arguments, key="search_extend", busy="Starting")


def _delete_button(name: str) -> None:
    place = runs.folder_beside_runs("sweeps") / name
    barred = guarded.is_anothers(place)
    if st.button("Delete", icon=":material/delete:", key=f"delete_{name}", type="tertiary", disabled=barred):
        undo = "It cannot be restored" if studies.storage_url() else "You can undo this"
        text = f"This deletes **{formatting.plain(name)}**. {undo}. The runs of its trials stay."
        guarded.confirm("Delete this search?", text, "delete_sure", guarded.if_own, place, _delete, name)


def _delete(name: str) -> None:
    sweep_workers.delete(name)
    st.session_state["search_deleted"] = name
    for key in ("sweep", "trial"):
        st.query_params.pop(key, None)


def undo_bar() -> None:
    """Draw a button that undoes the last deletion."""
    name = st.session_state.get("search_deleted")
    words = formatting.plain(name) if name is not None and studies.is_restorable(name) else ""
    guarded.undo_bar("search_deleted", words, studies.restore, name)


def _points(sweep: Findings, shares: dict[str, float], opened: Trial | None) -> None:
    """Draw accuracy against each varied setting, most important first; a click opens a trial."""
    names = sorted((item.knob for item in sweep.plan.ranges), key=lambda knob: -shares.get(knob, 0.0))
    with st.grid(2, min_column_width=340):
        for knob in names:
            _clickable(search_charts.slices(sweep, knob, opened), f"slice_{knob}")
        if shares:
            live_chart.draw(search_charts.importances(shares), "search_importances")


def _heat_map(cells: list[Cell], names: list[str], repeated: bool, opened: Trial | None) -> None:
    """Draw a grid as a heat map; a click opens the best trial of a cell."""
    shown = "mean"
    if repeated:
        shown = address.linked_choice("Show", "show", {"mean": "mean accuracy", "spread": "spread over seeds"}, "mean")
    place = next((n for n, cell in enumerate(cells) if opened in cell.trials), None)
    x, y = names
    figure = search_charts.heat_map(cells, x, y, shown == "spread", place)

    def take(number: int) -> None:
        if 0 <= number < len(cells) and cells[number].trials:
            _open(max(cells[number].trials, key=lambda trial: trial.accuracy or 0.0).number)

    live_chart.draw(figure, "grid_map", on_click=take)
    if not repeated:
        st.caption("One seed each: small differences may be noise. Repeat with another seed to measure it.")


def _more_charts(sweep: Findings, opened: Trial | None) -> None:
    """Draw trial order, accuracy against cost, and pairs of settings in an expander."""
    with st.expander("Order of trials, cost, pairs of settings", icon=":material/scatter_plot:", key="search_more"):
        _clickable(search_charts.history(sweep, opened), "history")
        label = {cost: words for cost, (words, _) in findings.COSTS.items()}
        cost = address.linked_choice("Accuracy against", "cost", label, "seconds")
        _clickable(search_charts.front(sweep, cost, opened), "front")
        st.caption("The green line joins the trials that no other beats in both accuracy and cost (Pareto front).")
        labels = {item.knob: KNOBS[item.knob].label for item in sweep.plan.ranges}
        if len(labels) > 1:
            left, right = st.columns(2)
            x = left.selectbox("x axis", list(labels), 0, format_func=labels.__getitem__, key="search_x")
            y = right.selectbox("y axis", list(labels), 1, format_func=labels.__getitem__, key="search_y")
            _clickable(search_charts.pair(sweep, x, y, opened), "pair")


def _clickable(figure: Any, key: str) -> None:
    """Draw a figure with trials as points; a click opens one."""
    live_chart.draw(figure, f"search_{key}", on_click=_open)


def _open(number: int) -> None:
    st.query_params["trial"] = str(number + 1)


def _table(sweep: Findings, opened: Trial | None) -> None:
    """Draw all trials, best first; selecting a row opens its trial."""
    trials = sorted(sweep.trials, key=lambda trial: (-(trial.accuracy or 0.0), trial.number))
    columns: dict[str, list[Any]] = {
        "Trial": [trial.number + 1 for trial in trials],
        "Validation": [formatting.percent(trial.accuracy) for trial in trials],
        "By epoch": [[accuracy for _, accuracy in trial.curve] for trial in trials],
        **{KNOBS[item.knob].label: [trial.params.get(item.knob) for trial in trials] for item in sweep.plan.ranges},
        "Time": [trial.seconds for trial in trials],
        "State": [trial.state for trial in trials],
    }
    if any("seed" in trial.params for trial in trials):
        columns["Seed"] = [trial.params.get("seed") for trial in trials]
    number, key = st.column_config.NumberColumn, f"trials_{sweep.name}"

    def take_row() -> None:
        for place in st.session_state[key]["selection"]["rows"]:
            if place < len(trials):
                _open(trials[place].number)

    tables.show(
        columns,
        key,
        {
            "Trial": number(width=50),
            "Validation": number(format="%.1f%%", width=80),
            "By epoch": st.column_config.LineChartColumn(width=90),
            "Time": number(format="%.0f s", width=65),
            "State": {"width": 80},
        },
        lambda place: _open(trials[place].number),
        [place for place, trial in enumerate(trials) if trial is opened],
        height=min(36 * (len(trials) + 1) + 3, 330),
        on_select=take_row,
        selection_mode="single-row",
    )
    values = zip(*(map(_cell, column) for column in columns.values()), strict=True)
    formatting.csv_button("CSV", csv_text([tuple(columns), *values]), f"{sweep.name}.csv", "trials_csv")


def _cell(value: Any) -> Any:
    return " ".join(f"{share:.4f}" for share in value) if isinstance(value, list) else value


def _openable(sweep: Findings) -> dict[str, Trial]:
    """Return the trials that have a run by their number in the URL."""
    return {str(trial.number + 1): trial for trial in sweep.trials if trial.run}


def _trial(sweep: Findings, trial: Trial) -> None:
    """Draw the curves of all trials with the opened one highlighted, and its actions."""
    live_chart.draw(search_charts.trial_curves(sweep, trial), "search_curves")
    result = trial.state if trial.accuracy is None else f"validation accuracy {trial.accuracy:.1%}"
    words = f"{result}; {', '.join(space.in_words(trial.params))}"
    st.markdown(f"**Trial {trial.number + 1}**: {formatting.plain(words)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if trial.run and runs.ID_PATTERN.fullmatch(trial.run) and runs.Run(trial.run).path.is_dir():
            query = {"run": trial.run}
            st.page_link("pages/train.py", label="Open as a run", icon=":material/open_in_new:", query_params=query)
        else:
            st.caption("Its run is on another machine or was deleted." if trial.run else "It has no run yet.")
        if st.button("Train on all images", icon=":material/trending_up:", key=f"search_continue_{trial.number}"):
            knobs.open_train(sweep.plan.with_values({**trial.params, "train_images": ALL_IMAGES}))
