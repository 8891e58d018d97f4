"""What the knobs mean before anything runs, on *Train*: size, cost, and which stage takes how long."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from cifar_core import costs
from cifar_core.charts import PHASE_COLOURS
from cifar_core.config import TrainConfig
from cifar_core.network import architecture, pretrained
from pages.components import formatting

_STARTS = {"imagenet": "ImageNet weights", "bundled": "the bundled model", "random": "random numbers"}
_STAGES = {
    "start": ("Start", "#c5ccd6"),
    "features": ("Frozen features", "#56b4a9"),
    "head": ("Head", PHASE_COLOURS["head"]),
    "fine_tune": ("Fine-tuning", PHASE_COLOURS["fine_tune"]),
    "evaluate": ("Evaluation", "#d9c27a"),
}


def show(config: TrainConfig, guess: costs.Estimate, expanded: bool) -> None:
    """Draw the panel of what a run of `config` would be."""
    panel = st.expander("What your next run would be", expanded=expanded, key="plan_panel", on_change="rerun")
    if panel.open:
        with panel:
            _figures(config, guess)
            st.html(bar(guess.stages))


def _figures(config: TrainConfig, guess: costs.Estimate) -> None:
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    with st.container(key="cards_plan"):
        parameters, adds, size, time = st.columns(4)
    parameters.metric("Parameters", formatting.count(cost.parameters), border=True)
    adds.metric("Multiply-adds an image", formatting.count(cost.multiply_adds), border=True)
    size.metric("Model file", f"{cost.model_bytes / 1e6:.1f} MB", border=True)
    time.metric("Estimated time", formatting.seconds(guess.seconds), border=True)
    start = _STARTS[pretrained.expected_kind(config.weights, config.alpha, config.image_size)]
    tuned = f"{formatting.count(cost.fine_tuned_parameters)} parameters" if config.fine_tunes else "nothing"
    st.caption(
        f"Phase 1 trains {formatting.count(cost.head_parameters)} parameters, phase 2 {tuned}. It starts from {start}."
    )


def bar(stages: Mapping[str, float]) -> str:
    """Return one bar of the estimated seconds by stage as HTML: Plotly would hold up the first page for it."""
    parts = legend = ""
    for stage, seconds in stages.items():
        if seconds > 0:
            (name, colour), took = _STAGES[stage], formatting.seconds(seconds)
            look = f"background:{colour};border-radius:3px"
            parts += f'<div title="{name}: {took}" style="flex:{seconds:.3f} 1 0;min-width:2px;{look}"></div>'
            dot = f'<i style="display:inline-block;width:.75rem;height:.75rem;margin-right:.4rem;{look}"></i>'
            legend += f"<span>{dot}{name} <b>{took}</b></span>"
    return (
        f'<div class="stages"><div style="display:flex;gap:2px;height:26px">{parts}</div>'
        f'<p style="display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;margin:.5rem 0 0;font-size:.87rem">{legend}</p></div>'
    )
