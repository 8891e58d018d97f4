"""The lab's process, played in this one: what it computes, when it waits, when it ends."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.search import head_lab
from cifar_core.search.head_lab import GRID, Map, Result, Settings
from cifar_core.training import fit, lab_worker

WAIT_SECONDS = 60


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {WAIT_SECONDS} s, {head_lab.status()}"
        time.sleep(0.01)


def result(settings: Settings, state: str = "done") -> Result:
    """Wait for a result of that state."""
    wait_for(lambda: (found := head_lab.result(settings)) and found.state == state, f"{settings} {state}")
    return head_lab.result(settings)  # type: ignore[return-value]


@pytest.fixture
def tiny_base(tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, small_data: Path) -> None:
    """A lab of a thousand small images, without the map, which takes a second."""
    base = replace(tiny_config, augmentation=0.0, head_epochs=3, fine_tune_epochs=0, head_batch_size=128)
    monkeypatch.setattr(head_lab, "BASE", base)
    axis, nearest = np.linspace(0, 1, GRID, dtype=np.float32), np.zeros((GRID * GRID, 1), np.int32)
    no_map = Map(np.zeros((200, 2), np.float32), np.zeros(200, np.uint8), axis, axis, nearest)
    monkeypatch.setattr(lab_worker, "make_map", lambda inputs: head_lab.save_map(lab_worker.base_key(inputs), no_map))


@pytest.fixture
def worker(tiny_base: None) -> Iterator[Callable[..., threading.Thread]]:
    """Starts the lab in a thread of this process."""
    started: list[threading.Thread] = []

    def start(idle_seconds: float = WAIT_SECONDS) -> threading.Thread:
        head_lab.lab_dir().mkdir(parents=True, exist_ok=True)
        thread = threading.Thread(target=lab_worker.main, args=(idle_seconds,))
        thread.start()
        started.append(thread)
        return thread

    ends = pytest.MonkeyPatch()
    yield start
    days = itertools.count(1e6, 1e6)  # the clock leaps at each look, so that nobody seems to have asked for long
    ends.setattr(lab_worker, "time", SimpleNamespace(monotonic=lambda: next(days), sleep=time.sleep, time=time.time))
    for thread in started:
        thread.join()
    ends.undo()


def test_a_head_is_trained_epoch_by_epoch_and_the_same_again(worker: Callable[..., threading.Thread]) -> None:
    worker()
    wait_for(lambda: head_lab.status()["state"] == "ready", "ready")
    head_lab.request(Settings(dense_units=16))
    first = result(Settings(dense_units=16))
    assert [row["epoch"] for row in first.rows] == [1, 2, 3]
    assert len(first.predicted) == 200
    assert first.rows[-1]["accuracy"] > first.rows[0]["accuracy"]
    assert (head_lab.status()["base"]["train_images"], head_lab.status()["base"]["validation_images"]) == (800, 200)
    head_lab.request(Settings(dense_units=16, dropout=0.8))
    assert result(Settings(dense_units=16, dropout=0.8)).rows[-1]["accuracy"] < first.rows[-1]["accuracy"]
    head_lab.result_path(head_lab.base_key(), Settings(dense_units=16)).unlink()
    head_lab.request(Settings(dense_units=16))
    assert result(Settings(dense_units=16)).rows == first.rows


def test_a_head_taken_again_learns_as_a_new_one_and_needs_no_other_graph(tiny_base: None, small_data: Path) -> None:
    inputs = lab_worker.Inputs(head_lab.BASE, lambda *_: None)
    inputs.prepare()

    def losses(**changes: float) -> list[float]:
        found: list[float] = []
        config = replace(head_lab.BASE, dense_units=16, **changes)

        def report(figures: dict[str, float], _: object) -> None:
            found.append(figures["loss"])
            has_more = figures["loss"] > 1.001 * figures["cross_entropy"]  # what is drawn has no penalties
            assert has_more == (config.l2 > 0 or config.label_smoothing > 0)

        assert lab_worker.train_head(config, inputs, report, lambda: False)
        return found

    def clear() -> None:
        lab_worker._networks.cache_clear()
        fit._compiled_part.cache_clear()

    changed = {"dropout": 0.2, "l2": 1e-2, "label_smoothing": 0.1, "head_learning_rate": 1e-2}
    clear()
    first = losses(**changed)
    plain = losses(dropout=0.0, l2=0.0)
    one_by_one = [losses(**(changed | {name: 0.0})) for name in ("dropout", "l2", "label_smoothing")]
    assert losses(**changed) == first
    assert fit._compiled_part.cache_info().misses == 2  # with dropout and without
    clear()
    assert losses(dropout=0.0, l2=0.0) == plain
    assert len({tuple(rows) for rows in [first, plain, *one_by_one]}) == 5


def test_a_new_request_ends_the_one_before(worker: Callable[..., threading.Thread], monkeypatch) -> None:
    learn = lab_worker.train_head

    def slow(config, inputs, report, is_cancelled):
        def report_slowly(*found):
            report(*found)
            wait_for(lambda: config.dropout != 0.1 or is_cancelled(), "another request")

        return learn(config, inputs, report_slowly, is_cancelled)

    monkeypatch.setattr(lab_worker, "train_head", slow)
    worker()
    wait_for(lambda: head_lab.status()["state"] == "ready", "ready")
    head_lab.request(Settings(dropout=0.1))
    wait_for(lambda: (found := head_lab.result(Settings(dropout=0.1))) and found.rows, "an epoch")
    head_lab.request(Settings(dropout=0.2))
    assert len(result(Settings(dropout=0.2)).rows) == 3
    assert len(result(Settings(dropout=0.1), "cancelled").rows) == 1


def test_the_lab_waits_for_a_training_and_holds_the_slot_only_while_it_computes(
    worker: Callable[..., threading.Thread],
) -> None:
    worker()
    wait_for(
        lambda: head_lab.status()["state"] == "ready" and head_lab.map_path(head_lab.base_key()).exists(),
        "ready, with its map",
    )
    with FileLock(runs.runs_dir() / ".slot", timeout=5):  # free while the lab is open and idle
        head_lab.request(Settings())
        wait_for(lambda: head_lab.status()["state"] == "waiting", "waiting")
        assert not head_lab.result(Settings()).rows
    result(Settings())
    with FileLock(runs.runs_dir() / ".slot", timeout=5):
        pass


def test_a_head_that_breaks_down_says_so(worker: Callable[..., threading.Thread], monkeypatch) -> None:
    monkeypatch.setattr(lab_worker, "math", SimpleNamespace(isfinite=lambda value: False))
    worker()
    wait_for(lambda: head_lab.status()["state"] == "ready", "ready")
    head_lab.request(Settings())
    assert "lower the rate" in result(Settings(), "failed").message


def test_an_idle_lab_ends_and_an_old_request_is_not_taken_up(worker: Callable[..., threading.Thread]) -> None:
    head_lab.request(Settings())
    thread = worker(idle_seconds=0.3)
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    assert head_lab.status()["state"] == "off"
    assert head_lab.result(Settings()) is None


def test_there_is_one_lab_at_a_time(tiny_base: None) -> None:
    head_lab.lab_dir().mkdir(parents=True)
    with FileLock(head_lab.lab_dir() / "lab.lock"):
        assert lab_worker.main() == 2
    assert not (head_lab.lab_dir() / "status.json").exists()


def test_a_lab_without_its_images_says_why(worker: Callable[..., threading.Thread], monkeypatch) -> None:
    monkeypatch.setattr(head_lab, "BASE", replace(head_lab.BASE, dataset="cifar10"))
    worker().join(WAIT_SECONDS)
    assert head_lab.status()["state"] == "failed"
    assert "CIFAR-10" in head_lab.status()["message"]


@pytest.mark.slow
def test_a_lab_without_room_in_the_store_says_why(worker: Callable[..., threading.Thread], monkeypatch) -> None:
    monkeypatch.setenv("CIFAR_STORE_GB", "1e-6")
    worker().join(WAIT_SECONDS)
    assert head_lab.status()["state"] == "failed"
    assert "CIFAR_STORE_GB" in head_lab.status()["message"]


def test_the_map_puts_images_of_a_class_together(tiny_config: TrainConfig, small_data: Path) -> None:
    head_lab.lab_dir().mkdir(parents=True)
    config = replace(tiny_config, augmentation=0.0, fine_tune_epochs=0)
    inputs = lab_worker.Inputs(config, lambda *_: None)
    inputs.prepare()
    lab_worker.make_map(inputs)
    found = head_lab.load_map(lab_worker.base_key(inputs))
    assert found is not None
    assert found.points.shape == (200, 2)
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=2) + 1e9 * np.eye(200)
    assert (found.labels[distances.argmin(axis=1)] == found.labels).mean() > 0.3  # a tenth by chance
    assert found.nearest.min() == -1
