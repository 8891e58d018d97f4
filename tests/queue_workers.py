"""Workers of the queue over several machines, each with folders of its own, as if on a machine of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cifar_core.runs import Run
from cifar_core.search.studies import STORAGE_VARIABLE


@dataclass
class Machine:
    """A worker's process; `place` holds its runs and its cache."""

    process: subprocess.Popen[bytes]
    place: Path

    def has(self, run: Run) -> bool:
        """Whether the run is trained here."""
        return (self.place / "runs" / ".worker" / run.id / "checkpoint.npz").exists()

    def lose(self) -> None:
        """End everything on the machine at once."""
        with suppress(psutil.Error):
            worker = psutil.Process(self.process.pid)
            for process in (worker, *worker.children(recursive=True)):
                process.kill()
        self.process.wait(30)


@contextmanager
def machines(place: Path, cache: Path, url: str, count: int = 1) -> Iterator[list[Machine]]:
    """Workers with copies of the folder `cache`; they are told to end at the end."""
    started = []
    for number in range(count):
        folder = place / f"machine-{number}"
        shutil.copytree(cache, folder / "cache", copy_function=os.link)
        environment = os.environ | {
            STORAGE_VARIABLE: url,
            "CIFAR_RUNS_DIR": str(folder / "runs"),
            "CIFAR_CACHE_DIR": str(folder / "cache"),
        }
        command = [sys.executable, "-m", "cifar_core", "runs", "worker"]
        started.append(Machine(subprocess.Popen(command, env=environment), folder))
    try:
        yield started
        for machine in started:
            if machine.process.poll() is None:
                machine.process.send_signal(signal.SIGTERM)
                assert machine.process.wait(60) == 0
    finally:
        for machine in started:
            machine.lose()
