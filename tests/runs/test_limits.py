"""What a run, a queue, a sweep may take of this machine, and what is on screen at each limit."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from cifar_core import jobs, runs
from cifar_core.data import download, synthetic
from cifar_core.errors import RunError, SweepError
from cifar_core.export import archive
from cifar_core.search.studies import MOST_TRIALS, Goal

APP = Path(__file__).resolve().parents[2] / "app.py"


def test_a_full_queue_takes_no_more_runs_and_says_what_to_do(tiny_config, run, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "MOST_QUEUED", 1)
    with FileLock(run.path / "lock"), pytest.raises(RunError, match=r"\b1 runs.*stop some"):
        jobs.start_run(tiny_config)
    assert runs.list_runs() == [run]


def test_runs_that_take_too_much_disk_are_followed_by_none(tiny_config, run, monkeypatch) -> None:
    (run.path / "checkpoint.npz").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.002")
    for refused in (lambda: runs.create(tiny_config), lambda: archive.import_run(b"")):
        with pytest.raises(RunError, match=r"0\.003\d* GB.* 0\.002 GB.*empty the trash.*CIFAR_RUNS_GB"):
            refused()
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.1")
    assert runs.create(tiny_config).path.is_dir()


@pytest.mark.parametrize(("megabytes", "free", "fits"), [(96, 20, False), (96, 30, True), (10**6, 900, False)])
def test_a_disk_is_not_filled_to_its_last_byte(megabytes: int, free: int, fits: bool, tiny_config, monkeypatch) -> None:
    usage = SimpleNamespace(total=megabytes * 1_000_000, free=free * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    if fits:
        assert runs.create(tiny_config).path.is_dir()
    else:
        with pytest.raises(RunError, match="CIFAR_RUNS_DIR"):
            runs.create(tiny_config)


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_no_number_is_a_sentence(tiny_config, text: str, monkeypatch) -> None:
    monkeypatch.setenv("CIFAR_RUNS_GB", text)
    with pytest.raises(RunError, match="CIFAR_RUNS_GB: received"):
        runs.create(tiny_config)


def test_what_a_link_leads_to_does_not_count(tmp_path) -> None:
    (tmp_path / "big").write_bytes(bytes(9_999))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "big")
    assert runs.size_bytes(tmp_path / "runs") < 9_999


def test_a_sweep_has_so_many_trials_at_most() -> None:
    with pytest.raises(SweepError, match="1 to 10,000"):
        Goal(MOST_TRIALS + 1)


@pytest.fixture
def page(tiny_config, run, monkeypatch) -> AppTest:
    """Train, with the settings of a stopped run in the form, as somebody sees it who is about to start."""
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)
    runs.write_json(run.path / "status.json", {"state": "stopped"})
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["settings"] = run.id
    return app.run()


def said(app: AppTest) -> str:
    assert not app.exception, app.exception[0].stack_trace[-3:]
    return " ".join(error.value for error in app.error)


def test_a_start_into_a_full_queue_is_answered_on_screen(page, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "MOST_QUEUED", 0)
    assert "expected fewer than 0" in said(page.button(key="start").click().run())
    assert len(runs.list_runs()) == 1


def test_what_is_too_much_for_the_disk_is_answered_on_screen(page, run, monkeypatch) -> None:
    (run.path / "checkpoint.npz").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.002")
    assert "CIFAR\\_RUNS\\_GB" in said(page.button(key="start").click().run())
    page.session_state["import_panel"] = True  # as a click on it does
    page.run()
    page.file_uploader(key="run_archive_0").set_value(("run.zip", b"PK", "application/zip")).run()
    assert "CIFAR\\_RUNS\\_GB" in said(page)
    assert len(runs.list_runs()) == 1
