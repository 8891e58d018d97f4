"""One run on *Train*: how far it is, its buttons and curves, and what it came to."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import streamlit as st

from cifar_core import glossary, jobs
from cifar_core.charts import training as training_charts
from cifar_core.errors import RunError
from cifar_core.evaluation import predictions, story
from cifar_core.runs import LIVE_STATES, RESUMABLE_STATES, Run, curves, labels
from cifar_core.runs.curves import CurveReader, Curves
from pages.components import (
    export_panel,
    formatting,
    guarded,
    live_chart,
    pinned,
    progress,
    run_picker,
    run_story,
)
from pages.components.live_chart import Chart

HEIGHT = 400
LOG_LINES = 20
SHARED_SECONDS = 0.5  # how long what one viewer of a live run saw serves the others
_MOST_SUMMARY = 500_000  # characters; Keras's table of this network has 60,000

_notification = st.components.v2.component(
    "notification",
    css="""button{all:unset;cursor:pointer;font-size:.875rem;color:var(--st-link-color);text-decoration:underline}
        button[hidden]{display:none}
        button:focus-visible{outline:2px solid var(--st-primary-color);outline-offset:2px}""",
    html="<button hidden>Notify me when done</button>",
    js=(formatting.FRONTEND / "notification.js").read_text(),
)


def panel(run: Run) -> bool:
    """Draw one run: state, progress, buttons, curves, figures; return whether it is live."""
    status = run.status
    state = status["state"]
    live = state in LIVE_STATES
    if live != st.session_state.get("polled_panel"):  # it ended, or was resumed: the whole page is drawn anew
        return live
    if live:
        st.session_state["watched"] = run.id
    metrics_state = shared_stamp(run.id) if live else run_picker.stamp(run, "metrics.jsonl")
    curves, last, epochs = read(run.id, metrics_state, live)
    with st.container(key="outcome"):  # of one height while the run lives and afterwards: the charts keep their place
        top, buttons = st.columns(2, vertical_alignment="center")
        with top:
            progress.line(run, status, last)
        with buttons:
            action_buttons(run, state)
        notices(status)
        if live:
            st.markdown(f"## {_validation_accuracy(curves)}")
        else:
            result(run)
        _tab_title(run, state, progress.bar(run, status, last))
    curve_charts(run, metrics_state, live, curves)
    pinned.panel(run, state, sum(planned_epochs(run).values()))
    if not live:
        result_details(run, curves)
    run_story.diagnosis_panel(run, state, (epochs,) if live else metrics_state)  # the rules look at whole epochs
    details(run, metrics_state, live, curves)
    return live


def _validation_accuracy(curves: Curves) -> str:
    """Return the newest validation accuracy as a sentence."""
    curve = curves.curves["validation_accuracy"]
    return f"{curve.y[-1]:.1%} of the validation images right" if len(curve.y) else "No epoch is complete yet"


def notices(status: dict[str, Any]) -> None:
    """Say why the run failed, or what it had to do without."""
    error = status.get("error")
    if isinstance(error, dict):
        st.error(formatting.plain(error.get("message") or error.get("type")), icon=":material/error:")
    if status.get("note"):
        st.info(formatting.plain(f"Trained end to end, not from stored features: {status['note']}."))


def curve_charts(run: Run, metrics_state: tuple[int, ...], live: bool, curves: Curves) -> None:
    """Draw accuracy, large, and loss beside it."""
    figures = metric_charts(run.id, metrics_state, live, curves, st.session_state.get("ghost"))
    large, small = st.columns([8, 5])
    with large:
        live_chart.show(figures["accuracy"], "accuracy")
    with small:
        live_chart.show(figures["loss"], "loss")


def details(run: Run, metrics_state: tuple[int, ...], live: bool, curves: Curves) -> None:
    """Draw learning rate and speed in a panel that is closed at first."""
    title = "Learning rate, speed, layers"
    panel = st.expander(title, icon=":material/show_chart:", key="details_panel", on_change="rerun")
    if panel.open:
        with panel, st.grid(2, min_column_width=340):
            for name, chart in detail_charts(run.id, metrics_state, live, curves).items():
                live_chart.show(chart, name)
        with panel:
            model_summary(run)


def _tab_title(run: Run, state: str, done: float | None) -> None:
    """Let the browser's tab say how far the run is, and that it is done to those who watched it."""
    if done is not None:
        st.set_page_config(page_title=f"{done:.0%} trained · CIFAR Studio")
    elif state == "finished" and st.session_state.get("watched") == run.id:
        st.set_page_config(page_title="Done · CIFAR Studio")


def notification(run: Run, state: str) -> None:
    """Offer a browser notification while `run` is live, until the browser was asked once; send it when the run ends.

    Also scroll to the top where the run was just started here, and to what a button opened.
    """
    accuracy = run.result.get("test_accuracy")
    data = {
        "run": run.id,
        "started": st.session_state.get("started"),
        "scroll": st.session_state.pop("scroll_to", None),
        "live": state in LIVE_STATES,
        "title": f"{labels.shown_name(run)}: {state}",
        "body": f"Test accuracy {accuracy:.1%}" if isinstance(accuracy, float) else "",
    }
    _notification(key="notification", data=data, height="content", width="content")


def action_buttons(run: Run, state: str) -> None:
    """Stop, resume, log: whatever the state allows."""
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        notification(run, state)
        worker_log(run)
        if state in LIVE_STATES:
            guarded.button(
                "Stop",
                stop,
                run,
                icon=":material/stop:",
                key="stop",
                disabled=state == "stopping" or guarded.is_anothers(run),
                help="Takes effect within three seconds; the best and the last full epoch are saved.",
            )
        if state in RESUMABLE_STATES:
            guarded.button("Resume", jobs.resume_run, run, icon=":material/play_arrow:", key="resume", type="primary")
        if state not in LIVE_STATES:
            guarded.button("Use its settings", clone, run, icon=":material/tune:", key="clone", type="tertiary")


def stop(run: Run) -> None:
    """Stop a run of one's own. Raises RunError."""
    guarded.check_own(run)
    jobs.stop_run(run)


def clone(run: Run) -> None:
    """Let the page set the knobs as they were in `run` before it draws them."""
    st.session_state["settings_of"] = run.id


@st.cache_data(ttl=SHARED_SECONDS, max_entries=64, show_spinner=False)
def shared_stamp(run_id: str) -> tuple[int, ...]:
    """Return the state of a live run's metrics; those who look at nearly the same time get the same figures."""
    return run_picker.stamp(Run(run_id), "metrics.jsonl")


@st.cache_resource(max_entries=16, show_spinner=False)
def tracked(run_id: str) -> CurveReader:
    """Return the run's metrics as read so far, for all people."""
    return CurveReader(Run(run_id))


@st.cache_resource(max_entries=64, show_spinner=False)
def read(run_id: str, state: tuple[int, ...], live: bool) -> tuple[Curves, dict[str, Any] | None, int]:
    """Return a run's curves, last row and number of epochs; made once for each state of its metrics."""
    return tracked(run_id).read(planned_epochs(Run(run_id)), not live)


@st.cache_resource(max_entries=64, show_spinner=False)
def metric_charts(
    run_id: str, state: tuple[int, ...], live: bool, _curves: Curves, ghost_id: str | None
) -> dict[str, Chart]:
    """Return the charts of accuracy and loss; built once for each state of the metrics, for all people."""
    ghost = read(ghost_id, run_picker.stamp(Run(ghost_id), "metrics.jsonl"), False)[0] if ghost_id else None
    return {
        metric: live_chart.chart(
            training_charts.metric_figure(_curves, metric, ghost, "earlier run, validation", HEIGHT),
            training_charts.metric_words(_curves, metric),
            run_id,
        )
        for metric in ("accuracy", "loss")
    }


@st.cache_resource(max_entries=64, show_spinner=False)
def detail_charts(run_id: str, state: tuple[int, ...], live: bool, _curves: Curves) -> dict[str, Chart]:
    """Return the charts of learning rate, speed and weights; built once for each state of the metrics, for all."""
    charts = {
        name: live_chart.chart(
            training_charts.small_figure(_curves, name), training_charts.metric_words(_curves, name), run_id
        )
        for name in ("learning_rate", "images_per_second")
    }
    if changes := _curves.weight_changes:
        words = "Change of the weights of each of the 17 blocks since the start; frozen blocks do not change."
        charts["weight_changes"] = live_chart.chart(training_charts.change_figure(changes), words, run_id)
    return charts


def planned_epochs(run: Run) -> dict[str, int]:
    """Return the epochs that each phase may take."""
    try:
        config = run.config
    except RunError:  # damaged; its curves can be drawn all the same
        return {}
    return {"head": config.head_epochs, "fine_tune": config.fine_tune_epochs if config.fine_tunes else 0}


def worker_log(run: Run) -> None:
    """Offer the last lines of what the worker wrote."""
    log = st.popover("Log", icon=":material/terminal:", key="log", on_change="rerun", type="tertiary")
    if log.open:
        log.code(_tail(run.path / "worker.log") or "Nothing has been written yet.", language=None, wrap_lines=True)


def _tail(path: Path) -> str:
    """Return the last LOG_LINES lines of a text file, an empty string where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 200 * LOG_LINES, 0))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_LINES:])
    except OSError:
        return ""


def model_summary(run: Run) -> None:
    """Show Keras's own table of the network once the run has written it."""
    path = run.path / "summary.txt"
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            text = html.escape(file.read(_MOST_SUMMARY))
        st.html(f'<pre class=scrolled role=region tabindex=0 aria-label="Layers">{text}</pre>')  # st.code has no focus


FIGURES = ("test_accuracy", "test_images", "validation_accuracy", "best_epoch", "elapsed_seconds", "model_bytes")


def result(run: Run) -> None:
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
    """Draw what to do with the run: three buttons, two files to share, two links."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try a photo", key="try_photo", icon=":material/image_search:", type="primary"):
            st.switch_page("pages/classify.py", query_params={"model": run.id})
        if st.button("See its mistakes", key="see_mistakes", icon=":material/fact_check:"):
            st.switch_page("pages/evaluate.py", query_params={"run": run.id})
        if st.button("Export", key="open_export", icon=":material/download:"):
            st.session_state["export_panel"] = True  # opens it, below
            st.session_state["scroll_to"] = "export_panel"
            st.rerun()
        export_panel.share_buttons(run)
        st.page_link("pages/explore.py", label="Compare", icon=":material/explore:")
        lesson = run_story.lesson_of(run)
        st.page_link(
            "pages/learn.py",
            label="Learn why",
            icon=":material/school:",
            help=lesson.title,
            query_params={"lesson": lesson.name},
        )


def result_details(run: Run, found: Curves) -> None:
    """Explain the dashed line and the other figures of a finished run; nothing while some are missing."""
    result = run.result
    if not _is_complete(result):
        return
    if dashed := story.probe_sentence(found.linear_probe, result["validation_accuracy"]):
        st.markdown(f"**The dashed line.** {dashed}", help=glossary.explain(dashed))
    phase = curves.PHASE_NAMES.get(str(result.get("best_phase")), "phase").lower()
    st.caption(
        f"Test accuracy {result['test_accuracy']:.1%}, measured on {result['test_images']:,} images that training "
        "never used; the range is the 95% interval. "
        f"Validation accuracy is {result['validation_accuracy']:.1%}; it tends to look too high, since the best epoch "
        f"({result['best_epoch']} of {phase}) is chosen by it. "
        f"Took {formatting.seconds(result['elapsed_seconds'])}; model file {result['model_bytes'] / 1e6:.1f} MB. "
        f"Images: {formatting.images(result.get('dataset'))}. "
        f"Initial weights: {formatting.plain(result.get('weights'))}.",
        help=glossary.explain("test, validation accuracy, epoch"),
    )
