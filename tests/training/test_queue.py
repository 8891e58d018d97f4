"""Who waits for the training slot looks at the slot first, and at the other runs only once it is free."""

import pytest
from filelock import FileLock

from cifar_core import jobs, machine, runs
from cifar_core.jobs import Stopped
from cifar_core.training import worker
from cifar_core.training.run_writer import RunWriter


def test_a_run_that_waits_for_the_slot_does_not_look_at_the_others(run, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, asked = RunWriter(run), []
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0)
    monkeypatch.setattr(jobs, "is_next", lambda _: pytest.fail("it lists the runs"))

    def check_stop() -> None:
        asked.append(True)
        if len(asked) > 3:
            raise Stopped

    monkeypatch.setattr(writer, "check_stop", check_stop)
    with FileLock(runs.runs_dir() / worker.SLOT), pytest.raises(Stopped):
        worker._training_slot(run, writer, worker.SLOT)


def test_the_slot_is_given_back_to_the_first_in_the_queue(run, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, answers = RunWriter(run), iter([False, False, True])
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0)
    monkeypatch.setattr(jobs, "is_next", lambda _: next(answers))
    with worker._training_slot(run, writer, worker.SLOT):
        assert machine.is_locked(runs.runs_dir() / worker.SLOT)
    assert not machine.is_locked(runs.runs_dir() / worker.SLOT)
