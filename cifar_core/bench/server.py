"""The app as the README starts it, on a free port, for the benchmark and the browser tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cifar_core.errors import RunError

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A running app: its port, its process, and the file that its terminal's output goes to (None: nowhere)."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def address(self) -> str:
        """The address that a browser opens."""
        return f"http://localhost:{self.port}"


@contextmanager
def running(log: Path | None = None) -> Iterator[Server]:
    """Start the app, wait until it answers, end it afterwards. Raises RunError if it does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(port, process, log)
    try:
        _wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(server.address):
        if server.process.poll() is not None or time.monotonic() > deadline:
            output = f"; its output is in {server.log}" if server.log else ""
            raise RunError(f"The app's server did not start{output}; try `streamlit run app.py` by hand.")
        time.sleep(0.1)


def answers(address: str) -> bool:
    """Return whether the app at `address` answers."""
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
            return True
    except OSError:
        return False
