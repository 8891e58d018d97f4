"""Explore, Runs: each user's best run and its cost, if CIFAR_HIGH_SCORES is set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cifar_core.evaluation import comparison, listing
from cifar_core.evaluation.listing import Row
from cifar_core.network import architecture
from cifar_core.runs import records
from pages.components import formatting, tables

MOST = 20


def best(rows: Sequence[Row]) -> list[Row]:
    """Return the best finished run of each user by validation accuracy, best first; all runs without an owner."""
    highest: dict[str, Row] = {}
    for row in listing.sort_rows([row for row in rows if row.state == "finished" and row.config]):
        highest.setdefault(records.owner(row.run.path).id or row.run.id, row)
    return list(highest.values())[:MOST]


def panel(rows: Sequence[Row], names: dict[str, str]) -> None:
    """Draw the table, if it is enabled and there is a finished run. `names` maps run IDs to names."""
    shown = best(rows) if os.environ.get("CIFAR_HIGH_SCORES") else []
    if not shown:
        return
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    looks = {
        "who": text("Who"),
        "run": text("Run"),
        "validation": number("Validation", format="%.1f%%"),
        "seconds": number("Time", format="%.1f min", help="Training time."),
        "cost": text("Multiply-adds", help="Of one image."),
        "images": number("Images", help="Training images."),
    }
    columns: dict[str, list[Any]] = {
        "who": [f"{place}. {records.owner(row.run.path).name}".strip() for place, row in enumerate(shown, 1)],
        "run": [names[row.run.id] for row in shown],
        "validation": [formatting.percent(row.validation_accuracy) for row in shown],
        "seconds": [row.seconds and row.seconds / 60 for row in shown],
        "cost": [_cost(row) for row in shown],
        "images": [row.config.train_images if row.config else None for row in shown],
    }
    with st.expander("High scores", expanded=True, icon=":material/trophy:", key="high_scores"):
        tables.show(columns, "scores", looks)
        st.caption("The best finished run of each person, by validation accuracy.")
        if note := comparison.leak_note({row.run.id: names[row.run.id] for row in shown}):
            st.warning(formatting.plain(note), icon=":material/warning:")


def _cost(row: Row) -> str:
    config = row.config
    if config is None:
        return ""
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    return formatting.count(cost.multiply_adds)
