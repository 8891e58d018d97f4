"""Every file of a finished run truncated, emptied, overwritten: pages and commands answer, and with no wrong number."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cifar_core import generated, runs, weights
from cifar_core.runs import Run

APP = Path(__file__).resolve().parent.parent.parent / "app.py"
FILES = (
    "config.json",
    "status.json",
    "metrics.jsonl",
    "checkpoint.npz",
    "head.npz",
    "best.keras",
    "model.tflite",
    "evaluation.npz",
    "phases.npz",
    "calibration.json",
    "neighbours.npz",
    "environment.json",
    "latency.json",
    "summary.txt",
    "robustness.json",
)
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
    monkeypatch.setattr(generated, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(generated, "TEST_IMAGES", 50)
    monkeypatch.setattr(weights, "_host_answers", lambda: False)


def damaged_copies(intact: Run, names: tuple[str, ...] = FILES) -> Iterator[tuple[str, Run]]:
    """A copy of `intact` for each file and damage."""
    chance = random.Random(7)
    for name in names:
        if not (intact.path / name).exists():
            continue
        for what, damage in DAMAGES.items():
            run = copy_of(intact)
            (run.path / name).write_bytes(damage((run.path / name).read_bytes(), chance))
            yield f"{name} {what}", run


def copy_of(intact: Run) -> Run:
    run = Run(runs.new_id("damaged"))
    while run.path.exists():
        run = Run(runs.new_id("damaged"))
    shutil.copytree(intact.path, run.path, copy_function=shutil.copy)
    return run


def numbers_of(app: AppTest) -> set[tuple[str, str]]:
    """The figures on a page: label and value."""
    return {(metric.label, metric.value) for metric in app.metric}


@pytest.mark.slow
def test_no_damaged_file_takes_a_page_with_it_or_shows_a_wrong_number(intact: Run) -> None:
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    wrong = []
    copies = dict(damaged_copies(intact))
    for page in ("pages/train.py", "pages/evaluate.py", "pages/classify.py"):
        app.switch_page(page)
        app.query_params["run"] = intact.id
        true = numbers_of(app.run())
        assert not app.exception, app.exception[0].message
        for what, run in copies.items():
            app.query_params["run"] = run.id
            app.run()
            if app.exception:
                wrong.append(f"{page}: {what}: {app.exception[0].message}")
            elif strange := numbers_of(app) - true:
                wrong.append(f"{page}: {what}: {strange} are not among {true}")
    app.switch_page("pages/explore.py").run()
    if app.exception:
        wrong.append(f"explore: {app.exception[0].message}")
    assert not wrong, "\n".join(wrong)
