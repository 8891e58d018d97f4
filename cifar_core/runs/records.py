"""The JSON files of a run directory, written atomically and read as untrusted input.

write_json  load_json  read_json    one object
read_rows                           the rows of a .jsonl file
load                                a record of a given type
save_owner  owner                   the user who made a run, a search or a project, if a login is configured
sanitized  status                   values that are safe to show and to compute with; other values are removed
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from cifar_core import machine
from cifar_core.errors import RunError, os_errors_as
from cifar_core.untrusted import one_line

Value = TypeVar("Value")
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
MOST = 1e15
"""Upper bound of all numbers that a run writes."""
_LIMIT_BYTES = 64 * 1024 * 1024  # larger files are not ours and are not read
_MOST_TEXT, _MOST_NESTING = 100_000, 12
_MOST_WORDS, _MOST_NAME = 2_000, 200
OWNER_FILE = "owner.json"

_STATUS_WORDS = ("state", "stage", "message", "note")
_STATUS_NUMBERS = ("pid", "pid_created", "booted", "started", "began", "updated")
_STATUS_OBJECTS = {"error": ("type", "message"), "imported": ("id", "time")}
_RESULT_COUNTS = ("validation_images", "test_images", "best_epoch")


def write_json(path: Path, data: Any) -> None:
    """Write `data` to `path` atomically. Raises OSError."""
    with machine.replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")


def load_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, or None if there is no such file.

    Raises RunError if the file is damaged: truncated, empty, unreadable, too large, or not an object.
    """
    try:
        data = json.loads(_read(path).decode("utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"received {type(data).__name__}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path.name} is damaged ({str(error)[:100]}), expected a JSON object.") from None
    return sanitized(data)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, or {} if the file is missing or damaged."""
    try:
        return load_json(path) or {}
    except RunError:
        return {}


def or_problem(read: Callable[[], Value], missing: str) -> tuple[Value | None, str]:
    """Return the result of `read` and ""; if it raises RunError, None and a sentence: what is `missing`, and why."""
    try:
        return read(), ""
    except RunError as error:
        return None, f"{missing}: {error}"


def _read(path: Path) -> bytes:
    """Return the bytes of `path`. Raises OSError, or ValueError if the file is too large."""
    if path.stat().st_size > _LIMIT_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes, expected at most {_LIMIT_BYTES}")
    return path.read_bytes()


def read_rows(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return the complete JSON rows of `path` from byte `offset`, and the offset for the next call.

    A file shorter than `offset` (rewritten by a resume) is read from its start.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(offset if offset <= size else 0)
            start = file.tell()
            chunk = file.read(_LIMIT_BYTES)
    except OSError:
        return [], 0
    whole = chunk[: chunk.rfind(b"\n") + 1]
    rows = []
    for line in whole.splitlines():
        try:
            row = json.loads(line, parse_int=bounded_int)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows, start + len(whole)


def sanitized(value: Any, nesting: int = _MOST_NESTING) -> Any:
    """Return JSON data with unsafe values replaced.

    NaN, infinity, numbers beyond MOST and values nested too deeply become None. Text loses unpaired surrogates and is
    truncated to 100,000 characters.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if is_number(value) else None
    if not nesting:
        return None
    if isinstance(value, list):
        return [sanitized(item, nesting - 1) for item in value]
    return {_text(key): sanitized(item, nesting - 1) for key, item in value.items()}


def bounded_int(text: str) -> float:
    """Return the integer in `text`, or NaN if it is beyond MOST."""
    return int(text) if len(text.lstrip("-")) < 16 else math.nan


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number, at most MOST in absolute value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -MOST <= value <= MOST


def amount(value: Any, most: float = MOST) -> float | None:
    """Return `value` if it is a number from 0 to `most`, otherwise None."""
    return value if is_number(value) and 0 <= value <= most else None


def status(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the valid values of a `sanitized` status.json: `state`, `stage`, `error`, `result` and so on."""
    values: dict[str, Any] = {key: saved[key][:_MOST_WORDS] for key in _STATUS_WORDS if isinstance(saved.get(key), str)}
    values |= {key: saved[key] for key in _STATUS_NUMBERS if is_number(saved.get(key))}
    for key, parts in _STATUS_OBJECTS.items():
        if isinstance(saved.get(key), dict):
            values[key] = {part: _words(saved[key][part]) for part in parts if part in saved[key]}
    if isinstance(saved.get("result"), dict):
        values["result"] = {key: value for key, value in saved["result"].items() if _is_figure(key, value)}
    return values


def _is_figure(name: str, value: Any) -> bool:
    """Return whether `value` is valid for the metric `name`: text, bool, or a number >= 0; an accuracy is <= 1."""
    if name in _RESULT_COUNTS:
        return type(value) is int and value >= 0
    if name.endswith("accuracy"):
        return amount(value, 1) is not None
    if isinstance(value, str):
        return len(value) <= _MOST_WORDS
    return isinstance(value, bool) or amount(value) is not None


def _words(value: Any) -> Any:
    return value if is_number(value) else str(value)[:_MOST_WORDS]


def _text(value: str) -> str:
    return value[:_MOST_TEXT].encode("utf-8", "replace").decode("utf-8")


class Origin(msgspec.Struct):
    """Origin of a run's images, initial weights or teacher, from environment.json.

    `name` is the name of a data set, `kind` the kind of weights, `fingerprint` a hash of the content.
    """

    label: str
    fingerprint: str
    name: str = ""
    kind: str = ""


class Environment(msgspec.Struct):
    """The images, initial weights and teacher in environment.json."""

    data: Origin
    weights: Origin
    teacher: Origin | None = None


class Person(NamedTuple):
    """A user: `id` from the login provider and `name` for the screen, untrusted text; both empty without a login."""

    id: str = ""
    name: str = ""


NOBODY = Person()


def environment(folder: Path) -> Environment | None:
    """Return environment.json in a run's `folder`, or None if it does not exist. Raises RunError if it is damaged."""
    return load(folder / "environment.json", Environment)


def save_owner(folder: Path, person: Person) -> None:
    """Write the user who made a run, a search or a project to its `folder`; nothing without a login. Raises RunError.

    Without the file it was made without a login, as by the command line.
    """
    if person.id:
        with os_errors_as(RunError, "The owner could not be written"):
            write_json(folder / OWNER_FILE, person._asdict())


def owner(folder: Path) -> Person:
    """Return the owner of `folder`, or NOBODY if unknown."""
    saved = read_json(folder / OWNER_FILE)
    return Person(*(one_line(str(saved.get(key) or ""))[:_MOST_NAME] for key in Person._fields))


def load(path: Path, kind: type[Value]) -> Value | None:
    """Return the JSON file `path` as a record of type `kind`, or None if there is no such file.

    Raises RunError if the file is damaged: not JSON, a missing field, or a value of another type.
    """
    try:
        return msgspec.json.decode(_read(path), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise RunError(f"{path.name} is damaged ({error}); restore the file, or start the run again.") from None
