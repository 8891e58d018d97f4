"""Evaluate: strengths, mistakes, calibration and robustness of a finished run, optionally beside a second run."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, listing, robustness
from cifar_core.evaluation import comparison as significance
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import class_figures, extreme_classes, images_in_cell, top2_accuracy, worst_cell
from cifar_core.evaluation.robustness import Measured
from cifar_core.inference import calibration
from cifar_core.inference.classifier import bundled_figures, has_bundled
from cifar_core.runs import Run
from pages.components import (
    address,
    comparison,
    confusion,
    data_map,
    export_panel,
    formatting,
    guarded,
    live_chart,
    picture_view,
    run_history,
    run_picker,
    tables,
)

TITLE = "Strengths and mistakes"
SPLITS = {"validation": "Validation images", "test": "Test images"}
_MISTAKES = {"label": "is", "prediction": "said", "images": "images"}  # columns, and their names in the model card


def main() -> None:
    """Draw the page."""
    known = listing.classifiers()
    wanted = run_picker.asked(known)
    if not known:
        nothing_yet()
        return
    newest = run_picker.own(known)[0].run.id
    chosen = wanted or run_picker.remembered({row.run.id for row in known}) or newest
    if not wanted and chosen != newest:
        st.query_params["run"] = chosen
    st.title(TITLE)
    with st.grid(2, min_column_width=300):
        run = run_picker.pick(known, chosen, "evaluated")
        compared = run_picker.other(known, run, "beside") if run.state == "finished" else ""
        other = Run(compared) if compared else None
    if run.state != "finished":
        unfinished(run)
        return
    results = [picture_view.assessed(one) for one in (run, other) if one]
    if any("generated" in one.stored.dataset for one in results):
        words = "Trained and tested on **synthetic images, not CIFAR-10**: these figures do not apply to photos."
        st.warning(words, icon=":material/draw:")
    note = significance.leak_note({one.run.id: run_picker.title_of(one.run.id) for one in results})
    for problem in filter(None, dict.fromkeys([note, *(problem for one in results for problem in one.problems)])):
        formatting.alert(st.warning, formatting.plain(problem), ":material/warning:")
    split = address.linked_choice("Images", "split", SPLITS, "validation", label_visibility="collapsed")
    side_by_side(results, lambda one, number: strengths(one, split, number))
    if other:
        (pair,) = comparison.pairs([run, other])
        names = run_picker.short_names([listing.row(run), listing.row(other)])
        st.markdown(formatting.plain(significance.verdict(pair, names[run.id], names[other.id])))
    guarded.fragment(confusion.confusion)(results, split)
    panels(results, split)
    export_panel.export_panel(run)


def nothing_yet() -> None:
    """Draw the page without a run: its content, a button to *Train*, and what is known of the bundled model."""
    about = "What a run predicts correctly and what not: confusion matrix, mistakes, calibration, robustness."
    run_picker.nothing_yet(TITLE, about)
    if not has_bundled():
        return
    known = bundled_figures()
    st.header("Example: the bundled model")
    with st.grid(2, min_column_width=150, width=480):
        for split in SPLITS:
            accuracy(split, known[split]["accuracy"], known[split]["interval"])
    shares = np.array([known["classes"][name]["accuracy"] for name in CLASSES])
    order = np.argsort(-shares)
    left, right = st.columns(2, gap="large")
    left.markdown(f"**Each class**: correct predictions on {known['test']['images']:,} test images")
    left.html(formatting.bars(CLASSES, shares, order))
    with right:
        st.markdown("**Most frequent mistakes**")
        mistakes = known["confusions"]
        most = {name: [one[key] for one in mistakes] for name, key in _MISTAKES.items()}
        tables.show(most, "example_mistakes", height="content", alt="The most frequent mistakes of the bundled model")


def unfinished(run: Run) -> None:
    """Show that a run cannot be evaluated yet, and the diagnosis of its metrics so far."""
    state = run.state
    run_picker.state_badge(state)
    words = f"This run is {state}; figures, mistakes and robustness appear when it has finished."
    st.info(words, icon=":material/hourglass:")
    run_history.diagnosis_panel(run, state, run_picker.stamp(run, "metrics.jsonl"))
    st.page_link("pages/train.py", label="See it on Train", query_params={"run": run.id}, icon=":material/show_chart:")


def side_by_side(results: list[Assessment], draw: Callable[[Assessment, int], None]) -> None:
    """Draw each run in its own column. Two runs get their names as captions."""
    for number, (column, one) in enumerate(zip(st.columns(len(results), gap="large"), results, strict=True)):
        with column:
            if len(results) > 1:
                st.caption(formatting.plain(run_picker.title_of(one.run.id)))
            draw(one, number)


def strengths(result: Assessment, split: str, number: int) -> None:
    """Show the accuracy on both splits, and the best and worst class with example images."""
    with st.grid(2, min_column_width=150, width=480):
        for name in SPLITS:
            predictions = result.stored.split(name)
            accuracy(name, predictions.accuracy, predictions.interval)
    formatting.caption(
        "With 95% intervals (Wilson). Epoch and settings are chosen by validation accuracy, which makes it "
        "optimistic; test accuracy is not used for selection."
    )
    answers = result.calibrated.split(split)
    best, worst = extreme_classes(answers)
    text = f"Best class: **{best.name}**, {best.recall:.1%} correct. Worst: **{worst.name}**, {worst.recall:.1%}."
    cells = [(CLASSES.index(best.name),) * 2]
    label, answer = worst_cell(answers)
    if label != answer:
        cells.append((label, answer))
        images = len(images_in_cell(answers, label, answer))
        text += f" Most frequent mistake: **{CLASSES[label]}** predicted as **{CLASSES[answer]}**, {images:,} images."
    with st.container(key=f"sentence{number}"):
        st.markdown(text)
    confusion.examples(result, split, cells, number)


def accuracy(split: str, value: float, interval: Sequence[float]) -> None:
    """Show the accuracy on a split, 0..1, with its 95% interval."""
    low, high = interval
    st.metric(
        f"{split.capitalize()} accuracy",
        f"{value:.1%}",
        f"{low:.1%} to {high:.1%}",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def panels(results: list[Assessment], split: str) -> None:
    """Draw the expanders. The URL stores which are open; only those are computed."""

    def draw(part: Callable[..., None]) -> Callable[[], None]:
        return lambda: guarded.fragment(side_by_side)(results, lambda one, number: part(one, split, number))

    for key, title, icon, show in (
        ("classes", "Each class", "monitoring", draw(classes)),
        ("extremes", "Confident mistakes, unsure correct predictions", "casino", draw(confusion.extremes)),
        ("sure", "Calibration", "speed", draw(calibrated)),
        ("story", "How it was trained", "history_edu", draw(run_history.section)),
        ("robust", "Robustness", "blur_on", lambda: robust([one.run for one in results])),
        ("map", "Data map", "scatter_plot", lambda: data_map.section(results[0], split)),
    ):
        guarded.panel(title, icon, show, **address.bound(key, ("true", "false")))
    run = results[0].run
    run_history.diagnosis_panel(run, "finished", run_picker.stamp(run, "metrics.jsonl"))


def classes(result: Assessment, split: str, number: int) -> None:
    """Show precision, recall and F1 of each class."""
    st.markdown(
        "**Recall**: of all cats, the share that is found. **Precision**: of all predictions “cat”, the share that are "
        "cats. A class that is low in both needs more *Training images* or a larger *Input size* on Train."
    )
    predictions = result.stored.split(split)
    figures = class_figures(predictions)
    alt = "Precision, recall and F1 of each class; the table has the numbers."
    config = formatting.figure_config(f"classes-{split}")
    live_chart.draw(answer_charts.class_figure(figures), f"classes_figure{number}", alt, config)
    tables.show(
        {
            "class": [one.name for one in figures],
            "precision": [formatting.percent(one.precision) for one in figures],
            "recall": [formatting.percent(one.recall) for one in figures],
            "F1": [formatting.percent(one.f1) for one in figures],
            "images": [one.images for one in figures],
        },
        f"classes_table{number}",
        dict.fromkeys(("precision", "recall", "F1"), formatting.SHARE_COLUMN),
        height="content",
        alt="Precision, recall, F1 and images of each class",
    )
    st.caption(
        f"F1: the harmonic mean of both. The label is the first or second prediction for "
        f"{top2_accuracy(predictions):.1%} of the images."
    )


def calibrated(result: Assessment, split: str, number: int) -> None:
    """Show the reliability diagram, before and after temperature scaling."""
    known = result.calibration
    if known is None:
        if not (result.run.path / calibration.FILE).exists():  # a damaged file is in `problems`
            words = "This run has no calibration: an older version trained it. Train it again."
            formatting.alert(st.info, words, ":material/info:")
        return
    formatting.text(picture_view.calibration_words(known))
    picture_view.reliability(result, known, split, number)


def robust(chosen: list[Run]) -> None:
    """Draw the robustness of runs, with buttons to measure it."""
    formatting.text(
        "How accuracy falls when images get worse: eight corruptions, five strengths each, on up to "
        f"{robustness.IMAGES:,} validation images. Compare runs that differ in *Augmentation strength*."
    )
    guarded.polled(_measures, lambda: any(robustness.job(one).is_running for one in chosen))(chosen)


def _measures(chosen: list[Run]) -> None:
    """Draw the state of each run's measurement, then the curves."""
    rows = [listing.row(run) for run in chosen]
    names = run_picker.run_titles(rows)
    measured: dict[str, Measured] = {}
    for row in rows:
        name = names[row.run.id] + (f" · augmentation {row.config.augmentation:g}" if row.config else "")
        known, _ = robustness.load_or_problem(row.run)
        _measurement(row.run, name, known)
        if known is not None and known.clean is not None:
            measured[name] = known
    if measured:
        _curves(measured)


def _measurement(run: Run, name: str, known: Measured | None) -> None:
    """Show the state of a run's measurement, with its buttons."""
    status = robustness.state(run)
    state = status["state"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{formatting.plain(name)}**")
        if state == "working":
            guarded.stop_button(robustness.job(run), f"stop_{run.id}")
        elif state != "done":
            words, key = "Continue measuring" if state == "stopped" else "Measure robustness", f"measure_{run.id}"
            guarded.button(words, robustness.job(run).start, key=key, icon=":material/play_arrow:", busy="Starting")
        elif known is not None:
            st.caption(f"{known.images:,} images, measured in {formatting.seconds(known.seconds)}")
    if state == "working":
        done, total, left = status["done"] or 0, status["total"] or 1, status["seconds_left"]
        words = f"{done / total:.0%}" if done else "Starting"
        st.progress(min(done / total, 1.0), words + (f", {formatting.seconds(left)} left" if left else ""))
    elif state == "failed":
        guarded.problem(status["error"])
    elif state == "stopped":
        st.caption("Partly measured; press *Continue measuring* for the rest.")


def _curves(measured: dict[str, Measured]) -> None:
    """Draw the accuracies by run name as curves and as a table."""
    figure = answer_charts.robustness_figure(measured)
    alt = "Accuracy against the strength of eight corruptions; the table has the means."
    live_chart.draw(figure, "robustness", alt, formatting.figure_config("robustness"))
    corruptions = robustness.CORRUPTIONS.values()
    lines = ["no corruption", "mean of all corruptions", *(corruption.label for corruption in corruptions)]
    columns = {"accuracy": lines} | {name: _means(known) for name, known in measured.items()}
    looks = dict.fromkeys(measured, formatting.SHARE_COLUMN)
    tables.show(columns, "runs_robust", looks, height="content", alt="Accuracy under corruptions")
    formatting.csv_button("CSV", lambda: assessment.robustness_csv(measured), "robustness.csv", "download_robustness")
    formatting.caption(
        f"{' '.join(f'{corruption.label}: {corruption.help}' for corruption in corruptions)} Each run is measured on "
        "its own validation images, which it was not trained on. With "
        f"{min(known.images for known in measured.values()):,} images, differences of one or two points are not "
        "significant."
    )


def _means(known: Measured) -> list[float | None]:
    """Return accuracies in percent: without corruption, mean of all corruptions, mean of each; None if not measured."""
    found = {name: known.accuracies.get(name, ()) for name in robustness.CORRUPTIONS}
    strengths = {name: len(corruption.strengths) for name, corruption in robustness.CORRUPTIONS.items()}
    each = [float(np.mean(shares)) if len(shares) == strengths[name] else None for name, shares in found.items()]
    return [formatting.percent(value) for value in (known.clean, known.mean, *each)]


guarded.page(main)
