"""What a finished run came to, on *Train*."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.evaluation import predictions
from cifar_core.export import exports
from cifar_core.runs import Run, curves
from pages.components import formatting, messages

FIGURES = ("test_accuracy", "test_images", "validation_accuracy", "best_epoch", "elapsed_seconds", "model_bytes")


def panel(run: Run) -> None:
    """Show the test accuracy of `run` and what to do next; nothing while its figures are not all there."""
    if _is_complete(run.result):
        st.markdown(f"## {sentence(run.result)}")
        next_steps(run)


def _is_complete(result: dict[str, Any]) -> bool:
    return all(isinstance(result.get(name), int | float) for name in FIGURES)


def sentence(result: dict[str, Any]) -> str:
    """Return the test accuracy in a sentence, with its 95% interval (Wilson)."""
    accuracy, images = result["test_accuracy"], result["test_images"]
    low, high = predictions.wilson(round(accuracy * images), images)
    return f"{100 * accuracy:.0f} of 100 new pictures right, {low:.1%} to {high:.1%}"


def next_steps(run: Run) -> None:
    """Draw what to do with the run: three buttons, then two links."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try a photo", key="try_photo", icon=":material/image_search:", type="primary"):
            st.switch_page("pages/classify.py", query_params={"model": run.id})
        if st.button("See its mistakes", key="see_mistakes", icon=":material/fact_check:"):
            st.switch_page("pages/evaluate.py", query_params={"run": run.id})
        if st.button("Export", key="open_export", icon=":material/download:"):
            st.session_state["export_panel"] = True  # opens it, below
            st.rerun()
        st.download_button(
            "Share",
            lambda: exports.content(run, "card"),
            exports.file_name(run, "card"),
            key="share",
            icon=":material/share:",
            help="A picture with the accuracy, the curve and six answers. The animation is under *Export*.",
            on_click="ignore",
        )
        st.page_link("pages/explore.py", label="Compare", icon=":material/explore:")
        st.page_link("pages/learn.py", label="Learn why", icon=":material/school:")


def details(run: Run) -> None:
    """Show the other figures of a finished run as one line and its explanation; nothing while some are missing."""
    result = run.result
    if not _is_complete(result):
        return
    phase = curves.PHASE_NAMES.get(str(result.get("best_phase")), "phase").lower()
    st.caption(
        f"On {result['test_images']:,} test images, which took no part in training; the range is the 95% interval. "
        f"Validation accuracy: {result['validation_accuracy']:.1%}, on other images, by which the best epoch "
        f"({result['best_epoch']} of {phase}) was chosen: it tends to look too high. "
        f"Took {formatting.seconds(result['elapsed_seconds'])}; "
        f"model file {result['model_bytes'] / 1e6:.1f} MB."
    )
    st.caption(
        f"Images: {messages.plain(result.get('dataset'))}. Initial weights: {messages.plain(result.get('weights'))}."
    )
