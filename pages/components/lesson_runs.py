"""Learn: the runs of a lesson on this machine."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.lessons import layer_probe, results
from cifar_core.lessons.conditions import CONDITIONS
from cifar_core.runs import LIVE_STATES, curves
from pages.components import formatting, guarded, messages, progress

POLL_SECONDS = 0.7


def show(name: str, shipped: Any) -> None:
    """Offer to run the lesson called `name` here, folded, or show how it goes; `shipped` is its stored result."""
    live = is_live(name)
    st.session_state["learning"] = live
    with st.expander("Run it on this machine", expanded=live, icon=":material/computer:", key="run_here"):
        guarded.fragment(_panel, run_every=POLL_SECONDS if live else None)(name, shipped)


def is_live(name: str) -> bool:
    """Return whether something of the lesson is running or waiting."""
    if name == layer_probe.LESSON:
        return layer_probe.job().is_running
    return any(run and run.state in LIVE_STATES for run in results.latest_runs(name).values())


def _panel(name: str, shipped: Any) -> None:
    live = is_live(name)
    if st.session_state.get("learning") != live:  # it has ended or begun: show its results, poll no more, or again
        st.rerun()
    can = live or cifar10.status()["error"] is None
    if not can:
        st.caption("This needs training images.")
    if name == layer_probe.LESSON:
        _probe(live, can, shipped)
    else:
        _conditions(name, live, can)
    if "learn_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("learn_error")), icon=":material/error:")


def _probe(live: bool, can: bool, shipped: Any) -> None:
    state = layer_probe.job().read()
    if live:
        done, total = state.get("done") or 0, state.get("total") or 1
        left = state.get("seconds_left")
        words = f", {formatting.seconds(left)} left" if isinstance(left, int | float) else ""
        st.progress(min(done / total, 1.0), f"{done} of {total} layers{words}")
        st.button("Stop", icon=":material/stop:", key="stop", on_click=_act, args=(layer_probe.job().ask_to_stop,))
        return
    if state["state"] == "failed":
        st.error(messages.plain(state["error"]), icon=":material/error:")
    elif state["state"] == "stopped":
        st.caption("Stopped.")
    try:
        known = layer_probe.result() or shipped
    except CifarError:  # the page shows why
        known = shipped
    _go("Run", known.seconds if known else None, "probe", can, layer_probe.start)


def _conditions(name: str, live: bool, can: bool) -> None:
    found = results.latest_runs(name)
    begun = {key: run for key, run in found.items() if run}
    if live:
        done = sum(run.state == "finished" for run in begun.values())
        st.progress(done / len(found), f"{done} of {len(found)} runs are done")
    for key, run in begun.items():
        status = run.status
        if live or status["state"] != "finished":
            st.markdown(messages.plain(CONDITIONS[name][key].label))
            last = next(reversed(curves.sound_rows(run.metrics())), None)
            progress.line(run, status, last)
            progress.bar(run, status, last)
            error = status.get("error")
            if isinstance(error, dict):
                st.error(messages.plain(error.get("message") or error.get("type")), icon=":material/error:")
    if live:
        st.button("Stop all", icon=":material/stop:", key="stop", on_click=_act, args=(results.stop_runs, name))
        return
    missing = sum(run is None or run.state != "finished" for run in found.values())
    label = f"Run {missing} of {len(found)}" if 0 < missing < len(found) else f"Run all {len(found)}"
    try:
        seconds = results.expected_seconds(name)
    except CifarError:  # there are no images to train on
        seconds = None
    _go(f"{label}{'' if missing else ' again'}", seconds, f"lesson {name}", can, results.start_runs, name, not missing)


def _go(label: str, seconds: float | None, once: str, can: bool, *action: Any) -> None:
    """Draw the button that starts the lesson."""
    st.button(
        label + (f" (about {formatting.seconds(seconds)})" if seconds else ""),
        icon=":material/play_arrow:",
        key="go",
        on_click=guarded.once,
        args=(once, _act, *action),
        disabled=not can,
    )


def _act(action: Any, *arguments: Any) -> None:
    """Do `action`; what goes wrong is shown on the page."""
    try:
        action(*arguments)
    except CifarError as error:
        st.session_state["learn_error"] = str(error)
