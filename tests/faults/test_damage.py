"""Every file of a finished run truncated, emptied, overwritten: pages and commands answer, and with no wrong number."""

import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from app_pages import figures_of
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.config import TrainConfig
from cifar_core.data import download, synthetic
from cifar_core.runs import Run
from cifar_core.search import studies
from cifar_core.search.space import Goal, Plan, parse_range

APP = Path(__file__).resolve().parent.parent.parent / "app.py"
PAGES = {
    "pages/train.py": (
        "config.json",
        "status.json",
        "metrics.jsonl",
        "checkpoint.npz",
        "best.keras",
        "model.tflite",
        "calibration.json",
        "neighbours.npz",
        "environment.json",
        "summary.txt",
    ),
    "pages/evaluate.py": (
        "config.json",
        "status.json",
        "metrics.jsonl",
        "evaluation.npz",
        "phases.npz",
        "head.npz",
        "calibration.json",
    ),
    "pages/classify.py": ("config.json", "status.json", "model.tflite", "calibration.json", "neighbours.npz"),
}
"""The pages that show one run, and the files that they read of it."""
PANELS = ("details_panel", "export_panel", "preview_panel", "plan_panel")
FIGURES = {"status.json", "calibration.json", "latency.json", "metrics.jsonl"}
Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: dict[str, Damage] = {
    "truncated": lambda content, chance: content[: chance.randrange(1, max(len(content), 2))],
    "empty": lambda content, chance: b"",
    "garbage": lambda content, chance: chance.randbytes(len(content)),
    "zeros in it": lambda content, chance: content[: len(content) // 3] + bytes(len(content) - len(content) // 3),
    "a byte changed": lambda content, chance: _changed(content, chance.randrange(max(len(content), 1))),
}
NUMBERS: dict[str, object] = {
    "no numbers": "x",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "too large": 1e300,
    "negative": -1,
    "too many digits": 10**400,
    "a list": [],
    "nothing": None,
}


def _changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :]  # no digit becomes a digit


@pytest.fixture
def intact(undisturbed_run: Path) -> Run:
    """A copy of the undisturbed run among the test's own runs."""
    runs.runs_dir().mkdir()
    run = Run(undisturbed_run.name)
    shutil.copytree(undisturbed_run, run.path)
    return run


@pytest.fixture(autouse=True)
def small_set(own_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few generated images, so that pages are drawn at once; no network."""
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)


def damaged_copies(intact: Run, names: Iterable[str]) -> Iterator[tuple[str, str, Run]]:
    """A copy of `intact` for each of the files and each damage: the file's name, what was done to it, the run."""
    chance = random.Random(7)
    for name in sorted(names):
        for what, damage in DAMAGES.items():
            run = copy_of(intact)
            (run.path / name).write_bytes(damage((run.path / name).read_bytes(), chance))
            yield name, what, run


def odd_copies(intact: Run, names: Iterable[str]) -> Iterator[tuple[str, str, Run]]:
    """A copy of `intact` for each of the files with figures and each odd value, which every figure in it then has."""
    for what, value in NUMBERS.items():
        for name in FIGURES.intersection(names):
            run = copy_of(intact)
            lines = (
                (run.path / name).read_text().splitlines() if name.endswith("l") else [(run.path / name).read_text()]
            )
            odd = [json.dumps(_with_odd_numbers(json.loads(line), value)) for line in lines]
            (run.path / name).write_text("\n".join([*odd, ""]))
            yield name, what, run


def all_copies(intact: Run) -> Iterator[tuple[str, str, Run]]:
    names = {name for names in PAGES.values() for name in names}
    return chain(damaged_copies(intact, names), odd_copies(intact, FIGURES))


def _with_odd_numbers(found: Any, value: object) -> Any:
    if isinstance(found, dict):
        return {key: _with_odd_numbers(item, value) for key, item in found.items()}
    if isinstance(found, list):
        return [_with_odd_numbers(item, value) for item in found]
    return value if isinstance(found, int | float) else found


def copy_of(intact: Run) -> Run:
    run = Run(runs.new_id("damaged"))
    while run.path.exists():
        run = Run(runs.new_id("damaged"))
    shutil.copytree(intact.path, run.path, copy_function=shutil.copy)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_no_damaged_file_takes_a_page_with_it_or_shows_a_wrong_number(intact: Run, page: str) -> None:
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    app.switch_page(page)
    for panel in PANELS:
        app.session_state[panel] = True  # as a click on it does
    app.query_params["run"] = intact.id
    true, wrong = figures_of(app.run()), []
    assert not app.exception, app.exception[0].message
    assert true or page == "pages/classify.py"  # which states none without a picture
    for name, what, run in chain(damaged_copies(intact, PAGES[page]), odd_copies(intact, PAGES[page])):
        app.query_params["run"] = run.id
        app.run()
        if app.exception:
            wrong.append(f"{name} {what}: {app.exception[0].stack_trace[-3:]}")
        elif strange := figures_of(app) - true:
            wrong.append(f"{name} {what}: {strange} are not among {true}")
        shutil.rmtree(run.path)  # else each page run would read all that were damaged before
    list(all_copies(intact))
    app.query_params["run"] = intact.id
    app.run()
    if app.exception or figures_of(app) != true:
        wrong.append(f"with all the damaged beside it: {app.exception or figures_of(app)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_damaged_runs_are_listed_compared_and_shown_by_the_commands(
    intact: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = [run.id for _, _, run in all_copies(intact)]
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    app.switch_page("pages/explore.py")
    app.run()
    assert not app.exception, app.exception[0].stack_trace[-3:]
    commands = [["runs", "list", "--json"], ["runs", "compare", intact.id, *copies[:20]]]
    commands += [[*command, id_] for id_ in copies for command in (["runs", "show"], ["evaluate"])]
    for command in commands:
        assert parser.main(command) in (0, 2), command
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err, command


@pytest.fixture
def journal(tiny_config: TrainConfig) -> Path:
    """The journal of a sweep of three trials, two of which have ended."""
    studies.create("one", Plan(tiny_config, (parse_range("dropout=0,0.3"),), grid=True), Goal(3))
    study = studies.open_study("one")
    for accuracy in (0.5, 0.6):
        trial = study.ask()
        trial.suggest_categorical("dropout", [0, 0.3])
        trial.set_user_attr("accuracy", accuracy)
        study.tell(trial, accuracy)
    study.ask()
    return studies.folder("one") / "journal.log"


JOURNALS = {name: damage for name, damage in DAMAGES.items() if name != "a byte changed"} | {
    "no first line": lambda content, chance: content.split(b"\n", 1)[1],
    "no second line": lambda content, chance: b"\n".join(content.split(b"\n")[:1] + content.split(b"\n")[2:]),
    "odd numbers": lambda content, chance: b"\n".join(
        json.dumps(_with_odd_numbers(json.loads(line), float("nan"))).encode() for line in content.splitlines()
    ),
    "a list in each line": lambda content, chance: b"[1]\n" * 20,
}


@pytest.mark.parametrize("what", JOURNALS)
def test_a_damaged_journal_of_a_sweep_is_a_sentence_on_its_page_and_for_its_commands(
    journal: Path, what: str, tiny_config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.write_bytes(JOURNALS[what](journal.read_bytes(), random.Random(7)))
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    app.switch_page("pages/explore.py")
    for section in ("sweep", "surface"):
        app.query_params["section"], app.query_params["sweep"] = section, "one"
        app.run()
        assert not app.exception, app.exception[0].stack_trace[-3:]
    studies.create("sound", Plan(tiny_config, (parse_range("dropout=0,0.3"),)), Goal(3))
    capsys.readouterr()
    codes = []
    for words in (["list"], ["show", "one"], ["stop", "one"], ["delete", "one"]):
        code = parser.main(["sweep", *words])
        codes.append(code)
        said = capsys.readouterr()
        assert code in (0, 2), words
        assert (said.err.count("\n") == 1) == (code == 2), (words, said.err)
        assert "Traceback" not in said.out + said.err, words
        if words == ["list"]:
            assert {line.split()[0] for line in said.out.splitlines()} >= {"one", "sound"}
    assert codes[0] == codes[-1] == 0  # what is damaged is listed and can be deleted
