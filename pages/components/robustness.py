"""Robustness on *Evaluate*: measure, with progress and a stop; curves of several runs."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cifar_core import runs
from cifar_core.charts import evaluation as evaluation_charts
from cifar_core.errors import CifarError
from cifar_core.evaluation import listing, robustness, tables
from cifar_core.evaluation.listing import Row
from cifar_core.evaluation.robustness import Measured
from cifar_core.runs import Run
from pages.components import address, formatting, guarded, live_chart, messages, run_state

POLL_SECONDS = 0.7
MOST_OTHERS = 3


def section(run: Run) -> None:
    """Let a person choose runs to compare with; measure and draw them."""
    st.markdown(
        f"How accuracy falls when images get worse: eight corruptions, five strengths each, on up to "
        f"{robustness.IMAGES:,} of the run's validation images. Here you see what augmentation bought: compare a run "
        "with one of another strength."
    )
    others = {row.run.id: title(row) for row in listing.classifiers() if row.run != run}
    if others:
        if "beside" not in st.session_state:
            st.session_state["beside"] = address.asked_runs("beside", others, MOST_OTHERS)
        st.session_state["beside"] = [name for name in st.session_state["beside"] if name in others]
        st.multiselect(
            "Compare with",
            list(others),
            key="beside",
            format_func=others.__getitem__,
            max_selections=MOST_OTHERS,
            persist_state="session",
        )
        st.query_params["beside"] = st.session_state["beside"]
    chosen = [run, *(runs.Run(name) for name in (st.session_state["beside"] if others else []))]
    working = any(robustness.job(one).is_running for one in chosen)
    st.session_state["robust_measuring"] = working
    guarded.fragment(_measures, run_every=POLL_SECONDS if working else None)(chosen)


def title(row: Row) -> str:
    """Return a run's name with its augmentation, which the comparison is mostly about."""
    augmentation = f" · augmentation {row.config.augmentation:g}" if row.config else ""
    return f"{run_state.run_title(row)}{augmentation}"


def _measures(chosen: list[Run]) -> None:
    """Draw a line for each run, then the curves. Runs by itself while one is being measured."""
    states = {run.id: robustness.state(run) for run in chosen}
    working = any(found["state"] == "working" for found in states.values())
    if working != st.session_state["robust_measuring"]:  # it began, or ended: poll from now on, or no more
        st.rerun()
    measured: dict[str, Measured] = {}
    for run in chosen:
        known, _ = robustness.usable(run)
        _row(run, states[run.id], known)
        if known is not None and known.clean is not None:
            measured[title(listing.row(run))] = known
    if "robust_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("robust_error")), icon=":material/error:")
    if not measured:
        return
    figure = evaluation_charts.robustness_figure(measured)
    alt = "Accuracy against the strength of eight corruptions; the table says the means."
    live_chart.show(live_chart.chart(figure, alt, config=formatting.figure_config("robustness")), "robustness")
    with st.container(key="runs_robust"):
        columns = dict.fromkeys(measured, formatting.SHARE_COLUMN)
        st.dataframe(_means(measured), hide_index=True, column_config=columns, height="content")
    st.download_button(
        "Robustness (CSV)",
        lambda: tables.robustness(measured).encode(),
        "robustness.csv",
        "text/csv",
        key="download_robustness",
        icon=":material/download:",
        on_click="ignore",
    )
    corruptions = " ".join(f"{corruption.label}: {corruption.help}" for corruption in robustness.CORRUPTIONS.values())
    st.caption(
        f"{corruptions} Each run is measured on its own validation images, which it was not trained on; with "
        f"{min(known.images for known in measured.values()):,} of them, differences of a point or two are chance."
    )


def _means(measured: dict[str, Measured]) -> list[dict[str, object]]:
    """Return a line for the untouched images, for all corruptions and for each; a column for each run, in percent."""
    lines: list[dict[str, object]] = [{"accuracy": "untouched"}, {"accuracy": "mean of all corruptions"}]
    lines += [{"accuracy": corruption.label} for corruption in robustness.CORRUPTIONS.values()]
    for name, known in measured.items():
        means = [
            sum(found) / len(found) if len(found) == len(corruption.strengths) else None
            for corruption in robustness.CORRUPTIONS.values()
            for found in [known.accuracies.get(corruption.name, ())]
        ]
        for line, value in zip(lines, (known.clean, known.mean, *means), strict=True):
            line[name] = formatting.percent(value)
    return lines


def _row(run: Run, found: dict[str, object], known: Measured | None) -> None:
    """Say of one run how its measuring stands, and offer what can be done."""
    state = found["state"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{messages.plain(title(listing.row(run)))}**")
        if state == "working":
            guarded.button("Stop", _act, _stop, run, key=f"stop_{run.id}", icon=":material/stop:")
        elif state != "done":
            words = "Go on measuring" if state == "stopped" else "Measure robustness"
            guarded.button(
                words,
                _act,
                robustness.start,
                run,
                key=f"measure_{run.id}",
                icon=":material/play_arrow:",
                type="primary",
            )
        elif known is not None:
            st.caption(f"{known.images:,} images, measured in {formatting.seconds(known.seconds)}")
    if state == "working":
        done, total, left = found.get("done"), found.get("total"), found.get("seconds_left")
        is_begun = isinstance(done, int) and isinstance(total, int) and total > 0
        words = f"{done / total:.0%}" if is_begun else "Starting"  # type: ignore[operator]
        words += f", {formatting.seconds(left)} left" if isinstance(left, int | float) else ""
        st.progress(min(done / total, 1.0) if is_begun else 0.0, words)  # type: ignore[operator]
    elif state == "failed":
        st.error(messages.plain(found["error"]), icon=":material/error:")
    elif state == "stopped":
        st.caption("Measured in part; it goes on from there.")


def _stop(run: Run) -> None:
    robustness.job(run).ask_to_stop()


def _act(action: Callable[[Run], None], run: Run) -> None:
    try:
        action(run)
    except CifarError as error:
        st.session_state["robust_error"] = str(error)
