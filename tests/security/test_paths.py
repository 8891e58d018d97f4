"""Names that come from outside never lead outside: traversal, links, characters that look like others."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_pages import open_app
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, RunError, SweepError
from cifar_core.evaluation import listing
from cifar_core.export import exports
from cifar_core.inference import classifier
from cifar_core.runs import ID_PATTERN, NAME_PATTERN, Run, labels, trash
from cifar_core.search import head_lab, studies, sweep_workers
from cifar_core.search.space import Goal, Plan, parse_range

APP = Path(__file__).resolve().parents[2] / "app.py"
ID = "20260101-000000000-stranger"
SECRET = "what nobody may read"
NASTY = (
    "", ".", "..", "../outside", "../../outside", "/etc/passwd", "C:\\outside", "..\\outside", "a/../../outside", "~",
    f"{ID}/../../outside", f"{ID}\n", f"{ID}\x00", f"{ID} ", f"{ID}/", f"\u202e{ID}", f"{ID}\u0301", "．．／outside",
    "２０２６０１０１-000000000-stranger", "20260101-000000000-ﬁne", "20260101-000000000-" + "a" * 5_000, "\ud800",
    "a" * 100_000, "a\n", "name\r", "名", "-rf", "--help", "${HOME}", "%2e%2e%2foutside", "nul", "a\x00b",
    ".trash", ".lab",
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=60),
    st.lists(st.sampled_from(("..", "/", "\\", "a", "\x00", "．", "\n", ID, "outside")), max_size=8).map("".join),
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the runs, with what a name may want."""
    place = tmp_path / "outside"
    place.mkdir()
    for name in ("status.json", "config.json", "journal.log", "model.tflite", "summary.txt", "labels.json"):
        (place / name).write_text(SECRET)
    return place


@pytest.fixture
def untouched(tmp_path: Path, outside: Path) -> Iterator[None]:
    """What lies beside runs and cache is the same afterwards."""
    before = beside(tmp_path)
    yield
    assert beside(tmp_path) == before


def beside(place: Path) -> dict[str, bytes]:
    own = ("runs", "cache", "keras")
    found = (path for path in place.rglob("*") if path.is_file() and path.relative_to(place).parts[0] not in own)
    return {str(path): path.read_bytes() for path in found}


USES = {
    "get": lambda name: runs.get(name),
    "open_classifier": lambda name: classifier.open_classifier(name),
    "restore": lambda name: trash.restore(name),
    "change": lambda name: labels.change(Run(name), name="x"),
    "folder": lambda name: studies.folder(name),
    "open_study": lambda name: studies.open_study(name),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.usefixtures("untouched")
def test_names_of_runs_and_sweeps_are_checked_before_they_are_paths(use: str) -> None:
    root = str(runs.runs_dir().resolve())

    @examples(40)
    @given(NAMES)
    def check(name: str) -> None:
        if use == "folder" and NAME_PATTERN.fullmatch(name):
            assert str(studies.folder(name).resolve()).startswith(root + os.sep)
            return
        with pytest.raises(CifarError):
            USES[use](name)

    check()


@given(st.text(), st.text(max_size=30))
def test_patterns_let_nothing_through_that_is_more_than_one_plain_name(name: str, tail: str) -> None:
    for pattern, sound in ((ID_PATTERN, ID), (NAME_PATTERN, "a-sweep")):
        for text in (name, sound + tail, tail + sound):
            if pattern.fullmatch(text):
                assert Path(text).name == text
                assert text.isascii()
                assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(st.text(), st.sampled_from(("csv", "zip", "keras", "x/../../y")))
def test_the_name_of_a_new_run_and_of_a_download_is_plain(name: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_RUNS_DIR", place)
        run = runs.create(TrainConfig(), name)
        assert ID_PATTERN.fullmatch(run.id)
        assert [path.name for path in Path(place).iterdir()] == [run.id]
        with pytest.raises(CifarError):
            exports.content(run, kind)


KEYS = {
    "train": "run settings",
    "evaluate": "run split beside cell cells kind classes extremes sure story robust",
    "explore": "runs section filter sort states starred reverse axis smoothing sweep trial grid cost trials "
    "show search_unit search_trials search_minutes search_vary search_grid search_dropout search_alpha tried "
    "dropout dense_units l2",
    "classify": "model with crop view class sort",
    "learn": "lesson",
}
"""What the pages take from an address."""
VIEWS: dict[str, list[dict[str, str]]] = {
    "train": [{}, {"run": ID}],
    "evaluate": [{"run": ID}, {"run": ID, "beside": ID, "robust": "true", "extremes": "true"}],
    "explore": [{}, {"section": "lab"}, {"section": "sweep", "sweep": "mine"}, {"section": "surface", "grid": "mine"}],
    "classify": [{"model": ID}],
    "learn": [{}],
}
"""Sound parts of an address, with which the others get further."""


@pytest.mark.parametrize("page", KEYS)
@pytest.mark.usefixtures("untouched")
def test_query_parameters_open_nothing_outside(stranger, page: str) -> None:
    stranger()
    studies.create("mine", Plan(TrainConfig(), (parse_range("dropout=0,0.3"),), grid=True), Goal(2))
    for sound in VIEWS[page]:
        for name in (f"{ID}/../../outside", "a" * 9_000, "-1", "nan,1e999_\u202e<b>\x00"):
            app = open_app(f"pages/{page}.py", **dict.fromkeys(KEYS[page].split(), name) | sound)
            assert SECRET not in str([one.value for one in (*app.markdown, *app.code, *app.error, *app.caption)])


# ---- links in a run's folder


def test_a_run_that_is_a_link_is_not_opened(outside: Path) -> None:
    runs.runs_dir().mkdir()
    Run(ID).path.symlink_to(outside, target_is_directory=True)
    with pytest.raises(RunError, match="is a link or no file"):
        runs.get(ID)
    assert runs.list_runs() == []
    assert listing.rows() == []
    assert list(outside.iterdir())


@pytest.mark.parametrize("name", ["status.json", "summary.txt", "lock", "worker.log", "stop", "exports/litert.log"])
@pytest.mark.usefixtures("untouched")
def test_a_run_with_a_link_in_it_is_not_opened(stranger, outside: Path, name: str) -> None:
    run = stranger()
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(outside / "summary.txt")
    with pytest.raises(RunError, match=r"is a link or no file.*put the file itself there"):
        runs.get(run.id)
    assert runs.list_runs() == []
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["run"] = run.id
    app.run()
    assert not app.exception
    assert "is a link or no file" in app.error[0].value
    assert SECRET not in str([one.value for one in (*app.code, *app.markdown)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_run_with_a_pipe_in_it_is_not_waited_for(stranger) -> None:
    run = stranger({"summary.txt": None})
    os.mkfifo(run.path / "summary.txt")
    with pytest.raises(RunError, match="is a link or no file"):
        runs.get(run.id)


@pytest.mark.usefixtures("untouched")
def test_sweeps_trash_and_lab_that_are_links_are_not_used(stranger, outside: Path) -> None:
    run = stranger()
    place = runs.runs_dir()
    (place / ".trash").symlink_to(outside, target_is_directory=True)
    (place / ".lab").symlink_to(outside, target_is_directory=True)
    (place / "sweeps").mkdir()
    (place / "sweeps" / "mine").symlink_to(outside, target_is_directory=True)
    for use in (
        lambda: trash.move_to_trash(run),
        lambda: trash.clear([run.id]),
        lambda: head_lab.request(head_lab.Settings()),
        head_lab.job,
    ):
        with pytest.raises(RunError, match="is a link"):
            use()
    with pytest.raises(SweepError, match="is a link, or contains a link"):
        studies.open_study("mine")
    (place / "sweeps" / "mine").unlink()
    (place / "sweeps" / "mine").mkdir()
    (place / "sweeps" / "mine" / "journal.log").symlink_to(outside / "journal.log")
    with pytest.raises(SweepError, match="is a link, or contains a link"):
        studies.open_study("mine")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["journal.log", "worker-0.lock", "worker-0.json", "ask.lock"])
def test_a_sweep_with_a_pipe_or_a_link_in_it_is_not_waited_for(outside: Path, name: str) -> None:
    place = runs.runs_dir() / "sweeps" / "mine"
    place.mkdir(parents=True)
    (place / "journal.log").write_text("{}")
    (place / name).unlink(missing_ok=True)
    os.mkfifo(place / name)
    for use in (studies.open_study, sweep_workers.living_workers, sweep_workers.stop, sweep_workers.delete):
        with pytest.raises(SweepError, match="Search mine is not opened"):
            use("mine")
    (place / name).unlink()
    (place / name).symlink_to(outside / "status.json")
    with pytest.raises(SweepError, match="Search mine is not opened"):
        sweep_workers.living_workers("mine")


def test_a_deleted_sweep_is_not_put_where_a_link_leads(outside: Path) -> None:
    """What lay there under its name would be deleted, to free disk space."""
    (outside / "mine").mkdir()
    (outside / "mine" / "journal.log").write_text(SECRET)
    place = runs.runs_dir() / "sweeps"
    (place / "mine").mkdir(parents=True)
    (place / "mine" / "journal.log").touch()
    (place / ".deleted").symlink_to(outside, target_is_directory=True)
    for use in (studies.delete, studies.restore, studies.is_restorable):
        with pytest.raises(RunError, match="is a link"):
            use("mine")
    assert (outside / "mine" / "journal.log").read_text() == SECRET


@pytest.mark.usefixtures("untouched")
def test_deleting_a_run_removes_a_link_and_not_what_it_leads_to(stranger, outside: Path) -> None:
    run = stranger()
    trash.move_to_trash(run)
    (trash.trash_dir() / run.id / "link").symlink_to(outside, target_is_directory=True)
    trash.clear(trash.contents())
    assert trash.contents() == []
