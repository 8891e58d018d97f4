"""Explore, Runs: every run in one table."""

from __future__ import annotations

import streamlit as st

from cifar_core import runs


def show() -> None:
    """Draw the section."""
    found = runs.list_runs()
    if not found:
        st.info("There are no runs yet: start one on **Train**, and it will be listed here.", icon=":material/info:")
        return
    st.dataframe(
        [
            {"run": run.id, "state": run.state, "validation accuracy": run.result.get("validation_accuracy")}
            for run in found
        ],
        hide_index=True,
        key="runs_table",
    )
    st.page_link("pages/train.py", label="Train another", icon=":material/model_training:")
