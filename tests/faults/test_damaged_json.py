"""Each JSON file of the recorded run cut, emptied, of a wrong type: what uses it says so, and answers without it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_pages import open_app
from PIL import Image
from streamlit.testing.v1 import AppTest

from cifar_core import machine, runs
from cifar_core.cli import parser
from cifar_core.data import download, synthetic
from cifar_core.errors import RunError
from cifar_core.evaluation import comparison, phase_summary, robustness
from cifar_core.export import metrics
from cifar_core.inference import calibration, model_file
from cifar_core.inference.classifier import open_classifier
from cifar_core.runs import Run, labels

DAMAGES: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "wrong type": lambda text: json.dumps({key: [value] for key, value in json.loads(text).items()}),
}
PAGES: dict[str, dict[str, str]] = {
    "train": {},
    "classify": {},
    "evaluate": dict.fromkeys(("sure", "extremes", "robust", "story"), "true"),  # panels that are open
    "explore": {},
}
SAID_ON: dict[str, tuple[str, ...]] = {
    "config.json": ("train", "classify", "evaluate"),
    "status.json": ("train",),
    "environment.json": ("train", "evaluate"),
    "calibration.json": ("classify", "evaluate"),
    "robustness.json": ("evaluate",),
    "parent.json": ("evaluate",),
    "labels.json": ("train",),
    "latency.json": (),  # a measurement that is made again
}
"""The pages that name the damaged file."""
SAID_BY: dict[str, tuple[str, ...]] = {
    "config.json": ("runs show", "evaluate", "predict"),
    "status.json": ("runs show",),
    "environment.json": ("runs show", "evaluate"),
    "calibration.json": ("predict", "evaluate"),
    "robustness.json": ("evaluate",),
    "parent.json": ("evaluate",),
    "labels.json": ("runs show",),
    "latency.json": (),
}
"""The commands that name it."""
files = pytest.mark.parametrize("name", SAID_ON)
ways = pytest.mark.parametrize("damage", DAMAGES)


@pytest.fixture
def run(recorded_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The recorded run with every JSON file that a run can have; few images, no network."""
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)
    labels.change(recorded_run, name="a name", note="a note", starred=True)
    runs.write_json(recorded_run.path / phase_summary.PARENT_FILE, {"id": recorded_run.id})
    whole = {name: [0.5] * len(corruption.strengths) for name, corruption in robustness.CORRUPTIONS.items()}
    record = {"version": 1, "images": 100, "clean": 0.5, "accuracies": whole, "seconds": 1.0}
    runs.write_json(recorded_run.path / robustness.FILE, record)
    return recorded_run


def break_(run: Run, name: str, damage: str) -> None:
    path = run.path / name
    path.write_text(DAMAGES[damage](path.read_text()))


def everything_said(app: AppTest) -> str:
    return "\n".join(str(one.value) for kind in ("error", "warning", "info", "caption") for one in getattr(app, kind))


@files
@ways
def test_no_page_fails_and_those_that_use_the_file_say_so(run: Run, name: str, damage: str) -> None:
    break_(run, name, damage)
    for page, panels in PAGES.items():
        address = {"model": run.id} if page == "classify" else {"run": run.id}
        said = everything_said(open_app(f"pages/{page}.py", **address, **panels))
        assert (name.replace(".", "\\.") in said) == (page in SAID_ON[name]), (page, said)


@files
@ways
def test_no_command_fails_and_those_that_use_the_file_say_so(
    run: Run, name: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_(run, name, damage)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), "navy").save(picture)
    commands = {
        "runs list": ["runs", "list"],
        "runs show": ["runs", "show", run.id],
        "evaluate": ["evaluate", run.id],
        "predict": ["predict", str(picture), "--run", run.id],
    }
    for words, command in commands.items():
        assert parser.main(command) in (0, 2)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert (name in said.out + said.err) == (words in SAID_BY[name]), (words, said)


@ways
def test_a_damaged_calibration_leaves_the_answers_as_the_network_says_them(run: Run, damage: str) -> None:
    picture = synthetic.images(3, 1)[0]
    assert open_classifier(run.id).problems == []
    break_(run, calibration.FILE, damage)
    model = open_classifier(run.id)
    answers = model.answer(picture)
    assert (answers.probabilities == model.probabilities(picture)).all()
    assert not answers.is_unusual.any()
    assert len(model.problems) == 1


@ways
def test_a_damaged_index_costs_the_note_on_unusual_pictures_only(run: Run, damage: str) -> None:
    path = run.path / "neighbours.npz"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "wrong type": b"[1]"}[damage])
    app = open_app("pages/classify.py", model=run.id)
    assert "neighbours\\.npz" in everything_said(app)
    assert "compared with the training images" in open_classifier(run.id).problems[0]


@ways
@pytest.mark.parametrize("read", [phase_summary.keep_head, metrics.to_json])
def test_what_would_be_wrong_without_the_environment_is_refused(
    run: Run, damage: str, read: Callable[[Run], Any]
) -> None:
    (run.path / phase_summary.HEAD_FILE).write_bytes(b"")
    break_(run, "environment.json", damage)
    with pytest.raises(RunError, match=r"environment\.json is damaged"):
        read(run)
    assert runs.list_runs() == [run]


@ways
def test_runs_whose_images_are_not_known_are_not_compared(run: Run, damage: str) -> None:
    break_(run, "environment.json", damage)
    (pair,) = comparison.compare([run, run])
    assert pair.result is None
    assert "environment.json is damaged" in pair.reason


@ways
def test_a_damaged_measurement_of_the_latency_is_made_again(run: Run, damage: str) -> None:
    break_(run, model_file.LATENCY_FILE, damage)
    assert model_file.load_latency(run) is None
    assert model_file.measure_latency(run) == model_file.load_latency(run)
    assert runs.read_json(run.path / model_file.LATENCY_FILE)["threads"] == machine.threads()


@ways
def test_damaged_labels_are_moved_aside_by_the_next_name(run: Run, damage: str) -> None:
    break_(run, labels.FILE, damage)
    labels.change(run, name="another")
    assert labels.load_or_problem(run.path)[1] == ""
    assert labels.load(run).name == "another"
    assert (run.path / "labels.damaged-1.json").exists()
