"""A run's state, title and file stamps, as all pages show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from cifar_core.config import suggested_name
from cifar_core.evaluation.listing import Row
from cifar_core.runs import Run

STATE_LOOK = {
    "queued": (":material/hourglass_top:", "gray"),
    "running": (":material/play_arrow:", "blue"),
    "stopping": (":material/pending:", "orange"),
    "stopped": (":material/stop:", "orange"),
    "finished": (":material/check:", "green"),
    "failed": (":material/error:", "red"),
    "lost": (":material/link_off:", "red"),
}


def state_badge(run: Run, state: str) -> None:
    """Show a run's state as a badge."""
    icon, colour = STATE_LOOK[state]
    st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]


def _name(row: Row) -> str:
    return row.labels.name or (suggested_name(row.config) if row.config else "damaged")


def short_names(found: Iterable[Row]) -> dict[str, str]:
    """Return the names of runs for tables and legends, by id; names that would be the same get day and time."""
    names = {row.run.id: _name(row) for row in found}
    count = Counter(names.values())
    return {id_: name if count[name] == 1 else f"{name} · {local_time(id_)}" for id_, name in names.items()}


def run_title(row: Row) -> str:
    """Return a run's name for a list: its name, local day and time, and validation accuracy."""
    figure = f" · {row.validation_accuracy:.1%}" if row.validation_accuracy is not None else ""
    return f"{_name(row)} · {local_time(row.run.id)}{figure}"


def local_time(run_id: str) -> str:
    """Return when a run was made, as "28 Nov 14:02:09" in the time zone of the browser."""
    made = datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    try:
        zone = ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, ZoneInfoNotFoundError):
        zone = ZoneInfo("UTC")
    return f"{made.astimezone(zone):%-d %b %H:%M:%S}"


def run_titles(found: Iterable[Row]) -> dict[str, str]:
    """Return the names of runs for a list, by id; names that would be the same get the millisecond."""
    titles = {row.run.id: run_title(row) for row in found}
    alike = {title for title, count in Counter(titles.values()).items() if count > 1}
    return {id_: f"{title} · {id_[15:18]} ms" if title in alike else title for id_, title in titles.items()}


def stamp(run: Run, *names: str) -> tuple[int, ...]:
    """Return what changes with the files called `names` of a run: time and size of each, 0 where there is none."""
    found: list[int] = []
    for name in names:
        try:
            stat = (run.path / name).stat()
        except OSError:
            found += (0, 0)
        else:
            found += (stat.st_mtime_ns, stat.st_size)
    return tuple(found)
