"""The parts of a run: estimated duration before the start, progress afterwards."""

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from cifar_core import costs, jobs
from cifar_core.charts import style
from cifar_core.config import TrainConfig
from cifar_core.costs import Forecast, Outlook
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.network import architecture, pretrained
from cifar_core.runs import Run, records
from pages.components import formatting, guarded, run_picker

PARTS = {
    "features": "Feature cache",
    "start": "TensorFlow",
    "head": "Head",
    "fine_tune": "Fine-tuning",
    "evaluate": "Evaluation",
}
"""Names of the parts of a run."""
STAGES = {
    "queue": "Waiting for another run",
    "prepare": "Loading images and weights",
    "features": "Computing the features of every image, once",
    "import": "Starting TensorFlow",
    "head": "Phase 1: training the head",
    "fine_tune": "Phase 2: fine-tuning",
    "export": "Saving the best model",
    "evaluate": "Evaluating on the test images",
    "done": "Done",
}
_HALTED = {
    "stopping": "Stopping; the last full epoch is saved",
    "stopped": "Stopped; resume it to continue",
    "lost": "Its process ended unexpectedly, perhaps out of memory; resume it to continue",
}


def line(run: Run, status: dict[str, Any], last: dict[str, Any] | None) -> None:
    """Draw the current state of the run; `last` is its last valid row of metrics, None before the first."""
    state = status["state"]
    icon, color = run_picker.STATE_LOOK[state]
    st.markdown(f":{color}[{icon}] **{sentence(run, state, status.get('stage', ''), last or {})}**")


def bar(run: Run, status: dict[str, Any], last: dict[str, Any] | None) -> float | None:
    """Draw the progress of a running run; return the share done, or None if it is not running."""
    if status["state"] != "running":
        return None
    outlook = _forecast(run.id, status.get("began")).outlook(time.time(), status, last)
    st.html(track(outlook))
    return outlook.done


def sentence(run: Run, state: str, stage: str, last: dict[str, Any]) -> str:
    """Return the current state of the run as text."""
    if state == "queued":
        place = jobs.queue_position(run)
        return f"In the queue, {place} before it" if place else "Next in the queue"
    if state in _HALTED:
        return _HALTED[state]
    if state in ("failed", "finished"):
        seconds = records.amount(run.result.get("elapsed_seconds")) or last.get("elapsed_seconds") or 0
        return f"{state.capitalize()} after {formatting.seconds(seconds)}"
    words = STAGES.get(stage, "Training")
    if last.get("phase") != stage:
        return words
    planned = planned_epochs(run).get(stage)
    return f"{words}, epoch {last['epoch']}" + (f" of {planned}" if planned else "")


def planned_epochs(run: Run) -> dict[str, int]:
    """Return the maximum number of epochs of each phase, or an empty dict if the configuration is damaged."""
    try:
        return run.config.epochs
    except CifarError:
        return {}


def track(outlook: Outlook) -> str:
    """Return the progress of each part and the time left as HTML of fixed height."""
    left = f"{formatting.seconds(outlook.seconds_left)} left" if outlook.seconds_left >= 1 else "almost done"
    if outlook.late in PARTS:
        left += f", longer than estimated because of “{PARTS[outlook.late]}”"
    parts = "".join(
        f'<div><b><i style="width:{share:.1%};background:{style.PARTS[part]}"></i></b>{PARTS[part]}</div>'
        for part, share in outlook.shares.items()
        if part in PARTS
    )
    bar = f'<div role="progressbar" aria-label="Training" aria-valuenow="{100 * outlook.done:.0f}" '
    return f'<div class="track">{bar}aria-valuetext="{outlook.done:.0%}, {left}">{parts}</div><p>{left}</p></div>'


@st.cache_resource(max_entries=64, show_spinner=False)
def _forecast(run_id: str, began: object) -> Forecast:
    """Return the forecast of a run that started at `began`, shared by all sessions."""
    try:
        config = Run(run_id).config
        expected = costs.estimate(config, *cifar10.sizes(config.dataset)).stages
    except CifarError:  # damaged configuration or missing images: the forecast uses the run's own speed
        return Forecast({}, {})
    return Forecast(expected, config.epochs)


_UNMEASURED = "Times are a rough estimate, **not measured** on this machine."
_STARTS = {"imagenet": "ImageNet weights", "bundled": "the bundled model", "random": "random numbers"}


def plan(config: TrainConfig, guess: costs.Estimate) -> None:
    """Draw the parts and costs of a run of `config`."""
    st.html(plan_bar(guess.stages))
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    start = _STARTS[pretrained.expected_kind(config.weights, config.alpha, config.image_size)]
    tuned = f", then {formatting.count(cost.fine_tuned_parameters)}" if config.fine_tunes else ""
    memory = f" and {_size(guess.memory_bytes)} of memory" if guess.memory_bytes else ""
    about = (
        f"Trains {formatting.count(cost.head_parameters)}{tuned} of {formatting.count(cost.parameters)} parameters; "
        f"{formatting.count(cost.multiply_adds)} multiply-adds an image; "
        f"needs {_size(guess.store_bytes)} of disk{memory}."
    )
    busy = costs.measuring().is_running
    times = "Times are measured on this machine." if guess.measured else _UNMEASURED
    times = "Timing a few batches on this machine; this takes about 15 seconds…" if busy else times
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Starts from {start}; model file {cost.model_bytes / 1e6:.1f} MB. {times}", help=about)
        if not busy and not guess.measured:
            about = "Times a few batches of this network and saves the result. It waits while a run is training."
            look: dict[str, Any] = {"icon": ":material/timer:", "type": "tertiary", "help": about}
            guarded.button("Measure", costs.measure, config, key="measure", **look)


def plan_bar(stages: Mapping[str, float]) -> str:
    """Return a bar of the estimated seconds of each stage as HTML; Plotly would delay the first page."""
    parts = legend = ""
    for stage, seconds in stages.items():
        if seconds > 0:
            name, took, color = PARTS[stage], formatting.seconds(seconds), f"background:{style.PARTS[stage]}"
            parts += f'<i title="{name}: {took}" style="flex:{seconds:.3f} 1 0;{color}"></i>'
            legend += f'<span><i style="{color}"></i>{name} <b>{took}</b></span>'
    return f'<div class="stages"><div>{parts}</div><p>{legend}</p></div>'


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
