"""The history of a run: diagnosis, contribution of each phase, effect of fine-tuning."""

from dataclasses import replace
from typing import Any

import streamlit as st

from cifar_core import glossary, runs
from cifar_core.charts import answers as answer_charts
from cifar_core.charts import training as training_charts
from cifar_core.config import KNOBS, PRESETS, nearest_preset
from cifar_core.errors import CifarError
from cifar_core.evaluation import assessment, diagnosis, listing, phase_summary
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.diagnosis_rules import Finding
from cifar_core.lessons import experiments
from cifar_core.lessons.catalogue import LESSONS, Lesson
from cifar_core.runs import Run, labels
from pages.components import comparison, formatting, guarded, knobs, live_chart, run_picker


def section(result: Assessment, split: str, number: int) -> None:
    """Show the contribution of each phase as sentences and curves, and by class; always on validation images."""
    run = result.run
    if result.parent:
        words = formatting.plain(run_picker.title_of(result.parent))
        st.caption(f":material/call_split: This is phase 1 of run {words}, saved as a separate run.")
    formatting.text(
        "What each phase contributed. *Head epochs* and *Fine-tuning epochs* on Train set how long each lasts."
    )
    for sentence in result.sentences:
        formatting.text(f"- {formatting.plain(sentence)}")
    curves = comparison.curves_of(listing.row(run))
    with st.grid(2, min_column_width=340):
        for metric in ("accuracy", "loss"):
            figure, alt = training_charts.metric_figure(curves, metric), training_charts.metric_words(curves, metric)
            live_chart.draw(figure, f"story_{metric}{number}", alt, formatting.figure_config(metric))
    if any(phase.name == "fine_tune" for phase in result.phases):
        _fine_tuning(result, number)


def _fine_tuning(result: Assessment, number: int) -> None:
    """Show the effect of fine-tuning on each class, with a button that keeps phase 1."""
    run = result.run
    if run.result.get("best_phase") == "head":
        words = (
            "No epoch of fine-tuning was better than phase 1 on the validation images, so **phase 1 is already this "
            "run's model**: there is nothing to undo."
        )
        formatting.alert(st.info, words, ":material/info:")
        return
    changes = phase_summary.changes_of(run)
    if not changes:
        st.caption(
            "The change in each class is unknown: this run has no phase 1, was imported, or was trained with an older "
            "version."
        )
    else:
        alt = "Validation images of each class that fine-tuning corrected and broke."
        config = formatting.figure_config("fine-tuning")
        live_chart.draw(answer_charts.change_figure(changes), f"changes{number}", alt, config)
        worse = [one for one in changes if one.broken > one.corrected]
        corrected, broken = sum(one.corrected for one in changes), sum(one.broken for one in changes)
        names = ", ".join(f"{one.name} ({one.before:.1%} to {one.after:.1%})" for one in worse)
        st.markdown(
            f"Fine-tuning corrected **{corrected:,}** validation images and broke **{broken:,}**. "
            + (f"Less accurate: {names}." if worse else "No class lost accuracy.")
        )
        name = f"{labels.file_stem(run)}-fine-tuning.csv"
        formatting.csv_button("CSV", lambda: assessment.changes_csv(changes), name, f"download_changes{number}")
    _keep_button(run, number)


def _keep_button(run: Run, number: int) -> None:
    if not phase_summary.can_keep_head(run):
        return
    guarded.button("Keep phase 1", _keep, run, icon=":material/call_split:", key=f"keep_head{number}")
    st.caption("Saves the best weights of phase 1 as a separate run. Nothing is trained, and this run does not change.")
    phase_1 = st.session_state.get("phase_1_run")
    if isinstance(phase_1, tuple) and phase_1[0] == run.id:
        st.success(
            f"Phase 1 is saved as run {formatting.plain(run_picker.title_of(phase_1[1]))}.", icon=":material/check:"
        )
        st.page_link("pages/train.py", label="Open it", query_params={"run": phase_1[1]}, icon=":material/show_chart:")


def _keep(run: Run) -> None:
    made = phase_summary.keep_head(run)
    guarded.own(made.path)
    st.session_state["phase_1_run"] = run.id, made.id


_LOOK = {
    "problem": ("red", ":material/report:"),
    "hint": ("orange", ":material/lightbulb:"),
    "fine": ("green", ":material/check_circle:"),
}


def diagnosis_panel(run: Run, state: str, stamp: tuple[int, ...]) -> None:
    """Show the findings of the rules in an expander, open if a finished run has a problem.

    A live run always has the expander, so a new finding moves nothing. `state` and `stamp` (of the metrics file) are
    cache keys: they change if the findings can change.
    """
    try:
        findings = _findings(run.id, state, stamp)
    except CifarError:
        return  # damaged configuration: the page shows the error
    live = state in runs.LIVE_STATES
    if findings or live:
        is_open = not live and any(finding.level == "problem" for finding in findings)
        key = f"diagnosis_{run.id}_{is_open}"  # with one key it stays open as its title changes; another one opens it
        look: dict[str, Any] = {"icon": ":material/stethoscope:", "key": key}
        with st.expander(_title(findings, state), expanded=is_open, **look):
            _diagnosis(run, findings)


def _title(findings: list[Finding], state: str) -> str:
    """Return the number of findings of each level as a sentence."""
    fine = "nothing looks wrong" if state == "finished" else "nothing so far"
    counts = {level: sum(finding.level == level for finding in findings) for level in ("problem", "hint")}
    words = [f"{n} {level}{'s' if n > 1 else ''}" for level, n in counts.items() if n]
    return f"Diagnosis: {', '.join(words) or fine}"


def _diagnosis(run: Run, findings: list[Finding]) -> None:
    """Show findings: probable cause, advice, evidence, and links to try the advice and to the lesson."""
    for finding in findings:
        color, icon = _LOOK[finding.level]
        st.markdown(
            f":{color}[{icon} **{formatting.plain(finding.title)}**]  \n{formatting.plain(finding.cause)} "
            f"**{formatting.plain(finding.advice)}**  \n:gray[{formatting.plain(finding.evidence)}]",
            help=glossary.explain(f"{finding.title} {finding.cause} {finding.evidence}"),
        )
        lesson = _lesson_on(finding)
        with st.container(horizontal=True, gap="xsmall"):
            for step in finding.steps:
                if step.changes:
                    words = ", ".join(f"{KNOBS[knob].label} {KNOBS[knob].short(v)}" for knob, v in step.changes.items())
                    look: dict[str, Any] = {"icon": ":material/tune:", "type": "tertiary"}
                    if st.button(f"Try it: {words}", key=f"try_{finding.rule}_{words}", **look):
                        knobs.open_train(replace(run.config, **step.changes))
            if lesson:
                query = {"lesson": lesson.name}
                st.page_link("pages/learn.py", label=lesson.title, icon=":material/school:", query_params=query)


@st.cache_resource(max_entries=64, show_spinner=False)
def _findings(run_id: str, state: str, stamp: tuple[int, ...]) -> list[Finding]:
    return diagnosis.diagnose(runs.Run(run_id))


def _lesson_on(finding: Finding) -> Lesson | None:
    return next((one for one in LESSONS.values() if finding.rule in one.rules), None)


def lesson_of(run: Run) -> Lesson:
    """Return the lesson on the first finding of `run`, else on a changed setting, else on the two phases."""
    try:
        found = _findings(run.id, run.state, run_picker.stamp(run, "metrics.jsonl"))
        changed = run.config.differences(PRESETS[nearest_preset(run.config)])
    except CifarError:  # a damaged configuration
        return LESSONS["phases"]
    on_findings = (lesson for one in found if (lesson := _lesson_on(one)))
    on_settings = (LESSONS[lesson] for lesson, knob in experiments.VARIED.items() if knob in changed)
    return next(on_findings, next(on_settings, LESSONS["phases"]))
