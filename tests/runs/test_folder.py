import errno
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import examples

from cifar_core import runs
from cifar_core.cli import run_commands
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.runs import Run


def say(run: Run, state: str, **more: Any) -> None:
    """Do as a worker would."""
    runs.write_json(run.path / "status.json", {"state": state, **more})


def grow_old(run: Run) -> None:
    """Put the run's creation an hour back."""
    then = time.time() - 3600
    os.utime(run.path / "config.json", (then, then))


# ---- making and finding


def test_a_new_run_holds_its_configuration(tiny_config: TrainConfig) -> None:
    run = runs.create(tiny_config, "My run: no. 3!")
    assert runs.ID_PATTERN.fullmatch(run.id)
    assert run.id.endswith("-myrunno3")
    assert run.config == tiny_config
    assert runs.get(run.id) == run


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_any_name_makes_a_safe_id(tiny_config: TrainConfig, name: str) -> None:
    run = runs.create(tiny_config, name)
    assert runs.ID_PATTERN.fullmatch(run.id)
    assert run.path.parent == runs.runs_dir()


def test_runs_made_at_once_have_ids_in_their_order(tiny_config: TrainConfig) -> None:
    made = [runs.create(tiny_config) for _ in range(10)]
    assert [run.id for run in made] == sorted({run.id for run in made})


def test_the_newest_run_comes_first_and_strange_folders_are_left_out(tiny_config: TrainConfig) -> None:
    made = [runs.create(tiny_config) for _ in range(3)]
    (runs.runs_dir() / "notes").mkdir()
    (runs.runs_dir() / ".deleted-20260101-000000000-run").mkdir()
    (runs.runs_dir() / "20260101-000000000-file").write_text("no folder")
    assert runs.list_runs() == made[::-1]


def test_without_a_runs_folder_there_are_no_runs() -> None:
    assert runs.list_runs() == []
    assert runs.finished_runs() == []


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        ".",
        "..",
        "../secret",
        "/etc",
        "C:\\Windows",
        "20260101-000000000-run/..",
        "20260101-000000000-run/../../secret",
        "20260101-000000000-run\0",
        "20260101-000000000-run\n",
        "20260101-000000000-" + "a" * 25,
        "a" * 100_000,
        "２０２６０１０１-000000000-run",
        "٢٠٢٦٠١٠١-٠٠٠٠٠٠٠٠٠-run",
        "20260101-000000000-rün",
        "20260101\u2010000000000-run",
        "20260101-000000000-run",
        None,
        7,
    ],
)
def test_an_id_that_is_not_ours_is_refused(run_id: Any, tmp_path: Path) -> None:
    runs.runs_dir().mkdir()
    (tmp_path / "secret").mkdir()
    with pytest.raises(RunError, match=re.escape(repr(str(run_id)[:60]))):
        runs.get(run_id)


@given(st.text() | st.from_regex(runs.ID_PATTERN))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_id_is_taken_for_a_run_that_is_not_there(run_dir: Path, run_id: str) -> None:
    with pytest.raises(RunError) as caught:
        runs.get(run_id)
    assert len(str(caught.value)) < 1000


def test_a_folder_that_cannot_hold_runs_is_a_sentence(
    tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.runs_dir().write_text("a file")
    with pytest.raises(RunError, match="CIFAR_RUNS_DIR"):
        runs.create(tiny_config)


def test_a_full_disk_leaves_no_half_run(tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "write_json", full)
    with pytest.raises(RunError, match="No space left on device; free disk space"):
        runs.create(tiny_config)
    assert runs.list_runs() == []


# ---- states


def test_a_run_whose_worker_is_yet_to_speak_is_queued(run: Run) -> None:
    assert run.state == "queued"


def test_a_run_whose_worker_never_spoke_is_lost(run: Run) -> None:
    grow_old(run)
    assert run.state == "lost"
    (run.path / "stop").touch()
    assert run.state == "stopped"


@pytest.mark.parametrize(
    ("saved", "state", "state_with_stop"),
    [
        ("queued", "queued", "stopping"),
        ("running", "running", "stopping"),
        ("finished", "finished", "finished"),
        ("failed", "failed", "failed"),
        ("stopped", "stopped", "stopped"),
    ],
)
def test_states_while_the_worker_lives(run: Run, saved: str, state: str, state_with_stop: str) -> None:
    say(run, saved)
    with FileLock(run.path / "lock"):
        assert run.state == state
        (run.path / "stop").touch()
        assert run.state == state_with_stop


@pytest.mark.parametrize(
    ("saved", "state", "state_with_stop"),
    [
        ("queued", "lost", "stopped"),
        ("running", "lost", "stopped"),
        ("finished", "finished", "finished"),
        ("failed", "failed", "failed"),
        ("stopped", "stopped", "stopped"),
    ],
)
def test_states_after_the_worker_has_gone(run: Run, saved: str, state: str, state_with_stop: str) -> None:
    say(run, saved)
    (run.path / "lock").touch()
    assert run.state == state
    (run.path / "stop").touch()
    assert run.state == state_with_stop


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"finished"',
        b'{"state": 7}',
        b'{"state": ["finished"]}',
        b'{"state": "finished", "result": {"test_accuracy": 0.8',
        b"",
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_status_reads_as_lost(run: Run, content: bytes) -> None:
    (run.path / "status.json").write_bytes(content)
    assert run.state == "lost"
    assert run.result == {}
    assert "status.json" in run.status["error"]["message"]
    assert run_commands.ending(run)[0] == 2
    assert "status.json" in run_commands.ending(run)[1]


def test_a_missing_status_is_not_a_damaged_one(run: Run) -> None:
    os.utime(run.path / "config.json", (0, 0))
    assert run.state == "lost"
    assert "error" not in run.status
    assert "unexpectedly" in run_commands.ending(run)[1]


@pytest.mark.parametrize("content", [b'{"dropout": 0', b"", b"[0.3]"], ids=["cut", "empty", "other type"])
def test_missing_is_not_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    assert runs.load_json(path) is None
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"a\.json"):
        runs.load_json(path)


def test_a_result_that_is_no_object_is_none(run: Run) -> None:
    say(run, "finished", result=[1])
    assert run.result == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5, 10**400, None, [0.5]])
def test_a_figure_that_no_run_can_have_is_left_out_and_the_others_stay(run: Run, value: object) -> None:
    say(run, "finished", result={"test_accuracy": value, "test_loss": 2.5, "dataset": "CIFAR-10"})
    assert run.result == {"test_loss": 2.5, "dataset": "CIFAR-10"}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 1}', b"[1, 2", b"\0"])
def test_a_damaged_configuration_is_a_sentence(run: Run, content: bytes) -> None:
    (run.path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"{run.id}.*config\.json"):
        run.config  # noqa: B018 - the property is what is tested


def test_many_who_look_at_once_do_not_take_each_other_for_the_worker(run: Run) -> None:
    say(run, "running")
    (run.path / "lock").touch()
    with ThreadPoolExecutor(8) as pool:
        states = set(pool.map(lambda _: run.state, range(2_000)))
    assert states == {"lost"}


def test_500_runs_are_listed_with_their_states(tiny_config: TrainConfig) -> None:
    states = ("finished", "running", "stopped", "queued")
    for number in range(500):
        run = Run(f"20260101-{number:09d}-run")
        run.path.mkdir(parents=True)
        runs.write_json(run.path / "config.json", tiny_config.to_dict())
        (run.path / "lock").touch()
        say(run, states[number % 4])
    found = [run.state for run in runs.list_runs()]
    assert sorted(set(found)) == ["finished", "lost", "stopped"]
    assert len(found) == 500


def test_only_finished_runs_with_a_model_can_classify(tiny_config: TrainConfig) -> None:
    with_model, without, stopped = (runs.create(tiny_config) for _ in range(3))
    for run, state in ((with_model, "finished"), (without, "finished"), (stopped, "stopped")):
        say(run, state)
    for run in (with_model, stopped):
        (run.path / "model.tflite").touch()
    assert runs.finished_runs() == [with_model]


# ---- files


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    runs.write_json(path, {"number": 1})

    def cut_off(self: Path, text: str, **_: Any) -> None:
        with self.open("w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="No space"):
        runs.write_json(path, {"number": 2})
    assert runs.read_json(path) == {"number": 1}


def test_threads_write_one_file_at_once(tmp_path: Path) -> None:
    """As the sessions of a server do with the request to the head lab, or the latency of a run."""
    path, words = tmp_path / "a.json", "word " * 20_000

    def write(number: int) -> None:
        for _ in range(10):
            runs.write_json(path, {"number": number, "words": words})
            assert runs.load_json(path)["words"] == words

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_too_large_or_a_folder_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    assert runs.read_json(tmp_path / "large") == {}
    assert runs.read_json(tmp_path) == {}
    assert runs.read_json(tmp_path / "none") == {}


def test_torn_and_damaged_lines_of_the_metrics_are_left_out(run: Run) -> None:
    lines = [b'{"step": 1}', b"\xff\xff", b"[1]", b"", b'{"step": ', b'{"step": 2}', b'{"step": 3']
    (run.path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert run.metrics() == [{"step": 1}, {"step": 2}]


@given(st.lists(st.binary() | st.dictionaries(st.text(), st.integers()).map(lambda row: json.dumps(row).encode())))
@examples(100)
def test_any_metrics_file_gives_rows(run_dir: Path, lines: list[bytes]) -> None:
    (run_dir / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert all(isinstance(row, dict) for row in Run(run_dir.name).metrics())


@given(
    st.lists(st.dictionaries(st.text(), st.integers(-(10**14), 10**14) | st.text(), max_size=2), max_size=8),
    st.lists(st.integers(1, 40)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_as_the_file_grows_gives_every_row_once(
    tmp_path: Path, rows: list[dict[str, Any]], portions: list[int]
) -> None:
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path, found, offset, end = tmp_path / "rows", [], 0, 0
    for portion in [*portions, len(whole)]:
        end += portion
        path.write_bytes(whole[:end])
        new, offset = runs.read_rows(path, offset)
        found += new
    assert found == rows
    assert offset == len(whole)


def test_a_file_that_became_shorter_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    _, offset = runs.read_rows(path, 0)
    path.write_text('{"step": 7}\n')
    assert runs.read_rows(path, offset) == ([{"step": 7}], 12)
    assert runs.read_rows(tmp_path / "none", 5) == ([], 0)


# ---- deleting


def test_a_deleted_run_is_gone(tiny_config: TrainConfig) -> None:
    kept, gone = runs.create(tiny_config), runs.create(tiny_config)
    runs.delete(gone)
    assert runs.list_runs() == [kept]
    assert [path.name for path in runs.runs_dir().iterdir()] == [kept.id]
    runs.delete(gone)  # from another tab
    assert runs.list_runs() == [kept]


def test_a_living_run_is_not_deleted(run: Run) -> None:
    say(run, "running")
    with FileLock(run.path / "lock"), pytest.raises(RunError, match=f"{run.id} is running.*stop it"):
        runs.delete(run)
    assert run.config


def test_deleting_a_link_leaves_what_it_points_to(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    linked = Run("20260101-000000000-link")
    linked.path.symlink_to(outside, target_is_directory=True)
    runs.delete(linked)
    assert (outside / "precious").exists()
    assert runs.list_runs() == [run]
