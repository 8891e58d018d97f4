"""Who started a run, where people log in: owner.json in its folder, written once by the page that starts it."""

from __future__ import annotations

from typing import NamedTuple

from cifar_core.errors import RunError
from cifar_core.runs import Run
from cifar_core.runs.records import read_json, write_json
from cifar_core.untrusted import one_line

FILE = "owner.json"
_LIMIT = 200  # characters


class Person(NamedTuple):
    """`id` is the provider's; `name` is for the screen, as untrusted text. Both are empty where nobody logs in."""

    id: str = ""
    name: str = ""


def save(run: Run, person: Person) -> None:
    """Write who started `run`; nothing where nobody logs in. Raises RunError."""
    try:
        if person.id:
            write_json(run.path / FILE, person._asdict())
    except OSError as error:
        raise RunError(f"The run could not be written: {error.strerror}; free disk space and try again.") from None


def load(run: Run) -> Person:
    """Return who started `run`; an empty one where that is unknown."""
    saved = read_json(run.path / FILE)
    return Person(*(one_line(str(saved.get(key) or ""))[:_LIMIT] for key in Person._fields))
