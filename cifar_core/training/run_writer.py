"""The files of a training in its run's folder: status.json, metrics.jsonl, probes.jsonl and the checkpoint.

The checkpoint is one file with everything that a resume needs, replaced atomically once per epoch:

checkpoint.npz
  model/<i>      every variable of the network, including the dropout seed generators
  optimizer/<i>  every variable of the optimizer
  best/<name>    the weights of the best epoch so far
  state          JSON: phase, epoch, best value, callbacks' state, rows of metrics and probes, seconds
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_core import jobs, machine, untrusted
from cifar_core.errors import RunError
from cifar_core.inference import pins
from cifar_core.network.pretrained import Named
from cifar_core.runs import Run, write_json

if TYPE_CHECKING:
    import keras


ROWS_A_SECOND = 10
ShouldPrune = Callable[[int, float], bool]
"""Whether a trial ends after the epoch (counted from 1 over both phases) with this validation accuracy."""


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, a file of a run, atomically. Raises OSError."""
    with machine.replacing(path, one_writer=True) as temporary:
        temporary.write_bytes(content)


class RunWriter:
    """Writes the files of one run during its training. Setting `stopping` or creating the file "stop" ends it.

    `rows` and `probes` hold all rows written so far, including those before a resume.
    """

    def __init__(self, run: Run, stopping: threading.Event | None = None) -> None:
        self.run, self.stopping = run, stopping or threading.Event()
        self.rows: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self._seconds_before, self._start, self._last_row = 0.0, time.monotonic(), 0.0
        self._stage_start = 0.0
        self._one_row = threading.Lock()
        self._metrics_file, self._probes_file = run.path / "metrics.jsonl", run.path / pins.PROBES
        self._status: dict[str, Any] = {**jobs.this_process(), "started": time.time()}

    @property
    def seconds(self) -> float:
        """Seconds of work since the start of the run, including the time before a resume."""
        return self._seconds_before + time.monotonic() - self._start

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier process did a part of the run's work."""
        return self._seconds_before > 0

    @property
    def epochs(self) -> int:
        """Number of full epochs, over both phases."""
        return sum(row["kind"] == "epoch" for row in self.rows)

    def restart(self, rows: list[dict[str, Any]], probes: list[dict[str, Any]], seconds: float) -> None:
        """Count time from `seconds`, and replace the content of the metrics and probes files by these rows."""
        self._seconds_before, self._start = seconds, time.monotonic()
        self.rows, self.probes = list(rows), list(probes)
        for path, content in ((self._metrics_file, rows), (self._probes_file, probes)):
            write_whole(path, "".join(json.dumps(row) + "\n" for row in content).encode())

    def update_status(self, state: str, **more: Any) -> None:
        """Write status.json: `state` and further keys (`stage`, `message`, `error`, `result`)."""
        self._status |= {"state": state, "updated": time.time(), **more}
        write_json(self.run.path / "status.json", self._status)

    def fail(self, error: BaseException, message: str) -> None:
        """Write that the run failed with `error`; on a full disk, overwrite the previous status in place."""
        try:
            self.update_status("failed", error={"type": type(error).__name__, "message": message})
        except OSError:
            with suppress(OSError), (self.run.path / "status.json").open("r+", encoding="utf-8") as file:
                json.dump(self._status, file)
                file.truncate()

    def add_row(self, kind: str, **values: Any) -> None:
        """Append one row to the metrics file and flush it."""
        with self._one_row, self._metrics_file.open("a", encoding="utf-8") as file:
            self.rows.append({"kind": kind, **values, "elapsed_seconds": round(self.seconds, 3)})
            file.write(json.dumps(self.rows[-1]) + "\n")

    def add_probe(self, **values: Any) -> None:
        """Append one row to the probes file and flush it."""
        self.probes.append(values)
        with self._probes_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def is_time_for_a_row(self) -> bool:
        """Return True at most ROWS_A_SECOND times per second."""
        now = time.monotonic()
        if now - self._last_row < 1 / ROWS_A_SECOND:
            return False
        self._last_row = now
        return True

    def progress(self, stage: str, done: int, total: int) -> None:
        """Write the progress of `stage`, which begins with 0 done. Raises Stopped."""
        self.check_stop()
        if done == 0:
            self._stage_start = self.seconds
        if done in (0, total) or self.is_time_for_a_row():
            left = (self.seconds - self._stage_start) / done * (total - done) if done else None
            self.add_row("progress", stage=stage, done=done, total=total, seconds_left=left)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether a stop was requested."""
        return self.stopping.is_set() or (self.run.path / "stop").exists()

    def check_stop(self) -> None:
        """Raise Stopped if a stop was requested."""
        if self.is_asked_to_stop:
            raise jobs.Stopped


@dataclass
class Progress:
    """The progress of a training: `epoch` full epochs of `phase` are done (counted from 0 in each phase).

    `pruned`: whether a sweep ended the training.
    """

    phase: str
    epoch: int = 0
    phase_done: bool = False
    best_accuracy: float = -1.0
    best_phase: str = ""
    best_epoch: int = 0
    elapsed_seconds: float = 0.0
    pruned: bool = False
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)

    def at_start_of(self, phase: str) -> Progress:
        """Return the progress at the start of `phase`, with the best epoch so far."""
        return Progress(phase, 0, False, self.best_accuracy, self.best_phase, self.best_epoch)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint loaded from disk; `model` and `optimizer` are the values of all variables, see `restore`."""

    progress: Progress
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: dict[str, np.ndarray]


def save_checkpoint(path: Path, progress: Progress, network: keras.Model, optimizer: Any, best: Named) -> None:
    """Write the checkpoint to `path`; replace the previous one only after the new one is complete."""
    values: dict[str, Any] = {f"model/{i}": v.numpy() for i, v in enumerate(network.variables)}
    values |= {f"optimizer/{i}": v.numpy() for i, v in enumerate(optimizer.variables)}
    values |= {f"best/{name}": value for name, value in best.items()}
    values["state"] = np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8)
    with machine.replacing(path, one_writer=True) as temporary, temporary.open("wb") as file:
        np.savez(file, **values)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint in `path`, or None if there is none. Raises RunError if it is damaged."""
    if not path.exists():
        return None
    try:
        arrays = untrusted.load_arrays(path)
        state = json.loads(arrays["state"].tobytes())
        return Checkpoint(
            Progress(**state), _numbered(arrays, "model"), _numbered(arrays, "optimizer"), _below(arrays, "best")
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(
            f"{path.name} is damaged ({type(error).__name__}: {error}); the run cannot resume from it, start it again."
        ) from None


def restore(variables: list[Any], values: list[np.ndarray]) -> None:
    """Set all `variables` of a network, including seed generators, or of an optimizer built for the same phase.

    Raises RunError if shapes differ.
    """
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunError(
            f"checkpoint.npz has {len(values)} arrays of another network, expected the {len(variables)} of this run's "
            "configuration; restore the files, or start it again."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _below(arrays: dict[str, np.ndarray], folder: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(folder + "/"): value for name, value in arrays.items() if name.startswith(folder + "/")}


def _numbered(arrays: dict[str, np.ndarray], folder: str) -> list[np.ndarray]:
    arrays = _below(arrays, folder)
    return [arrays[str(i)] for i in range(len(arrays))]
