"""Evaluate: what a finished run gets right and wrong, how sure and how robust it is, and how it came to be."""

from __future__ import annotations

import streamlit as st

from cifar_core import runs
from cifar_core.charts import evaluation as evaluation_charts
from cifar_core.charts import inference as inference_charts
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, listing, mistakes, tables
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions
from cifar_core.export import report
from cifar_core.inference import calibration
from cifar_core.runs import Run
from pages.components import (
    address,
    confusion,
    diagnosis_panel,
    formatting,
    guarded,
    messages,
    robustness,
    run_picker,
    run_state,
    run_story,
)

SECTIONS = {
    "overview": ":material/monitoring: Overview",
    "confusion": ":material/grid_on: Confusion",
    "extremes": ":material/casino: Mistakes",
    "sure": ":material/speed: Calibration",
    "robust": ":material/blur_on: Robustness",
    "story": ":material/history_edu: Story",
}
SPLITS = {"validation": "validation images", "test": "test images"}
_FILES = (
    "status.json",
    "config.json",
    "evaluation.npz",
    calibration.FILE,
    "metrics.jsonl",
    "environment.json",
    "parent.json",
)


def main() -> None:
    """Draw the page."""
    run = chosen_run()
    if run is None:
        run_picker.nothing_yet("Evaluate a run", "finished run")
        return
    if run.state != "finished":
        unfinished(run)
        return
    found = assessed(run.id, run_state.stamp(run, *_FILES))
    if "generated" in found.said.dataset:
        st.warning(
            "This run was trained and tried on **generated images, not CIFAR-10**: its figures say nothing about "
            "photographs.",
            icon=":material/draw:",
        )
    for problem in found.problems:
        st.warning(messages.plain(problem), icon=":material/warning:")
    cards(found)
    with st.container(horizontal=True, gap="large"):
        section = address.linked_choice("Show", "evaluate:section", SECTIONS, "overview")
        split = "validation"
        if section in ("overview", "confusion", "extremes", "sure"):
            split = address.linked_choice("On", "split", SPLITS, "validation")
    if section == "overview":
        overview(found, split)
    elif section == "confusion":
        guarded.fragment(confusion.confusion)(found, split)
    elif section == "extremes":
        guarded.fragment(confusion.extremes)(found, split)
    elif section == "sure":
        sureness(found, split)
    elif section == "robust":
        robustness.section(run)
    else:
        run_story.section(found)
    take_with_you(found, split)


def chosen_run() -> Run | None:
    """Return the run that the address names or that is picked, by default the newest finished one; None without."""
    known = listing.classifiers()
    wanted = run_picker.asked(known)
    return run_picker.pick(st, known, wanted or run_picker.own(known)[0].run.id, "evaluated") if known else None


def unfinished(run: Run) -> None:
    """Say why a run cannot be evaluated yet, and what its metrics tell already."""
    state = run.state
    run_state.state_badge(run, state)
    st.info(
        f"This run is {state}; figures, mistakes and robustness come when it is finished.", icon=":material/hourglass:"
    )
    diagnosis_panel.panel(run, state, run_state.stamp(run, "metrics.jsonl"))
    st.page_link("pages/train.py", label="See it on Train", query_params={"run": run.id}, icon=":material/show_chart:")


@st.cache_resource(max_entries=8, show_spinner="Reading the run")
def assessed(run_id: str, stamp: tuple[int, ...]) -> Assessment:
    """Return all that is known of a run; read once for each state of its files."""
    return assessment.of(runs.Run(run_id))


def cards(found: Assessment) -> None:
    """Show the figures that matter most, validation first."""
    with st.container(key="cards_evaluate"):
        columns = st.columns(4)
    for column, name in zip(columns, ("validation", "test"), strict=False):
        said = found.said.split(name)
        low, high = said.interval
        column.metric(
            f"{name.capitalize()} accuracy",
            f"{said.accuracy:.1%}",
            f"{low:.1%} to {high:.1%}",
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            help=f"On {len(said.labels):,} images, with the 95% interval of Wilson. "
            + ("Everything is chosen by it." if name == "validation" else "Nothing was chosen by it."),
        )
    columns[2].metric(
        "Top 2, validation",
        f"{mistakes.top2(found.said.validation):.1%}",
        border=True,
        height="stretch",
        help="How often the label is the first or the second answer.",
    )
    error = found.test_error if found.calibration else None
    columns[3].metric(
        "Calibration error, test",
        f"{error.value:.1%}" if error else "-",
        f"{error.low:.1%} to {error.high:.1%}" if error else "not calibrated",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help="The root mean square gap between probability and accuracy on test images, after temperature scaling, in "
        "bins of equally many images and without their noise (Kumar et al. 2019), with a 95% bootstrap interval.",
    )


def overview(found: Assessment, split: str) -> None:
    """Show strengths and weaknesses, the diagnosis, and the figures of every class."""
    strengths(found, split)
    if found.gap:
        st.markdown(messages.plain(found.gap))
    if found.findings:
        with st.container(border=True):
            diagnosis_panel.draw(found.run, found.findings)
    said = found.said.split(split)
    figures = mistakes.class_figures(said)
    st.plotly_chart(
        evaluation_charts.class_figure(figures), key="classes", config=formatting.figure_config(f"classes-{split}")
    )
    st.dataframe(
        [
            {
                "class": one.name,
                "precision": formatting.percent(one.precision),
                "recall": formatting.percent(one.recall),
                "F1": formatting.percent(one.f1),
                "images": one.images,
            }
            for one in figures
        ],
        hide_index=True,
        column_config=dict.fromkeys(("precision", "recall", "F1"), formatting.SHARE_COLUMN),
        height="content",
    )
    st.caption(
        "Precision: how often the answer is right when this class is named. Recall: how many of the class are found. "
        "F1: their harmonic mean (scikit-learn)."
    )


def strengths(found: Assessment, split: str) -> None:
    """Show the best and the worst class in a sentence, with images of the most frequent confusion."""
    said = found.calibrated.split(split)
    summary = mistakes.summary(said)
    if summary is None:
        return
    best, worst, name = summary.best, summary.worst, CLASSES[summary.label]
    text = (
        f"Recognizes **{best.name}** best ({best.recall:.1%} found) and **{worst.name}** least ({worst.recall:.1%} "
        "found)."
    )
    if summary.images:
        text += f" Most frequent mistake: **{name}** called **{CLASSES[summary.answer]}**, {summary.images:,} images."
    st.markdown(text)
    images = found.images(split)
    if images is None or not summary.images:
        return
    with st.container(horizontal=True, key="strengths"):
        for position in mistakes.in_cell(said, summary.label, summary.answer)[:6]:
            share = formatting.share(float(said.probabilities[position, summary.answer]))
            caption = f"{name}, called {CLASSES[summary.answer]} {share}"
            st.image(formatting.enlarged(images[position][None], 3, 0), width=96, caption=caption)


def sureness(found: Assessment, split: str) -> None:
    """Show the reliability diagram, before and after temperature."""
    known = found.calibration
    if known is None:
        if not (found.run.path / calibration.FILE).exists():  # else `problems` says why
            st.info("This run was trained before calibration was kept; a run that is trained now has it.")
        return
    before, after = found.reliability(split)
    figure = inference_charts.reliability_figure(
        before, after, f"{len(found.said.split(split).labels):,} {split} images", 460
    )
    st.plotly_chart(figure, key="reliability", config=formatting.figure_config(f"reliability-{split}"))
    kind = "more sure than it should be" if known.temperature > 1 else "less sure than it should be"
    st.markdown(
        f"Left alone, this network is **{kind}**. Its logits are divided by a temperature of "
        f"**{known.temperature:.2f}**, found on its {known.images:,} validation images (Guo et al. 2017): on the "
        f"{split} images the expected calibration error goes from {before.ece:.1%} to **{after.ece:.1%}**. On the "
        "diagonal, answers said with 80% are right in 80 of 100 cases; below it they promise too much. A point's size "
        "is its number of images."
    )


def take_with_you(found: Assessment, split: str) -> None:
    """Offer the report, the tables, and a format for figures."""
    run, said = found.run, found.said.split(split)
    with st.expander("Export", icon=":material/ios_share:"):
        st.segmented_control(
            "The camera above each figure saves it as",
            ["png", "svg"],
            default="png",
            key="figure_format",
            format_func=str.upper,
            required=True,
            persist_state="session",
        )
        with st.container(horizontal=True):
            download("Report (HTML)", lambda: report.build(run).encode(), f"{run.id}.html", "text/html", "report")
            download("Classes (CSV)", lambda: tables.classes(said).encode(), f"{run.id}-{split}-classes.csv")
            download("Confusion (CSV)", lambda: tables.confusion(said).encode(), f"{run.id}-{split}-confusion.csv")
            download(
                "All predictions (CSV)",
                lambda: _all_predictions(found, split, found.calibrated.split(split)),
                f"{run.id}-{split}-predictions.csv",
            )
        st.caption(f"Tables are of the {split} images. The report needs no network, and holds some of the images.")


def _all_predictions(found: Assessment, split: str, said: Predictions) -> bytes:
    return tables.predictions(found.said, split, said).encode()


def download(label: str, content: object, name: str, mime: str = "text/csv", key: str = "") -> None:
    """Offer a file that is written when the button is pressed."""
    st.download_button(
        label,
        content,  # type: ignore[arg-type]
        name,
        mime,
        key=f"download_{key or name.rsplit('-', 1)[-1]}",
        icon=":material/download:",
        on_click="ignore",
    )


guarded.page(main)
