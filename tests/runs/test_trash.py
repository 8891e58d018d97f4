import re
import shutil

import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.runs import Run, trash, write_json


def test_a_discarded_run_comes_back_as_it_was(run: Run, tiny_config: TrainConfig) -> None:
    write_json(run.path / "status.json", {"state": "finished", "result": {"test_accuracy": 0.5}})
    trash.move_to_trash(run)
    assert runs.list_runs() == []
    assert trash.contents() == [run.id]
    assert trash.size_bytes([run.id]) > 500
    assert trash.restore(run.id) == run
    assert run.config == tiny_config
    assert run.result == {"test_accuracy": 0.5}
    assert trash.contents() == []


def test_discarding_twice_is_once(run: Run) -> None:
    trash.move_to_trash(run)
    trash.move_to_trash(run)  # from another tab
    assert trash.contents() == [run.id]
    assert runs.list_runs() == []


def test_a_living_run_is_not_discarded(run: Run) -> None:
    write_json(run.path / "status.json", {"state": "running"})
    with FileLock(run.path / "lock"), pytest.raises(RunError, match=f"{run.id} is running.*stop it"):
        trash.move_to_trash(run)
    assert runs.list_runs() == [run]
    assert trash.contents() == []


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../x", "20260101-000000000-none", "20260101-000000000-a/..", 7, None]
)
def test_what_is_not_in_the_trash_is_a_sentence(run: Run, run_id: object) -> None:
    with pytest.raises(RunError, match=re.escape(repr(str(run_id)[:60])) + ".*runs trash"):
        trash.restore(run_id)  # type: ignore[arg-type]
    assert runs.list_runs() == [run]


def test_a_run_of_the_same_id_is_not_overwritten(run: Run) -> None:
    trash.move_to_trash(run)
    run.path.mkdir()
    (run.path / "precious").touch()
    with pytest.raises(RunError, match="There is a run"):
        trash.restore(run.id)
    assert (run.path / "precious").exists()
    assert trash.contents() == [run.id]


def test_a_run_is_discarded_although_one_of_the_same_id_was(run: Run, tiny_config: TrainConfig) -> None:
    """As an archive that is imported again has it."""
    trash.move_to_trash(run)
    shutil.copytree(trash.trash_dir() / run.id, run.path)
    (run.path / "second").touch()
    trash.move_to_trash(run)
    assert not run.path.exists()
    assert (trash.restore(run.id).path / "second").exists()


def test_the_emptied_trash_is_empty_and_a_link_leaves_what_it_points_to(run: Run, tmp_path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    linked = Run("20260101-000000000-link")
    linked.path.symlink_to(tmp_path / "outside", target_is_directory=True)
    for item in (run, linked):
        trash.move_to_trash(item)
    trash.clear(trash.contents())
    assert trash.contents() == []
    assert (tmp_path / "outside" / "precious").exists()


def test_without_a_trash_there_is_nothing_in_it() -> None:
    assert (trash.contents(), trash.size_bytes([])) == ([], 0)
