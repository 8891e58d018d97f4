"""A full disk and a read-only one at every write: a sentence, nothing half written taken for whole, and a way on."""

import itertools
import pkgutil
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, small_disk
from kills import wait_for
from run_outcome import assert_complete

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, RunError, SweepError
from cifar_core.evaluation import phase_summary, predictions, robustness
from cifar_core.export import archive, exports
from cifar_core.inference import model_file, pins
from cifar_core.runs import Run, labels, trash
from cifar_core.search import findings, head_lab, studies, sweep_workers
from cifar_core.search.space import Goal, Plan, parse_range
from cifar_core.training import worker

KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
pytestmark = [pytest.mark.usefixtures("own_signals"), pytest.mark.filterwarnings(KERAS_AND_NUMPY)]


@pytest.fixture
def disk(own_folders: None) -> Iterator[Disk]:
    """The disk that holds the runs."""
    with small_disk(runs.runs_dir(), 40) as found:
        yield found


@pytest.fixture
def cache_disk(small_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Disk]:
    """The disk that holds the store."""
    with small_disk(cifar10.cache_dir() / "store", 40) as found:
        yield found


WRITES = (
    "run_writer.RunWriter.add_row",
    "run_writer.save_checkpoint",
    "finish.save_head_checkpoint",
    "finish.write_descriptions",
    "model.save",  # of which best.keras is made
    "finish.export",
    "finish.write_index",
    "finish.write_figures",
    "run_writer.RunWriter.update_status",
)
"""Whatever writes into the folder of a run, in an order in which a training comes by all of it."""


@pytest.mark.slow
@pytest.mark.usefixtures("shared_networks")
def test_a_disk_that_fills_at_any_write_is_a_sentence_and_the_run_goes_on(
    tiny_config: TrainConfig, small_data: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(tiny_config)
    for what, room in zip(WRITES, itertools.cycle((0, 4_096)), strict=False):  # bytes: none, or one status's
        with monkeypatch.context() as patch:
            _fill_before(patch, f"cifar_core.training.{what}", disk, room)
            assert worker.main(str(run.path)) == 2, what
        error = run.status["error"]["message"]
        assert run.state == "failed", what
        assert "No space left" in error or "The disk is full" in error, what
        with pytest.raises(RunError, match="only a finished run"):
            predictions.load(run)
        disk.clear()
    assert worker.main(str(run.path)) == 0
    assert run.state == "finished"
    assert_complete(run)
    assert not list(run.path.glob(".*"))


def _fill_before(patch: pytest.MonkeyPatch, name: str, disk: Disk, room: int) -> None:
    """Let the disk fill up just before the function called `name` runs."""
    really = pkgutil.resolve_name(name)

    def fill_and_go_on(*arguments: Any, **more: Any) -> Any:
        disk.fill(room)
        return really(*arguments, **more)

    patch.setattr(name, fill_and_go_on)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_networks")
def test_a_store_that_fills_while_features_are_computed_is_a_sentence_and_the_run_goes_on(
    tiny_config: TrainConfig, cache_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(tiny_config)
    for room in (0, 5_000, 300_000):
        with monkeypatch.context() as patch:
            _fill_before(patch, "cifar_core.data.feature_cache.Entry.write", cache_disk, room)
            assert worker.main(str(run.path)) == 2
        assert run.status["error"]["type"] == "StoreError"
        assert "No space left on device; free disk space there" in run.status["error"]["message"]
        cache_disk.clear()
    assert worker.main(str(run.path)) == 0
    assert_complete(run)


@pytest.mark.parametrize("room", [0, 4_096, 12_288])
def test_a_start_on_a_full_disk_is_a_sentence_and_the_next_one_trains(
    tiny_config: TrainConfig, disk: Disk, room: int
) -> None:
    disk.fill(room)
    assert_fails_in_words(lambda: jobs.start_run(tiny_config))
    disk.clear()
    run = jobs.start_run(tiny_config)
    assert run.state in runs.LIVE_STATES
    disk.fill()
    jobs.stop_run(run)
    assert not run.is_alive
    assert run.state in ("stopped", "lost", "failed")
    assert_fails_in_words(lambda: jobs.resume_run(run))
    disk.clear()
    jobs.resume_run(run)
    assert run.state in runs.LIVE_STATES


def assert_fails_in_words(action: Callable[[], object]) -> None:
    """It refuses; or, where the disk has room for a few words, its worker gives up and says why."""
    try:
        action()
    except RunError as error:
        assert re.search("free disk space|make its folder writable|did not start", str(error))
    else:
        run = runs.list_runs()[0]
        wait_for(lambda: run.state == "failed", "the worker gives up")
        assert "The disk is full" in run.status["error"]["message"]


CHANGES: dict[str, Callable[[Run], object]] = {
    "resume": jobs.resume_run,
    "rename": lambda run: labels.change(run, name="x"),
    "pin": lambda run: pins.save(run, []),
    "discard": trash.move_to_trash,
    "delete": runs.delete,
    "start": lambda run: jobs.start_run(run.config),
}
FINISHED: dict[str, Callable[[Run], object]] = {
    "export": lambda run: exports.start(run, "onnx"),
    "robustness": lambda run: robustness.job(run).start(),
    "stop the robustness": lambda run: robustness.job(run).ask_to_stop(),
    "latency": model_file.measure_latency,
    "rename": lambda run: labels.change(run, name="x"),
    "discard": trash.move_to_trash,
    "keep phase 1": phase_summary.keep_head,
    "import": lambda run: archive.import_run(archive.pack(run)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_read_only_disk_is_a_sentence(tiny_config: TrainConfig, disk: Disk, what: str) -> None:
    run = runs.create(tiny_config)
    runs.write_json(run.path / "status.json", {"state": "stopped"})
    with disk.read_only():
        with pytest.raises(RunError, match=r"writable|cannot|could not"):
            CHANGES[what](run)
        assert run.state == "stopped"
        assert run.config == tiny_config


PLAN = Plan(TrainConfig(), (parse_range("dropout=0,0.3"),), grid=True)
BEGUN: dict[str, Callable[[], object]] = {
    "sweep": lambda: studies.create("mine", PLAN, Goal(2)),
    "lab": lambda: head_lab.request(head_lab.Settings()),
}


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("what", BEGUN)
def test_what_cannot_be_begun_is_a_sentence_and_can_be_begun_later(disk: Disk, what: str, is_full: bool) -> None:
    with _unwritable(disk, is_full), pytest.raises(CifarError) as raised:
        BEGUN[what]()
    assert re.search("free disk space|make it writable", str(raised.value))
    assert studies.names() == []
    BEGUN[what]()


def test_a_sweep_on_a_read_only_disk_is_shown_and_neither_stopped_nor_deleted(disk: Disk) -> None:
    studies.create("mine", PLAN, Goal(2))
    for change in (sweep_workers.stop, sweep_workers.delete, sweep_workers.resume, sweep_workers.repeat):
        with disk.read_only(), pytest.raises(SweepError, match=r"cannot be stored in .*Read-only.*make it writable"):
            change("mine")
    assert len(findings.find("mine").trials) == 2


@pytest.mark.slow
@pytest.mark.parametrize("is_full", [True, False])
def test_what_is_made_of_a_finished_run_fails_with_a_sentence(undisturbed_run: Path, disk: Disk, is_full: bool) -> None:
    run = Run(undisturbed_run.name)
    shutil.copytree(undisturbed_run, run.path)
    for what, action in FINISHED.items():
        with _unwritable(disk, is_full):
            try:
                action(run)
            except RunError as error:
                assert str(error).endswith("."), what
            else:
                said = {"export": exports.state(run, "onnx"), "robustness": robustness.state(run)}.get(what)
                assert said is None or said["state"] == "failed", f"{what}: {said}"
        run = _back(run)
        assert run.state == "finished", what
        assert not list(runs.runs_dir().glob(".import-*")), what


@contextmanager
def _unwritable(disk: Disk, is_full: bool) -> Iterator[None]:
    if not is_full:
        with disk.read_only():
            yield
    else:
        disk.fill()
        yield
        disk.clear()


def _back(run: Run) -> Run:
    """A full disk has room for a move to the trash."""
    return trash.restore(run.id) if run.id in trash.contents() else run
