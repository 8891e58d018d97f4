"""Processes in a terminal of their own, which can be closed under them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Terminal:
    """A terminal (its other end is the descriptor `screen`) and the process that leads its session."""

    process: subprocess.Popen[bytes]
    screen: int

    def end(self, how: str) -> None:
        """Close the terminal, or send its foreground processes the signal of that name, and wait for the end."""
        if how == "closed":
            os.close(self.screen)
        else:
            os.killpg(self.process.pid, signal.Signals[how])
        self.process.wait(30)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """`python ARGUMENTS` in a new terminal; skips the test where there is no setsid."""
    if not sys.platform.startswith("linux"):
        pytest.skip("terminals are opened by setsid, which is Linux's")
    screen, own = os.openpty()
    # Ctrl-C reaches it even where the tests run in a background that ignores it, as `pytest &` in a script does.
    command = ["setsid", "--ctty", "env", "--default-signal=INT,HUP,TERM", sys.executable, *arguments]
    silent = subprocess.DEVNULL  # a terminal that nobody reads is full one day
    process = subprocess.Popen(command, cwd=ROOT, stdin=own, stdout=silent, stderr=silent)
    os.close(own)
    try:
        yield Terminal(process, screen)
    finally:
        with suppress(psutil.Error):
            psutil.Process(process.pid).kill()
        process.wait(30)
        with suppress(OSError):
            os.close(screen)
