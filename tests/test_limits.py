import pytest
from filelock import FileLock

from cifar_core import launch, limits, runs
from cifar_core.errors import RunError, SweepError
from cifar_core.explore.search import MOST_TRIALS, Goal
from cifar_core.export import intake


def test_a_full_queue_takes_no_more_runs_and_says_what_to_do(tiny_config, run, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MOST_QUEUED", 1)
    with FileLock(run.path / "lock"), pytest.raises(RunError, match=r"1 runs train or wait already.*stop some"):
        launch.start(tiny_config)
    assert runs.list_runs() == [run]


def test_runs_that_take_too_much_disk_are_followed_by_none(tiny_config, run, monkeypatch) -> None:
    (run.path / "checkpoint.npz").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.002")
    for refused in (lambda: runs.create(tiny_config), lambda: intake.import_run(b"")):
        with pytest.raises(
            RunError, match=r"take 0\.003\d* GB, and 0\.002 GB.*empty the trash, or raise CIFAR_RUNS_GB"
        ):
            refused()
    monkeypatch.setenv("CIFAR_RUNS_GB", "0.1")
    assert runs.create(tiny_config).path.is_dir()


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_no_number_is_a_sentence(tiny_config, text: str, monkeypatch) -> None:
    monkeypatch.setenv("CIFAR_RUNS_GB", text)
    with pytest.raises(RunError, match="CIFAR_RUNS_GB: received"):
        runs.create(tiny_config)


def test_what_a_link_leads_to_does_not_count(tmp_path) -> None:
    (tmp_path / "big").write_bytes(bytes(9_999))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "big")
    assert limits.size_bytes(tmp_path / "runs") < 9_999


def test_a_sweep_has_so_many_trials_at_most() -> None:
    with pytest.raises(SweepError, match="1 to 10,000 trials"):
        Goal(MOST_TRIALS + 1)
