"""The commands `train`, `bench`, `data ...` (images and feature cache) and `doctor`."""

import time
from argparse import Namespace
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_core import costs, jobs
from cifar_core.cli import run_commands
from cifar_core.cli.terminal import PROGRAM, Answer, Screen, duration, number, percent, table, to_stderr
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data import cifar10, feature_cache
from cifar_core.errors import CifarError, ConfigError
from cifar_core.runs import LIVE_STATES, Run, curves, read_rows, write_json
from cifar_core.untrusted import shown_name

_POLL_SECONDS = 0.2
_STAGES = {
    "head": "head",
    "fine_tune": "fine-tuning",
    "features": "computing features",
    "neighbours": "indexing training images",
    "validation": "classifying validation images",
    "test": "classifying test images",
}


def config_of(arguments: Namespace) -> TrainConfig:
    """Return the preset in `arguments` with the given knobs. Raises ConfigError."""
    given = {name: value for name in KNOBS if (value := getattr(arguments, name)) is not None}
    return replace(PRESETS[arguments.preset], **given)


def train(arguments: Namespace) -> Answer:
    """Start a run and, without --detach, follow it until it ends."""
    config = config_of(arguments)
    with suppress(CifarError):  # without images, the worker reports the error
        if shortage := costs.memory_shortage(costs.estimate(config, *cifar10.sizes(config.dataset))):
            to_stderr(shortage)
    run = jobs.start_run(config, arguments.preset)
    if arguments.detach:
        return run_commands.state_answer(run, f"`{PROGRAM} runs show {run.id}` shows its progress.")
    interrupted = False
    with Screen(arguments.json) as screen:
        screen.line(f"Run {run.id}. Ctrl-C stops it, closing the terminal does not.")
        try:
            follow(run, screen)
        except KeyboardInterrupt:
            interrupted = True
            jobs.stop_run(run)
    code, message = run_commands.ending(run)
    if message:
        to_stderr(message)
    data = run_commands.figures(run) | {"error": run_commands.run_error(run)}
    return Answer(data, run_commands.figure_lines(run), 130 if interrupted and code else code)


def follow(run: Run, screen: Screen) -> None:
    """Print the progress of `run` to `screen` until it has ended, in any state."""
    epochs, offset, origin_shown = run.config.epochs, 0, False
    while True:
        state = run.state  # read before the rows to include the last one
        rows, offset = read_rows(run.path / "metrics.jsonl", offset)
        if not origin_shown and any("phase" in row for row in rows):
            screen.line(run_commands.origin(run))
            origin_shown = True
        for row in curves.sound_rows(rows):  # of an imported run, too, if a lesson takes it
            _show_row(row, epochs, screen)
        if state not in LIVE_STATES:
            return
        if not offset:
            before = jobs.queue_position(run) if state == "queued" else 0
            screen.bar(f"queued behind {before}" if before else "preparing", 0.0)
        time.sleep(_POLL_SECONDS)


def _show_row(row: dict[str, Any], epochs: dict[str, int], screen: Screen) -> None:
    left = f"{duration(row['seconds_left'])} left" if row.get("seconds_left") is not None else ""
    # Rows of older versions have the loss with penalties.
    measure = "loss" if row.get("cross_entropy") is None else "cross_entropy"
    label = measure.replace("_", "-")
    if row["kind"] == "progress":
        done, total, stage = row["done"], row["total"], row.get("stage", "")
        screen.bar(_STAGES.get(stage, stage), done / max(total, 1), f"{done:,}/{total:,}  {left}")
    elif probe := curves.linear_probe([row]):
        screen.line(f"linear probe: validation accuracy {percent(probe.accuracy)}, {probe.name}")
    elif row["kind"] == "step":
        screen.bar(
            f"{_STAGES[row['phase']]} {row['epoch']}/{epochs[row['phase']]}",
            row["step"] / row["steps"],
            f"{label} {row[measure]:.3f}  accuracy {percent(row['accuracy'])}  "
            f"{row['images_per_second']:,.0f} images/s  {left}",
        )
    elif row["kind"] == "epoch":
        screen.line(
            f"{_STAGES[row['phase']]:<11} {row['epoch']:>3}/{row.get('epochs') or epochs[row['phase']]}"
            f"  {label} {number(row.get(measure))}  accuracy {percent(row.get('accuracy'))}  validation {label} "
            f"{number(row.get(f'validation_{measure}'))}  accuracy {percent(row['validation_accuracy'])}"
            f"  learning rate {row.get('learning_rate') or 0:.2g}  {duration(row.get('elapsed_seconds'))}"
        )


def run_bench(arguments: Namespace) -> Answer:
    """Measure this app and recipe.py and save bench.json; with --readme also update the table in that file."""
    from cifar_core import bench

    folder, readme = Path(arguments.output), Path(arguments.readme) if arguments.readme else None
    if not folder.is_dir():
        raise ConfigError(f"Output: received {str(folder)[:200]!r}, expected a folder that exists; make it first.")
    if readme and not (readme.is_file() and bench.BEGIN in readme.read_text(encoding="utf-8")):
        raise ConfigError(f"Readme: received {str(readme)[:200]!r}, expected a file that holds {bench.BEGIN!r}.")
    with Screen(arguments.json) as screen:
        figures = bench.run(arguments.quick, 60 * arguments.plain_minutes, lambda text: screen.line(f"{text} …"))
    write_json(folder / "bench.json", figures)
    if readme:
        bench.write_section(readme, figures)
    return Answer(figures, [*bench.table(figures), f"Saved in {folder / 'bench.json'}."])


def data_status(arguments: Namespace) -> Answer:
    """Show the images that a training uses, and why."""
    status = cifar10.status()
    if status["error"]:
        to_stderr(status["error"])
        return Answer(status, [], 2)
    label = cifar10.shown_label(status["label"])
    lines = [
        f"{label}: {status['train_images']:,} training and {status['test_images']:,} test images.",
        f"Where: {status['source']}",
        f"Why: {status['reason']}.",
    ]
    download = status["download"]
    if download["running"] or download["bytes"]:
        state = "running" if download["running"] else "unfinished"
        lines.append(f"Download ({state}): {download['bytes'] / 1e6:,.0f} of {download['total'] / 1e6:,.0f} MB.")
    return Answer(status, lines)


def download_data(arguments: Namespace) -> Answer:
    """Download the official CIFAR-10 into the cache."""
    with Screen(arguments.json) as screen:

        def progress(done: int, total: int | None) -> None:
            total = total or cifar10.ARCHIVE_BYTES
            screen.bar("CIFAR-10", done / total, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        dataset = cifar10.download(progress)
    about = {key: getattr(dataset, key) for key in ("label", "source", "fingerprint", "official")}
    counts = {"train_images": len(dataset.train_labels), "test_images": len(dataset.test_labels)}
    return Answer({"dataset": dataset.name, **about, **counts}, [f"{dataset.label} is in {dataset.source}."])


def show_cache(arguments: Namespace) -> Answer:
    """Show the contents of the feature cache, or empty it."""
    budget, freed = feature_cache.budget_bytes(), feature_cache.clear() if arguments.clear else 0
    folder, entries = str(feature_cache.store_dir()), feature_cache.contents()
    total = sum(entry["bytes"] for entry in entries)
    lines = [f"Freed {freed / 1e6:,.0f} MB."] if arguments.clear else []
    lines.append(f"{folder}: {total / 1e6:,.0f} MB of at most {budget / 1e9:g} GB.")
    if entries:
        rows = [_cache_row(entry) for entry in sorted(entries, key=lambda entry: -entry["last_used"])]
        lines += table(("MB", "last used", "layer", "α", "size", "view"), rows)
    data = {"folder": folder, "budget_bytes": budget, "bytes": total, "freed_bytes": freed, "entries": entries}
    return Answer(data, lines)


def _cache_row(entry: dict[str, Any]) -> list[str]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["last_used"]))
    about = (shown_name(str(entry["about"].get(key, "-"))) for key in ("layer", "alpha", "image_size", "view"))
    return [f"{entry['bytes'] / 1e6:,.0f}", used, *about]


def doctor(arguments: Namespace) -> Answer:
    """Check this machine; exit code 2 if there is a problem."""
    from cifar_core import doctor as core  # takes 30 ms to import

    checks = core.checks()
    lines = table(("check", "state", "value"), [(check.name, check.state, check.value) for check in checks])
    lines += [f"{check.name}: {check.advice}" for check in checks if check.advice]
    failed = any(check.state == "error" for check in checks)
    return Answer({"ok": not failed, "checks": [check._asdict() for check in checks]}, lines, 2 if failed else 0)
