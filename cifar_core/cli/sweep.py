"""The commands `sweep start|list|show|worker|stop|resume|delete|restore`: what the pages Sweep and Surface do."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from cifar_core.cli.commands import reply
from cifar_core.cli.terminal import PROGRAM, duration, percent, table
from cifar_core.config import KNOBS, preset
from cifar_core.errors import SweepError
from cifar_core.search import space, studies

if TYPE_CHECKING:
    from cifar_core.search.findings import Findings


def start(arguments: Namespace) -> int:
    """Start a sweep, or a grid, and return at once."""
    from cifar_core.search import sweep_workers

    chosen = {name: getattr(arguments, name) for name in KNOBS}
    changes = {name: KNOBS[name].parse(text) for name, text in chosen.items() if text is not None}
    ranges = tuple(map(space.parse_range, arguments.vary or space.DEFAULT_KNOBS))
    plan = space.Plan(preset(arguments.preset, **changes), ranges, arguments.grid)
    usual = 30 if arguments.minutes is None else space.MOST_TRIALS
    trials = len(plan.cells()) if plan.grid else usual if arguments.trials is None else arguments.trials
    goal = space.Goal(trials, None if arguments.minutes is None else arguments.minutes * 60)
    sweep_workers.start(arguments.name, plan, goal, arguments.workers, arguments.storage)
    return _answer(arguments, arguments.name, f"`{PROGRAM} sweep show {arguments.name}` tells how it goes.")


def list_sweeps(arguments: Namespace) -> int:
    """List all sweeps, those that cannot be read as well."""
    data, rows = [], []
    for name in studies.names(arguments.storage):
        told, row = _listed(name, arguments.storage)
        data.append(told)
        rows.append(row)
    lines = table(("name", "state", "trials", "best", "knobs"), rows)
    reply(arguments, data, lines if rows else [f"There are no sweeps yet; `{PROGRAM} sweep start NAME` makes one."])
    return 0


def _listed(name: str, storage: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return one sweep as JSON data and as a row; one damaged sweep does not hide the others."""
    from cifar_core.search import findings

    try:
        found = findings.find(name, storage)
    except SweepError as error:
        return {"name": name, "state": "damaged", "error": str(error)}, (name, "damaged", "-", "-", "-")
    told = found.to_dict()
    best = percent(found.best.accuracy) if found.best else "-"
    return (
        {key: told[key] for key in ("name", "state", "done", "seconds", "best")},
        (name, found.state, f"{found.done}", best, ", ".join(space.describe(found.plan))),
    )


def show(arguments: Namespace) -> int:
    """Tell how one sweep stands."""
    from cifar_core.search import findings

    found = findings.find(arguments.name, arguments.storage)
    goal = found.goal
    done = f"{found.done} of {goal.trials} trials"
    if goal.seconds:
        done = f"{found.done} trials, of {goal.seconds / 60:g} minutes of training"
    lines = [f"{found.name} is {found.state}: {done}, {duration(found.spent_seconds)}."]
    lines += [f"  {KNOBS[knob].label}: {words}" for knob, words in space.describe(found.plan).items()]
    if found.best:
        lines.append(f"Best: {percent(found.best.accuracy)} validation accuracy, run {found.best.run}, with")
        lines += [f"  {KNOBS[name].label} {KNOBS[name].say(value)}" for name, value in found.best.params.items()]
    for knob, side in found.at_edge.items():
        lines.append(f"The best {KNOBS[knob].label} is at the {side} end of its range: try a wider one.")
    lines += _grid_lines(found) if found.plan.grid else []
    rows = [
        (
            str(trial.number + 1),
            trial.state,
            percent(trial.accuracy),
            duration(trial.seconds),
            trial.run or "-",
            " ".join(f"{name}={value}" for name, value in trial.params.items()),
        )
        for trial in found.trials
    ]
    lines += table(("trial", "state", "accuracy", "time", "run", "knobs"), rows) if rows else []
    reply(arguments, found.to_dict(), lines)
    return 0


def _grid_lines(found: Findings) -> list[str]:
    """Return the cells of a grid as a table, and how much of it is noise."""
    from cifar_core.search import findings

    cells = found.cells()
    rows = [
        (
            " ".join(f"{name}={value}" for name, value in cell.values.items()),
            percent(cell.mean),
            "-" if cell.spread is None else f"± {cell.spread * 100:.1f}",
            str(len(cell.accuracies)),
        )
        for cell in cells
    ]
    noise = findings.noise(cells)
    return [*table(("cell", "mean", "spread", "seeds"), rows), *([noise.words] if noise else [])]


def worker(arguments: Namespace) -> int:
    """Work on a sweep in this process's foreground until it is done or stopped; for further machines."""
    from cifar_core.jobs import process
    from cifar_core.search import sweep_workers

    studies.open_whole(arguments.study, arguments.storage)  # a sentence here rather than in the worker
    own = {studies.STORAGE_VARIABLE: studies.storage_url(arguments.storage)}
    command = process.command([sweep_workers.WORKER, arguments.study])
    with subprocess.Popen(command, env=process.environment(own), stdout=sys.stderr) as working:
        try:
            code = working.wait()
        except KeyboardInterrupt:  # the worker hears of it too, as it is in the same terminal
            working.wait()
            return 130
    if code == 0:
        return _answer(arguments, arguments.study)
    return 2 if code == 2 else 1


def stop(arguments: Namespace) -> int:
    """Stop a sweep and return when it has stopped."""
    from cifar_core.search import sweep_workers

    sweep_workers.stop(arguments.name, arguments.storage)
    return _answer(arguments, arguments.name)


def resume(arguments: Namespace) -> int:
    """Let a sweep go on, further if asked."""
    from cifar_core.search import sweep_workers

    if arguments.seeds is not None:
        sweep_workers.repeat(arguments.name, arguments.seeds, arguments.storage)
    elif arguments.trials is not None or arguments.minutes is not None:
        sweep_workers.extend(arguments.name, arguments.trials or 0, arguments.minutes or 0.0, arguments.storage)
    else:
        sweep_workers.resume(arguments.name, arguments.workers, arguments.storage)
    return _answer(arguments, arguments.name, f"`{PROGRAM} sweep show {arguments.name}` tells how it goes.")


def delete(arguments: Namespace) -> int:
    """Delete a sweep; its runs stay."""
    from cifar_core.search import sweep_workers

    name = arguments.name
    sweep_workers.delete(name, arguments.storage)
    more = f" `{PROGRAM} sweep restore {name}` brings it back." if studies.is_restorable(name) else ""
    reply(arguments, {"name": name, "state": "deleted"}, [f"Sweep {name} is deleted, its runs are not.{more}"])
    return 0


def restore(arguments: Namespace) -> int:
    """Bring a deleted sweep back."""
    studies.restore(arguments.name)
    return _answer(arguments, arguments.name)


def _answer(arguments: Namespace, name: str, more: str = "") -> int:
    from cifar_core.search import findings

    found = findings.find(name, arguments.storage)
    data: dict[str, Any] = {"name": name, "state": found.state, "done": found.done, "trials": found.goal.trials}
    reply(arguments, data, [f"Sweep {name} is {found.state}. {more}".strip()])
    return 0
