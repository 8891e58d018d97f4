"""What a training needs goes away: memory, TensorFlow, images, stored features, its own folder.

A loss that is no number, a MemoryError, missing weights and a folder that is deleted during the import are in
tests/training/test_worker.py.
"""

import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock
from kills import wait_for
from run_outcome import Outcome, assert_complete, outcome

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.runs import Run
from cifar_core.training.worker import SLOT

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is Linux's")


def ended(run: Run) -> Run:
    wait_for(lambda: run.state not in runs.LIVE_STATES, f"{run.id} ends")
    return run


def in_stage(run: Run, stage: str) -> None:
    wait_for(lambda: run.status.get("stage") == stage or run.state not in runs.LIVE_STATES, stage, pause=0.005)
    assert run.state == "running", run.status


def test_a_tensorflow_that_cannot_be_imported_is_a_sentence_with_what_to_do(
    tiny_config: TrainConfig, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorflow", "keras"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "__init__.py").write_text("raise ImportError('no such symbol: _ZN10tensorflow')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    run = ended(jobs.start_run(tiny_config))
    assert run.state == "failed"
    message = run.status["error"]["message"]
    assert "TensorFlow could not be imported (ImportError: no such symbol" in message
    assert "pip install -r requirements.txt" in message
    assert "Traceback" not in message
    assert "Traceback" in (run.path / "worker.log").read_text()


@LINUX
@pytest.mark.slow
def test_a_worker_without_memory_fails_with_a_sentence_or_is_lost_and_goes_on_with_memory(
    tiny_config: TrainConfig, small_data: Path
) -> None:
    """It ends while it loads this app, LiteRT, or TensorFlow, by how much it lacks.

    TensorFlow, once loaded, ends its process where it gets no memory; the run must then be lost, not hang.
    """
    run = None
    for most in (5, 20, 50, 100, 1_500):
        run = worker_with(most, tiny_config, run)
        assert ended(run).state in ("failed", "lost")
        if run.state == "failed":
            assert run.status["error"]["type"] == "MemoryError", (most, run.status)
            assert "choose a smaller batch" in run.status["error"]["message"]
    assert run
    jobs.resume_run(run)
    wait_for(lambda: run.status.get("stage") == "head", "the resumed worker trains")


def worker_with(megabytes: int, config: TrainConfig, run: Run | None) -> Run:
    """Resume `run`, or start one, with a worker that gets no more address space than that once it waits its turn."""
    runs.runs_dir().mkdir(exist_ok=True)
    with FileLock(runs.runs_dir() / SLOT):
        if run:
            jobs.resume_run(run)
        else:
            run = jobs.start_run(config)
        worker = psutil.Process(run.status["pid"])
        most = worker.memory_info().vms + megabytes * 1_000_000
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (most, most))
    return run


@pytest.mark.slow
def test_stored_features_that_vanish_and_other_images_meanwhile_cost_time_and_no_accuracy(
    short_config: TrainConfig, small_data: Path, undisturbed: Outcome, tmp_path: Path
) -> None:
    store = cifar10.cache_dir() / "store"
    run = jobs.start_run(short_config)
    in_stage(run, "head")
    wait_for(lambda: (run.path / "checkpoint.npz").exists(), "the first checkpoint")
    for rows in store.glob("*/rows"):
        rows.write_bytes(rows.read_bytes()[:5_000])  # the worker's view of the rest is now beyond the end: SIGBUS
    assert ended(run).state in ("lost", "failed")

    small_data.rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", small_data)
    images = np.load(small_data / "0.npy")
    np.save(small_data / "0.npy", images[:, ::-1])
    arrays = tuple(np.load(small_data / f"{number}.npy") for number in range(4))
    (small_data / "fingerprint").write_text(cifar10._fingerprint(arrays))  # type: ignore[arg-type]
    jobs.resume_run(run)
    assert ended(run).state == "failed"
    assert "restore the first and resume" in run.status["error"]["message"]
    shutil.rmtree(small_data)
    (tmp_path / "away").rename(small_data)

    jobs.resume_run(run)
    in_stage(run, "fine_tune")
    shutil.rmtree(store)
    if ended(run).state != "finished":
        assert "start the run again" in run.status["error"]["message"]
        jobs.resume_run(run)
    assert ended(run).state == "finished", run.status
    assert_complete(run)
    assert outcome(run).differences(undisturbed) == []


@pytest.mark.slow
def test_a_worker_whose_folder_is_deleted_ends_and_leaves_nothing(short_config: TrainConfig, small_data: Path) -> None:
    run = jobs.start_run(short_config)
    worker = psutil.Process(run.status["pid"])
    in_stage(run, "fine_tune")
    shutil.rmtree(run.path)
    wait_for(lambda: not worker.is_running(), "the worker ends")
    assert not run.path.exists()
    assert runs.list_runs() == []
