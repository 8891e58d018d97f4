"""The app as the README starts it, and what it takes while people use it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
_SAMPLE_SECONDS = 2.0


@dataclass
class Server:
    """A running app. `memory` holds (seconds of the clock perf_counter, resident bytes), one every two seconds."""

    address: str  # host:port
    process: psutil.Process
    log: Path
    memory: list[tuple[float, int]] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has taken so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    async def watch(self) -> None:
        """Take samples of the memory until cancelled."""
        while True:
            self.memory.append((time.perf_counter(), self.process.memory_info().rss))
            await asyncio.sleep(_SAMPLE_SECONDS)


@contextmanager
def running(log: Path) -> Iterator[Server]:
    """Start the app on a free port; end it afterwards. Raises RuntimeError if it does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    server = Server(f"localhost:{port}", psutil.Process(process.pid), log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(server.address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start; its last words are in {log}.")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/_stcore/health", timeout=5):
            return True
    except OSError:
        return False
