"""Train: choose, see what it will cost, start, watch it live."""

from __future__ import annotations

import streamlit as st

from cifar_core import costs, runs
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import listing
from cifar_core.jobs import launch
from cifar_core.network import pretrained
from cifar_core.runs import LIVE_STATES, Run
from pages.components import (
    augmentation_preview,
    export_panel,
    formatting,
    guarded,
    knobs,
    messages,
    pinned,
    plan,
    run_picker,
    run_state,
    run_view,
)

POLL_SECONDS = 1.0
LIST_LENGTH = 100


def main() -> None:
    """Draw the page. What stands in a closed panel is neither computed nor sent before it is opened."""
    take_settings()
    status = cifar10.status()
    with st.sidebar:
        config = knobs.configuration()
        estimate = start_button(config, status["error"])
        knobs.panel()
    run = chosen_run()
    messages.dataset_notice(status, uses_generated(config, run))
    if config is not None:
        start_notice(config)
    if run is None:
        welcome()
    else:
        live = run.state in LIVE_STATES
        st.session_state["live"] = live
        export_panel.imported_notice(run)
        place = st.container()
        run_view.model_summary(run)
        if run.state == "finished":
            export_panel.export_panel(run)
    pinned.chooser()
    augmentation_preview.panel("strip_panel", run.id if run else None)
    if config is not None and estimate is not None:
        plan.show(config, estimate, expanded=run is None)
    export_panel.import_panel()
    if run is not None:
        with place:  # drawn last: while the browser loads Plotly, all else stands there and can be used
            guarded.fragment(run_view.panel, run_every=POLL_SECONDS if live else None)(run)


def take_settings() -> None:
    """Set the knobs as in the run that the address names for it, once: a link on another page asks for that."""
    asked = st.query_params.pop("settings", None)
    if asked is not None:
        try:
            knobs.set_all(runs.get(asked).config)
        except CifarError as error:
            messages.problem(error)


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
        guarded.fragment(price, run_every=POLL_SECONDS if costs.is_measuring() else None)(config, estimate)
    for problem in (reason, st.session_state.pop("start_error", "")):
        if problem:
            st.error(messages.plain(problem))
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
        st.caption(f"About {formatting.seconds(guess.seconds)}, {disk}{memory}: measured on this machine.")
    else:
        st.caption(
            f"Roughly {formatting.seconds(guess.seconds)}, {disk}{memory}: **not yet measured** on this machine."
        )
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
        st.error(messages.plain(st.session_state.pop("measure_error")))


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
    finished = run_state.run_titles(row for row in known if row.run.id != wanted and row.state == "finished")
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


guarded.page(main)
