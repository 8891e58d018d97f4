"""The user who started a run, if a login is configured: owner.json, written once by the page that starts it."""

from __future__ import annotations

from typing import NamedTuple

from cifar_core.errors import RunError
from cifar_core.runs import Run
from cifar_core.runs.records import read_json, write_json
from cifar_core.untrusted import one_line

FILE = "owner.json"
_LIMIT = 200  # characters


class Person(NamedTuple):
    """A user: `id` from the login provider and `name` for the screen, untrusted text; both empty without a login."""

    id: str = ""
    name: str = ""


def save(run: Run, person: Person) -> None:
    """Write the user who started `run`; do nothing without a login. Raises RunError."""
    try:
        if person.id:
            write_json(run.path / FILE, person._asdict())
    except OSError as error:
        raise RunError(f"The run could not be written: {error.strerror}; free disk space and try again.") from None


def load(run: Run) -> Person:
    """Return the user who started `run`, or an empty Person if unknown."""
    saved = read_json(run.path / FILE)
    return Person(*(one_line(str(saved.get(key) or ""))[:_LIMIT] for key in Person._fields))
