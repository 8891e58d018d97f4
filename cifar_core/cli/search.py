"""The commands that train several models: `sweep ...`, `lab`, and `learn` (the lessons)."""

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from cifar_core import jobs
from cifar_core.cli import run_commands, terminal, train
from cifar_core.cli.terminal import PROGRAM, Answer, Screen, duration, native_messages_hidden, percent, table, to_stderr
from cifar_core.config import KNOBS
from cifar_core.errors import RunError, SweepError, TrainingError
from cifar_core.inference import activations
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.inference.pictures import SIDE
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import INSIDE, LESSONS, Lesson, lesson
from cifar_core.search import findings, head_lab, space, studies, sweep_workers

_POLL_SECONDS = 0.1


def start_sweep(arguments: Namespace) -> Answer:
    """Start a sweep or a grid in the background."""
    if arguments.grid and arguments.trials is not None:
        raise SweepError("A grid trains every combination of its values; leave --trials out.")
    ranges = tuple(map(space.parse_range, arguments.vary or space.DEFAULT_KNOBS))
    plan = space.Plan(train.config_of(arguments), ranges, arguments.grid)
    usual = 30 if arguments.minutes is None else space.MOST_TRIALS
    trials = len(plan.cells()) if plan.grid else usual if arguments.trials is None else arguments.trials
    goal = space.Goal(trials, None if arguments.minutes is None else arguments.minutes * 60)
    sweep_workers.start(arguments.name, plan, goal, arguments.workers)
    return _sweep_state(arguments.name, f"`{PROGRAM} sweep show {arguments.name}` shows its progress.")


def list_sweeps(arguments: Namespace) -> Answer:
    """List all sweeps; damaged ones are reported and skipped."""
    data: list[dict[str, Any]] = []
    rows = []
    for name in studies.names():
        try:
            sweep = findings.find(name)
        except SweepError as error:
            data.append({"name": name, "state": "damaged", "error": str(error)})
            rows.append((name, "damaged", "-", "-", "-"))
            continue
        everything = sweep.to_dict()
        data.append({key: everything[key] for key in ("name", "state", "done", "seconds", "best")})
        best = percent(sweep.best and sweep.best.accuracy)
        rows.append((name, sweep.state, str(sweep.done), best, ", ".join(space.describe(sweep.plan))))
    if not rows:
        return Answer(data, [f"There are no searches yet; `{PROGRAM} sweep start NAME` makes one."])
    return Answer(data, table(("name", "state", "trials", "best", "knobs"), rows))


def show_sweep(arguments: Namespace) -> Answer:
    """Show a sweep: its trials and the best so far."""
    sweep = findings.find(arguments.name)
    lines = [f"{sweep.name} is {sweep.state}: {sweep.progress}, {duration(sweep.spent_seconds)}."]
    lines += [f"  {KNOBS[knob].label}: {text}" for knob, text in space.describe(sweep.plan).items()]
    if sweep.best:
        lines.append(f"Best: {percent(sweep.best.accuracy)} validation accuracy, run {sweep.best.run}, with")
        lines += [f"  {words}" for words in space.in_words(sweep.best.params)]
    for knob, side in sweep.at_edge.items():
        lines.append(f"The best {KNOBS[knob].label} is at the {side} end of its range: try a wider range.")
    lines += _grid_lines(sweep) if sweep.plan.grid else []
    rows = []
    for trial in sweep.trials:
        measured = (percent(trial.accuracy), duration(trial.seconds), trial.run or "-")
        rows.append((str(trial.number + 1), trial.state, *measured, _assigned(trial.params)))
    lines += table(("trial", "state", "accuracy", "time", "run", "knobs"), rows) if rows else []
    return Answer(sweep.to_dict(), lines)


def _grid_lines(sweep: findings.Findings) -> list[str]:
    cells, rows = sweep.cells(), []
    for cell in cells:
        spread = "-" if cell.spread is None else f"± {cell.spread * 100:.1f}"
        rows.append((_assigned(cell.values), percent(cell.mean), spread, str(len(cell.accuracies))))
    noise = findings.noise(cells)
    return [*table(("cell", "mean", "spread", "seeds"), rows), *([noise.words] if noise else [])]


def _assigned(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def sweep_worker(arguments: Namespace) -> Answer:
    """Run trials of a sweep in the foreground until it is done or stopped, for additional machines."""
    studies.open_checked(arguments.study)  # report errors here, not in the worker
    command = jobs.module_command([sweep_workers.WORKER, arguments.study])
    with subprocess.Popen(command, env=jobs.worker_environment(), stdout=sys.stderr) as working:
        try:
            code = working.wait()
        except KeyboardInterrupt:  # the worker in the same terminal also receives it
            working.wait()
            return Answer(None, [], 130)
    if code == 0:
        return _sweep_state(arguments.study)
    return Answer(None, [], 2 if code == 2 else 1)


def stop_sweep(arguments: Namespace) -> Answer:
    """Stop a sweep and wait until it has stopped."""
    sweep_workers.stop(arguments.name)
    return _sweep_state(arguments.name)


def resume_sweep(arguments: Namespace) -> Answer:
    """Resume a sweep, or extend it by trials, minutes or seeds."""
    name = arguments.name
    is_extended = arguments.trials is not None or arguments.minutes is not None
    if arguments.seeds is not None and is_extended:
        raise SweepError("--seeds repeats a grid; leave --trials and --minutes out.")
    if arguments.seeds is not None:
        sweep_workers.repeat(name, arguments.seeds, arguments.workers)
    elif is_extended:
        sweep_workers.extend(name, arguments.trials or 0, arguments.minutes or 0.0, arguments.workers)
    else:
        sweep_workers.resume(name, arguments.workers)
    return _sweep_state(name, f"`{PROGRAM} sweep show {name}` shows its progress.")


def delete_sweep(arguments: Namespace) -> Answer:
    """Delete a sweep; its runs are kept."""
    name = arguments.name
    sweep_workers.delete(name)
    more = f" `{PROGRAM} sweep restore {name}` restores it." if studies.is_restorable(name) else ""
    return Answer({"name": name, "state": "deleted"}, [f"Search {name} is deleted, its runs are not.{more}"])


def restore_sweep(arguments: Namespace) -> Answer:
    """Restore a deleted sweep."""
    studies.restore(arguments.name)
    return _sweep_state(arguments.name)


def _sweep_state(name: str, more: str = "") -> Answer:
    sweep = findings.find(name)
    data = {"name": name, "state": sweep.state, "done": sweep.done, "trials": sweep.goal.trials}
    return Answer(data, [f"Search {name} is {sweep.state}. {more}".strip()])


def lab(arguments: Namespace) -> Answer:
    """Train the head with the given values of five knobs, or show the stored result."""
    given = {name: value for name in head_lab.SLIDERS if (value := getattr(arguments, name)) is not None}
    settings = head_lab.Settings(**given)
    result = head_lab.result(settings)
    if result is None or result.state != "done":
        result = _trained(settings, arguments.json)
    base = head_lab.status().get("base")
    lines = [
        f"epoch {row['epoch']:>2}  training accuracy {percent(row['accuracy'])}  validation accuracy "
        f"{percent(row['validation_accuracy'])}  validation cross-entropy {row['validation_cross_entropy']:.4f}"
        for row in result.rows
    ]
    lines.append(f"Validation accuracy {percent(result.accuracy)} ({terminal.interval(result.interval)}).")
    if isinstance(base, dict):
        lines.append(run_commands.origin_line(base.get("images"), base.get("weights")))
    data = {"settings": vars(settings), "held_fixed": base, "seconds": result.seconds, "epochs": list(result.rows)}
    return Answer(data, lines)


def _trained(settings: head_lab.Settings, quiet: bool) -> head_lab.Result:
    """Request `settings` from the lab and wait for the result. Raises TrainingError if it fails."""
    head_lab.start()
    head_lab.request(settings)
    with Screen(quiet) as screen:
        while True:
            result, status, newest = head_lab.result(settings), head_lab.status(), head_lab.requested()
            if result and result.state == "done":
                return result
            if result and result.state == "failed":
                raise TrainingError(result.message)
            if newest is None or newest[0] != settings:
                raise TrainingError("Another request replaced this one; try again.")
            if status["state"] in ("off", "failed"):
                why = status.get("message", "its process ended")
                raise TrainingError(f"The lab cannot continue: {why}; see {head_lab.lab_dir() / 'lab.log'}.")
            epochs = len(result.rows) if result and result.state == "computing" else 0
            screen.bar(str(status["state"]), epochs / head_lab.BASE.head_epochs)
            time.sleep(_POLL_SECONDS)


def learn(arguments: Namespace) -> Answer:
    """List the lessons, or run one; with --stored, show the results in the package."""
    if arguments.lesson is None:
        return _list_lessons()
    chosen = lesson(arguments.lesson)
    if chosen.name == INSIDE:
        with native_messages_hidden():
            fields = activations.receptive_fields(open_classifier(BUNDLED))
        rows = [(str(block), f"{field:.1f} pixels of {SIDE}") for block, field in enumerate(fields, 1)]
        lines = table(("block", "receptive field"), rows)
        return _answer(chosen, {"lesson": INSIDE, "receptive_fields": fields}, fields, lines)
    if chosen.name == layer_probe.LESSON:
        saved = experiments.stored(layer_probe.LESSON)
        result = layer_probe.Layers.from_dict(saved) if arguments.stored else _probe(arguments.json)
        return _answer(chosen, result.to_dict(), result, _layer_lines(result))
    if arguments.stored:
        conditions = experiments.outcomes(experiments.stored(chosen.name))
    else:
        conditions, code = _train_conditions(chosen, arguments.again, arguments.json)
        if code:
            return Answer(None, [], code)
    data = {"lesson": chosen.name, "arms": {key: condition.to_dict() for key, condition in conditions.items()}}
    return _answer(chosen, data, conditions, _condition_lines(chosen, conditions))


def _list_lessons() -> Answer:
    counts = {name: len(conditions) for name, conditions in experiments.CONDITIONS.items()}
    lessons: list[dict[str, Any]] = [
        {"name": one.name, "number": one.number, "title": one.title, "runs": counts.get(one.name, 0)}
        for one in LESSONS.values()
    ]
    rows = [(str(one["number"]), one["name"], one["title"], str(one["runs"] or "no training")) for one in lessons]
    return Answer(lessons, table(("", "lesson", "", "runs"), rows))


def _train_conditions(chosen: Lesson, again: bool, quiet: bool) -> tuple[dict[str, experiments.Outcome], int]:
    """Train the conditions without a finished run, or all; return their outcomes and the exit code."""
    conditions = experiments.start_runs(chosen.name, again)
    with Screen(quiet) as screen:
        screen.line(f"{len(conditions)} runs, one after the other. Ctrl-C stops them, closing the terminal does not.")
        try:
            for key, run in conditions.items():
                screen.line(f"{experiments.CONDITIONS[chosen.name][key].label}: run {run.id}")
                train.follow(run, screen)
                code, message = run_commands.ending(run)
                if message:
                    to_stderr(message)
                    return {}, code
        except KeyboardInterrupt:
            experiments.stop_runs(chosen.name)
            return {}, 130
    with native_messages_hidden():
        return {key: experiments.outcome_of(chosen.name, run) for key, run in conditions.items()}, 0


def _probe(quiet: bool) -> layer_probe.Layers:
    try:
        with Screen(quiet) as screen, native_messages_hidden():
            return layer_probe.run_job(
                lambda done, total: screen.bar("probing layers", done / total, f"{done}/{total} layers")
            )
    except jobs.Stopped:
        raise RunError("The probe was stopped; run it again.") from None


def _answer(chosen: Lesson, data: dict[str, Any], result: Any, lines: list[str]) -> Answer:
    option, measured = chosen.answer(result)
    answer = {"question": chosen.question, "answer": chosen.options[option], "measured": measured}
    head = [f"{chosen.number}. {chosen.title}", chosen.question, f"  {chosen.options[option]}. {measured}"]
    return Answer(data | answer, [*head, *lines])


def _condition_lines(chosen: Lesson, conditions: dict[str, experiments.Outcome]) -> list[str]:
    rows = []
    for key, condition in conditions.items():
        figures = condition.figures
        accuracies = [percent(figures[f"{name}_accuracy"]) for name in ("training", "validation", "test")]
        size = (f"{figures['multiply_adds'] / 1e6:.1f}", f"{figures['model_bytes'] / 1e6:.2f}")
        speed = (f"{condition.internals.latency_ms:.2f}", f"{figures['elapsed_seconds']:.0f}")
        rows.append((experiments.CONDITIONS[chosen.name][key].label, *accuracies, *size, *speed))
    head = ("", "training", "validation", "test", "million multiply-adds", "MB", "ms an image", "seconds")
    return [*table(head, rows), *dict.fromkeys(condition.made.sentence for condition in conditions.values())]


def _layer_lines(result: layer_probe.Layers) -> list[str]:
    first, other = result.networks
    columns = zip(first.layers, first.features, first.accuracies, other.accuracies, strict=True)
    rows = [(name, str(size), f"{accuracy:.4f}", f"{chance:.4f}") for name, size, accuracy, chance in columns]
    return [*table(("layer", "numbers", first.weights, other.weights), rows), result.made.sentence]
