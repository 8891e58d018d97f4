"""The user who made a run, a search or a project, if a login is configured: owner.json in its folder.

Without the file it was made without a login, as by the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cifar_core.errors import RunError
from cifar_core.runs.records import read_json, write_json
from cifar_core.untrusted import one_line

FILE = "owner.json"
_LIMIT = 200  # characters


class Person(NamedTuple):
    """A user: `id` from the login provider and `name` for the screen, untrusted text; both empty without a login."""

    id: str = ""
    name: str = ""


NOBODY = Person()


def save(folder: Path, person: Person) -> None:
    """Write the owner of `folder`; do nothing without a login. Raises RunError."""
    try:
        if person.id:
            write_json(folder / FILE, person._asdict())
    except OSError as error:
        raise RunError(f"The owner could not be written: {error.strerror}; free disk space and try again.") from None


def load(folder: Path) -> Person:
    """Return the owner of `folder`, or NOBODY if unknown."""
    saved = read_json(folder / FILE)
    return Person(*(one_line(str(saved.get(key) or ""))[:_LIMIT] for key in Person._fields))
