"""Lock files: a process holds one while it works, and loses it when it ends, however that happens.

`is_held` takes a shared lock for some microseconds; `hold` therefore tries for a second before it gives up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SECONDS, _POLL_SECONDS = 1.0, 0.005


def take(path: Path, seconds: float = _SECONDS) -> FileLock:
    """Return the lock file `path`, held until `release`. Raises filelock.Timeout if another process holds it."""
    lock = FileLock(path)
    lock.acquire(timeout=seconds, poll_interval=_POLL_SECONDS)
    return lock


@contextmanager
def hold(path: Path, seconds: float = _SECONDS) -> Iterator[None]:
    """Hold the lock file `path`. Raises filelock.Timeout if another process holds it for `seconds`."""
    lock = take(path, seconds)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock file `path`."""
    if not path.exists():
        return False
    try:
        if fcntl is None:
            with FileLock(path, timeout=0):
                return False
        # a shared lock: two checks at the same time do not see each other as the holder
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except Timeout:
        return True
    except OSError:
        return path.exists()  # it may have been deleted just now
