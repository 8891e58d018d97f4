"""What fuzzing does to files that are sound: bytes flipped, cut off, doubled, spliced; values of JSON replaced.

CIFAR_FUZZ sets how many examples each property gets, as a multiple of the modest number that CI takes:

    CIFAR_FUZZ=40 pytest tests/security tests/test_pictures.py  (and the other files that docs/hosting.md names)
"""

import copy
import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = float(os.environ.get("CIFAR_FUZZ", "1"))
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2.5, 2**31, 2**63, 10**400, -(10**400), 1e308, float("nan"), float("inf"),
    -float("inf"), "", "x", "2", "nan", "=1+1", "<img src=x onerror=alert(1)>", "../../x", "\x00", "\ud800", "\u202e",
    "a" * 3_000, [], {}, [[]], {"a": {"b": [1]}}, [1, 2, 3], list(range(200)),
)  # fmt: skip
"""Values that a reader of JSON does not wait for."""


def examples(count: int) -> settings:
    """Return the settings of a property with `count` examples, times CIFAR_FUZZ."""
    return settings(
        max_examples=max(1, round(count * TIMES)),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("flip", "set", "cut", "double", "splice", "drop")),
        st.integers(0, 2**24),  # where
        st.integers(0, 2**24),  # where else, or with what
        st.integers(1, 64),  # how many bytes
    ),
    min_size=1,
    max_size=4,
)
_SET = (b"\xff" * 4, bytes(4), b"\x00\x00\x00\x80", b"\x7f\xff\xff\xff")


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` after one to four changes, whose drawing does not depend on what it is."""
    return CHANGES.map(lambda changes: changed(content, changes))


def changed(content: bytes, changes: list[tuple[str, int, int, int]]) -> bytes:
    """Return `content` after `changes`, which CHANGES draws."""
    found = bytearray(content)
    for kind, where, other, length in changes:
        at, elsewhere = (place % max(len(found), 1) for place in (where, other))
        if kind == "flip":
            found[at : at + 1] = bytes(byte ^ 1 << other % 8 for byte in found[at : at + 1])
        elif kind == "set":
            found[at : at + 4] = _SET[other % len(_SET)]
        elif kind == "cut":
            del found[at:]
        elif kind == "double":
            found[at:at] = found[at : at + length]
        elif kind == "splice":
            found[at : at + length] = found[elsewhere : elsewhere + length]
        else:
            del found[at : at + length]
    return bytes(found)


ODDITIES = st.lists(
    st.tuples(st.integers(0, 2**24), st.sampled_from(ODD), st.integers(0, 9).map(lambda number: number == 0)),
    min_size=1,
    max_size=2,
)
"""Which values become odd ones, or are left out."""


def odd_json(content: bytes) -> st.SearchStrategy[bytes]:
    """The JSON in `content` with one or two values replaced by odd ones, or left out."""
    return ODDITIES.map(lambda oddities: odd(content, oddities))


def odd_lines(content: bytes) -> st.SearchStrategy[bytes]:
    """Lines of JSON, one of them odd."""
    return st.tuples(LINE, ODDITIES).map(lambda drawn: odd_line(content, *drawn))


LINE = st.integers(0, 2**24)


def odd(content: bytes, oddities: list[tuple[int, Any, bool]]) -> bytes:
    """Return the JSON in `content` after `oddities`, which ODDITIES draws."""
    found = json.loads(content)
    for which, value, is_left_out in oddities:
        paths = _paths(found)
        found = _replaced(found, paths[which % len(paths)], copy.deepcopy(value), is_left_out)
    return json.dumps(found).encode()


def odd_line(content: bytes, line: int, oddities: list[tuple[int, Any, bool]]) -> bytes:
    """Return lines of JSON, one of them after `oddities`, which LINE and ODDITIES draw."""
    lines = content.splitlines()
    lines[line % len(lines)] = odd(lines[line % len(lines)], oddities)
    return b"\n".join(lines) + b"\n"


def _paths(value: Any, before: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    return [before, *(path for key, item in inner for path in _paths(item, (*before, key)))]


def _replaced(value: Any, path: tuple, new: Any, drop: bool) -> Any:
    if not path:
        return new
    target = value
    for key in path[:-1]:
        target = target[key]
    if drop:
        del target[path[-1]]
    else:
        target[path[-1]] = new
    return value
