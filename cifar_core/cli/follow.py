"""Following a run in a terminal, from its metrics file, until it ends."""

from __future__ import annotations

import time
from typing import Any

from cifar_core.cli import describe
from cifar_core.cli.terminal import Screen, duration, number, percent
from cifar_core.jobs import launch
from cifar_core.runs import LIVE_STATES, Run, read_rows

_POLL_SECONDS = 0.2
_STAGES = {
    "head": "head",
    "fine_tune": "fine-tuning",
    "features": "computing features",
    "neighbours": "indexing training images",
    "validation": "classifying validation images",
    "test": "classifying test images",
}


def follow(run: Run, screen: Screen) -> None:
    """Print the progress of `run` to `screen`; return when the run has ended, in any state."""
    epochs = {"head": run.config.head_epochs, "fine_tune": run.config.fine_tune_epochs}
    offset, origin_shown = 0, False
    try:
        while True:
            state = run.state  # read before the rows, so that no final row is missed
            rows, offset = read_rows(run.path / "metrics.jsonl", offset)
            if not origin_shown and any("phase" in row for row in rows):
                screen.line(describe.origin(run))
                origin_shown = True
            for row in rows:
                _show(row, epochs, screen)
            if state not in LIVE_STATES:
                return
            if not offset:
                before = launch.queue_position(run) if state == "queued" else 0
                screen.bar(f"queued behind {before}" if before else "preparing", 0.0)
            time.sleep(_POLL_SECONDS)
    finally:
        screen.clear()


def _show(row: dict[str, Any], epochs: dict[str, int], screen: Screen) -> None:
    left = f"{duration(row['seconds_left'])} left" if row.get("seconds_left") is not None else ""
    if row["kind"] == "progress":
        done, total = row["done"], row["total"]
        screen.bar(_STAGES.get(row["stage"], row["stage"]), done / max(total, 1), f"{done:,}/{total:,}  {left}")
    elif row["kind"] == "step":
        screen.bar(
            f"{_STAGES[row['phase']]} {row['epoch']}/{epochs[row['phase']]}",
            row["step"] / row["steps"],
            f"loss {row['loss']:.3f}  accuracy {percent(row['accuracy'])}  "
            f"{row['images_per_second']:,.0f} images/s  {left}",
        )
    elif row["kind"] == "epoch":
        screen.line(
            f"{_STAGES[row['phase']]:<11} {row['epoch']:>3}/{row['epochs']}"
            f"  loss {number(row['loss'])}  accuracy {percent(row['accuracy'])}"
            f"  validation loss {number(row['validation_loss'])}  accuracy {percent(row['validation_accuracy'])}"
            f"  learning rate {row['learning_rate']:.2g}  {duration(row['elapsed_seconds'])}"
        )
