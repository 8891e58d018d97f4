"""What the sections Sweep and Surface share: which sweep, how it stands, its buttons, one trial."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import streamlit as st

from cifar_core import runs
from cifar_core.config import ALL_IMAGES, KNOBS, PRESETS, Knob, TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, SweepError
from cifar_core.search import findings, studies, sweep_workers
from cifar_core.search.findings import Findings, Trial
from cifar_core.search.space import Plan
from pages.components import address, formatting, guarded, knobs, messages

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
    "stopping": "Stopping; every trial keeps what it has",
    "stopped": "Stopped; resume it to go on, interrupted trials included",
    "interrupted": "Its worker ended unexpectedly; resume it to go on, nothing is lost",
    "failed": "Every trial failed; open one of them below to read why",
}
_HELD = ("train_images", "alpha", "image_size", "weights", "dropout", "augmentation", "head_epochs", "fine_tune_epochs")
"""Knobs that are told of where they are not varied."""


@dataclass(frozen=True)
class Section:
    """What Sweep and Surface do not share: `key` names the open one in the address, `item` its open part.

    `done` follows "Done; ", and `empty` says what to do where there is none.
    """

    key: str
    item: str
    title: str
    is_grid: bool
    done: str
    empty: str


def opened(section: Section, new: Callable[[], None]) -> Findings | None:
    """Draw the way to a `new` one and the choice of one; return it as it stands, None where nothing can be shown."""
    undo_bar()
    known, form = names(section.is_grid), f"{section.key}_form"
    if form not in st.session_state:  # a link to a filled in form opens it
        st.session_state[form] = any(word.startswith(f"{section.key}_") for word in st.query_params)
    with st.expander(
        f"New {section.title.lower()}", expanded=not known or st.session_state[form], icon=":material/add:"
    ):
        new()
    name = chosen(section, known)
    if name is None:
        problem()
        st.info(section.empty, icon=":material/info:")
        return None
    try:
        there = found(name)
    except CifarError as error:
        messages.problem(error)
        delete_button(name)
        return None
    st.session_state["sweep_live"] = (name, there.is_live)
    return there


@contextlib.contextmanager
def starting(section: Section, name: str) -> Iterator[None]:
    """Show the sweep called `name` that is started within, or what went wrong."""
    try:
        yield
    except CifarError as error:
        st.session_state["sweep_error"] = str(error)
        return
    kind = section.title.lower()
    st.session_state[f"{kind}_name"] = studies.free_name(kind, studies.names())  # as this one is taken
    st.session_state[f"{section.key}_form"] = False
    st.session_state[f"choice_{section.key}"] = st.query_params[section.key] = name
    st.query_params.pop(section.item, None)


@st.cache_resource(max_entries=64, show_spinner=False)
def stands(name: str, stamp: tuple[int, int], workers: int) -> Findings:
    """Return how a sweep stands; read once for each state of its journal and number of workers, for all people."""
    return findings.find(name)


def found(name: str) -> Findings:
    """Return how the sweep called `name` stands now."""
    return stands(name, studies.stamp(name), len(sweep_workers.living_workers(name)))


def names(grid: bool) -> list[str]:
    """Return the names of the grids, or of the other sweeps; one that is damaged is shown with the latter."""
    return [name for name in studies.names() if is_grid(name) == grid]


@st.cache_data(max_entries=500, show_spinner=False)
def _is_grid(name: str, identity: str) -> bool:
    return studies.plan_of(studies.open_study(name)).grid


def is_grid(name: str) -> bool:
    """Return whether a sweep is a grid."""
    try:
        return _is_grid(name, studies.identity(name))
    except SweepError:
        return False


def chosen(section: Section, known: list[str]) -> str | None:
    """Let a person choose one of the `known`; the address says which. Returns None where there is none."""
    key, choice = section.key, f"choice_{section.key}"
    wanted = st.query_params.get(key)
    if wanted is not None and wanted not in known:
        st.error(
            f"There is no {section.title.lower()} called {messages.plain(wanted[:60])} here.", icon=":material/error:"
        )
    if not known:
        return None
    if wanted in known:
        st.session_state[choice] = wanted
    elif st.session_state.get(choice) not in known:
        st.session_state[choice] = newest(known)
    name: str = st.selectbox(section.title, known, key=choice, on_change=_remember, args=(section,))
    st.query_params[key] = name
    return name


def newest(known: list[str]) -> str:
    """Return the one of `known` that was worked on last; one that is not opened counts as the oldest."""

    def worked_on(name: str) -> tuple[int, int]:
        try:
            return studies.stamp(name)
        except SweepError:
            return 0, 0

    return max(known, key=worked_on)


def _remember(section: Section) -> None:
    st.query_params[section.key] = st.session_state[f"choice_{section.key}"]
    st.query_params.pop(section.item, None)


def no_images() -> list[str]:
    """Return why there is nothing to train on; empty if there is."""
    error = cifar10.status()["error"]
    return [error] if error else []


def base_choice(prefix: str) -> TrainConfig:
    """Let a person choose what is the same in all trials, which the address keeps; return it."""
    left, middle, right = st.columns(3)
    defaults = {f"{prefix}_preset": "quick", f"{prefix}_images": "5000", f"{prefix}_phases": "head"}
    words = [str(number) for number in IMAGES]
    for (key, default), valid in zip(defaults.items(), (BASES, words, PHASES), strict=True):
        address.linked(key, valid, default)
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
    for (key, default), value in zip(defaults.items(), (preset, images, both or "head"), strict=True):
        address.link(key, value, default)
    base = PRESETS[preset]
    changes: dict[str, Any] = {"train_images": int(images)} | ({"fine_tune_epochs": 0} if both == "head" else {})
    return TrainConfig(**{name: getattr(base, name) for name in KNOBS} | changes)


def name_input(place: Any, kind: str) -> str:
    """Let a person name what is started; `kind` with the first free number is offered."""
    key = f"{kind}_name"
    if key not in st.session_state:
        st.session_state[key] = studies.free_name(kind, studies.names())
    name: str = place.text_input("Name", max_chars=40, key=key, help="a-z, 0-9 and -")
    return name


def act(action: Callable[..., None], *args: Any) -> None:
    """Do something to a sweep, keeping what goes wrong for the page to show."""
    try:
        action(*args)
    except CifarError as error:
        st.session_state["sweep_error"] = str(error)


def delete_button(name: str) -> None:
    """Offer to delete a sweep that nobody works on."""
    with st.popover("Delete", icon=":material/delete:", type="tertiary"):
        undo = "It is gone for good" if studies.storage_url() else "It can be brought back"
        st.markdown(f"Delete **{messages.plain(name)}**? {undo}; the runs of its trials stay either way.")
        st.button("Delete", icon=":material/delete:", key=f"delete_{name}", on_click=_delete, args=(name,))


def _delete(name: str) -> None:
    act(sweep_workers.delete, name)
    if "sweep_error" not in st.session_state:
        st.session_state["sweep_deleted"] = name
        for key in ("sweep", "grid", "trial", "cell"):
            st.query_params.pop(key, None)
        st.rerun()  # the button stands in a fragment, what is gone around it


def undo_bar() -> None:
    """Offer to undo the last deletion."""
    name = st.session_state.get("sweep_deleted")
    if name is None or not studies.is_restorable(name):
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo_sweep_bar"):
        st.markdown(f":material/delete: Deleted: {messages.plain(name)}")
        st.button("Undo", icon=":material/undo:", key="undo_sweep", on_click=act, args=(studies.restore, name))


def problem() -> None:
    """Show what went wrong with the last button."""
    if "sweep_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("sweep_error")), icon=":material/error:")


def status_line(section: Section, found: Findings, more: Callable[[], None]) -> None:
    """Say how a sweep stands and what is the same in all its trials, with its buttons; `more` draws further ones.

    In a fragment: when the sweep has begun or ended, the page is drawn anew, but how it stands is on screen before.
    """
    icon, colour = LOOK[found.state]
    name, share = found.name, found.share
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(found.state, icon=icon, color=colour)  # type: ignore[arg-type]
        st.markdown(f"**{_words(section, found)}**", width="stretch")
        if found.is_live:
            st.button(
                "Stop",
                icon=":material/stop:",
                key=f"stop_{name}",
                disabled=found.state == "stopping",
                on_click=act,
                args=(sweep_workers.stop, name),
                help="Takes effect within three seconds; a trial that is interrupted goes on when it is resumed.",
            )
        elif found.state != "finished":
            st.button(
                "Resume",
                icon=":material/play_arrow:",
                key=f"resume_{name}",
                on_click=guarded.once,
                args=(f"resume {name}", act, sweep_workers.resume, name),
            )
        more()
        if not found.is_live:
            delete_button(name)
    if found.is_live:
        st.progress(share)
    if st.session_state.get("sweep_live") != (name, found.is_live):
        st.rerun()
    held_fixed(found.plan)
    problem()


def _words(section: Section, found: Findings) -> str:
    if found.state == "finished":
        return f"Done; {section.done}"
    if found.state != "running":
        return WORDS[found.state]
    goal = found.goal
    said = f"{found.done} of {goal.trials} trials"
    if goal.seconds:
        said = f"{found.done} trials so far, of {goal.seconds / 60:g} minutes of training"
    return said + left_words(found)


def held_fixed(plan: Plan) -> None:
    """Say what is the same in all trials."""
    varied = {item.knob for item in plan.ranges}
    said = [_held(KNOBS[name], getattr(plan.base, name)) for name in _HELD if name not in varied]
    st.caption(f":material/lock: **Held fixed:** {messages.plain(', '.join(said))}, and every other knob.")


def _held(knob: Knob, value: Any) -> str:
    label, said = knob.label.lower(), knob.say(value)
    return f"{label} {said.removesuffix(knob.unit).strip() if label.endswith(knob.unit) else said}"


def left_words(found: Findings) -> str:
    """Return how long a running sweep still takes, in words, from the trials so far."""
    if not found.done or not found.spent_seconds:
        return "; the first trial computes the stored features"
    left = found.spent_seconds * (1 / found.share - 1)
    return f", about {formatting.seconds(left)} left" if left >= 1 else ""


def failures(found: Findings) -> None:
    """Say why trials failed, each reason once."""
    reasons = list(dict.fromkeys(trial.error for trial in found.trials if trial.error))
    for reason in reasons[:3]:
        st.warning(messages.plain(f"Trials failed: {reason}"), icon=":material/warning:")


def trial_actions(found: Findings, trial: Trial, prefix: str, label: str = "Open as a run") -> None:
    """Offer to open a trial as a run, and to continue it on all images."""
    with st.container(horizontal=True, vertical_alignment="center"):
        is_here = bool(trial.run and runs.ID_PATTERN.fullmatch(trial.run) and runs.Run(trial.run).path.is_dir())
        if is_here and trial.run:
            st.page_link("pages/train.py", label=label, icon=":material/open_in_new:", query_params={"run": trial.run})
        else:
            st.caption("Its run lies on another machine, or was deleted." if trial.run else "It has no run yet.")
        if st.button(
            "Continue on all images",
            icon=":material/trending_up:",
            key=f"{prefix}_continue_{trial.number}",
            help="Sets the knobs of Train as in this trial, with all images.",
        ):
            try:
                knobs.set_all(found.plan.with_values({**trial.params, "train_images": ALL_IMAGES}))
            except CifarError as error:
                messages.problem(error)
            else:
                st.switch_page("pages/train.py")
