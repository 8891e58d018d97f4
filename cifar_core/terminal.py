"""What a person sees in a terminal: words for numbers, tables, a progress bar, a run followed to its end.

Standard output is for answers; everything here goes to standard error but for `table`, which only makes lines.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from cifar_core import launch
from cifar_core.names import shown_name
from cifar_core.runs import LIVE_STATES, Run, read_rows

PROGRAM = "python -m cifar_core"

_POLL_SECONDS = 0.2
_REDRAW_SECONDS = 0.1
_BAR_CELLS = 24
_NOTHING = "-"
_STAGES = {
    "head": "head",
    "fine_tune": "fine-tuning",
    "features": "computing features",
    "validation": "classifying validation images",
    "test": "classifying test images",
}


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def percent(share: Any) -> str:
    """Return a share of 0..1 as "93.1 %", anything else as "-"."""
    return f"{share:.1%}".replace("%", " %") if is_number(share) else _NOTHING


def number(value: Any) -> str:
    """Return a number with four digits behind the point, anything else as "-"."""
    return f"{value:.4f}" if is_number(value) else _NOTHING


def duration(seconds: Any) -> str:
    """Return seconds as "1:02:03" or "2:03", anything else as "-"."""
    if not is_number(seconds):
        return _NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their longest word."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in everything]


def complain(message: object) -> None:
    """Print what went wrong as one line, whatever `message` holds."""
    print(shown_name(str(message), limit=2_000), file=sys.stderr)


class Screen:
    """Standard error: lines that stay, and one bar below them that is drawn over, in a terminal only."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._draws = not quiet and sys.stderr.isatty()
        self._width = 0
        self._next_draw = 0.0

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self.clear()
            print(text, file=sys.stderr)

    def bar(self, what: str, share: float, more: str = "") -> None:
        """Draw a bar of `share`, 0..1, unless the last one is a moment ago."""
        if not self._draws or time.monotonic() < self._next_draw:
            return
        self._next_draw = time.monotonic() + _REDRAW_SECONDS
        cells = round(min(max(share, 0.0), 1.0) * _BAR_CELLS)
        text = f"{what} [{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {more}"[: shutil.get_terminal_size().columns - 1]
        print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(text)

    def clear(self) -> None:
        """Take the bar away."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
            self._width = 0


def follow(run: Run, screen: Screen) -> None:
    """Show on `screen` how `run` goes, until it has ended in whatever way."""
    epochs = {"head": run.config.head_epochs, "fine_tune": run.config.fine_tune_epochs}
    offset = 0
    try:
        while True:
            state = run.state  # looked at before the rows, so that none of the last ones is missed
            rows, offset = read_rows(run.path / "metrics.jsonl", offset)
            for row in rows:
                _show(row, epochs, screen)
            if state not in LIVE_STATES:
                return
            if state == "queued" and (before := launch.queue_position(run)):
                screen.bar("queued", 0.0, f"{before} before it")
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
