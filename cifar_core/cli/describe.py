"""Text and JSON output about a run. Values read from disk are untrusted and printed as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cifar_core import errors, runs
from cifar_core.cli.terminal import PROGRAM, Answer, duration, is_number, number, percent
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.errors import CifarError, RunError
from cifar_core.runs import Run, labels, records
from cifar_core.runs.labels import Labels
from cifar_core.untrusted import shown_name

if TYPE_CHECKING:
    from cifar_core.evaluation.diagnosis_rules import Finding

TABLE_HEAD = ("id", "state", "α", "size", "images", "validation", "test", "data", "name")
_MACHINE = ("python", "backend", "system", "processor", "cores")


def state(run: Run, more: str = "") -> Answer:
    """Return the id and state of `run`, and a further sentence."""
    found = run.state
    return Answer({"id": run.id, "status": found}, [f"Run {run.id} is {found}. {more}".strip()])


def figures(run: Run) -> dict[str, Any]:
    """Return the run's id and status and, for a finished run, its result, in one flat object."""
    status = run.status
    known = {"id": run.id, "status": status["state"]}
    return known | _object(status.get("result")) | known


def summary(run: Run) -> dict[str, Any]:
    """Return `figures`, and "config", None where the configuration is damaged."""
    config = _config(run)
    return figures(run) | {"config": config.to_dict() if config else None}


def details(run: Run) -> dict[str, Any]:
    """Return `figures` and all else about a run, unknown values as None. Raises RunError for a damaged config.json.

    differences: knobs that differ from the preset standard. progress, last_epoch: the last row of the metrics, the
    last epoch row. problems: a sentence for each damaged file. imported: the original id and the time of the import.
    """
    config, status, rows = run.config, run.status, run.metrics()
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    environment, problems = _environment(run)
    problems += filter(None, [labels.problem(run)])
    return figures(run) | {
        "config": config.to_dict(),
        "differences": {name: own for name, (own, _) in config.differences(PRESETS["standard"]).items()},
        "stage": status.get("stage"),
        "progress": rows[-1] if rows else None,
        "last_epoch": epochs[-1] if epochs else None,
        "error": error(run),
        "environment": environment,
        "problems": problems,
        "imported": _object(status.get("imported")) or None,
    }


def error(run: Run) -> dict[str, str] | None:
    """Return "type" and "message" of what ended a failed run, or made a lost one unreadable; None for any other."""
    found = run.status
    saved = _object(found.get("error"))
    if found["state"] != "failed" and not (found["state"] == "lost" and saved):
        return None
    return {key: str(saved.get(key, "unknown")) for key in ("type", "message")}


def ending(run: Run) -> tuple[int, str]:
    """Return the exit code for an ended training and the error message ("" for a finished one)."""
    state, resume = run.state, f"`{PROGRAM} runs resume {run.id}` continues from the last full epoch."
    if state == "finished":
        return 0, ""
    if state == "stopped":
        return 2, f"Run {run.id} was stopped; {resume}"
    if failure := error(run):
        known = getattr(errors, failure["type"], None)
        if isinstance(known, type) and issubclass(known, CifarError):
            return 2, failure["message"]
        log = run.path / "worker.log"
        return 1, f"Run {run.id} failed, {failure['type']}: {failure['message']} See {log}."
    return 1, f"Run {run.id} is {state}: its worker process ended unexpectedly; {resume}"


def row(run: Run, written: Labels) -> list[str]:
    """Return the run's cells under TABLE_HEAD; `written` holds its name and star."""
    config, found = _config(run), figures(run)
    chosen = [
        KNOBS[name].format(getattr(config, name)) if config else "?" for name in ("alpha", "image_size", "train_images")
    ]
    name = f"{'★ ' if written.starred else ''}{written.name}"
    accuracies = [percent(found.get(f"{name}_accuracy")) for name in ("validation", "test")]
    return [run.id, found["status"], *chosen, *accuracies, _text(found.get("dataset", "-")), name]


def origin(run: Run) -> str:
    """Return a sentence about the images and initial weights of a run that has started."""
    environment, problems = _environment(run)
    if problems:
        return problems[0]
    return _origin(*(_object((environment or {}).get(key)).get("label") for key in ("data", "weights")))


def _environment(run: Run) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what environment.json says, None where it is missing or damaged, and why where it is damaged."""
    path = run.path / "environment.json"
    try:
        records.environment(run.path)
        return runs.load_json(path), []
    except RunError as error:
        return None, [str(error)]


def figure_lines(run: Run) -> list[str]:
    """Return lines with the state and, for a finished run, the figures."""
    found = figures(run)
    lines = [f"Run {run.id}: {found['status']}."]
    if "test_accuracy" not in found:
        return lines
    return [
        *lines,
        f"Test accuracy {percent(found['test_accuracy'])}{_interval(found)}, test loss {number(found.get('test_loss'))}"
        f"; validation accuracy {percent(found.get('validation_accuracy'))}.",
        _origin(found.get("dataset"), found.get("weights")),
        f"Best epoch: {_text(found.get('best_phase'))} {_text(found.get('best_epoch'))}. "
        f"Time: {duration(found.get('elapsed_seconds'))}.",
    ]


def detail_lines(run: Run, found: dict[str, Any]) -> list[str]:
    """Return `found`, the run's `details`, as lines."""
    lines = [*figure_lines(run), f"Stage: {_text(found['stage'])}."]
    if imported := found["imported"]:
        lines.append(f"Imported; its original id is {_text(imported.get('id'))}.")
    if failure := found["error"]:
        lines.append(f"Error: {_text(failure['type'])}: {_text(failure['message'])}")
    if epoch := found["last_epoch"]:
        accuracy = percent(epoch.get("validation_accuracy"))
        lines.append(f"Last epoch: {_text(epoch.get('phase'))} {_text(epoch.get('epoch'))}, validation {accuracy}.")
        lines += [origin(run)] if found["status"] != "finished" else []
    for name, own in found["differences"].items():
        knob, usual = KNOBS[name], getattr(PRESETS["standard"], name)
        lines.append(f"{knob.label}: {knob.format(own)} (standard: {knob.format(usual)})")
    lines += [_text(problem) for problem in found["problems"]]
    if environment := found["environment"]:
        known = {key: environment[key] for key in _MACHINE if key in environment}
        words = (
            f"{_text(key)} {_text(value)}" for key, value in (known | _object(environment.get("packages"))).items()
        )
        lines.append("Environment: " + ", ".join(words))
    return lines


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each finding of the diagnosis."""
    return [f"[{one.level}] {one.title}. {one.cause} {one.advice} {_text(one.evidence)}" for one in findings]


def _config(run: Run) -> TrainConfig | None:
    try:
        return run.config
    except RunError:
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return shown_name(str(value), limit=500)


def _origin(dataset: Any, weights: Any) -> str:
    return f"Images: {_text(dataset or 'unknown')}. Initial weights: {_text(weights or 'unknown')}."


def _interval(found: dict[str, Any]) -> str:
    from cifar_core.evaluation.predictions import wilson  # needs NumPy, which a list of runs does not

    accuracy, total = found["test_accuracy"], found.get("test_images")
    if not is_number(accuracy) or not 0 <= accuracy <= 1 or not isinstance(total, int) or total < 0:
        return ""
    low, high = wilson(round(accuracy * total), total)
    return f" (95% interval {percent(low)} to {percent(high)})"
