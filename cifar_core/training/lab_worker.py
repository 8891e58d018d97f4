"""The lab's process: trains heads as they are asked for, and ends after five idle minutes.

    python -m cifar_core.training.lab_worker FOLDER

FOLDER is the lab's (see `cifar_core.search.head_lab`). One process a machine: it holds the lock there. It holds the
training slot of the runs only while it computes.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from cifar_core import runs
from cifar_core.errors import CifarError, RunError, StoreError
from cifar_core.search import head_lab, head_lab_map
from cifar_core.search.head_lab import Settings
from cifar_core.training import lab_base
from cifar_core.training.inputs import Inputs

IDLE_SECONDS = 300.0
_POLL_SECONDS = 0.02
_KEPT_RESULTS = 500


def main(folder: str, idle_seconds: float = IDLE_SECONDS) -> int:
    """Serve the lab in `folder` until nobody has asked for `idle_seconds`; return the process's exit code."""
    path = Path(folder).resolve()
    os.environ["CIFAR_RUNS_DIR"] = str(path.parent)
    try:
        with head_lab.job().working():
            _Worker().serve(idle_seconds)
    except RunError as error:  # another process serves, or the folder refuses
        print(error, file=sys.stderr)
    return 0


class _Worker:
    """What the process knows. It is also what `Inputs` tells how far the preparations are."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._status: dict[str, Any] = {"pid": os.getpid()}

    @property
    def seconds(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self._start

    def progress(self, stage: str, done: int, total: int, since: float) -> None:
        """Tell how far the preparations are."""
        self._say("preparing", done=done, total=total)

    def serve(self, idle_seconds: float) -> None:
        """Make ready, then do what is asked, the newest request only."""
        before = (head_lab.requested() or (None, 0.0))[1]  # of an earlier process's time: nobody waits for it
        self._say("starting")
        threading.Thread(target=importlib.import_module, args=("cifar_core.training.lab_head",), daemon=True).start()
        try:
            inputs = self._prepare()
        except (CifarError, OSError) as error:
            self._say("failed", message=str(error))
            return
        learn = importlib.import_module("cifar_core.training.lab_head").learn
        self._say("ready")
        done, idle_since = before, time.monotonic()
        while time.monotonic() - idle_since < idle_seconds:
            wanted = head_lab.requested()
            if wanted is None or wanted[1] == done:
                self._rest(inputs)
                continue
            settings, done = wanted
            self._try(settings, done, inputs, learn)
            self._say("ready")
            idle_since = time.monotonic()

    def _rest(self, inputs: Inputs) -> None:
        """Make the map if there is none yet, else sleep a moment."""
        if head_lab_map.load(lab_base.key(inputs)) is None:
            with self._slot(lambda: False):
                self._say("mapping")
                lab_base.make_map(inputs)
            self._say("ready")
        time.sleep(_POLL_SECONDS)

    def _prepare(self) -> Inputs:
        """Return the inputs with all features in the store."""
        inputs = Inputs(head_lab.BASE, self)
        if inputs.end_to_end_reason:
            raise StoreError(inputs.end_to_end_reason)
        with self._slot(lambda: False):
            self._say("preparing")
            inputs.prepare()
            self._status["base"] = lab_base.describe(inputs)
        kept = sorted(head_lab.lab_dir().glob("*-*.json"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-_KEPT_RESULTS]:
            old.unlink(missing_ok=True)
        return inputs

    def _try(self, settings: Settings, asked: float, inputs: Inputs, learn: Callable[..., bool]) -> None:
        """Train one head and write its result epoch by epoch."""
        path = head_lab.result_path(lab_base.key(inputs), settings)
        rows: list[Mapping[str, float]] = []
        found: dict[str, Any] = {"state": "computing", "rows": rows, "predicted": ""}

        def write(state: str, **more: Any) -> None:
            found.update(state=state, seconds=time.time() - asked, **more)
            runs.write_json(path, found)

        def report(figures: Mapping[str, float], predicted: np.ndarray) -> None:
            rows.append(figures)
            write("computing", predicted="".join(map(str, predicted)))

        def is_cancelled() -> bool:
            newest = head_lab.requested()
            return newest is not None and newest[1] != asked

        write("computing")
        try:
            with self._slot(is_cancelled) as held:
                self._say("computing")
                finished = held and learn(settings.config, inputs, report, is_cancelled)
            write("done" if finished else "cancelled")
        except (CifarError, OSError) as error:
            write("failed", message=str(error))

    @contextmanager
    def _slot(self, is_cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Hold the training slot; gives False where `is_cancelled` before it was free."""
        slot = FileLock(runs.runs_dir() / ".slot")
        while not is_cancelled():
            with suppress(Timeout):
                slot.acquire(timeout=0)
                break
            self._say("waiting")
            time.sleep(5 * _POLL_SECONDS)
        try:
            yield slot.is_locked
        finally:
            slot.release()

    def _say(self, state: str, **more: Any) -> None:
        """Write status.json; `base` stays once it is known."""
        base = self._status.get("base")
        self._status = {"pid": os.getpid(), "state": state, **({"base": base} if base else {}), **more}
        runs.write_json(head_lab.lab_dir() / "status.json", self._status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
