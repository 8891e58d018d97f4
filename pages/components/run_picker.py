"""Which run a page shows: the address names it, or it is picked from a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from cifar_core import runs
from cifar_core.errors import RunError
from cifar_core.evaluation import listing
from cifar_core.evaluation.listing import Row
from cifar_core.runs import Run
from pages.components import messages, run_state


def asked(known: list[Row]) -> str | None:
    """Return the run that the address names, which is added to `known`; says why it cannot, and returns None."""
    wanted = st.query_params.get("run")
    if not wanted or any(row.run.id == wanted for row in known):
        return wanted or None
    try:
        known.append(listing.row(runs.get(wanted)))
    except RunError as error:
        messages.problem(error)
        return None
    return wanted


def own(known: Iterable[Row]) -> list[Row]:
    """Return the runs that no sweep made; all where there are no others."""
    known = list(known)
    return [row for row in known if not row.run.is_trial] or known


def pick(place: Any, known: list[Row], wanted: str, key: str, **look: Any) -> Run:
    """Draw a choice of one's own runs in `known` and of `wanted`, the present choice; a change goes to the address."""
    if st.session_state.get("_picked") != (key, wanted):  # the address names another one
        st.session_state["_picked"] = key, wanted
        st.session_state[key] = wanted
    mine = {row.run.id for row in own(known)} | {wanted}
    titles = run_state.run_titles(row for row in known if row.run.id in mine)
    chosen = place.selectbox("Run", list(titles), format_func=titles.__getitem__, key=key, **look)
    if chosen != wanted:
        st.query_params["run"] = chosen
        st.rerun()
    return Run(wanted)


def nothing_yet(title: str, missing: str) -> None:
    """Draw a page that has no run to be about: what is missing, and where to go."""
    st.title(title)
    st.info(
        f"There is no {missing} yet. Train one on the **Train** page; it takes about a minute.",
        icon=":material/model_training:",
    )
    st.page_link("pages/train.py", label="Go to Train", icon=":material/model_training:")
