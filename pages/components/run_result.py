"""What a finished run came to, on *Train*."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.evaluation import predictions
from cifar_core.runs import Run, metrics
from pages.components import formatting, messages

FIGURES = ("test_accuracy", "test_images", "validation_accuracy", "best_epoch", "elapsed_seconds", "model_bytes")


def panel(run: Run) -> None:
    """Show the figures of `run`; nothing while they are not all there."""
    if not all(isinstance(run.result.get(name), int | float) for name in FIGURES):
        return
    result_cards(run.result)
    st.page_link(
        "pages/evaluate.py",
        label="What it gets wrong, and why",
        query_params={"run": run.id},
        icon=":material/fact_check:",
    )


def result_cards(result: dict[str, Any]) -> None:
    """Show the figures of a finished run."""
    low, high = predictions.wilson(round(result["test_accuracy"] * result["test_images"]), result["test_images"])
    card: dict[str, Any] = {"border": True, "height": "stretch"}
    with st.container(key="cards_result"):
        test, validation, best, took, size = st.columns(5)
    test.metric(
        "Test accuracy",
        f"{result['test_accuracy']:.1%}",
        f"{low:.1%} to {high:.1%}",
        delta_color="off",
        delta_arrow="off",
        help=f"On {result['test_images']:,} test images that nothing was chosen by; with its 95 % interval (Wilson).",
        **card,
    )
    validation.metric("Validation accuracy", f"{result['validation_accuracy']:.1%}", **card)
    phase = metrics.PHASE_NAMES.get(str(result.get("best_phase")), "phase")
    best.metric("Best epoch", result["best_epoch"], f"of {phase.lower()}", delta_color="off", delta_arrow="off", **card)
    took.metric("Time", formatting.seconds(result["elapsed_seconds"]), **card)
    size.metric("Model file", f"{result['model_bytes'] / 1e6:.1f} MB", **card)
    st.caption(
        f"Images: {messages.plain(result.get('dataset'))}. Initial weights: {messages.plain(result.get('weights'))}."
    )
