"""How far a run is, in a line and a bar: on *Train*, and on *Learn* for each of a lesson's runs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.jobs import launch
from cifar_core.runs import Run
from pages.components import formatting, run_state

STAGES = {
    "queue": "Waiting for the training before it",
    "prepare": "Getting images and weights",
    "features": "Computing the frozen part once for every image",
    "import": "Starting TensorFlow",
    "head": "Phase 1: training the head, the base is frozen",
    "fine_tune": "Phase 2: fine-tuning the top of the base",
    "export": "Saving the best model",
    "evaluate": "Reading the test images, once",
    "done": "Done",
}


def line(run: Run, status: dict[str, Any], last: dict[str, Any] | None) -> None:
    """Say where the run stands, in one line and a bar; `last` is its last sound row, None before the first."""
    state, last = status["state"], last or {}
    with st.container(horizontal=True, vertical_alignment="center"):
        run_state.state_badge(run, state)
        st.markdown(f"**{sentence(run, state, status.get('stage', ''), last)}**")
    if state == "running":
        st.progress(fraction(last))


def sentence(run: Run, state: str, stage: str, last: dict[str, Any]) -> str:
    """Return what the run is doing now, in words."""
    if state == "queued":
        place = launch.queue_position(run)
        return f"In the queue, {place} before it" if place else "Next in the queue"
    if state == "stopping":
        return "Stopping; the last full epoch is kept"
    if state == "stopped":
        return "Stopped; resume it to go on from the last full epoch"
    if state == "lost":
        return "Its process ended unexpectedly, perhaps for lack of memory; resume it to go on from the last full epoch"
    if state in ("failed", "finished"):
        return f"{state.capitalize()} after {formatting.seconds(last.get('elapsed_seconds') or 0)}"
    words = STAGES.get(stage, stage)
    if last.get("kind") in ("step", "epoch") and stage == last["phase"]:
        words += f", epoch {last['epoch']}"
    left = last.get("seconds_left")
    return words + (f", {formatting.seconds(left)} left in this part" if left and left >= 1 else "")


def fraction(last: dict[str, Any]) -> float:
    """Return how far the current part is, 0 to 1."""
    if last.get("kind") == "step":
        return min(last["step"] / last["steps"], 1.0)
    if last.get("kind") == "progress" and last["total"]:
        return min(last["done"] / last["total"], 1.0)
    return 0.0 if not last else 1.0
