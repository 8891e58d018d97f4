"""The commands `runs ...`, and a run as text and JSON. Values from disk are untrusted and printed as plain text."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from cifar_core import errors, jobs, runs
from cifar_core.cli.terminal import PROGRAM, Answer, duration, interval, native_messages_hidden, number, percent, table
from cifar_core.config import KNOBS, PRESETS, differing_knobs
from cifar_core.data.cifar10 import shown_label
from cifar_core.evaluation import comparison, diagnosis, listing, phase_summary
from cifar_core.evaluation.diagnosis_rules import Finding
from cifar_core.evaluation.predictions import wilson
from cifar_core.inference import model_file
from cifar_core.runs import Run, labels, records, trash
from cifar_core.untrusted import quoted, shown_name

_MACHINE = ("python", "backend", "system", "processor", "cores")


def list_runs(arguments: Namespace) -> Answer:
    """List the runs that match the filter, in the chosen order."""
    if arguments.sort not in listing.ORDERS:
        usual = ", ".join(listing.SORTS)
        raise errors.ConfigError(f"--sort: received {quoted(arguments.sort)}, expected {usual} or a setting's name.")
    everything = listing.rows()
    rows = listing.filter_rows(everything, arguments.filter, starred_only=arguments.starred)
    rows = listing.sort_rows(rows, arguments.sort, arguments.reverse)
    data = [_summary(row) for row in rows]
    if not everything:
        return Answer(data, [f"There are no runs in {runs.runs_dir()} yet; `{PROGRAM} train` makes one."])
    if not rows:
        return Answer(data, [f"None of {len(everything)} runs matches the filter."])
    head = ("id", "state", "α", "size", "images", "validation", "test", "data", "name")
    cells = [_cells(row, one.get("dataset", "-")) for row, one in zip(rows, data, strict=True)]
    return Answer(data, table(head, cells))


def show(arguments: Namespace) -> Answer:
    """Show a run and its diagnosis."""
    run = runs.get(arguments.id)
    answer, findings = details(run), diagnosis.diagnose(run)
    lines = [*detail_lines(run, answer), *finding_lines(findings)]
    return Answer(answer | {"diagnosis": [finding.to_dict() for finding in findings]}, lines)


def stop(arguments: Namespace) -> Answer:
    """Stop a run and wait until it has stopped."""
    run = runs.get(arguments.id)
    jobs.stop_run(run)
    return state_answer(run)


def resume(arguments: Namespace) -> Answer:
    """Resume a run in the background."""
    run = runs.get(arguments.id)
    jobs.resume_run(run)
    return state_answer(run, f"`{PROGRAM} runs show {run.id}` shows its progress.")


def worker(arguments: Namespace) -> Answer:
    """Become a worker that trains what the apps on other machines offer."""
    os.execve(sys.executable, jobs.module_command([jobs.QUEUE_WORKER]), jobs.worker_environment())


def keep_head(arguments: Namespace) -> Answer:
    """Make a new run from phase 1 of a run."""
    made = phase_summary.keep_head(runs.get(arguments.id))
    return state_answer(made, f"It is phase 1 of {arguments.id}.")


def delete(arguments: Namespace) -> Answer:
    """Move a run to the trash, or delete it permanently."""
    run = runs.get(arguments.id)
    if arguments.for_good:
        runs.delete(run)
        line = f"Run {run.id} is deleted."
    else:
        trash.move_to_trash(run)
        line = f"Run {run.id} is in the trash; `{PROGRAM} runs restore {run.id}` restores it."
    return Answer({"id": run.id, "status": "deleted"}, [line])


def restore(arguments: Namespace) -> Answer:
    """Restore a run from the trash."""
    return state_answer(trash.restore(arguments.id))


def list_trash(arguments: Namespace) -> Answer:
    """List the trash, or empty it."""
    deleted = trash.contents()
    if arguments.clear:
        trash.clear(deleted)
        return Answer({"deleted": len(deleted)}, [f"{len(deleted)} runs are deleted permanently."])
    size = trash.size_bytes(deleted)
    last = f"{len(deleted)} deleted runs, {size / 1e6:,.0f} MB; `{PROGRAM} runs restore ID` restores one."
    return Answer({"ids": deleted, "bytes": size}, [*deleted, last])


def label(arguments: Namespace) -> Answer:
    """Set the name, note or star of a run, as given in the arguments."""
    run = runs.get(arguments.id)
    given = {key: value for key, value in vars(arguments).items() if key in ("name", "note", "starred")}
    changed = labels.change(run, **given)
    texts = [f"{key} {quoted(getattr(changed, key))}" for key in ("name", "note") if getattr(changed, key)]
    texts += ["a star"] if changed.starred else []
    return Answer({"id": run.id, **vars(changed)}, [f"Run {run.id}: {', '.join(texts) or 'no labels'}."])


def measure_latency(arguments: Namespace) -> Answer:
    """Measure and save the latency of a run for one picture."""
    run = runs.get(arguments.id)
    with native_messages_hidden():
        latency = model_file.measure_latency(run)
    return Answer({"id": run.id, "latency_ms": latency}, [f"Run {run.id}: {latency:.2f} ms for one picture."])


def compare(arguments: Namespace) -> Answer:
    """Show the differing knobs, and whether the test accuracies differ significantly."""
    chosen = [runs.get(name) for name in dict.fromkeys(arguments.ids)]
    if len(chosen) < 2:
        raise errors.RunError(f"Compare: received one run, expected two or more; '{PROGRAM} runs list' shows all.")
    rows = [listing.row(run) for run in chosen]
    knobs = differing_knobs(row.config for row in rows if row.config)
    pairs = comparison.compare(chosen)
    lines = [
        f"{KNOBS[name].label}: {', '.join(KNOBS[name].format(row.knob(name)) if row.config else '?' for row in rows)}"
        for name in knobs
    ]
    lines += [shown_name(comparison.verdict(pair, pair.a.id, pair.b.id), limit=2_000) for pair in pairs]
    lines.append(comparison.correction_note(sum(pair.result is not None for pair in pairs)))
    values = {name: {row.run.id: row.knob(name) for row in rows} for name in knobs}
    return Answer({"knobs": values, "pairs": [_pair(pair) for pair in pairs]}, lines)


def _summary(row: listing.Row) -> dict[str, Any]:
    config = row.config.to_dict() if row.config else None
    return figures(row.run) | {"config": config} | vars(row.labels) | {"latency_ms": row.latency_ms}


def _cells(row: listing.Row, dataset: Any) -> list[str]:
    knobs = ("alpha", "image_size", "train_images")
    chosen = [KNOBS[name].format(row.knob(name)) if row.config else "?" for name in knobs]
    shares = percent(row.validation_accuracy), percent(row.test_accuracy)
    name = f"{'★ ' if row.labels.starred else ''}{row.labels.name}"
    return [row.run.id, row.state, *chosen, *shares, _plain(shown_label(dataset)), name]


def _pair(pair: comparison.Pair) -> dict[str, Any]:
    answer: dict[str, Any] = {"a": pair.a.id, "b": pair.b.id, "reason": pair.reason or None}
    if pair.result is not None:
        answer |= vars(pair.result) | {"p_value_adjusted": pair.adjusted, "is_real": pair.is_significant}
    return answer


def state_answer(run: Run, more: str = "") -> Answer:
    """Return the ID and state of `run`, and the sentence `more`."""
    state = run.state
    return Answer({"id": run.id, "status": state}, [f"Run {run.id} is {state}. {more}".strip()])


def figures(run: Run) -> dict[str, Any]:
    """Return ID, status and, for a finished run, the result, as one flat object."""
    status = run.status
    known = {"id": run.id, "status": status["state"]}
    return known | status.get("result", {}) | known


def details(run: Run) -> dict[str, Any]:
    """Return `figures` and all other facts of a run, unknown ones as None.

    differences: knobs that differ from the preset standard. progress, last_epoch: the last row of the metrics, and
    the last epoch row. problems: one sentence for each damaged file. imported: the original ID and the time of the
    import. Raises RunError if config.json is damaged.
    """
    config, status, rows = run.config, run.status, run.metrics()
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    environment, unknown = records.or_problem(
        lambda: records.environment(run.path) and runs.load_json(run.path / "environment.json"),
        "The images and initial weights are unknown",
    )
    return figures(run) | {
        "config": config.to_dict(),
        "differences": {name: value for name, (value, _) in config.differences(PRESETS["standard"]).items()},
        "stage": status.get("stage"),
        "progress": rows[-1] if rows else None,
        "last_epoch": epochs[-1] if epochs else None,
        "error": run_error(run),
        "environment": environment,
        "problems": list(filter(None, [unknown, labels.load_or_problem(run.path)[1]])),
        "imported": status.get("imported") or None,
    }


def run_error(run: Run) -> dict[str, str] | None:
    """Return "type" and "message" of the error that failed or lost a run; None for any other run."""
    status = run.status
    saved = status.get("error", {})
    if status["state"] == "failed" or (status["state"] == "lost" and saved):
        return {key: str(saved.get(key, "unknown")) for key in ("type", "message")}
    return None


def ending(run: Run) -> tuple[int, str]:
    """Return the exit code of an ended training and its error message ("" if finished)."""
    state, resume = run.state, f"`{PROGRAM} runs resume {run.id}` continues from the last full epoch."
    if state == "finished":
        return 0, ""
    if state == "stopped":
        return 2, f"Run {run.id} was stopped; {resume}"
    if failure := run_error(run):
        known = getattr(errors, failure["type"], None)
        if isinstance(known, type) and issubclass(known, errors.CifarError):
            return 2, failure["message"]
        log = run.path / "worker.log"
        return 1, f"Run {run.id} failed, {failure['type']}: {failure['message']} See {log}."
    return 1, f"Run {run.id} is {state}: its worker process ended unexpectedly; {resume}"


def origin(run: Run) -> str:
    """Return a sentence on the images and initial weights of a started run."""
    known, unknown = records.or_problem(
        lambda: records.environment(run.path), "The images and initial weights are unknown"
    )
    return unknown or origin_line(known and known.data.label, known and known.weights.label)


def figure_lines(run: Run) -> list[str]:
    """Return lines with the state and, for a finished run, the metrics."""
    values = figures(run)
    lines = [f"Run {run.id}: {values['status']}."]
    if "test_accuracy" not in values:
        return lines
    accuracy, images = values["test_accuracy"], values.get("test_images")
    sure = "" if images is None else f" ({interval(wilson(round(accuracy * images), images))})"
    lines.append(
        f"Test accuracy {percent(accuracy)}{sure}, test loss {number(values.get('test_loss'))}; "
        f"validation accuracy {percent(values.get('validation_accuracy'))}."
    )
    if "linear_probe_accuracy" in values:
        lines.append(f"Linear probe of the frozen features: {percent(values['linear_probe_accuracy'])}.")
    best = f"Best epoch: {_plain(values.get('best_phase'))} {_plain(values.get('best_epoch'))}."
    lines.append(origin_line(values.get("dataset"), values.get("weights")))
    return [*lines, f"{best} Time: {duration(values.get('elapsed_seconds'))}."]


def detail_lines(run: Run, values: dict[str, Any]) -> list[str]:
    """Return `values`, from `details`, as lines."""
    lines = [*figure_lines(run), f"Stage: {_plain(values['stage'])}."]
    if imported := values["imported"]:
        lines.append(f"Imported; its original id is {_plain(imported.get('id'))}.")
    if failure := values["error"]:
        lines.append(f"Error: {_plain(failure['type'])}: {_plain(failure['message'])}")
    if epoch := values["last_epoch"]:
        accuracy = percent(epoch.get("validation_accuracy"))
        lines.append(f"Last epoch: {_plain(epoch.get('phase'))} {_plain(epoch.get('epoch'))}, validation {accuracy}.")
        lines += [origin(run)] if values["status"] != "finished" else []
    for name, setting in values["differences"].items():
        knob, usual = KNOBS[name], getattr(PRESETS["standard"], name)
        lines.append(f"{knob.label}: {knob.format(setting)} (preset standard: {knob.format(usual)})")
    lines += [_plain(problem) for problem in values["problems"]]
    if environment := values["environment"]:
        packages = environment.get("packages")
        known = {key: environment[key] for key in _MACHINE if key in environment}
        known |= packages if isinstance(packages, dict) else {}
        lines.append("Environment: " + ", ".join(f"{_plain(key)} {_plain(value)}" for key, value in known.items()))
    return lines


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each finding of the diagnosis."""
    return [f"[{one.level}] {one.title}. {one.cause} {one.advice} {_plain(one.evidence)}" for one in findings]


def _plain(value: Any) -> str:
    return shown_name(str(value), limit=500)


def origin_line(dataset: Any, weights: Any) -> str:
    """Return a sentence on the images and initial weights with these labels, None if unknown."""
    return f"Images: {_plain(shown_label(dataset or 'unknown'))}. Initial weights: {_plain(weights or 'unknown')}."
