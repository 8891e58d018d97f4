"""What a run would be, before it starts: which part takes how long, and what the network costs."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from cifar_core import costs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError
from cifar_core.network import architecture, pretrained
from pages.components import formatting, guarded, messages
from pages.components.progress import PARTS

_STARTS = {"imagenet": "ImageNet weights", "bundled": "the bundled model", "random": "random numbers"}


def show(config: TrainConfig, guess: costs.Estimate) -> None:
    """Draw what a run of `config` will do, and what it costs. Runs by itself while this machine is timed."""
    st.html(bar(guess.stages))
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    start = _STARTS[pretrained.expected_kind(config.weights, config.alpha, config.image_size)]
    tuned = f", then {formatting.count(cost.fine_tuned_parameters)}" if config.fine_tunes else ""
    st.caption(
        f"Starts from {start}. Trains {formatting.count(cost.head_parameters)}{tuned} of "
        f"{formatting.count(cost.parameters)} parameters; {formatting.count(cost.multiply_adds)} multiply-adds an "
        f"image; model file {cost.model_bytes / 1e6:.1f} MB; {_needs(guess)}."
    )
    _measured(config, guess)


def bar(stages: Mapping[str, float]) -> str:
    """Return one bar of the estimated seconds by stage as HTML: Plotly would hold up the first page for it."""
    parts = legend = ""
    for stage, seconds in stages.items():
        if seconds > 0:
            (name, colour), took = PARTS[stage], formatting.seconds(seconds)
            look = f"background:{colour};border-radius:3px"
            parts += f'<div title="{name}: {took}" style="flex:{seconds:.3f} 1 0;min-width:2px;{look}"></div>'
            dot = f'<i style="display:inline-block;width:.75rem;height:.75rem;margin-right:.4rem;{look}"></i>'
            legend += f"<span>{dot}{name} <b>{took}</b></span>"
    return (
        f'<div class="stages"><div style="display:flex;gap:2px;height:20px">{parts}</div>'
        f'<p style="display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;margin:.4rem 0 0;font-size:.87rem">{legend}</p></div>'
    )


def _needs(guess: costs.Estimate) -> str:
    memory = f" and {_size(guess.memory_bytes)} of memory" if guess.memory_bytes else ""
    return f"needs {_size(guess.store_bytes)} of disk{memory}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _measured(config: TrainConfig, guess: costs.Estimate) -> None:
    """Say whether times were measured on this machine; offer to do so for a shape that is new to it."""
    busy = costs.is_measuring()
    if st.session_state.get("measuring", False) != busy:
        st.session_state["measuring"] = busy
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        if busy:
            st.caption("Timing a few batches on this machine; this takes about 15 seconds…")
        elif guess.measured:
            st.caption("Times are measured on this machine.")
        else:
            st.caption("Times are a rough guess: this shape has **not yet been measured** on this machine.")
            guarded.button(
                "Measure",
                _measure,
                config,
                icon=":material/timer:",
                key="measure",
                type="tertiary",
                help="Times a few batches of this network and remembers the result. It waits while a training runs.",
            )
    if "measure_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("measure_error")))


def _measure(config: TrainConfig) -> None:
    try:
        costs.measure(config)
    except CifarError as error:
        st.session_state["measure_error"] = str(error)
