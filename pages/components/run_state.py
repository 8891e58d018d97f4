"""A run's state, title and file stamps, as all pages show them."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from cifar_core.config import KNOBS
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


def run_title(row: Row) -> str:
    """Return a run's name for a list: what a person wrote, its id's clock time, what differs most, its accuracy."""
    figure = f" · {row.validation_accuracy:.1%}" if row.validation_accuracy is not None else ""
    shape = "damaged"
    if row.config:
        images = KNOBS["train_images"].say(row.config.train_images)
        shape = f"α {row.config.alpha:g} · {row.config.image_size} px · {images}"
    stamp = row.run.id
    clock = f"{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}.{stamp[15:18]}"  # to the millisecond: no two are alike
    written = row.labels.name
    return f"{f'{written} · ' if written else ''}{stamp[4:6]}-{stamp[6:8]} {clock} · {shape}{figure}"


def run_titles(found: Iterable[Row]) -> dict[str, str]:
    """Return the names of runs for a list, by id; made once, since Streamlit asks for each several times."""
    return {row.run.id: run_title(row) for row in found}


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
