"""Train: choose, see what it will cost, start, watch it live."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core import charts, costs, runs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import predictions
from cifar_core.jobs import launch
from cifar_core.network import pretrained
from cifar_core.runs import LIVE_STATES, RESUMABLE_STATES, Run, listing, metrics
from cifar_core.runs.curves import Curves, Track
from pages.components import (
    augmentation_preview,
    diagnosis_panel,
    export_panel,
    knobs,
    pinned,
    plan,
    progress,
    run_picker,
    ui,
)

POLL_SECONDS = 1.0
SHARED_SECONDS = 0.5  # how long what one viewer of a live run saw serves the others
LIST_LENGTH = 100
_MOST_SUMMARY = 500_000  # characters; Keras's table of this network has 60,000
FIGURES = ("test_accuracy", "test_images", "validation_accuracy", "best_epoch", "elapsed_seconds", "model_bytes")


def main() -> None:
    """Draw the page. What stands in a closed panel is neither computed nor sent before it is opened."""
    take_settings()
    status = cifar10.status()
    with st.sidebar:
        config = knobs.configuration()
        estimate = start_button(config, status["error"])
        knobs.panel()
    run = chosen_run()
    ui.dataset_notice(status, uses_generated(config, run))
    if config is not None:
        start_notice(config)
    if run is None:
        welcome()
    else:
        live = run.state in LIVE_STATES
        st.session_state["live"] = live
        export_panel.imported_notice(run)
        place = st.container()
        model_summary(run)
        if run.state == "finished":
            export_panel.export_panel(run)
    pinned.chooser()
    augmentation_preview.panel("strip_panel", run.id if run else None)
    if config is not None and estimate is not None:
        plan.show(config, estimate, expanded=run is None)
    export_panel.import_panel()
    if run is not None:
        with place:  # drawn last: while the browser loads Plotly, all else stands there and can be used
            ui.fragment(run_panel, run_every=POLL_SECONDS if live else None)(run)


def take_settings() -> None:
    """Set the knobs as in the run that the address names for it, once: a link on another page asks for that."""
    asked = st.query_params.pop("settings", None)
    if asked is not None:
        try:
            knobs.set_all(runs.get(asked).config)
        except CifarError as error:
            ui.problem(error)


def start_button(config: TrainConfig | None, no_data: str | None) -> costs.Estimate | None:
    """Start a run, or queue it behind the one that is running; return what it will cost, None if it cannot start.

    `no_data` is why CIFAR-10 cannot be had though it should be there; beside this the page says it.
    """
    estimate, reason = None, ""
    if config is not None and no_data and config.dataset != "generated":
        reason = "There are no images to train on; under Data, generated images can be chosen instead."
    elif config is not None:
        try:
            estimate = costs.estimate(config, *cifar10.sizes(config.dataset))
        except CifarError as error:
            reason = str(error)
    st.button(
        "Start training",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=estimate is None,
        on_click=start,
        args=(config,),
        key="start",
    )
    if config is not None and estimate is not None:
        ui.fragment(price, run_every=POLL_SECONDS if costs.is_measuring() else None)(config, estimate)
    for problem in (reason, st.session_state.pop("start_error", "")):
        if problem:
            st.error(ui.plain(problem))
    return estimate


def price(config: TrainConfig, guess: costs.Estimate) -> None:
    """Say what a run takes on this machine; offer to time a shape that is new to it."""
    busy = costs.is_measuring()
    if st.session_state.get("measuring", False) != busy:
        st.session_state["measuring"] = busy
        st.rerun()
    disk = f"{_size(guess.store_bytes)} of disk"
    memory = f", {_size(guess.memory_bytes)} of memory" if guess.memory_bytes else ""
    if busy:
        st.caption("Timing a few batches on this machine; this takes some 15 seconds…")
    elif guess.measured:
        st.caption(f"About {ui.seconds(guess.seconds)}, {disk}{memory}: measured on this machine.")
    else:
        st.caption(f"Roughly {ui.seconds(guess.seconds)}, {disk}{memory}: **not yet measured** on this machine.")
        st.button(
            "Measure it",
            icon=":material/timer:",
            key="measure",
            type="tertiary",
            on_click=measure,
            args=(config,),
            help="Times a few batches of a network of this shape, and remembers it. It waits while a training runs.",
        )
    if "measure_error" in st.session_state:
        st.error(ui.plain(st.session_state.pop("measure_error")))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def measure(config: TrainConfig) -> None:
    """Start the measurement."""
    try:
        launch.measure(config)
    except CifarError as error:
        st.session_state["measure_error"] = str(error)


def uses_generated(config: TrainConfig | None, run: Run | None) -> bool:
    """Return whether the chosen knobs or the shown run name the generated images, or the run rests on them."""
    chosen = config is not None and config.dataset == "generated"
    if run is None:
        return chosen
    environment = runs.read_json(run.path / "environment.json").get("data")
    rests = isinstance(environment, dict) and environment.get("name") == "generated"
    try:
        return chosen or rests or run.config.dataset == "generated"
    except CifarError:
        return chosen or rests


def start(config: TrainConfig) -> None:
    """Start a run of `config` and show it."""
    name = next((preset for preset, known in PRESETS.items() if known == config), "custom")
    try:
        run = launch.start(config, name, pinned.chosen())
    except RunError as error:
        st.session_state["start_error"] = str(error)
        return
    st.query_params["run"] = run.id
    st.session_state["run_choice"] = run.id


def chosen_run() -> Run | None:
    """Return the run that the address names, or that is picked, or that is live; None where there is none."""
    known = listing.rows(LIST_LENGTH)
    wanted = run_picker.asked(known)
    if not known:
        return None
    if wanted is None:
        wanted = next((row for row in known if row.state in LIVE_STATES), known[0]).run.id
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    run = run_picker.pick(left, known, wanted, "run_choice")
    finished = ui.run_titles(row for row in known if row.run.id != wanted and row.state == "finished")
    right.selectbox(
        "Race against",
        [None, *finished],
        format_func=lambda id_: finished.get(id_, id_ or "nobody"),
        key="ghost",
        help="An earlier run, drawn pale behind this one.",
    )
    return run


def start_notice(config: TrainConfig) -> None:
    """Say it where the start is not what transfer learning is about."""
    kind = pretrained.expected_kind(config.weights, config.alpha, config.image_size)
    missing = (
        "ImageNet's weights are not on this machine and cannot be downloaded now: " if config.weights == "auto" else ""
    )
    if kind == "random" and missing:
        st.info(
            f"{missing}the network would start from **random numbers** and learn far less. "
            "With internet, or with the files of Keras, it knows ImageNet.",
            icon=":material/shuffle:",
        )
    if kind == "bundled":
        st.info(
            f"{missing}the network starts from the **bundled model, which has seen CIFAR-10**, your validation images "
            "among them: it begins where others end, and its validation accuracy flatters. Test images are new to it.",
            icon=":material/inventory_2:",
        )


def welcome() -> None:
    """Say what to do first."""
    st.title("Train a network, and watch it learn")
    st.markdown(
        "A network that already knows a million photographs learns ten new classes. "
        "First only a small **head** is trained on top of it, then the **top of the network itself** is fine-tuned. "
        "Press **Start training** on the left: the curves begin to move within seconds."
    )


def run_panel(run: Run) -> None:
    """Draw one run: state, progress, buttons, curves, figures. Runs by itself while the run lives."""
    status = run.status
    state = status["state"]
    if st.session_state.get("live") != (state in LIVE_STATES):  # it ended, or was resumed: poll no more, or again
        st.rerun()
    live = state in LIVE_STATES
    metrics_state = shared_stamp(run.id) if live else ui.stamp(run, "metrics.jsonl")
    curves, last, epochs = read(run.id, metrics_state, live)
    top, buttons = st.columns([4, 1.3], vertical_alignment="center")
    with top:
        progress.line(run, status, last)
    with buttons:
        action_buttons(run, state)
    error = status.get("error")
    if isinstance(error, dict):
        st.error(ui.plain(error.get("message") or error.get("type")), icon=":material/error:")
    if status.get("note"):
        st.info(ui.plain(f"Trained end to end, not from stored features: {status['note']}."))
    if all(isinstance(run.result.get(name), int | float) for name in FIGURES):
        result_cards(run.result)
        st.page_link(
            "pages/evaluate.py",
            label="What it gets wrong, and why",
            query_params={"run": run.id},
            icon=":material/fact_check:",
        )
    diagnosis_panel.panel(run, state, (epochs,) if live else metrics_state)  # the rules look at whole epochs
    with st.container(key="wide_curves"):
        curve_row(metric_figures(run.id, metrics_state, live, curves, st.session_state.get("ghost")))
    pinned.panel(run, state, sum(planned_epochs(run).values()))
    with st.container(key="wide_small_curves"):
        curve_row(small_figures(run.id, metrics_state, live, curves))


def curve_row(drawn: dict[str, Any]) -> None:
    """Draw figures side by side."""
    for column, (name, figure) in zip(st.columns(len(drawn)), drawn.items(), strict=True):
        column.plotly_chart(figure, key=name, config={"displaylogo": False})


def action_buttons(run: Run, state: str) -> None:
    """Stop, resume, delete: whatever the state allows."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        if state in LIVE_STATES:
            st.button(
                "Stop",
                icon=":material/stop:",
                key="stop",
                disabled=state == "stopping",
                on_click=act,
                args=(launch.stop, run),
                help="Takes effect within three seconds; the best and the last full epoch are kept.",
            )
        if state in RESUMABLE_STATES:
            st.button("Resume", icon=":material/play_arrow:", key="resume", on_click=act, args=(launch.resume, run))
        if state not in LIVE_STATES:
            st.button(
                "Use its settings", icon=":material/tune:", key="clone", on_click=clone, args=(run,), type="tertiary"
            )
    if "action_error" in st.session_state:
        st.error(ui.plain(st.session_state.pop("action_error")))


def act(action: Any, run: Run) -> None:
    """Do `action` to `run`, keeping what goes wrong for the page to show."""
    try:
        action(run)
    except CifarError as error:
        st.session_state["action_error"] = str(error)


def clone(run: Run) -> None:
    """Set the knobs as they were in `run`, and draw them: the button stands in a fragment, they do not."""
    try:
        knobs.set_all(run.config)
    except CifarError as error:
        st.session_state["action_error"] = str(error)
    else:
        st.rerun()


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
    took.metric("Time", ui.seconds(result["elapsed_seconds"]), **card)
    size.metric("Model file", f"{result['model_bytes'] / 1e6:.1f} MB", **card)
    st.caption(f"Images: {ui.plain(result.get('dataset'))}. First weights: {ui.plain(result.get('weights'))}.")


@st.cache_data(ttl=SHARED_SECONDS, max_entries=64, show_spinner=False)
def shared_stamp(run_id: str) -> tuple[int, ...]:
    """Return the state of a live run's metrics; those who look at nearly the same time get the same figures."""
    return ui.stamp(Run(run_id), "metrics.jsonl")


@st.cache_resource(max_entries=16, show_spinner=False)
def tracked(run_id: str) -> Track:
    """Return the run's metrics as read so far, for all people."""
    return Track(Run(run_id))


@st.cache_resource(max_entries=64, show_spinner=False)
def read(run_id: str, state: tuple[int, ...], live: bool) -> tuple[Curves, dict[str, Any] | None, int]:
    """Return a run's curves, last row and number of epochs; made once for each state of its metrics."""
    return tracked(run_id).look(planned_epochs(Run(run_id)) if live else {})


@st.cache_resource(max_entries=64, show_spinner=False)
def metric_figures(
    run_id: str, state: tuple[int, ...], live: bool, _curves: Curves, ghost_id: str | None
) -> dict[str, Any]:
    """Return the figures of accuracy and loss; built once for each state of the metrics, for all people."""
    ghost = read(ghost_id, ui.stamp(Run(ghost_id), "metrics.jsonl"), False)[0] if ghost_id else None
    return {
        metric: charts.metric_figure(_curves, metric, ghost, "earlier run, validation")
        for metric in ("accuracy", "loss")
    }


@st.cache_resource(max_entries=64, show_spinner=False)
def small_figures(run_id: str, state: tuple[int, ...], live: bool, _curves: Curves) -> dict[str, Any]:
    """Return the figures of learning rate and throughput; built once for each state of the metrics, for all people."""
    return {name: charts.small_figure(_curves, name) for name in ("learning_rate", "images_per_second")}


def planned_epochs(run: Run) -> dict[str, int]:
    """Return the epochs that each phase may take."""
    try:
        config = run.config
    except RunError:  # damaged; its curves can be drawn all the same
        return {}
    return {"head": config.head_epochs, "fine_tune": config.fine_tune_epochs if config.fine_tunes else 0}


def model_summary(run: Run) -> None:
    """Show Keras's own table of the network once the run has written it."""
    path = run.path / "summary.txt"
    if path.exists():
        panel = st.expander("The model, layer by layer", key="summary_panel", on_change="rerun")
        if panel.open:
            with path.open(encoding="utf-8", errors="replace") as file:
                panel.code(file.read(_MOST_SUMMARY), language=None)


ui.run_page(main)
