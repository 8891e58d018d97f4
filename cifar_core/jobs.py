"""Background processes, which outlive the page and the server: the workers of runs, and other jobs.

A job is work in a separate process that a page or a command starts, watches and stops:

    <folder>/<name>.progress.json   {"state": "working", "stopped", "failed" or "done", ...}, written by the process
    <folder>/<name>.lock            held by the process while it works
    <folder>/<name>.stop            requests a stop
    <folder>/<name>.log             output of the process

A feature declares its job as a `Job`, does the work inside `working` and shows the record that `read` returns. Runs and
sweeps have their own records (see runs/__init__.py and search/studies.py), since they can be resumed.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cifar_core import machine, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, RunError, os_errors_as, sentence
from cifar_core.runs import Run, records, trash

RUN_WORKER, QUEUE_WORKER = "cifar_core.training.worker", "cifar_core.training.shared_queue"
MOST_QUEUED = 50
"""Maximum number of runs that train or wait."""
STOP_SECONDS = 2.5
"""Time for a worker to stop by itself before its process is killed."""

# glibc returns large buffers to the system and requests zeroed ones at each training step. Keeping them, in large
# pages, makes a step of the whole network much faster; other systems ignore the variable.
_ALLOCATOR = ":".join(
    f"glibc.malloc.{setting}"
    for setting in ("hugetlb=1", "mmap_max=0", "trim_threshold=100000000000", "top_pad=500000000")
)
# `python -m` for a module in a given folder. PYTHONPATH cannot contain a folder with ":" in its path.
_RUN_MODULE = (
    "import runpy, sys; del sys.argv[0]; sys.path.insert(0, sys.argv.pop(0)); "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


class Stopped(Exception):  # noqa: N818 - not an error
    """Raised if a stop of the job or run was requested."""


@dataclass(frozen=True)
class Job:
    """A job. `command` is a module and its arguments; error messages begin with `title` and end with `advice`."""

    folder: Path
    name: str
    command: tuple[str, ...]
    title: str
    advice: str = "free disk space there, or make it writable"
    record: str = ".progress.json"

    def file(self, ending: str) -> Path:
        """Return the path of the job's file with this ending."""
        return self.folder / f"{self.name}{ending}"

    @property
    def is_running(self) -> bool:
        """Whether a process holds the job's lock."""
        return machine.is_locked(self.file(".lock"))

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested of the process that holds the lock."""
        return self.is_running and self.file(".stop").exists()

    def start(self) -> subprocess.Popen[bytes] | None:
        """Start the process and wait until it works. Return it, or None if one is already running. Raises RunError."""
        if self.is_running:
            return None
        with self._folder_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            before = machine.stamp(self.file(self.record))
            started = detached(self.command, self.file(".log"))
            wait_until(lambda: self.is_running or started.poll() is not None, runs.START_SECONDS)
            if not self.is_running and machine.stamp(self.file(self.record)) == before:
                self.write("working")  # it has died, or is slow: not before, as others read it
        return started

    def ask_to_stop(self) -> None:
        """Request a stop; the process stops at its next `check_stop`. Raises RunError."""
        with self._folder_errors():
            self.file(".stop").touch()

    def check_stop(self) -> None:
        """Raise Stopped if a stop was requested."""
        if self.file(".stop").exists():
            raise Stopped

    def write(self, state: str, **more: Any) -> None:
        """Write the record. Raises OSError."""
        runs.write_json(self.file(self.record), {"state": state, **more})

    def read(self) -> dict[str, Any]:
        """Return the record. "state" is "none", "working", "stopped", "failed" (with "error") or "done"."""
        if self.is_running:
            return self._load() | {"state": "working"}
        status = self._load()  # after the lock: a process that has ended has written its last record
        if status.get("state") == "working":
            return {"state": "failed", "error": f"Its process ended unexpectedly; see {self.file('.log')}."}
        if status.get("state") == "failed":
            return {"state": "failed", "error": str(status.get("error"))[:500]}
        return status if status.get("state") in ("stopped", "done") else {"state": "none"}

    def _load(self) -> dict[str, Any]:
        """Return the record, {} if there is none, or the state "failed" and the reason if it is damaged."""
        try:
            return runs.load_json(self.file(self.record)) or {}
        except RunError as error:
            return {"state": "failed", "error": f"{error} Start it again."}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the job's lock during the work and record its end: "done", "stopped" or "failed".

        Raises RunError if another process holds the lock or the folder cannot be written; re-raises exceptions of the
        work.
        """
        with self._folder_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            busy = RunError(f"{self.title}: another process is already doing this; wait for it, or stop it.")
            with machine.hold_lock(self.file(".lock"), busy=busy):
                self.file(".stop").unlink(missing_ok=True)
                self.write("working")
                try:
                    yield
                except (Stopped, KeyboardInterrupt):
                    self.write("stopped")
                    raise
                except Exception as error:
                    self.write("failed", error=sentence(error))
                    raise
                if runs.read_json(self.file(self.record)).get("state") == "working":  # else the work wrote its result
                    self.write("done")

    def _folder_errors(self) -> AbstractContextManager[None]:
        return os_errors_as(RunError, f"{self.title}: {self.folder} cannot be used", self.advice)


def start_run(config: TrainConfig, name: str = "run", prepare: Callable[[Run], None] | None = None) -> Run:
    """Create a run and start its worker, which waits for the training slot. Raises RunError.

    `prepare` can add files to the run's folder before the worker starts.
    """
    _check_queue()
    trash.clear_unfinished()
    run = runs.create(config, name, prepare)
    spawn_worker(run)
    return run


def _check_queue() -> None:
    live = sum(run.state in runs.LIVE_STATES for run in runs.list_runs())
    if live >= MOST_QUEUED:
        raise RunError(
            f"{live} runs train or wait already, expected fewer than {MOST_QUEUED}; wait until one has ended, or stop "
            "some."
        )


def resume_run(run: Run) -> None:
    """Resume a stopped, failed or lost run from its last full epoch. Raises RunError for another state."""
    if run.state not in runs.RESUMABLE_STATES:
        raise RunError(f"Run {run.id} is {run.state}; only a stopped, failed or lost run can be resumed.")
    _check_queue()
    run.config  # noqa: B018 - raises if the configuration is damaged
    with os_errors_as(RunError, f"Run {run.id} cannot continue", "make its folder writable"):
        (run.path / "stop").unlink(missing_ok=True)
    spawn_worker(run)


def stop_run(run: Run) -> None:
    """Stop `run` within three seconds, if it has not ended; its best and last full epochs are kept.

    Requests a stop first. A worker that does not stop within STOP_SECONDS (a long step, an import) is killed; the
    checkpoint already contains the last full epoch.
    """
    if run.state not in runs.LIVE_STATES:
        return
    try:
        (run.path / "stop").touch()
    except OSError:  # a full disk
        end_process(run.status, RUN_WORKER, psutil.Process.terminate)
    if not wait_until(lambda: not run.is_alive, STOP_SECONDS):
        end_process(run.status, RUN_WORKER, psutil.Process.kill)
        wait_until(lambda: not run.is_alive, STOP_SECONDS)


def queue_position(run: Run) -> int:
    """Return the number of live runs before `run` in the queue; 0 if it is next or already running."""
    states = {other: other.state for other in runs.list_runs()}
    training = [other for other, state in states.items() if state in runs.LIVE_STATES and state != "queued"]
    live = [*training, *_in_turn(other for other, state in states.items() if state == "queued")]
    return live.index(run) if run in live else 0


def is_next(run: Run) -> bool:
    """Return whether no queued run trains before `run`."""
    return _in_turn({run, *(other for other in runs.list_runs() if other.state == "queued")})[0] == run


def _in_turn(waiting: Iterable[Run]) -> list[Run]:
    """Return queued runs in training order: the first run of each user by age, then the second ones, and so on."""
    turns: Counter[str] = Counter()
    place: dict[Run, int] = {}
    for run in sorted(waiting, key=lambda run: run.id):
        owner = records.owner(run.path).id
        turns[owner] += 1
        place[run] = turns[owner]
    return sorted(place, key=lambda run: place[run])  # stable: the older run first


def spawn_worker(run: Run) -> None:
    """Start the worker of `run` and wait for its first status. Raises RunError if it does not start."""
    file = run.path / "status.json"
    before = machine.stamp(file)
    with os_errors_as(RunError, f"The worker of run {run.id} cannot be started", "make its folder writable and resume"):
        worker = detached([RUN_WORKER, str(run.path.resolve())], run.path / "worker.log")
    wait_until(lambda: machine.stamp(file) != before or worker.poll() is not None, runs.START_SECONDS)
    if machine.stamp(file) == before:
        raise RunError(f"The worker of run {run.id} did not start; its output is in {run.path / 'worker.log'}.")


def module_command(module_and_arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a module of this program from any working directory."""
    return [sys.executable, "-c", _RUN_MODULE, str(machine.app_dir()), *module_and_arguments]


def detached(
    module_and_arguments: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a module as a process in a new session, which outlives the page and the server.

    `variables` is added to its environment; `log` receives its output. Raises OSError if `log` cannot be written.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            module_command(module_and_arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=worker_environment(variables),
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # avoids a zombie process
    return process


def worker_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker: the runs folder, TensorFlow's settings and `variables`."""
    environment = {**os.environ, "CIFAR_RUNS_DIR": str(runs.runs_dir().resolve())}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    environment.setdefault("GLIBC_TUNABLES", _ALLOCATOR)
    return environment | dict(variables or {})


def program(work: Callable[..., object]) -> Callable[..., int]:
    """Decorate the work of a process: return its exit code, and print an error that a user can fix."""

    @functools.wraps(work)
    def main(*arguments: Any) -> int:
        try:
            work(*arguments)
        except CifarError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return main


def stop_on_signals(stopping: threading.Event) -> None:
    """Set `stopping` when the process receives SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())


def this_process() -> dict[str, float]:
    """Return the record of this process for `end_process`: its id, its start and the system's start by the clock."""
    process = psutil.Process()
    return {"pid": process.pid, "pid_created": process.create_time(), "booted": psutil.boot_time()}


def end_process(record: Mapping[str, Any], module: str, how: Callable[[psutil.Process], None]) -> None:
    """Call `how` on the process whose `this_process` is `record`, if it still exists and runs `module`."""
    with contextlib.suppress(psutil.Error, TypeError, ValueError, LookupError):
        process, booted = psutil.Process(int(record["pid"])), psutil.boot_time()
        # both times change with the clock, their difference does not
        then = float(record["pid_created"]) - float(record.get("booted", booted))
        if (
            abs(process.create_time() - booted - then) < 1
            and module in process.cmdline()
            and process.pid != os.getpid()
        ):
            how(process)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait at most `seconds` until `condition` is true; return whether it is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
