"""Processes that outlive the page and the server: started, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from cifar_core import machine, runs

# glibc returns large buffers to the system and asks for zeroed ones at every training step. Keeping them, in large
# pages, makes a step of the whole network much faster; other systems ignore the variable.
_ALLOCATOR = ":".join(
    f"glibc.malloc.{setting}"
    for setting in ("hugetlb=1", "mmap_max=0", "trim_threshold=100000000000", "top_pad=500000000")
)
# `python -m` for a module in a given folder. PYTHONPATH cannot name a folder with ":" in its path.
_RUN_MODULE = (
    "import runpy, sys; del sys.argv[0]; sys.path.insert(0, sys.argv.pop(0)); "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def command(module_and_arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a module of this program, wherever the working directory is."""
    return [sys.executable, "-c", _RUN_MODULE, str(machine.app_dir()), *module_and_arguments]


def detached(
    module_and_arguments: Sequence[str], log: Path, own: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Run a module as a process of its own session, which ends neither with the page nor with the server.

    `own` is added to its environment. Raises OSError if `log` cannot be written.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(module_and_arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(own),
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie stays behind
    return process


def environment(own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker, with `own` added: where runs lie, what makes TensorFlow fast and quiet."""
    found = {**os.environ, "CIFAR_RUNS_DIR": str(runs.runs_dir().resolve())}
    found.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found.setdefault("GLIBC_TUNABLES", _ALLOCATOR)
    return found | dict(own or {})


def end(record: Mapping[str, Any], module: str, how: Callable[[psutil.Process], None]) -> None:
    """End the process that `record` names ("pid", "pid_created"), if it is the very one and runs `module`."""
    with contextlib.suppress(psutil.Error, TypeError, ValueError, LookupError):
        found = psutil.Process(int(record["pid"]))
        same = abs(found.create_time() - float(record["pid_created"])) < 1
        if same and module in found.cmdline() and found.pid != os.getpid():
            how(found)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` holds, `seconds` at most; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
