"""The commands `runs ...`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from cifar_core import runs
from cifar_core.cli import describe
from cifar_core.cli.terminal import PROGRAM, Answer, native_messages_hidden, table
from cifar_core.config import KNOBS
from cifar_core.errors import ConfigError, RunError
from cifar_core.evaluation import comparison, listing
from cifar_core.evaluation.comparison import Pair
from cifar_core.inference import model_file
from cifar_core.runs import labels, trash
from cifar_core.untrusted import quoted, shown_name

SORTS = tuple(name for name in listing.ORDERS if name not in KNOBS)


def list_runs(arguments: Namespace) -> Answer:
    """List the runs that match the filter, in the chosen order."""
    if arguments.sort not in listing.ORDERS:
        raise ConfigError(f"--sort: received {quoted(arguments.sort)}, expected {', '.join(SORTS)} or a knob's name.")
    everything = listing.rows()
    found = listing.select(everything, arguments.filter, starred_only=arguments.starred)
    found = listing.arrange(found, arguments.sort, arguments.reverse)
    if arguments.json:
        return Answer([_summary(row) for row in found], [])
    if found:
        lines = table(describe.TABLE_HEAD, [describe.row(row.run, row.labels) for row in found])
    elif everything:
        lines = [f"None of {len(everything)} runs matches the filter."]
    else:
        lines = [f"There are no runs in {runs.runs_dir()} yet; `{PROGRAM} train` makes one."]
    return Answer(None, lines)


def show(arguments: Namespace) -> Answer:
    """Show one run, with its diagnosis."""
    from cifar_core.evaluation import diagnosis

    run = runs.get(arguments.id)
    found, findings = describe.details(run), diagnosis.diagnose(run)
    lines = [*describe.detail_lines(run, found), *describe.finding_lines(findings)]
    return Answer(found | {"diagnosis": [finding.to_dict() for finding in findings]}, lines)


def stop(arguments: Namespace) -> Answer:
    """Stop a run and return when it has stopped."""
    from cifar_core import jobs

    run = runs.get(arguments.id)
    jobs.stop_run(run)
    return describe.state(run)


def resume(arguments: Namespace) -> Answer:
    """Resume a run in the background."""
    from cifar_core import jobs

    run = runs.get(arguments.id)
    jobs.resume_run(run)
    return describe.state(run, f"`{PROGRAM} runs show {run.id}` shows its progress.")


def keep_head(arguments: Namespace) -> Answer:
    """Make phase 1 of a run a run of its own."""
    from cifar_core.evaluation import story

    made = story.keep_head(runs.get(arguments.id))
    return describe.state(made, f"It is phase 1 of {arguments.id}.")


def delete(arguments: Namespace) -> Answer:
    """Move a run to the trash, or delete it permanently."""
    run = runs.get(arguments.id)
    if arguments.for_good:
        runs.delete(run)
        line = f"Run {run.id} is deleted."
    else:
        trash.discard(run)
        line = f"Run {run.id} is in the trash; `{PROGRAM} runs restore {run.id}` restores it."
    return Answer({"id": run.id, "status": "deleted"}, [line])


def restore(arguments: Namespace) -> Answer:
    """Restore a run from the trash."""
    return describe.state(trash.restore(arguments.id))


def list_trash(arguments: Namespace) -> Answer:
    """List the trash, or empty it."""
    if arguments.clear:
        count = trash.clear()
        return Answer({"deleted": count}, [f"{count} runs are deleted permanently."])
    found, size = trash.contents(), trash.size_bytes()
    last = f"{len(found)} deleted runs, {size / 1e6:,.0f} MB; `{PROGRAM} runs restore ID` restores one."
    return Answer({"ids": found, "bytes": size}, [*found, last])


def label(arguments: Namespace) -> Answer:
    """Set the name, note or star of a run: those of them that are among the arguments."""
    run = runs.get(arguments.id)
    given = {key: value for key, value in vars(arguments).items() if key in ("name", "note", "starred")}
    found = labels.change(run, **given)
    texts = [f"{key} {quoted(getattr(found, key))}" for key in ("name", "note") if getattr(found, key)]
    texts += ["a star"] if found.starred else []
    return Answer({"id": run.id, **vars(found)}, [f"Run {run.id}: {', '.join(texts) or 'no labels'}."])


def measure_latency(arguments: Namespace) -> Answer:
    """Measure and save a run's latency for one picture."""
    run = runs.get(arguments.id)
    with native_messages_hidden():
        found = model_file.measure_latency(run)
    return Answer({"id": run.id, "latency_ms": found}, [f"Run {run.id}: {found:.2f} ms for one picture."])


def compare(arguments: Namespace) -> Answer:
    """Show which knobs differ, and whether the runs differ significantly on the test images."""
    chosen = [runs.get(name) for name in dict.fromkeys(arguments.ids)]
    if len(chosen) < 2:
        raise RunError(f"Compare: received one run, expected two or more; `{PROGRAM} runs list` shows all.")
    known = {row.run: row for row in listing.rows()}
    rows = [known[run] for run in chosen]
    knobs = listing.differing(rows)
    pairs = comparison.compare(chosen)
    lines = [
        f"{KNOBS[name].label}: {', '.join(KNOBS[name].format(row.knob(name)) if row.config else '?' for row in rows)}"
        for name in knobs
    ]
    lines += [shown_name(comparison.verdict(pair, pair.a.id, pair.b.id), limit=2_000) for pair in pairs]
    lines.append(comparison.caution(sum(pair.result is not None for pair in pairs)))
    values = {name: {row.run.id: row.knob(name) for row in rows} for name in knobs}
    return Answer({"knobs": values, "pairs": [_pair(pair) for pair in pairs]}, lines)


def _summary(row: listing.Row) -> dict[str, Any]:
    return describe.summary(row.run) | vars(row.labels) | {"latency_ms": row.latency_ms}


def _pair(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = {"a": pair.a.id, "b": pair.b.id, "reason": pair.reason or None}
    if pair.result is not None:
        found |= vars(pair.result) | {"p_value_adjusted": pair.adjusted, "is_real": pair.is_significant}
    return found
