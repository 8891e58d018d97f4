"""Name, note and star of a run: labels.json in its folder, written by pages and commands."""

import contextlib
import itertools
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cifar_core import machine, runs
from cifar_core.config import TrainConfig, suggested_name
from cifar_core.errors import ConfigError, RunError, os_errors_as
from cifar_core.runs import Run, records
from cifar_core.untrusted import one_line

FILE = "labels.json"
NAME_LIMIT, NOTE_LIMIT = 60, 500  # characters


@dataclass(frozen=True)
class Labels:
    """Name, note and star of a run, empty by default. The texts are untrusted: never render them as markup."""

    name: str = ""
    note: str = ""
    starred: bool = False


def load(run: Run, folder: Path | None = None) -> Labels:
    """Return the labels of `run`, or of a deleted run in `folder`; empty labels if the file is missing or damaged."""
    return load_or_problem(folder or run.path)[0]


def load_or_problem(folder: Path) -> tuple[Labels, str]:
    """Return the labels in a run's `folder` and ""; if the file is damaged, empty labels and a sentence."""
    saved, damaged = records.or_problem(
        lambda: records.load(folder / FILE, Labels),
        "Name, note and star are unknown until you set one; the file is then moved aside",
    )
    return _cleaned(saved or Labels()), damaged


def change(run: Run, **changes: Any) -> Labels:
    """Set `name`, `note` or `starred` of `run`, keep the others, and return all. Raises RunError.

    Removes invisible characters and truncates texts to their limits. A damaged file is first moved to
    labels.damaged-1.json (or the next free number).
    """
    busy = RunError(f"Run {run.id} is being changed elsewhere; try again.")
    with (
        os_errors_as(RunError, f"Run {run.id} cannot be changed"),
        machine.hold_lock(runs.runs_dir() / ".labels", 10, busy),  # two tabs may write to one run
    ):
        before, damaged = load_or_problem(runs.get(run.id).path)
        if damaged:
            names = (run.path / f"labels.damaged-{number}.json" for number in itertools.count(1))
            machine.replace(run.path / FILE, next(path for path in names if not path.exists()))
        after = _cleaned(replace(before, **changes))
        runs.write_json(run.path / FILE, asdict(after))
    return after


def shown_name(written: Labels, config: TrainConfig | None) -> str:
    """Return the name on screen: the user's, or else one from the settings."""
    return written.name or (suggested_name(config) if config else "damaged")


def name_of(run: Run, folder: Path | None = None) -> str:
    """Return the name of `run`, or of a deleted run in `folder`, on screen."""
    folder, config = folder or run.path, None
    with contextlib.suppress(ConfigError, RunError):
        config = TrainConfig.from_dict(records.load_json(folder / "config.json") or {})
    return shown_name(load(run, folder), config)


def file_stem(run: Run) -> str:
    """Return the name on screen as the stem of a file name: "quick, α 0.35" -> "quick_alpha-0.35"."""
    name = re.sub(r",\s*", "_", name_of(run).replace("α", "alpha"))
    return re.sub(r"[^\w.]+", "-", name).strip("-._") or "run"


def _cleaned(labels: Labels) -> Labels:
    name, note = one_line(labels.name)[:NAME_LIMIT].strip(), one_line(labels.note)[:NOTE_LIMIT].strip()
    return Labels(name, note, labels.starred)
