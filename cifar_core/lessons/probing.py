"""The probe of the layers as work that goes on by itself, can be watched and stopped.

<cache>/lessons/layers.json             what it found on this machine
<cache>/lessons/layers.progress.json    where it stands
<cache>/lessons/layers.lock             held by the process while it works;  .stop asks it to end;  .log
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cifar_core import locks
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.lessons import layers
from cifar_core.lessons.layers import Layers, Progress
from cifar_core.runs import read_json, write_json


class Stopped(Exception):  # noqa: N818 - not an error
    """Somebody asked the probe to stop."""


def file(ending: str) -> Path:
    """Return the file of the probe with this ending: .json, .progress.json, .lock, .stop or .log."""
    return cifar10.cache_dir() / "lessons" / f"{layers.LESSON}{ending}"


def is_working() -> bool:
    """Return whether a process is at it."""
    return locks.is_held(file(".lock"))


def state() -> dict[str, Any]:
    """Return how the probe stands, ready for JSON.

    "state" is none, working, done, stopped or failed. While working: "done" and "total" layers, "seconds_left" or None.
    When failed: "error".
    """
    found = read_json(file(".progress.json"))
    if is_working():
        return {"state": "working", **{key: found.get(key) for key in ("done", "total", "seconds_left")}}
    if found.get("state") == "working":  # it may have ended between the file and the look at its lock
        found = read_json(file(".progress.json"))
    if found.get("state") == "working":
        return {"state": "failed", "error": "Its process ended unexpectedly; run it again."}
    if found.get("state") == "failed":
        return {"state": "failed", "error": str(found.get("error"))[:500]}
    return {"state": found["state"] if found.get("state") in ("done", "stopped") else "none"}


def result() -> Layers | None:
    """Return what the probe found on this machine, None if it never came to its end here. Raises RunError."""
    found = read_json(file(".json"))
    return Layers.from_dict(found) if found else None


def stop() -> None:
    """Ask the probe to stop, which it does after the layer that it is at. Raises RunError."""
    if is_working():
        try:
            file(".stop").touch()
        except OSError as error:
            raise RunError(f"The probe cannot be told to stop ({error.strerror}); make its folder writable.") from None


def work(progress: Progress) -> Layers:
    """Probe, keep what came of it, and return it; `progress(done, total)` hears of every layer.

    Raises RunError if another process is at it or the folder refuses, and what `layers.run` raises. Stopped is raised
    when somebody asked for it.
    """
    try:
        file(".lock").parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file(".lock"), timeout=0):
            file(".stop").unlink(missing_ok=True)
            return _work(progress)
    except Timeout:
        raise RunError("The layers are being probed already by another process; wait for it, or stop it.") from None
    except OSError as error:
        raise RunError(
            f"The probe cannot be kept in {file('').parent} ({error.strerror}); set CIFAR_CACHE_DIR."
        ) from None


def _work(progress: Progress) -> Layers:
    start = time.monotonic()

    def report(done: int, total: int) -> None:
        if file(".stop").exists():
            raise Stopped
        left = (time.monotonic() - start) / done * (total - done) if done else None
        _say(state="working", done=done, total=total, seconds_left=left)
        progress(done, total)

    _say(state="working")
    try:
        found = layers.run(report)
    except (Stopped, KeyboardInterrupt):
        _say(state="stopped")
        raise
    except Exception as error:
        _say(state="failed", error=str(error) or type(error).__name__)
        raise
    write_json(file(".json"), found.to_dict())
    _say(state="done")
    return found


def _say(**record: Any) -> None:
    write_json(file(".progress.json"), record)
