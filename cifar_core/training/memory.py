"""What libraries say where the system gives no memory: each in words of its own, here as one MemoryError."""

from __future__ import annotations

import errno
import mmap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from cifar_core.errors import CifarError

_SIGNS = (
    "failed to map segment",  # the loader of libraries, and many a step of it with the next
    "cannot allocate memory",
    "can't start new thread",
    "oom when allocating",  # TensorFlow
    "paging file is too small",  # Windows, of a library
)
_NO_SIGN = "static tls block"  # "cannot allocate memory in static TLS block": room that no program can make
_NEEDED_BYTES = 500_000_000
"""Less is not enough to train anything: TensorFlow alone takes as much."""


def has_room() -> bool:
    """Return whether the system would give what a training needs at the least."""
    try:
        mmap.mmap(-1, _NEEDED_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True


def is_lacking(error: BaseException | None) -> bool:
    """Return whether `error`, or one that led to it, is for want of memory."""
    while error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if any(sign in said for sign in _SIGNS) and _NO_SIGN not in said:
            return True
        if isinstance(error, SystemError | RuntimeError) and not has_room():  # "failed to create XNNPACK runtime"
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def told_as_such() -> Iterator[None]:
    """Raise MemoryError in the place of whatever else is for want of memory, but for sentences of our own.

    Standard error, which is worker.log, gets the traceback.
    """
    try:
        yield
    except (CifarError, MemoryError):
        raise
    except Exception as error:
        if not is_lacking(error):
            raise
        traceback.print_exception(error)
        raise MemoryError from error
