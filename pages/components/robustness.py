"""Robustness on *Evaluate*: measurement with progress and stop, and the curves of the runs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.evaluation import assessment, listing, robustness
from cifar_core.evaluation.robustness import Measured
from cifar_core.runs import Run
from pages.components import formatting, guarded, live_chart, run_picker

POLL_SECONDS = 0.7


def section(chosen: list[Run]) -> None:
    """Draw the robustness of runs, with buttons to measure it."""
    formatting.text(
        "How accuracy falls when images get worse: eight corruptions, five strengths each, on up to "
        f"{robustness.IMAGES:,} validation images. Compare runs that differ in *Augmentation strength*."
    )
    working = any(robustness.job(one).is_running for one in chosen)
    guarded.polled(_measures, working, POLL_SECONDS)(chosen)


def titles(chosen: list[Run]) -> dict[str, str]:
    """Return the runs' titles, by ID, with their augmentation strength."""
    rows = [listing.row(run) for run in chosen]
    names = run_picker.run_titles(rows)
    return {
        row.run.id: names[row.run.id] + (f" · augmentation {row.config.augmentation:g}" if row.config else "")
        for row in rows
    }


def _measures(chosen: list[Run]) -> bool:
    """Draw a row for each run, then the curves; return whether one is being measured."""
    states = {run.id: robustness.state(run) for run in chosen}
    measured: dict[str, Measured] = {}
    names = titles(chosen)
    for run in chosen:
        known, _ = robustness.load_or_problem(run)
        _row(run, names[run.id], states[run.id], known)
        if known is not None and known.clean is not None:
            measured[names[run.id]] = known
    if measured:
        _show(measured)
    return any(status["state"] == "working" for status in states.values())


def _show(measured: dict[str, Measured]) -> None:
    """Draw the accuracies by run name as curves and as a table."""
    figure = answer_charts.robustness_figure(measured)
    alt = "Accuracy against the strength of eight corruptions; the table has the means."
    live_chart.draw(figure, "robustness", alt, formatting.figure_config("robustness"))
    with st.container(key="runs_robust"):
        columns = dict.fromkeys(measured, formatting.SHARE_COLUMN)
        alt = "Accuracy under corruptions"
        look: dict[str, Any] = {"hide_index": True, "height": "content", "placeholder": "", "alt": alt}
        st.dataframe(_means(measured), column_config=columns, **look)
    formatting.csv_button("CSV", lambda: assessment.robustness_csv(measured), "robustness.csv", "download_robustness")
    corruptions = " ".join(f"{corruption.label}: {corruption.help}" for corruption in robustness.CORRUPTIONS.values())
    formatting.caption(
        f"{corruptions} Each run is measured on its own validation images, which it was not trained on. With "
        f"{min(known.images for known in measured.values()):,} images, differences of one or two points are not "
        "significant."
    )


def _means(measured: dict[str, Measured]) -> list[dict[str, object]]:
    """Return table rows: without corruption, mean of all corruptions, each corruption. Run columns are in percent."""
    lines: list[dict[str, object]] = [{"accuracy": "no corruption"}, {"accuracy": "mean of all corruptions"}]
    lines += [{"accuracy": corruption.label} for corruption in robustness.CORRUPTIONS.values()]
    for name, known in measured.items():
        means = [
            sum(accuracies) / len(accuracies) if len(accuracies) == len(corruption.strengths) else None
            for corruption in robustness.CORRUPTIONS.values()
            for accuracies in [known.accuracies.get(corruption.name, ())]
        ]
        for line, value in zip(lines, (known.clean, known.mean, *means), strict=True):
            line[name] = formatting.percent(value)
    return lines


def _row(run: Run, name: str, status: dict[str, object], known: Measured | None) -> None:
    """Show the state of a run's measurement, with its buttons."""
    state = status["state"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{formatting.plain(name)}**")
        if state == "working":
            guarded.stop_button(robustness.job(run), f"stop_{run.id}")
        elif state != "done":
            words = "Continue measuring" if state == "stopped" else "Measure robustness"
            start, icon = robustness.job(run).start, ":material/play_arrow:"
            guarded.button(words, start, key=f"measure_{run.id}", icon=icon, busy="Starting")
        elif known is not None:
            st.caption(f"{known.images:,} images, measured in {formatting.seconds(known.seconds)}")
    if state == "working":
        done, total, left = status.get("done"), status.get("total"), status.get("seconds_left")
        is_begun = isinstance(done, int) and isinstance(total, int) and total > 0
        words = f"{done / total:.0%}" if is_begun else "Starting"  # type: ignore[operator]
        words += f", {formatting.seconds(left)} left" if isinstance(left, int | float) else ""
        st.progress(min(done / total, 1.0) if is_begun else 0.0, words)  # type: ignore[operator]
    elif state == "failed":
        st.error(formatting.plain(status["error"]), icon=":material/error:")
    elif state == "stopped":
        st.caption("Partly measured; press *Continue measuring* for the rest.")
