from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_core.config import suggested_name
from cifar_core.errors import RunError
from cifar_core.runs import Run, labels, trash
from cifar_core.runs.labels import Labels


def test_nothing_is_written_on_a_new_run(run: Run) -> None:
    assert labels.load(run) == Labels()
    assert labels.name_of(run) == suggested_name(run.config)


def test_a_change_keeps_what_it_does_not_name(run: Run) -> None:
    labels.change(run, name="wide", starred=True)
    labels.change(run, note="first try")
    assert labels.load(run) == Labels("wide", "first try", True)
    assert labels.name_of(run) == "wide"
    labels.change(run, name="", starred=False)
    assert labels.load(run) == Labels("", "first try", False)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("quick, α 0.35, dropout 0.2", "quick_alpha-0.35_dropout-0.2"),
        ("../../etc: <b>A*?</b>", "etc-b-A-b"),
        ("Größe 1", "Größe-1"),
        ("...", "run"),
    ],
)
def test_a_name_becomes_a_file_name_that_every_system_takes(run: Run, name: str, stem: str) -> None:
    labels.change(run, name=name)
    assert labels.file_stem(run) == stem


def test_two_tabs_that_write_at_once_lose_nothing(run: Run) -> None:
    changes = [{"name": "a"}, {"note": "b"}, {"starred": True}] * 8
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda change: labels.change(run, **change), changes))
    assert labels.load(run) == Labels("a", "b", True)


@given(st.text(max_size=700))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_text_is_kept_short_on_one_line_and_visible(run: Run, text: str) -> None:
    kept = labels.change(run, name=text, note=text)
    assert labels.load(run) == kept
    assert len(kept.name) <= labels.NAME_LIMIT
    assert len(kept.note) <= labels.NOTE_LIMIT
    assert all(char.isprintable() for char in kept.name + kept.note)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"name": 7, "note": [], "starred": "yes"}', b"\xff", b'{"name": null}']
)
def test_a_damaged_file_reads_as_nothing_written(run: Run, content: bytes) -> None:
    (run.path / labels.FILE).write_bytes(content)
    assert labels.load(run) == Labels()


@pytest.mark.parametrize("content", [b'{"name": "my be', b"", b"[]", b'{"name": 7}'])
def test_a_change_moves_a_damaged_file_aside(run: Run, content: bytes) -> None:
    for number in (1, 2):
        (run.path / labels.FILE).write_bytes(content)
        labels.change(run, starred=True)
        assert labels.load(run) == Labels(starred=True)
        assert (run.path / f"labels.damaged-{number}.json").read_bytes() == content
    assert len(list(run.path.glob("labels*"))) == 3


def test_a_change_of_a_missing_or_sound_file_moves_nothing(run: Run) -> None:
    labels.change(run, name="a")
    labels.change(run, name="b")
    assert [path.name for path in run.path.glob("labels*")] == [labels.FILE]


def test_a_foreign_file_is_cleaned_when_it_is_read(run: Run) -> None:
    (run.path / labels.FILE).write_text('{"name": "a\\u202eb\\nc' + "x" * 900 + '"}')
    assert labels.load(run).name.startswith("a b cxx")
    assert len(labels.load(run).name) == labels.NAME_LIMIT


def test_a_lock_that_is_held_for_long_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(self: FileLock, **_: object) -> None:
        raise Timeout("")

    monkeypatch.setattr(FileLock, "acquire", held)
    with pytest.raises(RunError, match="elsewhere"):
        labels.change(run, name="x")


def test_a_run_that_is_gone_cannot_be_written_on(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'20260101-000000000-none'"):
        labels.change(Run("20260101-000000000-none"), name="x")


def test_the_labels_of_a_deleted_run_are_read_in_the_trash(run: Run) -> None:
    labels.change(run, name="wide")
    trash.move_to_trash(run)
    assert labels.load(run) == Labels()
    assert labels.load(run, trash.trash_dir() / run.id) == Labels("wide")
