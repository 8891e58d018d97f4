from collections.abc import Callable
from typing import Any

import pytest

from cifar_core.jobs import Stopped
from cifar_core.runs import Run
from cifar_core.training import callbacks, worker
from cifar_core.training.run_writer import RunWriter


class Interruption:
    """Ends a training as a stop does, at a place of choice; nothing of the process is left behind but its files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def in_batch(self, run: Run, number: int) -> None:
        """Start or resume `run` and stop it after `number` training steps."""
        left = number

        def count(watch: callbacks.StopCallback, batch: int, **_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Stopped

        self._stopped(run, callbacks.StopCallback, "on_train_batch_end", count)

    def at_stage(self, run: Run, stage: str) -> None:
        """Start or resume `run` and stop it when `stage` is about to begin."""
        really_say = RunWriter.update_status

        def say(writer: RunWriter, state: str, **more: Any) -> None:
            if more.get("stage") == stage:
                raise Stopped
            really_say(writer, state, **more)

        self._stopped(run, RunWriter, "update_status", say)

    def in_progress(self, run: Run, stage: str, number: int) -> None:
        """Start or resume `run` and stop it when `stage` begins to report its progress for the `number`th time."""
        really_report, left = RunWriter.progress, number

        def report(writer: RunWriter, reported: str, done: int, total: int) -> None:
            nonlocal left
            left -= reported == stage and done == 0
            if left == 0:
                raise Stopped
            really_report(writer, reported, done, total)

        self._stopped(run, RunWriter, "progress", report)

    def _stopped(self, run: Run, place: type, name: str, replacement: Callable[..., None]) -> None:
        with self._monkeypatch.context() as patch:
            patch.setattr(place, name, replacement)
            assert worker.main(str(run.path)) == 0
        assert run.state == "stopped", run.status
