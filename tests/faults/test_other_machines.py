"""The queue over several machines when one is lost, the database is away, or both sides are told to stop."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from kills import wait_for
from postgresql import running_server
from queue_workers import Machine, machines
from run_outcome import Outcome, assert_complete, outcome

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.runs import Run
from cifar_core.search.studies import STORAGE_VARIABLE
from cifar_core.training.worker import SLOT

pytestmark = pytest.mark.slow


@pytest.fixture
def busy_home(small_data: Path) -> Iterator[None]:
    """The machine of the app has something else to train all the time."""
    runs.runs_dir().mkdir()
    with FileLock(runs.runs_dir() / SLOT):
        yield


def has_checkpoint(run: Run) -> Callable[[], bool]:
    return lambda: run.state == "running" and (run.path / "checkpoint.npz").exists()


def assert_ends_as(run: Run, undisturbed: Outcome) -> None:
    wait_for(lambda: run.state not in runs.LIVE_STATES, f"{run.id} ends")
    assert run.state == "finished", run.status
    assert_complete(run)
    assert outcome(run).differences(undisturbed) == []
    assert not list(run.path.glob(".*"))


@pytest.mark.usefixtures("busy_home")
def test_a_run_whose_machine_is_lost_goes_on_on_another_and_ends_as_an_undisturbed_one(
    database: str, short_config: TrainConfig, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, database)
    with machines(tmp_path, cifar10.cache_dir(), database, count=2) as both:
        run = jobs.start_run(short_config)
        wait_for(has_checkpoint(run), "it is trained elsewhere")
        [busy] = [machine for machine in both if machine.has(run)]
        busy.lose()
        [other] = [machine for machine in both if machine != busy]
        wait_for(lambda: other.has(run), "the other machine takes it")
        assert_ends_as(run, undisturbed)
        wait_for(lambda: not other.has(run), "nothing of it stays there")


def _has_ended(machine: Machine, run: Run) -> bool:
    status = runs.read_json(machine.place / "runs" / ".worker" / run.id / "status.json")
    return status.get("state") == "finished"


@pytest.mark.usefixtures("busy_home")
def test_a_stopped_run_goes_on_when_resumed_when_its_worker_was_ended_and_while_the_database_is_away(
    short_config: TrainConfig, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path) as server:
        monkeypatch.setenv(STORAGE_VARIABLE, server.url)
        with machines(tmp_path / "a", cifar10.cache_dir(), server.url) as [machine]:
            run = jobs.start_run(short_config)
            wait_for(has_checkpoint(run), "it is trained elsewhere")
            jobs.stop_run(run)
            assert run.state == "stopped"
            wait_for(lambda: not machine.has(run), "the worker stops, too")
            jobs.resume_run(run)
            wait_for(lambda: machine.has(run), "it goes on")
        wait_for(lambda: run.state == "queued", "it waits for another machine")
        with machines(tmp_path / "b", cifar10.cache_dir(), server.url) as [machine]:
            wait_for(lambda: run.state == "running", "it goes on elsewhere")
            server.stop()
            wait_for(lambda: _has_ended(machine, run), "the worker goes on meanwhile")
            assert run.state == "running"
            server.start()
            assert_ends_as(run, undisturbed)


def test_a_machine_that_is_free_trains_itself_where_the_database_is_away(
    short_config: TrainConfig, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql://nobody@127.0.0.1:1/nothing")
    run = jobs.start_run(short_config)
    wait_for(has_checkpoint(run), "it is trained here")
