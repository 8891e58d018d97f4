"""The command `learn`: the list, the stored results, a lesson run here, and what can go wrong."""

import json

import pytest
from lesson_outcomes import MADE, made_up

from cifar_core import jobs, runs
from cifar_core.cli import parser
from cifar_core.config import TrainConfig
from cifar_core.inference import activations
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import LESSONS
from cifar_core.lessons.experiments import CONDITIONS
from cifar_core.lessons.layer_probe import Layers, Probed
from cifar_core.runs import Run, write_json

PROBED = [
    Probed(name, [layer_probe.PIXELS, *activations.layer_names(0.5)], [0.7] * 20, [1] * 20)
    for name in ("ImageNet", "random")
]
FOUND = Layers(PROBED, 800, 200, 31.0, MADE)


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Return the exit code of `learn`, and what it printed on standard output and standard error."""
    code = parser.main(["learn", *words])
    return code, *capsys.readouterr()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Workers that finish at once, played; the names of the runs that they got."""
    names: list[str] = []

    def start(config: TrainConfig, name: str) -> Run:
        names.append(name)
        run = runs.create(config, name)
        write_json(run.path / "status.json", {"state": "finished", "result": {"validation_accuracy": 0.8}})
        return run

    monkeypatch.setattr(jobs, "start_run", start)
    monkeypatch.setattr(experiments, "outcome_of", lambda lesson, run: made_up(run.result["validation_accuracy"]))
    return names


def test_without_a_lesson_all_are_listed(capsys):
    code, out, _ = asked(capsys)
    assert code == 0
    assert all(name in out for name in LESSONS)
    code, out, _ = asked(capsys, "--json")
    assert [one["name"] for one in json.loads(out)] == list(LESSONS)


def test_an_unknown_lesson_is_one_line(capsys):
    code, out, error = asked(capsys, "nothing")
    assert (code, out) == (2, "")
    assert error.count("\n") == 1 and "'nothing'" in error and ", ".join(LESSONS) in error


@pytest.mark.bundled
def test_the_first_lesson_opens_the_bundled_network(capsys):
    code, out, _ = asked(capsys, "inside", "--json")
    found = json.loads(out)
    assert (code, len(found["receptive_fields"]), found["answer"]) == (0, 17, LESSONS["inside"].options[1])
    assert "block 9" in found["measured"] and "pixels of 32" in asked(capsys, "inside")[1]


def test_without_a_bundled_network_the_first_lesson_says_so(capsys):
    code, _, error = asked(capsys, "inside")
    assert code == 2 and "no bundled model" in error


def test_stored_results_need_no_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    conditions = {"right": made_up(0.8), "wrong": made_up(0.7), "wild": made_up(0.5)}
    write_json(tmp_path / "scaling.json", {"arms": {key: condition.to_dict() for key, condition in conditions.items()}})
    code, out, _ = asked(capsys, "scaling", "--stored")
    assert code == 0
    assert "10.0 points" in out and "[0, 1], 32 px" in out and MADE.processor in out
    assert not runs.list_runs()


def test_stored_results_that_are_not_there_are_told_of(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for name in ("scaling", layer_probe.LESSON):
        code, out, error = asked(capsys, name, "--stored")
        assert (code, out) == (2, "") and "run the lesson here" in error


def test_a_lesson_is_run_and_answers_in_json(capsys, workers):
    code, out, error = asked(capsys, "scaling", "--json")
    assert (code, error) == (0, "")
    found = json.loads(out)
    assert workers == ["learnscalingright", "learnscalingwrong", "learnscalingwild"]
    assert found["lesson"] == "scaling" and list(found["arms"]) == list(CONDITIONS["scaling"])
    assert found["answer"] == LESSONS["scaling"].options[0]
    assert experiments.outcomes(found)["right"].figures["validation_accuracy"] == 0.8


def test_what_was_run_before_is_not_run_again_unless_asked(capsys, workers):
    asked(capsys, "phases")
    asked(capsys, "phases")
    assert len(workers) == 3
    asked(capsys, "phases", "--again")
    assert len(workers) == 6


def test_a_failed_run_ends_the_lesson(capsys, workers, monkeypatch):
    def fail(config: TrainConfig, name: str) -> Run:
        run = runs.create(config, name)
        error = {"type": "WeightsError", "message": "ImageNet weights are not here."}
        write_json(run.path / "status.json", {"state": "failed", "error": error})
        return run

    monkeypatch.setattr(jobs, "start_run", fail)
    code, out, error = asked(capsys, "scaling")
    assert (code, out) == (2, "")
    assert "ImageNet weights are not here." in error


def test_ctrl_c_stops_the_runs(capsys, workers, monkeypatch):
    stopped: list[str] = []

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cifar_core.cli.train.follow", interrupted)
    monkeypatch.setattr(experiments, "stop_runs", stopped.append)
    assert asked(capsys, "scaling")[0] == 130
    assert stopped == ["scaling"]


def test_the_probe_is_run_and_answers(capsys, monkeypatch):
    monkeypatch.setattr(layer_probe, "probe", lambda progress: FOUND)
    code, out, _ = asked(capsys, layer_probe.LESSON)
    assert code == 0
    assert "block_16" in out and "0.7000" in out
    code, out, _ = asked(capsys, layer_probe.LESSON, "--json")
    assert Layers.from_dict(json.loads(out)) == FOUND
