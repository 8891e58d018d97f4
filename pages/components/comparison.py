"""Explore, Runs: the curves of the selected runs, and their accuracy against training time."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cifar_core import glossary
from cifar_core.charts import training as training_charts
from cifar_core.config import KNOBS, changes_in_words, differing_knobs, nearest_preset
from cifar_core.evaluation import comparison
from cifar_core.evaluation.comparison import Pair
from cifar_core.evaluation.listing import Row
from cifar_core.lessons import experiments
from cifar_core.lessons.catalogue import LESSONS
from cifar_core.runs import Run, curves
from pages.components import address, formatting, live_chart, run_picker, tables

_SMOOTHING = {share: share for share in ("0", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95")}
NAME_WIDTH = 320
"""Width of a column of run names, in pixels."""
_LOOKS = {"Run": {"width": NAME_WIDTH}}
_AXES = {"epoch": "Epoch", "time": "Time"}
_SURE = {
    "yes": "a significant gain",
    "no": "not a significant gain",
    "opposite on test images": "but the test images show the opposite",
    "unknown": "significance on the test images is unknown",
}


def show(chosen: Sequence[Row], shown: Sequence[Row], names: dict[str, str]) -> None:
    """Draw the curves of the `chosen` runs, and all `shown` runs as dots."""
    lines = [(names[row.run.id], curves_of(row)) for row in chosen]
    with st.container(key="overlays"):  # of the height of the charts, which come later (see style)
        left, right = st.columns(2)
    with st.expander("Cross-entropy, time axis, smoothing", icon=":material/show_chart:", key="more_curves"):
        axis = address.linked_choice("Align by", "axis", _AXES, "epoch")
        about = "How much each point is averaged with those before it. Dots are not smoothed."
        smoothing = address.linked_select(
            "Smoothing", "smoothing", _SMOOTHING, "0", st.select_slider, width=260, help=about
        )
        places = {"accuracy": left, "loss": st.container()}
    for metric, place in places.items():
        figure = training_charts.overlay_figure(lines, metric, axis, float(smoothing))
        alt = f"{metric.capitalize()} of the selected runs by {axis}"
        with place:
            live_chart.draw(figure, f"overlay_{metric}", alt, live_chart.NO_TOOLBAR)
    words = "Thick lines and dots: validation. Thin pale lines: training."
    with left:
        formatting.caption(words if chosen else "Select runs in the table to see their curves.")
    alt = "Validation accuracy of every run against its training time"
    with right:
        live_chart.draw(_dots(chosen, shown, names), "dots", alt, live_chart.NO_TOOLBAR)
        st.caption(
            "Each dot is a run: higher is more accurate, further left is faster. *Width α* and *Input size* on Train "
            "have the largest effect."
        )


def _dots(chosen: Sequence[Row], shown: Sequence[Row], names: dict[str, str]) -> Any:
    """Return the chart of accuracy against training time; a chosen run has the color of its curve."""
    places = {row.run.id: place for place, row in enumerate(chosen)}
    dots = [
        training_charts.Dot(names[row.run.id], row.seconds, row.validation_accuracy, places.get(row.run.id))
        for row in shown
        if row.seconds and row.validation_accuracy is not None
    ]
    return training_charts.time_figure(dots)


def example() -> None:
    """Draw the charts of the section with the stored results of a lesson."""
    lesson, found = LESSONS["width"], experiments.outcomes(experiments.stored("width"))
    named = {condition.label: found[key] for key, condition in experiments.CONDITIONS["width"].items()}
    dots = [
        training_charts.Dot(label, one.figures["elapsed_seconds"], one.figures["validation_accuracy"], place)
        for place, (label, one) in enumerate(named.items())
    ]
    lines = [(label, one.curves) for label, one in named.items()]
    figures = training_charts.overlay_figure(lines, "accuracy", "epoch", 0.0), training_charts.time_figure(dots)
    st.subheader("Example")
    st.caption(f"Four networks of different width, stored with the app, not your runs (lesson *{lesson.title}*).")
    with st.container(key="example"), st.grid(2, min_column_width=340):
        for figure in figures:
            title = figure.layout.title.text
            figure.update_layout(title_text=f"Example: {title[0].lower()}{title[1:]}")
            live_chart.draw(figure, f"example_{title}", config=live_chart.NO_TOOLBAR)


def verdict(chosen: Sequence[Row], names: dict[str, str]) -> None:
    """Draw a table of each run's gain over a baseline, its significance, and its relative training time."""
    st.header("Is it worth the time?", help=glossary.TERMS["baseline"])
    words = {"Settings": [settings_in_words(row) for row in chosen]}
    finished = [row for row in chosen if row.state == "finished" and row.validation_accuracy is not None]
    if len(finished) < 2:
        st.caption("Select two finished runs to compare them. Their settings:")
        columns = _settings(chosen, names)
        tables.show(columns, "verdict", _LOOKS, narrow={"Run": columns["Run"]} | words)
        return
    fastest = min(range(len(finished)), key=lambda place: finished[place].seconds or float("inf"))
    ids = [row.run.id for row in finished]
    sentence = st.container()
    base_id = st.selectbox("Baseline", ids, fastest, format_func=names.__getitem__, key="baseline", width=480)
    base = next(row for row in finished if row.run.id == base_id)
    tested = pairs([row.run for row in finished])
    by_run = {
        next(iter({pair.a.id, pair.b.id} - {base_id})): pair for pair in tested if base_id in (pair.a.id, pair.b.id)
    }
    best = max(finished, key=lambda row: (row.validation_accuracy or 0.0, -(row.seconds or 0.0)))
    if best is base:
        tied = sum(row.validation_accuracy == best.validation_accuracy for row in finished) > 1
        rank = "as good a validation accuracy as any" if tied else "the best validation accuracy"
        sentence.markdown(f"**{formatting.plain(names[base_id])}** has {rank} of these runs.")
    else:
        gain, on_test, sure, time = _price(best, base, by_run[best.run.id])
        name = formatting.plain(names[best.run.id])
        confirmed = f"{on_test} on the test images, {_SURE[sure]}" if on_test else _SURE[sure]
        sentence.markdown(
            f"**{name}** has the best validation accuracy: **{gain}** for **{time} the time**; {confirmed}."
        )
    if note := comparison.leak_note({row.run.id: names[row.run.id] for row in finished}):
        sentence.warning(formatting.plain(note), icon=":material/warning:")
    settings, prices = _settings(chosen, names), _prices(chosen, base, by_run)
    run = {"Run": settings["Run"]}
    tables.show(run | prices | settings, "verdict", _LOOKS, narrow=run | prices | words)
    for pair in by_run.values():
        if pair.result is None:
            st.caption(formatting.plain(comparison.verdict(pair, names[pair.a.id], names[pair.b.id])))
    compared = sum(pair.result is not None for pair in tested)
    formatting.caption(formatting.plain(f"{comparison.correction_note(compared)} McNemar's test, exact."))


def _settings(chosen: Sequence[Row], names: dict[str, str]) -> dict[str, list[str]]:
    """Return the columns of the settings that differ."""
    columns = {"Run": [names[row.run.id] for row in chosen]}
    for name in differing_knobs(row.config for row in chosen if row.config):
        columns[KNOBS[name].label] = [KNOBS[name].format(row.knob(name)) if row.config else "?" for row in chosen]
    return columns


def settings_in_words(row: Row) -> str:
    """Return the nearest preset and the settings that differ from it."""
    return ", ".join([nearest_preset(row.config), *changes_in_words(row.config)]) if row.config else ""


def _prices(chosen: Sequence[Row], base: Row, pairs: dict[str, Pair]) -> dict[str, list[str]]:
    """Return the columns that compare each run with `base`; empty cells if there is no comparison."""
    priced = [_price(row, base, pairs[row.run.id]) if row.run.id in pairs else ("",) * 4 for row in chosen]
    validation = ["" if row.validation_accuracy is None else f"{row.validation_accuracy:.1%}" for row in chosen]
    names = ("Difference", "On test images", "Significant", "Time")
    return {"Validation": validation} | {name: list(cells) for name, *cells in zip(names, *priced, strict=True)}


def _price(row: Row, base: Row, pair: Pair) -> tuple[str, str, str, str]:
    """Return the gain of `row` over `base` on validation and test images, its significance, and the time ratio.

    Significance says whether the test images confirm the gain on validation images.
    """
    gain = (row.validation_accuracy or 0.0) - (base.validation_accuracy or 0.0)
    points = f"{100 * gain:+.1f} points"
    time = f"{row.seconds / base.seconds:.1f} ×" if row.seconds and base.seconds else "? ×"
    if pair.result is None:
        return points, "", "unknown", time
    more = (pair.result.only_a - pair.result.only_b) / pair.result.images * (1 if pair.a.id == row.run.id else -1)
    confirmed = "yes" if (more > 0) == (gain > 0) else "opposite on test images"
    return points, f"{100 * more:+.1f} points", confirmed if pair.is_significant else "no", time


@st.cache_resource(show_spinner="Comparing the runs", max_entries=64, hash_funcs=run_picker.by_files("evaluation.npz"))
def pairs(chosen: Sequence[Run]) -> list[Pair]:
    """Return the tests of all pairs of runs, cached by the state of their files."""
    return comparison.compare(chosen)


def curves_of(row: Row) -> curves.Curves:
    """Return a run's curves, cached until its metrics may have changed."""
    files = (int(row.seconds or 0),) if row.state == "finished" else run_picker.stamp(row.run, "metrics.jsonl")
    return _curves(row.run.id, files)


@st.cache_resource(max_entries=500, show_spinner=False)
def _curves(run_id: str, state: tuple[int, ...]) -> curves.Curves:
    return curves.curves(Run(run_id).metrics())
