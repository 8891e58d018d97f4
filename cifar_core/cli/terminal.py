"""Terminal output: results on standard output, everything else on standard error."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from cifar_core.errors import RunError, os_errors_as
from cifar_core.runs import records
from cifar_core.untrusted import quoted, shown_name

PROGRAM = "python -m cifar_core"

_REDRAW_SECONDS = 0.1
_BAR_CELLS = 24
_MISSING = "-"


class Answer(NamedTuple):
    """The result of a command: `data` for --json (None: nothing), `lines` otherwise, and the exit code."""

    data: Any
    lines: Sequence[str]
    code: int = 0

    def write(self, as_json: bool) -> None:
        """Print the result. Raises OSError."""
        if as_json and self.data is not None:
            without_nan = json.loads(json.dumps(self.data), parse_constant=lambda constant: None)  # NaN is not JSON
            print(json.dumps(without_nan, indent=1), flush=True)
        elif self.lines and not as_json:
            print("\n".join(self.lines), flush=True)


def percent(share: Any) -> str:
    """Return a share of 0..1 as "93.1%", anything else as "-"."""
    return f"{share:.1%}" if records.is_number(share) else _MISSING


def number(value: Any) -> str:
    """Return a number with four decimals, anything else as "-"."""
    return f"{value:.4f}" if records.is_number(value) else _MISSING


def interval(ends: tuple[float, float]) -> str:
    """Return a confidence interval, 0..1, as "95% interval 91.0% to 95.2%"."""
    return f"95% interval {percent(ends[0])} to {percent(ends[1])}"


def duration(seconds: Any) -> str:
    """Return seconds as "1:02:03" or "2:03", anything else as "-"."""
    if not records.is_number(seconds):
        return _MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, each column as wide as its longest cell."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def to_stderr(message: object) -> None:
    """Print `message` to standard error as one line of at most 2,000 characters."""
    print(shown_name(str(message), limit=2_000), file=sys.stderr)


def save(name: str, write: Callable[[Path], object]) -> None:
    """Call `write` with the file or folder `name`. Raises RunError if it cannot be written."""
    with os_errors_as(RunError, f"{quoted(name)} cannot be written", "give another place"):
        write(Path(name))


def discard_output() -> None:
    """Discard further standard output; otherwise Python flushes it to a closed pipe at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Hide standard error output of native libraries in this block; LiteRT has no switch for its banner."""
    sys.stderr.flush()
    saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(devnull)


class Screen:
    """Lines on standard error with a progress bar below them; terminal only, erased at the end of the block."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._draws = not quiet and sys.stderr.isatty()
        self._out = sys.stderr
        if self._draws:  # `native_messages_hidden` redirects the descriptor of standard error, so the bar has its own
            with suppress(OSError):
                self._out = os.fdopen(os.dup(sys.stderr.fileno()), "w", errors="replace")
        self._width = 0
        self._next_draw = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        if self._out is not sys.stderr:
            self._out.close()

    def line(self, text: str) -> None:
        """Print a permanent line."""
        if not self._quiet:
            self._clear()
            print(text, file=self._out, flush=True)

    def bar(self, what: str, share: float, more: str = "") -> None:
        """Draw the bar at `share`, 0..1, at most ten times per second."""
        if not self._draws or time.monotonic() < self._next_draw:
            return
        self._next_draw = time.monotonic() + _REDRAW_SECONDS
        cells = round(min(max(share, 0.0), 1.0) * _BAR_CELLS)
        text = f"{what} [{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {more}"[: shutil.get_terminal_size().columns - 1]
        print("\r" + text.ljust(self._width), end="", file=self._out, flush=True)
        self._width = len(text)

    def _clear(self) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=self._out, flush=True)
            self._width = 0
