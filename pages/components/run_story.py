"""The story of a run on *Evaluate*: what each phase gave, what fine-tuning changed, and phase 1 kept."""

from __future__ import annotations

import streamlit as st

from cifar_core import charts, runs
from cifar_core.charts import answers as answer_charts
from cifar_core.errors import CifarError
from cifar_core.evaluation import assessment, story
from cifar_core.evaluation.assessment import Assessment
from cifar_core.runs import Run, curves
from pages.components import formatting, guarded, messages, run_state


def section(found: Assessment, split: str, number: int) -> None:
    """Show what each phase gave: in sentences, as curves, class by class. Validation alone has it, whatever `split`."""
    run = found.run
    if found.parent:
        words = messages.plain(found.parent)
        st.caption(f":material/call_split: This is phase 1 of run {words}, kept as a run of its own.")
    for sentence in (*found.sentences, found.gap):
        if sentence:
            st.markdown(f"- {messages.plain(sentence)}")
    curves = _curves(run.id, run_state.stamp(run, "metrics.jsonl"))
    with st.container(key=f"wide_story{number}"):
        for column, metric in zip(st.columns(2), ("accuracy", "loss"), strict=True):
            column.plotly_chart(
                charts.metric_figure(curves, metric),
                key=f"story_{metric}{number}",
                config=formatting.figure_config(metric),
                alt=charts.metric_words(curves, metric),
            )
    if any(phase.name == "fine_tune" for phase in found.phases):
        _fine_tuning(found, number)


def _fine_tuning(found: Assessment, number: int) -> None:
    """Show what fine-tuning changed class by class, and offer to keep phase 1."""
    run = found.run
    if run.result.get("best_phase") == "head":
        st.info(
            "No epoch of fine-tuning was better than phase 1 on the validation images, so **phase 1 is already this "
            "run's model**: there is nothing to undo."
        )
        return
    changes = story.changes_of(run)
    if not changes:
        st.caption(
            "What fine-tuning changed class by class is not known: this run has no phase 1, was imported, or was "
            "trained before phase 1's answers were kept."
        )
    else:
        st.plotly_chart(
            answer_charts.change_figure(changes),
            key=f"changes{number}",
            config=formatting.figure_config("fine-tuning"),
            alt="Validation images of each class that fine-tuning put right and wrong.",
        )
        worse = [one for one in changes if one.broken > one.fixed]
        fixed, broken = sum(one.fixed for one in changes), sum(one.broken for one in changes)
        names = ", ".join(f"{one.name} ({one.before:.1%} to {one.after:.1%})" for one in worse)
        st.markdown(
            f"Fine-tuning put **{fixed:,}** validation images right and **{broken:,}** wrong. "
            + (f"It lost on: {names}." if worse else "No class lost by it.")
        )
        st.download_button(
            "Fine-tuning (CSV)",
            lambda: assessment.changes_csv(changes).encode(),
            f"{run.id}-fine-tuning.csv",
            "text/csv",
            key=f"download_changes{number}",
            icon=":material/download:",
            on_click="ignore",
        )
    _keep_button(run, number)


def _keep_button(run: Run, number: int) -> None:
    if not story.can_keep_head(run):
        return
    guarded.button("Keep phase 1", _keep, run, icon=":material/call_split:", key=f"keep_head{number}")
    st.caption(
        "Makes the best weights of phase 1 a finished run of their own, to be compared, classified with and exported "
        "like any other; nothing is trained for it. This run stays as it is."
    )
    kept = st.session_state.get("kept_head")
    if isinstance(kept, tuple) and kept[0] == run.id:
        st.success(f"Phase 1 is kept as run {messages.plain(kept[1])}.", icon=":material/check:")
        st.page_link("pages/train.py", label="See it come", query_params={"run": kept[1]}, icon=":material/show_chart:")
    if "keep_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("keep_error")), icon=":material/error:")


def _keep(run: Run) -> None:
    try:
        st.session_state["kept_head"] = (run.id, story.keep_head(run).id)
    except CifarError as error:
        st.session_state["keep_error"] = str(error)


@st.cache_resource(max_entries=16, show_spinner=False)
def _curves(run_id: str, stamp: tuple[int, ...]) -> curves.Curves:
    return curves.curves(runs.Run(run_id).metrics())
