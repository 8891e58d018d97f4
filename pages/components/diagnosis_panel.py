"""The diagnosis of a run, on *Train* and on *Evaluate*."""

from __future__ import annotations

import streamlit as st

from cifar_core import glossary, runs
from cifar_core.config import KNOBS
from cifar_core.errors import CifarError
from cifar_core.evaluation import diagnosis
from cifar_core.evaluation.diagnosis_rules import Finding
from cifar_core.lessons.catalogue import LESSONS
from cifar_core.runs import Run
from pages.components import knobs, messages

_LOOK = {
    "problem": ("red", ":material/report:"),
    "hint": ("orange", ":material/lightbulb:"),
    "fine": ("green", ":material/check_circle:"),
}


def panel(run: Run, state: str, stamp: tuple[int, ...]) -> None:
    """Show what the rules find in `run`, folded where nothing cost accuracy, and while the run goes on.

    A run that goes on has the panel from its start, so that a finding moves nothing.
    `state` and `stamp` (of the metrics file) change whenever the findings may.
    """
    try:
        found = _findings(run.id, state, stamp)
    except CifarError:
        return  # a damaged configuration: the page has said so
    live = state in runs.LIVE_STATES
    if found or live:
        is_open = not live and any(finding.level == "problem" for finding in found)
        with st.expander(title(found), expanded=is_open, icon=":material/stethoscope:"):
            draw(run, found)


def title(found: list[Finding]) -> str:
    """Return how many findings of each level there are, in words."""
    counts = {level: sum(finding.level == level for finding in found) for level in ("problem", "hint")}
    words = [f"{n} {level}{'s' if n > 1 else ''}" for level, n in counts.items() if n]
    return f"Diagnosis: {', '.join(words) or 'nothing looks wrong'}"


def draw(run: Run, found: list[Finding]) -> None:
    """Show findings: what probably happened, what to change, the evidence; links to try it, and to the lesson."""
    for finding in found:
        color, icon = _LOOK[finding.level]
        st.markdown(
            f":{color}[{icon} **{messages.plain(finding.title)}**]  \n{messages.plain(finding.cause)} "
            f"**{messages.plain(finding.advice)}**  \n:gray[{messages.plain(finding.evidence)}]",
            help=glossary.explain(f"{finding.title} {finding.cause} {finding.evidence}"),
        )
        lesson = next((one for one in LESSONS.values() if finding.rule in one.rules), None)
        with st.container(horizontal=True, gap="xsmall"):
            for step in finding.steps:
                if step.changes:
                    words = ", ".join(f"{KNOBS[knob].label} {KNOBS[knob].short(v)}" for knob, v in step.changes.items())
                    query = knobs.link(run.id, step.changes)
                    st.page_link("pages/train.py", label=f"Try it: {words}", icon=":material/tune:", query_params=query)
            if lesson:
                query = {"lesson": lesson.name}
                st.page_link("pages/learn.py", label=lesson.title, icon=":material/school:", query_params=query)


@st.cache_resource(max_entries=64, show_spinner=False)
def _findings(run_id: str, state: str, stamp: tuple[int, ...]) -> list[Finding]:
    return diagnosis.diagnose(runs.Run(run_id))
