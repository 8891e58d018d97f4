"""Names, states and file stamps of runs for all pages, and the selection of the run that a page shows."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from cifar_core import machine, runs
from cifar_core.errors import RunError
from cifar_core.evaluation import listing
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.listing import Row
from cifar_core.inference.classifier import Classifier
from cifar_core.runs import Run, labels, trash
from pages.components import address, formatting, guarded

LIST_HELP = "Validation accuracy, name, day and time of each run."


def asked(known: list[Row]) -> str | None:
    """Return the run ID in the URL and add the run to `known`. If it does not exist, show why and return None."""
    wanted = st.query_params.get("run")
    if not wanted:
        return None
    if all(row.run.id != wanted for row in known):
        try:
            known.append(listing.row(runs.get(wanted)))
        except RunError as error:
            guarded.problem(error)
            return None
    remember(wanted)
    return wanted


def remember(run_id: str) -> None:
    """Select this run on the other pages, too."""
    st.session_state["chosen_run"] = run_id


def remembered(known: Container[str]) -> str | None:
    """Return the run that was selected last on any page, or None if it is not `known`.

    After Back or Forward the URL alone decides.
    """
    if address.is_history():
        st.session_state.pop("chosen_run", None)
    chosen = st.session_state.get("chosen_run")
    return chosen if chosen in known else None


def own(known: Iterable[Row]) -> list[Row]:
    """Return the runs that are not trials of a sweep, or all if there are no others; the user's own first."""
    known = mine_first(known)
    return [row for row in known if not row.run.is_trial] or known


def mine_first(known: Iterable[Row]) -> list[Row]:
    """Return `known` with other users' runs last."""
    is_anothers = guarded.belongs_to_others()
    return sorted(known, key=lambda row: is_anothers(row.run.path))


def pick(known: list[Row], wanted: str, key: str) -> Run:
    """Draw the select box of the user's runs in `known` and of `wanted`, the current one; store a change in the URL.

    A run that was not chosen here gets a new select box: a browser that polls, but does not yet show the new one, sends
    the value of the one before, which must not count as a choice.
    """
    *last, number = st.session_state.get("_picked", (key, wanted, 0))
    number += last != [key, wanted]
    st.session_state["_picked"] = key, wanted, number
    mine = {row.run.id for row in own(known)} | {wanted}
    titles = run_titles(row for row in known if row.run.id in mine)
    look: dict[str, Any] = {"format_func": titles.__getitem__, "help": LIST_HELP, "key": f"{key}_{number}"}
    chosen = st.selectbox("Run", list(titles), list(titles).index(wanted), **look)
    if chosen != wanted:
        st.session_state["_picked"] = key, chosen, number
        st.query_params["run"] = chosen
        st.rerun()
    return Run(wanted)


def other(known: list[Row], run: Run, key: str, about: str | None = None) -> str:
    """Draw the select box of another finished run of the user, linked to the URL; return its ID, "" for none."""
    if st.query_params.get(key) == run.id:  # it was compared with this one, and then opened
        del st.query_params[key]
    titles = run_titles(row for row in own(known) if row.run.id != run.id and row.state == "finished")
    return address.linked_select("Compare with", key, {"": "none"} | titles, "", help=about)


def nothing_yet(title: str, about: str) -> None:
    """Draw a page that needs a run if there is none: its content (`about`) and a button to *Train*."""
    st.title(title)
    formatting.alert(st.info, f"{about} Train a network first; it takes about a minute.", ":material/info:")
    to_train()


def to_train() -> None:
    """Draw a button that opens *Train*."""
    if st.button("Train a network", type="primary", icon=":material/model_training:"):
        st.switch_page("pages/train.py")


STATE_LOOK = {
    "queued": (":material/hourglass_top:", "gray"),
    "running": (":material/play_arrow:", "blue"),
    "stopping": (":material/pending:", "orange"),
    "stopped": (":material/stop:", "orange"),
    "finished": (":material/check:", "green"),
    "failed": (":material/error:", "red"),
    "lost": (":material/link_off:", "red"),
}


def state_badge(state: str) -> None:
    """Show a run's state as a badge."""
    icon, color = STATE_LOOK[state]
    st.badge(state, icon=icon, color=color)  # type: ignore[arg-type]


def short_names(rows: Iterable[Row]) -> dict[str, str]:
    """Return run names for tables and legends, by ID; equal names begin with day and time."""
    names = {row.run.id: row.name for row in rows}
    return _distinct(names, local_time, _second)


def run_title(row: Row) -> str:
    """Return a run's title for a list, which may cut the end: validation accuracy, name, local day and time."""
    figure = f"{row.validation_accuracy:.1%} · " if row.validation_accuracy is not None else ""
    return f"{figure}{row.name} · {local_time(row.run.id)}"


def title_of(run_id: str, folder: Path | None = None) -> str:
    """Return name and local day and time of a run, or of a deleted run in `folder`; its ID if it is gone."""
    run = Run(run_id)
    name = labels.name_of(run, folder)
    return f"{name} · {local_time(run_id)}" if (folder or run.path).is_dir() else run_id


def deleted_titles(deleted: Iterable[str]) -> dict[str, str]:
    """Return the titles of runs in the trash for a list, by ID; equal titles begin with the second."""
    return _distinct({id_: title_of(id_, trash.trash_dir() / id_) for id_ in deleted}, _second)


def local_time(run_id: str) -> str:
    """Return a run's creation time in the browser's time zone: "28 Nov 14:02"."""
    return _local_time(run_id[:15], st.context.timezone or "UTC")


@functools.lru_cache(maxsize=8192)
def _local_time(utc: str, zone: str) -> str:
    try:
        made = datetime.strptime(utc, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the ID of an imported run may name any day
        return utc
    with contextlib.suppress(ValueError, OverflowError, OSError, ZoneInfoNotFoundError):  # a browser can send any text
        made = made.astimezone(ZoneInfo(zone))
    return f"{made.day} {made:%b %H:%M}"


def run_titles(rows: Iterable[Row]) -> dict[str, str]:
    """Return run titles for a list, by ID; equal titles begin with the second."""
    return _distinct({row.run.id: run_title(row) for row in rows}, _second)


def _distinct(names: dict[str, str], *starts: Callable[[str], str]) -> dict[str, str]:
    """Return `names` by ID; equal ones begin with the first of `starts(id)` that differs, since a list may cut the end.

    At last with the ID: two users may start runs in the same millisecond.
    """
    last: Callable[[str], str] = str
    for start in (*starts, last):
        count = Counter(names.values())
        names = {id_: name if count[name] == 1 else f"{start(id_)} · {name}" for id_, name in names.items()}
    return names


def _second(run_id: str) -> str:
    return f"{run_id[13:15]}.{run_id[15:18]} s"


def stamp(run: Run, *names: str) -> tuple[int, ...]:
    """Return numbers that change with the files called `names` of a run, zeros for a missing one."""
    return tuple(number for name in names for number in machine.stamp(run.path / name))


def by_files(*names: str) -> dict[str | type, Callable[[Any], Any]]:
    """Return `hash_funcs` for a cached function of a run, its assessment or its classifier.

    The function is called again after one of the run's files called `names` has changed.
    """

    def state(run: Run) -> tuple[str, tuple[int, ...]]:
        return run.id, stamp(run, *names)

    return {Run: state, Assessment: lambda result: state(result.run), Classifier: lambda model: state(Run(model.name))}
