"""The commands `sweep ...`. The slot is taken, so that nothing trains and no TensorFlow is loaded."""

import json
from collections.abc import Iterator

import optuna
import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.config import TrainConfig
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan

START = ["sweep", "start", "one", "--dataset", "generated", "--weights", "random", "--train-images", "1000"]


@pytest.fixture
def taken_slot() -> Iterator[None]:
    runs.runs_dir().mkdir()
    with FileLock(runs.runs_dir() / ".slot"):
        yield
        for name in studies.names():
            sweep_workers.stop(name)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = parser.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """The command fails with one line, which names the search."""
    code, out, err = said(capsys, *arguments)
    assert (code, out, err.count("\n"), "one" in err) == (2, "", 1, True)


def test_without_a_sweep_the_list_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "sweep", "list")
    assert (code, out.count("\n"), "sweep start NAME" in out, err) == (0, 1, True, "")
    assert said(capsys, "sweep", "list", "--json")[1] == "[]\n"


def test_a_sweep_is_started_shown_stopped_resumed_and_extended(
    taken_slot: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *START, "--vary", "dropout=0:0.5", "--vary", "l2", "--trials", "7", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"name": "one", "state": "running", "done": 0, "trials": 7}
    found = json.loads(said(capsys, "sweep", "show", "one", "--json")[1])
    assert found["plan"]["ranges"]["dropout"] == {"low": 0.0, "high": 0.5}
    assert found["plan"]["base"]["train_images"] == 1000
    assert "one" in said(capsys, "sweep", "list")[1]
    refused(capsys, "sweep", "resume", "one")
    assert json.loads(said(capsys, "sweep", "stop", "one", "--json")[1])["state"] == "stopped"
    assert sweep_workers.living_workers("one") == []
    assert json.loads(said(capsys, "sweep", "resume", "one", "--trials", "5", "--json")[1])["trials"] == 12
    code, _, err = said(capsys, "sweep", "resume", "one", "--trials", "-5")
    assert (code, "-5" in err) == (2, True), err
    assert sweep_workers.living_workers("one") == [0]
    shown = said(capsys, "sweep", "show", "one")[1]
    assert "0 of 12 trials" in shown
    assert "Dropout: 0 to 0.5" in shown


def test_a_journal_without_its_plan_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    folder = studies.folder("one")
    folder.mkdir(parents=True)
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    optuna.create_study(study_name="one", storage=optuna.storages.JournalStorage(journal), direction="maximize")
    sentence = "Search one has no plan of what to try; delete it and start a new one.\n"
    for arguments in (("resume", "one"), ("resume", "one", "--trials", "5"), ("worker", "--study", "one")):
        assert said(capsys, "sweep", *arguments) == (2, "", sentence)
    assert sweep_workers.living_workers("one") == []
    assert said(capsys, "sweep", "delete", "one")[0] == 0


def test_a_grid_is_shown_cell_by_cell(tiny_config: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(tiny_config, tuple(map(space.parse_range, ("dropout=0,0.5", "alpha=0.35,0.5"))), grid=True)
    studies.create("one", plan, Goal(4))
    study = studies.open_study("one")
    studies.repeat(study)
    for accuracy in (0.5, 0.6, 0.7, 0.8, 0.6, 0.6, 0.7, 0.8):
        trial = study.ask()
        trial.set_user_attr("accuracy", accuracy)
        plan.config(trial)
        study.tell(trial, accuracy)
    shown = said(capsys, "sweep", "show", "one")[1]
    assert "dropout=0.0 alpha=0.35  55.0%  ± 7.1   2" in shown
    assert "14.4 points" in shown  # q(0.95; 4, 4) = 5.757 of the error 2.5
    cells = json.loads(said(capsys, "sweep", "show", "one", "--json")[1])["cells"]
    assert cells[3] == {"values": {"dropout": 0.5, "alpha": 0.5}, "accuracies": [0.8, 0.8], "mean": 0.8, "spread": 0.0}
    code, _, error = said(capsys, "sweep", "resume", "one", "--seeds", "1", "--trials", "3")
    assert (code, "--trials" in error, studies.goal_of(study).trials) == (2, True, 8)


def test_a_sweep_is_deleted_and_brought_back(taken_slot: None, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *START, "--trials", "7")
    refused(capsys, "sweep", "delete", "one")
    said(capsys, "sweep", "stop", "one")
    trained = len(runs.list_runs())
    code, out, _ = said(capsys, "sweep", "delete", "one")
    assert (code, "sweep restore one" in out) == (0, True)
    assert (studies.names(), len(runs.list_runs())) == ([], trained)
    assert said(capsys, "sweep", "show", "one")[0] == 2
    back = json.loads(said(capsys, "sweep", "restore", "one", "--json")[1])
    assert back == {"name": "one", "state": "stopped", "done": 0, "trials": 7}
    refused(capsys, "sweep", "restore", "one")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "none"),
        ("delete", "none"),
        ("delete", ".deleted"),
        ("restore", "../one"),
        ("show", "../one"),
        ("stop", "none"),
        ("resume", "$(id)"),
        ("worker", "--study", "../../x"),
        ("worker", "--study", "none"),
        ("start", "a/b"),
        ("start", "one", "--vary", "dropout=0:9"),
        ("start", "one", "--vary", "seed"),
        ("start", "one", "--vary", "dropout", "--vary", "dropout"),
        ("start", "one", "--grid", "--vary", "dropout"),
        ("start", "one", "--grid", "--vary", "dropout=0,0.5", "--trials", "3"),
        ("start", "one", "--trials", "-3"),
        ("start", "one", "--minutes", "nan"),
        ("start", "one", "--workers", "0"),
        ("start", "one", "--dropout", "7"),
        ("list", "--storage", "sqlite:///x.db"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = said(capsys, "sweep", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    monkeypatch.setenv(studies.STORAGE_VARIABLE, "")  # --storage has set it
    assert studies.names() == []
    assert runs.list_runs() == []
