"""What the sections Sweep and Surface share: which sweep, how it stands, its buttons, one trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from cifar_core import runs
from cifar_core.config import ALL_IMAGES, KNOBS, PRESETS, TrainConfig
from cifar_core.errors import CifarError, SweepError
from cifar_core.explore import findings, launch_sweep, search
from cifar_core.explore.findings import Findings, Trial
from pages import controls, ui

POLL_SECONDS = 2.0
BASES = ("quick", "standard", "classic")
IMAGES = (1_000, 2_000, 5_000, 10_000, 20_000, ALL_IMAGES)
PHASES = {"head": "the head only", "both": "both phases"}
LOOK = {
    "running": (":material/play_arrow:", "blue"),
    "stopping": (":material/pending:", "orange"),
    "stopped": (":material/stop:", "orange"),
    "interrupted": (":material/link_off:", "red"),
    "failed": (":material/error:", "red"),
    "finished": (":material/check:", "green"),
}
WORDS = {
    "running": "Trying",
    "stopping": "Stopping; every trial keeps what it has",
    "stopped": "Stopped; resume it to go on, interrupted trials included",
    "interrupted": "Its worker ended unexpectedly; resume it to go on, nothing is lost",
    "failed": "Every trial failed; open one of them below to read why",
    "finished": "Done; extend it to go on",
}


@st.cache_resource(max_entries=64, show_spinner=False)
def stands(name: str, stamp: tuple[int, int], workers: int) -> Findings:
    """Return how a sweep stands; read once for each state of its journal and number of workers, for all people."""
    return findings.find(name)


def found(name: str) -> Findings:
    """Return how the sweep called `name` stands now."""
    return stands(name, search.stamp(name), len(launch_sweep.living_workers(name)))


def names(grid: bool) -> list[str]:
    """Return the names of the grids, or of the other sweeps; one that is damaged is shown with the latter."""
    return [name for name in search.names() if is_grid(name) == grid]


@st.cache_data(max_entries=500, show_spinner=False)
def _is_grid(name: str, identity: str) -> bool:
    return search.plan_of(search.open_study(name)).grid


def is_grid(name: str) -> bool:
    """Return whether a sweep is a grid."""
    try:
        return _is_grid(name, search.identity(name))
    except SweepError:
        return False


def chosen(key: str, grid: bool, label: str) -> str | None:
    """Let a person choose a sweep; the address says which. Returns None where there is none."""
    known = names(grid)
    wanted = st.query_params.get(key)
    if wanted is not None and wanted not in known:
        st.error(f"There is no {label.lower()} called {ui.plain(wanted[:60])} here.", icon=":material/error:")
    if not known:
        return None
    if wanted in known:
        st.session_state[f"choice_{key}"] = wanted
    elif st.session_state.get(f"choice_{key}") not in known:
        st.session_state[f"choice_{key}"] = newest(known)
    name = st.selectbox(label, known, key=f"choice_{key}", on_change=_remember, args=(key,))
    st.query_params[key] = name
    return name


def newest(known: list[str]) -> str:
    """Return the one of `known` that was worked on last."""
    return max(known, key=lambda name: search.stamp(name))


def _remember(key: str) -> None:
    st.query_params[key] = st.session_state[f"choice_{key}"]
    st.query_params.pop("trial", None)


def base_choice(prefix: str) -> TrainConfig:
    """Let a person choose what is the same in all trials, which the address keeps; return it."""
    left, middle, right = st.columns(3)
    defaults = {f"{prefix}_preset": "quick", f"{prefix}_images": "5000", f"{prefix}_phases": "head"}
    words = [str(number) for number in IMAGES]
    for (key, default), valid in zip(defaults.items(), (BASES, words, PHASES), strict=True):
        ui.linked(key, valid, default)
    preset = left.selectbox(
        "Everything else from",
        BASES,
        format_func=str.capitalize,
        key=f"{prefix}_preset",
        persist_state="session",
        help="The preset that gives the knobs which are not varied.",
    )
    images = middle.select_slider(
        "Images a trial",
        words,
        format_func=lambda word: KNOBS["train_images"].say(int(word)),
        key=f"{prefix}_images",
        persist_state="session",
        help="Fewer are faster; what is good on few images is mostly good on all.",
    )
    both = right.segmented_control(
        "A trial trains",
        list(PHASES),
        required=True,
        format_func=PHASES.__getitem__,
        key=f"{prefix}_phases",
        persist_state="session",
    )
    for (key, default), value in zip(defaults.items(), (preset, images, both), strict=True):
        ui.link(key, value, default)
    base = PRESETS[preset]
    changes: dict[str, Any] = {"train_images": int(images)} | ({"fine_tune_epochs": 0} if both == "head" else {})
    return TrainConfig(**{name: getattr(base, name) for name in KNOBS} | changes)


def name_input(place: Any, kind: str) -> str:
    """Let a person name what is started; `kind` with the first free number is offered."""
    key = f"{kind}_name"
    if key not in st.session_state:
        st.session_state[key] = search.free_name(kind, search.names())
    name: str = place.text_input("Name", max_chars=40, key=key, help="a-z, 0-9 and -")
    return name


def forget_name(kind: str) -> None:
    """Offer another name from now on, as this one is taken; to be called before the field is drawn."""
    st.session_state[f"{kind}_name"] = search.free_name(kind, search.names())


def act(action: Callable[..., None], *args: Any) -> None:
    """Do something to a sweep, keeping what goes wrong for the page to show."""
    try:
        action(*args)
    except CifarError as error:
        st.session_state["sweep_error"] = str(error)


def delete_button(found: Findings) -> None:
    """Offer to delete a sweep that nobody works on."""
    with st.popover("Delete", icon=":material/delete:", type="tertiary"):
        undo = "It is gone for good" if search.storage_url() else "It can be brought back"
        st.markdown(f"Delete **{ui.plain(found.name)}**? {undo}; the runs of its trials stay either way.")
        st.button("Delete", icon=":material/delete:", key=f"delete_{found.name}", on_click=_delete, args=(found.name,))


def _delete(name: str) -> None:
    act(launch_sweep.delete, name)
    if "sweep_error" not in st.session_state:
        st.session_state["sweep_deleted"] = name
        for key in ("sweep", "grid", "trial", "cell"):
            st.query_params.pop(key, None)


def undo_bar() -> None:
    """Offer to undo the last deletion."""
    name = st.session_state.get("sweep_deleted")
    if name is None or not search.is_restorable(name):
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo_sweep_bar"):
        st.markdown(f":material/delete: Deleted: {ui.plain(name)}")
        st.button("Undo", icon=":material/undo:", key="undo_sweep", on_click=act, args=(search.restore, name))


def problem() -> None:
    """Show what went wrong with the last button."""
    if "sweep_error" in st.session_state:
        st.error(ui.plain(st.session_state.pop("sweep_error")), icon=":material/error:")


def status_line(found: Findings, more: Callable[[], None]) -> None:
    """Say how a sweep stands, with a bar and its buttons; `more` draws further ones."""
    icon, colour = LOOK[found.state]
    goal = found.goal
    share = found.done / goal.trials
    if goal.seconds:
        share = max(share, found.spent_seconds / goal.seconds)
    of = f"{goal.seconds / 60:g} minutes of training" if goal.seconds else f"{goal.trials} trials"
    words = WORDS[found.state]
    if found.state == "running":
        words = f"{found.done} trials so far, of {of}" if goal.seconds else f"{found.done} of {of}"
        words += left_words(found, share)
    top, buttons = st.columns([3, 2], vertical_alignment="center")
    with top, st.container(horizontal=True, vertical_alignment="center"):
        st.badge(found.state, icon=icon, color=colour)  # type: ignore[arg-type]
        st.markdown(f"**{words}**")
    with buttons, st.container(horizontal=True, horizontal_alignment="right"):
        live, key = found.state in findings.LIVE_STATES, found.name
        if live:
            st.button(
                "Stop",
                icon=":material/stop:",
                key=f"stop_{key}",
                disabled=found.state == "stopping",
                on_click=act,
                args=(launch_sweep.stop, found.name),
                help="Takes effect within three seconds; a trial that is interrupted goes on when it is resumed.",
            )
        elif found.state != "finished":
            st.button(
                "Resume",
                icon=":material/play_arrow:",
                key=f"resume_{key}",
                on_click=act,
                args=(launch_sweep.resume, found.name),
            )
        more()
        if not live:
            delete_button(found)
    if found.state in findings.LIVE_STATES:
        st.progress(min(share, 1.0))
    problem()


def left_words(found: Findings, share: float) -> str:
    """Return how long a running sweep still takes, in words, from the trials so far."""
    if not found.done or not found.spent_seconds or share <= 0:
        return "; the first trial computes the stored features"
    left = found.spent_seconds * (1 / share - 1)
    return f", about {ui.seconds(left)} left" if left >= 1 else ""


def failures(found: Findings) -> None:
    """Say why trials failed, each reason once."""
    reasons = list(dict.fromkeys(trial.error for trial in found.trials if trial.error))
    for reason in reasons[:3]:
        st.warning(ui.plain(f"Trials failed: {reason}"), icon=":material/warning:")


def trial_actions(found: Findings, trial: Trial, prefix: str) -> None:
    """Offer to open a trial as a run, and to continue it on all images."""
    with st.container(horizontal=True):
        is_here = bool(trial.run and runs.ID_PATTERN.fullmatch(trial.run) and runs.Run(trial.run).path.is_dir())
        if is_here and trial.run:
            st.page_link(
                "pages/train.py", label="Open as a run", icon=":material/open_in_new:", query_params={"run": trial.run}
            )
        else:
            st.caption("Its run lies on another machine, or was deleted." if trial.run else "It has no run yet.")
        if st.button(
            "Continue on all images",
            icon=":material/trending_up:",
            key=f"{prefix}_continue_{trial.number}",
            help="Sets the knobs of Train as in this trial, with all images.",
        ):
            try:
                controls.set_all(found.plan.with_values({**trial.params, "train_images": ALL_IMAGES}))
            except CifarError as error:
                ui.problem(error)
            else:
                st.switch_page("pages/train.py")
