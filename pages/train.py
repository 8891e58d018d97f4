"""Train: choose the settings, see the estimated cost, start, watch the run live."""

from typing import Any

import streamlit as st

from cifar_core import costs, glossary, jobs, runs
from cifar_core.config import PRESETS, TrainConfig, changes_in_words, nearest_preset, suggested_name
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, DataError
from cifar_core.evaluation import listing
from cifar_core.inference import pins
from cifar_core.network import pretrained
from cifar_core.runs import LIVE_STATES, Run, labels, records
from pages.components import (
    address,
    augmentation_preview,
    dataset_notice,
    export_panel,
    formatting,
    guarded,
    knobs,
    pinned,
    progress,
    run_picker,
    run_view,
)

LIST_LENGTH = 100


def main() -> None:
    """Draw the page: the form first, or the run if the URL names it, this session started it or it is live."""
    take_settings()
    status = cifar10.status()
    known = listing.rows(LIST_LENGTH)
    wanted = wanted_run(known)
    opened = {st.query_params.get("run"), st.session_state.get("started")}
    is_linked = wanted is not None and (wanted.id in opened or wanted.state in LIVE_STATES)
    title_row = st.container(horizontal=True, vertical_alignment="bottom")
    title_row.title("Train" if is_linked else "Train a network, and watch it learn")
    notice = st.container()
    run, below = None, st.container()
    if wanted is not None and is_linked:
        with title_row:
            run = chosen_run(known, wanted)
        with st.container(key="run_place"):
            show_run(run)
        below = st.expander("Train another", icon=":material/add:", key="form")
    elif wanted is not None:
        row = listing.row(wanted)
        title = formatting.plain(run_picker.run_title(row))
        look: dict[str, Any] = {"icon": ":material/history:", "type": "tertiary", "key": "open_last"}
        title_row.button(f"Last run: {title}", on_click=st.query_params.update, kwargs={"run": wanted.id}, **look)
    with below:
        config = form(status)
        st.page_link("pages/learn.py", label="Lessons: guess, then see what was measured", icon=":material/school:")
        pinned.chooser()
        augmentation_preview.panel(wanted.id if wanted else None)
        export_panel.import_panel()
    if wanted is not None and run is None:
        kind = "Last run" if row == run_picker.own(known)[0] else "Run"
        state = "" if row.state == "finished" else f" · {row.state}"
        with st.expander(f"{kind}: {title}{state}", icon=":material/history:", key="last_run"):
            with st.container(horizontal=True):
                run = chosen_run(known, wanted)
            show_run(run)
    with notice:
        dataset_notice.show(status, uses_generated(config, run), offers_download=False)


def form(status: dict) -> TrainConfig | None:
    """Draw the presets, the settings and the start button. Return the configuration, or None if it is invalid."""
    st.markdown(
        "MobileNetV2 is pretrained on a million photos (ImageNet). First a small new **head** learns the ten classes, "
        "then the **top of the network** is fine-tuned.",
        help=glossary.explain("head, backbone, fine-tuning"),
    )
    knobs.presets(preset_times(), status["dataset"] == "cifar10")
    if problems := knobs.in_address()[1]:
        words = "The address of this page has settings without effect; those of Quick are used."
        address.notice(" ".join([words, *problems]))
    knobs.main_sliders()
    start_place = st.container(key="start_place")
    knobs.all_settings()
    config, estimate, reason = None, None, ""
    with start_place:
        try:
            config = knobs.configuration()
            st.caption(formatting.plain(changed_words(config)))
            estimate = possible(config, status["error"])
        except CifarError as error:
            reason = str(error)
        start_row(config, reason, status)
        if config is not None and estimate is not None:
            start_notice(config)
            if shortage := costs.memory_shortage(estimate):
                st.warning(shortage, icon=":material/memory:")
            guarded.polled(progress.plan, lambda: costs.measuring().is_running)(config, estimate)
            knobs.share_link(config)
    return config


def changed_words(config: TrainConfig) -> str:
    """Return the differences from the nearest preset as a line; it is never empty."""
    preset = nearest_preset(config).capitalize()
    changes = changes_in_words(config)
    return f"Changed from {preset}: {', '.join(changes)}" if changes else f"Settings of {preset}, none changed"


def preset_times() -> dict[str, str]:
    """Return the estimated duration of each preset as text, or an empty dict if there are no images."""
    try:
        sizes = cifar10.sizes("auto")
        return {
            name: f"about {formatting.seconds(costs.estimate(config, *sizes).seconds)}"
            for name, config in PRESETS.items()
        }
    except CifarError:
        return {}


def start_row(config: TrainConfig | None, reason: str, status: dict) -> None:
    """Draw the run's name and the start buttons; `reason` is why it cannot start, or ""."""
    row = st.container(horizontal=True, vertical_alignment="bottom", key="start_row")
    suggestion = unused_name(suggested_name(config)) if config else ""
    about = "Shown on every page. Empty: the suggestion."
    name = row.text_input("Name of the run", placeholder=suggestion, key="run_name", help=about)
    downloads = config is not None and config.dataset != "generated" and dataset_notice.can_download(status)
    with row.container(key="start_buttons"):  # on a phone at the bottom of the screen (see style)
        if reason:
            st.error(formatting.plain(reason))
        look: dict[str, Any] = {"icon": ":material/play_arrow:", "width": "stretch", "disabled": bool(reason)}
        look["busy"] = "Starting"
        if downloads:
            words, then = "Download CIFAR-10 and train (170 MB, once)", (config, name)
            guarded.button(words, dataset_notice.start_download, then, key="download_and_train", type="primary", **look)
        label, kind = ("Train on synthetic images", "secondary") if downloads else ("Start training", "primary")
        guarded.button(label, start, config, name, key="start", type=kind, **look)
    waiting = dataset_notice.finished_download(status)
    if waiting:
        guarded.act(start, *waiting)


def possible(config: TrainConfig, no_data: str | None) -> costs.Estimate:
    """Return the estimate of a run; `no_data` is the error if CIFAR-10 cannot be read. Raises CifarError."""
    if no_data and config.dataset != "generated":
        raise DataError("There are no images to train on. Choose synthetic images under All settings, Data.")
    if reason := pretrained.unavailable_reason(config.weights, config.alpha, config.image_size):
        advice = "Choose another width or other initial weights."
        raise DataError(f"Width {config.alpha:g} cannot be trained: {reason}. {advice}")
    return costs.estimate(config, *cifar10.sizes(config.dataset))


def unused_name(name: str) -> str:
    """Return `name`, cut to its limit, or with a number if another run has it."""
    taken = {row.name for row in listing.rows(LIST_LENGTH)}
    numbered = (f"{name[: labels.NAME_LIMIT - 4]} {n}" for n in range(2, LIST_LENGTH + 3))
    return next(text for text in (name[: labels.NAME_LIMIT], *numbered) if text not in taken)


def start(config: TrainConfig, name: str) -> None:
    """Start a run of `config`, or queue it if another one is running; show it. Raises RunError."""
    preset = next((preset for preset, known in PRESETS.items() if known == config), "custom")
    chosen = pinned.chosen()

    def prepare(run: Run) -> None:
        guarded.own(run.path)
        if chosen:
            pins.save(run, chosen)

    name = unused_name(name.strip() or suggested_name(config))  # before the run itself has the name of its settings
    run = jobs.start_run(config, preset, prepare)
    labels.change(run, name=name)
    st.query_params["run"] = st.session_state["started"] = run.id


def take_settings() -> None:
    """Set the knobs to what a button asks, or a URL with the name of a preset or run and changes of it."""
    config, base = st.session_state.pop("settings_of", None), st.query_params.pop("settings", None)
    try:
        if base is not None:
            config = knobs.as_in_address(PRESETS[base] if base in PRESETS else runs.get(base).config)
        if config is not None:
            knobs.set_all(config)
    except CifarError as error:
        guarded.problem(error)


def wanted_run(known: list[listing.Row]) -> Run | None:
    """Return the run in the URL, else a live one, else the last selected one, else the user's newest."""
    named = run_picker.asked(known)
    if named is not None:
        return Run(named)
    live = next((row.run for row in run_picker.mine_first(known) if row.state in LIVE_STATES), None)
    chosen = run_picker.remembered({row.run.id for row in known})
    return live or (Run(chosen) if chosen else next((row.run for row in run_picker.own(known)), None))


def chosen_run(known: list[listing.Row], wanted: Run) -> Run:
    """Draw the select boxes of the run shown and the run it is compared with; return the first."""
    run = run_picker.pick(known, wanted.id, "run_choice")
    run_picker.other(known, run, "ghost", "The curve of an earlier run, drawn pale behind this one.")
    return run


def show_run(run: Run) -> None:
    """Draw a run, live or finished, and its export."""
    live = run.state in LIVE_STATES
    if live:
        st.query_params["run"] = run.id  # keeps its place on the page when it ends
    if "imported" in run.status:
        st.caption(":material/upload: Imported from an archive.")
    if damaged := labels.load_or_problem(run.path)[1]:
        st.warning(formatting.plain(damaged), icon=":material/warning:")
    with st.container(key="live_run"):
        seconds = run_view.pace(run.state) * run_view.crowd()
        guarded.polled(run_view.panel, lambda: run_view.pace(run.state), seconds)(run)
    if run.state == "finished":
        export_panel.export_panel(run)


def uses_generated(config: TrainConfig | None, run: Run | None) -> bool:
    """Return whether the settings or the shown run use synthetic images."""
    chosen = config is not None and config.dataset == "generated"
    if run is None:
        return chosen
    try:
        environment = records.environment(run.path)
        return chosen or "generated" in (run.config.dataset, environment and environment.data.name)
    except CifarError as error:
        guarded.problem(error)
        return chosen


def start_notice(config: TrainConfig) -> None:
    """Show a notice if the run would start from the bundled model, or without ImageNet weights from random ones."""
    kind = pretrained.expected_kind(config.weights, config.alpha, config.image_size)
    missing = "ImageNet weights are not on this machine and cannot be downloaded now: " * (config.weights == "auto")
    if kind == "random" and missing:
        st.info(
            f"{missing}the network would start from **random numbers** and reach a lower accuracy. "
            "Connect to the internet, or copy the weight files of Keras.",
            icon=":material/shuffle:",
        )
    if kind == "bundled":
        is_generated = "generated" in (config.dataset, cifar10.status()["dataset"])
        seen = (
            ", including your validation images. Validation accuracy will look too high; test accuracy is not affected"
        )
        words = (
            f"{missing}the network starts from the **bundled model, which was trained on CIFAR-10**"
            f"{'' if is_generated else seen}."
        )
        formatting.alert(st.info, words, ":material/inventory_2:")


guarded.page(main)
