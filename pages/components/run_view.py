"""One run on *Train*: its progress, buttons, curves and results."""

import html
import time
import uuid
from pathlib import Path
from typing import Any

import streamlit as st

from cifar_core import glossary, jobs
from cifar_core.charts import training as training_charts
from cifar_core.evaluation import phase_summary, predictions
from cifar_core.runs import LIVE_STATES, RESUMABLE_STATES, Run, curves, labels
from cifar_core.runs.curves import CurveReader, Curves
from pages.components import export_panel, formatting, guarded, live_chart, pinned, progress, run_history, run_picker
from pages.components.live_chart import Chart

HEIGHT = 400
LOG_LINES = 20
_POLL_SECONDS, _QUEUED_SECONDS, _HIDDEN_SECONDS = 1.0, 3.0, 10.0
"""Seconds between two polls of a live run: while it trains, while it waits, and while the tab is hidden."""
_CROWD, _LARGE_CROWD = 5, 15  # sessions that watch live runs; with more of them, each polls less often
_watching: dict[str, float] = {}  # sessions that watch a live run -> time of their last poll
SHARED_SECONDS = 0.5  # how long the sessions that view a live run share one read
_FIGURES = ("test_accuracy", "test_images", "validation_accuracy", "best_epoch", "elapsed_seconds", "model_bytes")
_ENDED_EARLY = "It ended before its first epoch was complete. Resume it, or use its settings for another run."
_MOST_SUMMARY = 500_000  # characters; Keras's table of this network has 60,000

_notification = formatting.component("notification", html="<button hidden>Notify me when done</button>")


def pace(state: str) -> float:
    """Return the seconds between two polls of a run in `state`, 0 if it has ended."""
    if state not in LIVE_STATES:
        return 0.0
    if st.session_state.get("notification", {}).get("hidden"):
        return _HIDDEN_SECONDS
    return _QUEUED_SECONDS if state == "queued" else _POLL_SECONDS


def crowd() -> int:
    """Return how many times as long as `pace` a session waits between two polls: 1 to 3, more if many watch."""
    now = time.monotonic()
    for session, last in list(_watching.items()):
        if now - last > 2 * _HIDDEN_SECONDS:
            _watching.pop(session, None)
    return 1 + (len(_watching) > _CROWD) + (len(_watching) > _LARGE_CROWD)


def panel(run: Run) -> None:
    """Draw one run: state, progress, buttons, curves, results."""
    status = run.status
    state = status["state"]
    live = state in LIVE_STATES
    if live != bool(st.session_state.get("polled_panel")):  # it ended or was resumed: the whole page reruns
        return
    if live:
        st.session_state["watched"] = run.id
        _watching[st.session_state.setdefault("session", uuid.uuid4().hex)] = time.monotonic()
    metrics_state = shared_stamp(run.id) if live else run_picker.stamp(run, "metrics.jsonl")
    curves, last, epochs = read(run.id, metrics_state, live)
    result = run.result if state == "finished" else {}
    is_complete = all(isinstance(result.get(name), int | float) for name in _FIGURES)
    reached = curves.curves["validation_accuracy"].y
    is_empty = not live and not len(reached)
    with st.container(key="ended" if state in RESUMABLE_STATES else "outcome"):  # see style: the charts do not move
        top, buttons = st.columns(2, vertical_alignment="center")
        with top:
            progress.line(run, status, last)
        with buttons:
            action_buttons(run, state)
        notices(status)
        if is_complete:
            st.markdown(f"## {sentence(result)}")
            next_steps(run)
        elif state != "finished":
            words = f"{reached[-1]:.1%} of the validation images correct" if len(reached) else "No epoch is complete"
            st.markdown(_ENDED_EARLY if is_empty else f"## {words}")
        _tab_title(run, state, progress.bar(run, status, last))
    if is_empty and state != "finished":
        return
    figures = metric_charts(run.id, metrics_state, live, curves, st.session_state.get("ghost"))
    for place, (metric, chart) in zip(st.columns([8, 5]), figures.items(), strict=True):
        with place:
            live_chart.show(chart, metric)
    dashed_line(curves, live)
    with st.container():  # its chart comes with the first epoch; the expanders below stay open
        pinned.panel(run, state, sum(progress.planned_epochs(run).values()))
        if is_complete:
            result_details(result)
    run_history.diagnosis_panel(run, state, (epochs,) if live else metrics_state)  # the rules use complete epochs
    title, shown = "Learning rate, speed, layers", (run, metrics_state, live, curves)
    guarded.panel(title, "show_chart", details, *shown, key="details_panel")


def notices(status: dict[str, Any]) -> None:
    """Show the error of a failed run and the note of a run without cached features."""
    if error := status.get("error"):
        guarded.problem(error.get("message") or error.get("type"))
    if status.get("note"):
        st.info(formatting.plain(f"Trained end to end, not from stored features: {status['note']}."))


def dashed_line(found: Curves, live: bool) -> None:
    """Explain the dashed line by this run's figures, in a place that is as high before they are known."""
    best = None if live else max(found.curves["validation_accuracy"].y, default=None)
    with st.container(key="dashed"):
        if words := phase_summary.probe_sentence(found.linear_probe, best):
            formatting.text(f"**The dashed line.** {words}")


def details(run: Run, metrics_state: tuple[int, ...], live: bool, curves: Curves) -> None:
    """Draw learning rate, speed and layers."""
    with st.grid(2, min_column_width=340):
        for name, chart in detail_charts(run.id, metrics_state, live, curves).items():
            live_chart.show(chart, name)
    model_summary(run)


def _tab_title(run: Run, state: str, done: float | None) -> None:
    """Show the progress of the run in the title of the browser tab, and "Done" if this session watched it end."""
    if done is not None:
        st.set_page_config(page_title=f"{done:.0%} trained · CIFAR Studio")
    elif state == "finished" and st.session_state.get("watched") == run.id:
        st.set_page_config(page_title="Done · CIFAR Studio")


def notification(run: Run, state: str) -> None:
    """Offer a browser notification while `run` is live; send it when the run ends.

    The offer is hidden after the browser has asked for permission. The component also scrolls, to the top after a start
    in this session and to a section that a button opened, and reports whether the tab is hidden.
    """
    accuracy = run.result.get("test_accuracy")
    data = {
        "run": run.id,
        "started": st.session_state.get("started"),
        "scroll": st.session_state.pop("scroll_to", None),
        "live": state in LIVE_STATES,
        "title": f"{labels.name_of(run)}: {state}",
        "body": f"Test accuracy {accuracy:.1%}" if isinstance(accuracy, float) else "",
    }
    look: dict[str, Any] = {"height": "content", "width": "content"}
    _notification(key="notification", data=data, on_hidden_change=lambda: None, **look)


def action_buttons(run: Run, state: str) -> None:
    """Draw the buttons that the state allows: notification, log, stop, resume, use its settings."""
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        notification(run, state)
        worker_log(run)
        if state in LIVE_STATES:
            about = "Takes effect within three seconds; the best and the last full epoch are saved."
            look: dict[str, Any] = {"icon": ":material/stop:", "disabled": state == "stopping", "help": about}
            guarded.own_button("Stop", run.path, jobs.stop_run, run, key="stop", busy="Stopping", **look)
        if state in RESUMABLE_STATES:
            look = {"icon": ":material/play_arrow:", "type": "primary"}
            guarded.own_button("Resume", run.path, jobs.resume_run, run, key="resume", busy="Starting", **look)
        if state not in LIVE_STATES:
            guarded.button("Use its settings", clone, run, icon=":material/tune:", key="clone", type="tertiary")


def clone(run: Run) -> None:
    """Set the knobs to the configuration of `run` in the next script run."""
    st.session_state["settings_of"] = run.config


@st.cache_data(ttl=SHARED_SECONDS, max_entries=64, show_spinner=False)
def shared_stamp(run_id: str) -> tuple[int, ...]:
    """Return the file state of a live run's metrics, cached SHARED_SECONDS, so that viewers share one read."""
    return run_picker.stamp(Run(run_id), "metrics.jsonl")


@st.cache_resource(max_entries=16, show_spinner=False)
def tracked(run_id: str) -> CurveReader:
    """Return the reader of the run's metrics, shared by all sessions."""
    return CurveReader(Run(run_id))


@st.cache_resource(max_entries=64, show_spinner=False)
def read(run_id: str, state: tuple[int, ...], live: bool) -> tuple[Curves, dict[str, Any] | None, int]:
    """Return a run's curves, last row and number of epochs, cached by the state of its metrics."""
    return tracked(run_id).read(progress.planned_epochs(Run(run_id)), not live)


@st.cache_resource(max_entries=64, show_spinner=False)
def metric_charts(
    run_id: str, state: tuple[int, ...], live: bool, _curves: Curves, ghost_id: str | None
) -> dict[str, Chart]:
    """Return the charts of accuracy and loss, cached by the state of the metrics, shared by all sessions."""
    ghost = read(ghost_id, run_picker.stamp(Run(ghost_id), "metrics.jsonl"), False)[0] if ghost_id else None
    figures = {metric: training_charts.metric_figure(_curves, metric, ghost, HEIGHT) for metric in ("accuracy", "loss")}
    return _charts(run_id, _curves, figures)


@st.cache_resource(max_entries=64, show_spinner=False)
def detail_charts(run_id: str, state: tuple[int, ...], live: bool, _curves: Curves) -> dict[str, Chart]:
    """Return the charts of learning rate, speed and weight changes, cached like `metric_charts`."""
    names = ("learning_rate", "images_per_second")
    charts = _charts(run_id, _curves, {name: training_charts.small_figure(_curves, name) for name in names})
    if changes := _curves.weight_changes:
        words = "Change of the weights of each of the 17 blocks since the start; frozen blocks do not change."
        charts["weight_changes"] = live_chart.chart(training_charts.change_figure(changes), words, run_id)
    return charts


def _charts(run_id: str, found: Curves, figures: dict[str, Any]) -> dict[str, Chart]:
    words = training_charts.metric_words
    return {name: live_chart.chart(figure, words(found, name), run_id) for name, figure in figures.items()}


def worker_log(run: Run) -> None:
    """Draw a popover with the last lines of the worker's log."""
    log = st.popover("Log", icon=":material/terminal:", key="log", on_change="rerun", type="tertiary")
    if log.open:
        log.code(_tail(run.path / "worker.log") or "Nothing has been written yet.", language=None, wrap_lines=True)


def _tail(path: Path) -> str:
    """Return the last LOG_LINES lines of a text file, or an empty string if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 200 * LOG_LINES, 0))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_LINES:])
    except OSError:
        return ""


def model_summary(run: Run) -> None:
    """Show the Keras model summary, if the run has written it."""
    path = run.path / "summary.txt"
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            text = html.escape(file.read(_MOST_SUMMARY))
        st.html(f'<pre class=scrolled role=region tabindex=0 aria-label="Layers">{text}</pre>')  # st.code has no focus


def sentence(result: dict[str, Any]) -> str:
    """Return the test accuracy as a sentence with its 95% interval (Wilson)."""
    accuracy, images = result["test_accuracy"], result["test_images"]
    low, high = predictions.wilson(round(accuracy * images), images)
    return f"{100 * accuracy:.0f} of 100 new pictures correct, {low:.1%} to {high:.1%}"


def next_steps(run: Run) -> None:
    """Draw the next steps: three buttons, two files to share, two links."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try a photo", key="try_photo", icon=":material/image_search:", type="primary"):
            st.switch_page("pages/classify.py", query_params={"model": run.id})
        if st.button("See its mistakes", key="see_mistakes", icon=":material/fact_check:"):
            st.switch_page("pages/evaluate.py", query_params={"run": run.id})
        if st.button("Export", key="open_export", icon=":material/download:"):
            st.session_state["export_panel"] = True  # opens the panel below
            st.session_state["scroll_to"] = "export_panel"
            st.rerun()
        export_panel.share_buttons(run)
        st.page_link("pages/explore.py", label="Compare", icon=":material/explore:")
        lesson = run_history.lesson_of(run)
        st.page_link(
            "pages/learn.py",
            label="Learn why",
            icon=":material/school:",
            help=lesson.title,
            query_params={"lesson": lesson.name},
        )


def result_details(result: dict[str, Any]) -> None:
    """Show the other results of a finished run in two lines."""
    is_higher = result["validation_accuracy"] > result["test_accuracy"]
    phase = curves.PHASE_NAMES.get(str(result.get("best_phase")), "phase").lower()
    st.caption(
        f"Test accuracy {result['test_accuracy']:.1%} of {result['test_images']:,} images that training never used, "
        "with its 95% interval above. "
        f"Validation accuracy is {result['validation_accuracy']:.1%}; the best epoch ({result['best_epoch']} "
        f"of {phase}) was chosen by it{', which makes it optimistic' * is_higher}.  \n"
        f"Model file {result['model_bytes'] / 1e6:.1f} MB · "
        f"Images: {formatting.images(result.get('dataset'))} · "
        f"Initial weights: {formatting.plain(result.get('weights'))}",
        help=glossary.explain("test, validation accuracy, epoch"),
    )
