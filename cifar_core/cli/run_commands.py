"""The `runs` commands over many runs: list, name, note, star, time, delete, restore, compare."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from cifar_core import runs
from cifar_core.cli import describe
from cifar_core.cli.commands import reply
from cifar_core.cli.terminal import PROGRAM, native_messages_hidden, table
from cifar_core.config import KNOBS
from cifar_core.errors import ConfigError, RunError
from cifar_core.evaluation import comparison, listing
from cifar_core.evaluation.comparison import Pair
from cifar_core.inference import latency
from cifar_core.runs import labels, trash
from cifar_core.untrusted import quoted, shown_name

SORTS = tuple(name for name in listing.ORDERS if name not in KNOBS)


def list_runs(arguments: Namespace) -> int:
    """List the runs that match the filter, in the chosen order."""
    if arguments.sort not in listing.ORDERS:
        raise ConfigError(f"--sort: received {quoted(arguments.sort)}, expected {', '.join(SORTS)} or a knob's name.")
    everything = listing.rows()
    found = listing.select(everything, arguments.filter, starred_only=arguments.starred)
    found = listing.arrange(found, arguments.sort, arguments.reverse)
    if arguments.json:
        reply(arguments, [_summary(row) for row in found], [])
    elif found:
        reply(arguments, None, table(describe.TABLE_HEAD, [describe.row(row.run, row.labels) for row in found]))
    elif everything:
        reply(arguments, None, [f"None of {len(everything)} runs matches the filter."])
    else:
        reply(arguments, None, [f"There are no runs in {runs.runs_dir()} yet; `{PROGRAM} train` makes one."])
    return 0


def delete_run(arguments: Namespace) -> int:
    """Move a run to the trash, or delete it permanently."""
    run = runs.get(arguments.id)
    if arguments.for_good:
        runs.delete(run)
        reply(arguments, {"id": run.id, "status": "deleted"}, [f"Run {run.id} is deleted."])
    else:
        trash.discard(run)
        more = f"`{PROGRAM} runs restore {run.id}` restores it."
        reply(arguments, {"id": run.id, "status": "deleted"}, [f"Run {run.id} is in the trash; {more}"])
    return 0


def restore_run(arguments: Namespace) -> int:
    """Restore a run from the trash."""
    run = trash.restore(arguments.id)
    state = run.state
    reply(arguments, {"id": run.id, "status": state}, [f"Run {run.id} is restored; it is {state}."])
    return 0


def list_trash(arguments: Namespace) -> int:
    """List the trash, or empty it."""
    if arguments.clear:
        count = trash.clear()
        reply(arguments, {"deleted": count}, [f"{count} runs are deleted permanently."])
        return 0
    found, size = trash.contents(), trash.size_bytes()
    lines = [*found, f"{len(found)} deleted runs, {size / 1e6:,.0f} MB; `{PROGRAM} runs restore ID` restores one."]
    reply(arguments, {"ids": found, "bytes": size}, lines)
    return 0


def rename_run(arguments: Namespace) -> int:
    """Name a run."""
    return _write(arguments, name=arguments.name)


def note_run(arguments: Namespace) -> int:
    """Add a note to a run."""
    return _write(arguments, note=arguments.note)


def star_run(arguments: Namespace) -> int:
    """Star a run, or remove its star."""
    return _write(arguments, starred=not arguments.off)


def time_run(arguments: Namespace) -> int:
    """Measure and save a run's latency for one picture."""
    run = runs.get(arguments.id)
    with native_messages_hidden():
        found = latency.measure(run)
    reply(arguments, {"id": run.id, "latency_ms": found}, [f"Run {run.id}: {found:.2f} ms for one picture."])
    return 0


def compare_runs(arguments: Namespace) -> int:
    """Print which knobs differ, and whether the runs differ significantly on the test images."""
    chosen = [runs.get(name) for name in dict.fromkeys(arguments.ids)]
    if len(chosen) < 2:
        raise RunError(f"Compare: received one run, expected two or more; `{PROGRAM} runs list` shows all.")
    known = {row.run: row for row in listing.rows()}
    knobs = listing.differing([known[run] for run in chosen])
    pairs = comparison.compare(chosen)
    compared = sum(pair.result is not None for pair in pairs)
    lines = [f"{KNOBS[name].label}: {', '.join(_said(known[run], name) for run in chosen)}" for name in knobs]
    lines += [shown_name(comparison.verdict(pair, pair.a.id, pair.b.id), limit=2_000) for pair in pairs]
    data = {
        "knobs": {name: {run.id: known[run].knob(name) for run in chosen} for name in knobs},
        "pairs": [_pair(pair) for pair in pairs],
    }
    reply(arguments, data, [*lines, comparison.caution(compared)])
    return 0


def _write(arguments: Namespace, **changes: Any) -> int:
    run = runs.get(arguments.id)
    found = labels.change(run, **changes)
    data = {"id": run.id, "name": found.name, "note": found.note, "starred": found.starred}
    words = [f"name {quoted(found.name)}" if found.name else "", f"note {quoted(found.note)}" if found.note else ""]
    labels_text = ", ".join(word for word in (*words, "a star" if found.starred else "") if word) or "no labels"
    reply(arguments, data, [f"Run {run.id}: {labels_text}."])
    return 0


def _summary(row: listing.Row) -> dict[str, Any]:
    written = {"name": row.labels.name, "note": row.labels.note, "starred": row.labels.starred}
    return describe.summary(row.run) | written | {"latency_ms": row.latency_ms}


def _said(row: listing.Row, knob: str) -> str:
    return KNOBS[knob].say(row.knob(knob)) if row.config else "?"


def _pair(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = {"a": pair.a.id, "b": pair.b.id, "reason": pair.reason or None}
    if pair.result is not None:
        found |= {
            "images": pair.result.images,
            "only_a": pair.result.only_a,
            "only_b": pair.result.only_b,
            "p_value": pair.result.p_value,
            "p_value_adjusted": pair.adjusted,
            "is_real": pair.is_significant,
        }
    return found
