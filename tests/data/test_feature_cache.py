import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_core.data import feature_cache
from cifar_core.data.feature_cache import Entry
from cifar_core.errors import StoreError

ROWS, SHAPE = 40, (3, 4)


@pytest.fixture
def entry() -> Entry:
    return feature_cache.entry({"name": "features"}, ROWS, SHAPE)


def values(positions: np.ndarray) -> np.ndarray:
    """Rows that tell their position."""
    return (positions[:, None, None] + np.arange(12).reshape(SHAPE) / 16).astype(np.float32)


def fill(entry: Entry, positions: np.ndarray) -> None:
    with feature_cache.filling(entry):
        entry.write(positions, values(positions))


def everything() -> np.ndarray:
    return np.arange(ROWS)


def is_right(entry: Entry, positions: np.ndarray) -> bool:
    return np.array_equal(entry.open()[positions], values(positions).astype(np.float16))


@given(st.lists(st.sets(st.integers(0, ROWS - 1), min_size=1), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_what_was_written_is_there_and_nothing_else(tmp_path: Path, portions: list[set[int]]) -> None:
    entry = feature_cache.entry({"portions": [sorted(portion) for portion in portions]}, ROWS, SHAPE)
    for portion in portions:
        fill(entry, np.array(sorted(portion), int))
    expected = set().union(*portions)
    assert set(entry.missing(everything()).tolist()) == set(range(ROWS)) - expected
    if expected:
        assert is_right(entry, np.array(sorted(expected)))


def test_an_entry_outlives_its_process_and_its_maker_may_be_another(entry: Entry) -> None:
    fill(entry, everything())
    again = feature_cache.entry({"name": "features"}, ROWS, SHAPE)
    assert again == entry
    assert len(again.missing(everything())) == 0
    assert is_right(again, everything())


@pytest.mark.parametrize(
    "other",
    [
        ({"name": "Features"}, ROWS, SHAPE),
        ({"name": "features"}, ROWS + 1, SHAPE),
        ({"name": "features"}, ROWS, (4, 3)),
    ],
)
def test_whatever_differs_is_another_entry(entry: Entry, other: Any) -> None:
    assert feature_cache.entry(*other).path != entry.path


def test_missing_rows_take_no_room() -> None:
    entry = feature_cache.entry({"name": "large"}, 50_000, (1_000,))
    with feature_cache.filling(entry):
        entry.write(np.array([49_999]), np.ones((1, 1_000)))
    (found,) = feature_cache.contents()
    assert found["bytes"] < 1_000_000
    assert found["about"]["name"] == "large"


@pytest.mark.parametrize("byte", [0, 24 * 7 + 3, 24 * ROWS - 1])
def test_a_damaged_row_is_missing_again(entry: Entry, byte: int) -> None:
    fill(entry, everything())
    with (entry.path / "rows").open("r+b") as file:
        file.seek(byte)
        old = file.read(1)
        file.seek(byte)
        file.write(bytes([old[0] ^ 1]))
    assert entry.missing(everything()).tolist() == [byte // 24]
    fill(entry, entry.missing(everything()))
    assert len(entry.missing(everything())) == 0
    assert is_right(entry, everything())


@pytest.mark.parametrize(
    ("name", "size", "left"), [("rows", 24 * 10 + 5, 10), ("checks", 4 * 10 + 3, 10), ("rows", 3, 0)]
)
def test_truncated_files_cost_the_rows_behind(entry: Entry, name: str, size: int, left: int) -> None:
    fill(entry, everything())
    os.truncate(entry.path / name, size)
    assert entry.missing(everything()).tolist() == list(range(left, ROWS))
    fill(entry, entry.missing(everything()))
    assert is_right(entry, everything())


@pytest.mark.parametrize("name", ["rows", "checks"])
def test_a_lost_file_costs_all_rows(entry: Entry, name: str) -> None:
    fill(entry, everything())
    (entry.path / name).unlink()
    assert entry.missing(everything()).tolist() == list(range(ROWS))


def test_files_longer_than_they_should_be_do_no_harm(entry: Entry) -> None:
    fill(entry, everything())
    for name in ("rows", "checks"):
        with (entry.path / name).open("ab") as file:
            file.write(b"\1" * 1_000)
    assert len(entry.missing(everything())) == 0
    assert entry.open().shape == (ROWS, *SHAPE)


def test_an_entry_that_was_removed_is_a_sentence(entry: Entry) -> None:
    with pytest.raises(StoreError, match="start the run again"):
        entry.open()


class FullDisk:
    """A file on a disk that takes `room` bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, place: int) -> None:
        self._file.seek(place)

    def write(self, content: bytes) -> None:
        self._file.write(content[: self._room])
        self._room -= len(content)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 5, 24, 24 * 10 + 7])
def test_a_full_disk_is_a_sentence_and_leaves_no_wrong_row(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    with monkeypatch.context() as full:
        really_open = feature_cache._open
        full.setattr(feature_cache, "_open", lambda path: FullDisk(really_open(path), room))
        with pytest.raises(StoreError, match="No space left on device; free disk space"):
            fill(entry, everything())
    present = np.setdiff1d(everything(), entry.missing(everything()))
    assert len(present) == 0 or is_right(entry, present)
    fill(entry, entry.missing(everything()))
    assert is_right(entry, everything())


def test_a_folder_that_cannot_be_written_is_a_sentence() -> None:
    feature_cache.store_dir().parent.mkdir(parents=True)
    feature_cache.store_dir().write_text("a file")
    with pytest.raises(StoreError, match="CIFAR_CACHE_DIR"):
        feature_cache.entry({}, ROWS, SHAPE)


FILLER = """
    import sys, time
    import numpy as np
    from cifar_core.data import feature_cache
    entry = feature_cache.entry({"name": "shared"}, 40, (3, 4))
    print("ready", flush=True)
    sys.stdin.readline()
    with feature_cache.filling(entry):
        for position in entry.missing(np.arange(40)):
            time.sleep(0.01)  # this is work
            entry.write(np.array([position]), np.full((1, 12), position, float))
            print("computed", position, flush=True)
"""


def test_two_processes_compute_an_entry_once() -> None:
    fillers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(FILLER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    for filler in fillers:
        assert filler.stdout is not None
        assert filler.stdout.readline() == "ready\n"
    said = "".join(filler.communicate("go\n", timeout=30)[0] for filler in fillers)
    assert sorted(said.split()[1::2], key=int) == [str(position) for position in range(40)]
    assert [filler.returncode for filler in fillers] == [0, 0]
    assert (feature_cache.entry({"name": "shared"}, 40, (3, 4)).open()[:, 0, 0] == np.arange(40)).all()


# ---- the budget


def large(name: str, used_at: int) -> Entry:
    """An entry of a megabyte, last used at that second."""
    entry = feature_cache.entry({"name": name}, 100, (5_000,))
    with feature_cache.filling(entry):
        entry.write(np.arange(100), np.random.default_rng(0).random((100, 5_000)))
    os.utime(entry.path / "about.json", (used_at, used_at))
    return entry


def names() -> set[str]:
    return {item["about"]["name"] for item in feature_cache.contents()}


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """Three entries of a megabyte, named by age, and a budget that a fourth would break."""
    monkeypatch.setenv("CIFAR_STORE_GB", "0.0035")
    return {name: large(name, used_at) for name, used_at in {"middle": 2_000, "oldest": 1_000, "newest": 3_000}.items()}


def test_the_entry_not_used_for_longest_goes_first(three: dict[str, Entry]) -> None:
    feature_cache.make_room(300_000, [])
    assert names() == {"oldest", "middle", "newest"}
    feature_cache.make_room(1_000_000, [])
    assert names() == {"middle", "newest"}
    feature_cache.make_room(2_000_000, [])
    assert names() == {"newest"}


def test_asking_for_an_entry_is_using_it(three: dict[str, Entry]) -> None:
    feature_cache.entry({"name": "oldest"}, 100, (5_000,))
    feature_cache.make_room(1_000_000, [])
    assert names() == {"oldest", "newest"}


def test_entries_that_are_being_filled_stay(three: dict[str, Entry]) -> None:
    with FileLock(three["oldest"].path / "lock"):
        feature_cache.make_room(1_000_000, [])
        assert names() == {"oldest", "newest"}
        with pytest.raises(StoreError, match="budget"):
            feature_cache.make_room(3_000_000, [])
    assert names() == {"oldest"}


def test_what_is_there_already_is_neither_counted_twice_nor_removed(three: dict[str, Entry]) -> None:
    feature_cache.make_room(3_200_000, list(three.values()))
    feature_cache.make_room(2_000_000, [three["oldest"], three["middle"]])
    assert names() == {"oldest", "middle", "newest"}


def test_more_than_the_budget_is_refused(three: dict[str, Entry]) -> None:
    with pytest.raises(StoreError, match=r"\b4\.0 GB.* 0\.0 GB.*CIFAR_STORE_GB"):
        feature_cache.make_room(4_000_000_000, [])


def test_what_cannot_fit_removes_nothing(three: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError):
        feature_cache.make_room(4_000_000_000, [])
    monkeypatch.setattr(feature_cache, "_free_bytes", lambda: 1_000)
    with pytest.raises(StoreError):
        feature_cache.make_room(3_100_000, [])
    assert names() == {"oldest", "middle", "newest"}


def test_what_the_own_entries_hold_already_counts_against_the_budget(three: dict[str, Entry]) -> None:
    feature_cache.make_room(1_000, [three["middle"], three["newest"]])
    assert names() == {"oldest", "middle", "newest"}
    feature_cache.make_room(2_500_000, [three["middle"], three["newest"]])
    assert names() == {"middle", "newest"}


def test_entries_for_which_there_was_room_have_room_again_though_blocks_of_the_disk_are_larger_than_rows(
    three: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that began with stored features would go on end to end, with another result."""
    monkeypatch.setenv("CIFAR_STORE_GB", "0.0005")
    feature_cache.make_room(400_000, [three["middle"]])  # holds more
    assert names() == {"middle"}
    with pytest.raises(StoreError):
        feature_cache.make_room(600_000, [three["middle"]])


def test_more_than_the_disk_is_refused(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_free_bytes", lambda: 1_000_000)
    feature_cache.make_room(900_000, [entry])
    with pytest.raises(StoreError, match="free disk space"):
        feature_cache.make_room(1_100_000, [entry])


@pytest.mark.parametrize("text", ["-1", "0", "lots", "nan", "inf", "1e999"])
def test_a_budget_that_is_no_number_is_a_sentence(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_STORE_GB", text)
    with pytest.raises(StoreError, match="CIFAR_STORE_GB"):
        feature_cache.budget_bytes()


def test_an_entry_that_was_removed_before_it_is_filled_is_listed(entry: Entry) -> None:
    feature_cache.clear()
    fill(entry, everything())
    assert [item["key"] for item in feature_cache.contents()] == [entry.path.name]


def test_the_store_can_be_cleared_but_for_what_is_being_filled(three: dict[str, Entry]) -> None:
    with FileLock(three["middle"].path / "lock"):
        assert feature_cache.clear() > 2_000_000
    assert names() == {"middle"}
    assert [path.name for path in feature_cache.store_dir().iterdir()] == [three["middle"].path.name]
    assert feature_cache.clear() > 1_000_000
    assert feature_cache.contents() == []
