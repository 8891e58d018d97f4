"""Learn: the runs of a lesson on this machine."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.lessons import experiments, layer_probe
from cifar_core.runs import LIVE_STATES
from pages.components import formatting, guarded, messages

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
    return any(run and run.state in LIVE_STATES for run in experiments.latest_runs(name).values())


def _panel(name: str, shipped: Any) -> None:
    live = is_live(name)
    if st.session_state.get("learning") != live:  # it has ended or begun: show its results, poll no more, or again
        st.rerun()
    probes = name == layer_probe.LESSON
    found = {} if probes else experiments.latest_runs(name)
    state = layer_probe.job().read() if probes else {}
    missing = sum(run is None or run.state != "finished" for run in found.values())
    if live:
        done, total = (
            (state.get("done") or 0, state.get("total") or 1) if probes else (len(found) - missing, len(found))
        )
        st.progress(min(done / total, 1.0), f"{done} of {total} {'layers' if probes else 'runs'} done")
        stop = (layer_probe.job().ask_to_stop,) if probes else (experiments.stop_runs, name)
        st.button("Stop", icon=":material/stop:", key="stop", on_click=_act, args=stop)
    elif probes:
        _go("Run", getattr(shipped, "seconds", None), name, layer_probe.start)
    else:
        label = f"Run {missing} of {len(found)}" if 0 < missing < len(found) else f"Run all {len(found)}"
        _go(f"{label}{'' if missing else ' again'}", _expected(name), name, experiments.start_runs, name, not missing)
    broken = [run.status.get("error") for run in found.values() if run]
    errors = [error.get("message") or error.get("type") for error in broken if isinstance(error, dict)]
    errors += [state["error"]] if state.get("state") == "failed" else []
    for text in (*errors, st.session_state.pop("learn_error", None)):
        if text:
            st.error(messages.plain(text), icon=":material/error:")


def _expected(name: str) -> float | None:
    try:
        return experiments.expected_seconds(name)
    except CifarError:  # there are no images to train on
        return None


def _go(label: str, seconds: float | None, name: str, *action: Any) -> None:
    """Draw the button that starts the lesson."""
    st.button(
        label + (f" (about {formatting.seconds(seconds)})" if seconds else ""),
        icon=":material/play_arrow:",
        key="go",
        on_click=guarded.once,
        args=(f"lesson {name}", _act, *action),
        disabled=cifar10.status()["error"] is not None,
    )


def _act(action: Any, *arguments: Any) -> None:
    """Do `action`; what goes wrong is shown on the page."""
    try:
        action(*arguments)
    except CifarError as error:
        st.session_state["learn_error"] = str(error)
