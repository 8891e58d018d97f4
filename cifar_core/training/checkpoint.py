"""The checkpoint: one file, replaced atomically once an epoch, that holds everything a resume needs.

checkpoint.npz
  model/<i>      every variable of the network, the seed generators of dropout among them
  optimizer/<i>  every variable of the optimizer
  best/<name>    the weights of the best epoch so far
  state          JSON: phase, epoch, best value, callbacks' state, rows of metrics and probes, seconds
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_core import machine, untrusted
from cifar_core.errors import RunError
from cifar_core.network.pretrained import Named

if TYPE_CHECKING:
    import keras


@dataclass
class Progress:
    """How far a training is: `epoch` full epochs of `phase` are done (counted from 0 in each phase).

    `pruned` is whether a sweep ended the training there.
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
    """A checkpoint as read from the disk."""

    progress: Progress
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: dict[str, np.ndarray]

    def restore_network(self, network: keras.Model) -> None:
        """Set all variables of `network`, the seed generators among them. Raises RunError if they are another's."""
        _assign(network.variables, self.model)

    def restore_optimizer(self, optimizer: Any) -> None:
        """Set the variables of `optimizer`, which is built for the checkpoint's phase. Raises RunError."""
        _assign(optimizer.variables, self.optimizer)


def save(path: Path, progress: Progress, network: keras.Model, optimizer: Any, best: Named) -> None:
    """Write the checkpoint to `path`, replacing the one before only when the new one is whole."""
    values: dict[str, Any] = {f"model/{i}": v.numpy() for i, v in enumerate(network.variables)}
    values |= {f"optimizer/{i}": v.numpy() for i, v in enumerate(optimizer.variables)}
    values |= {f"best/{name}": value for name, value in best.items()}
    values["state"] = np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8)
    temporary = path.with_name(f".{path.name}")  # always the same, so that killed workers leave one at most
    try:
        with temporary.open("wb") as file:
            np.savez(file, **values)
            file.flush()
            os.fsync(file.fileno())
        machine.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # leaves room for the status on a full disk
        raise


def load(path: Path) -> Checkpoint | None:
    """Return the checkpoint in `path`, None where there is none. Raises RunError if it is damaged."""
    if not path.exists():
        return None
    try:
        found = untrusted.load_arrays(path)
        state = json.loads(found["state"].tobytes())
        return Checkpoint(
            Progress(**state), _numbered(found, "model"), _numbered(found, "optimizer"), _below(found, "best")
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(
            f"{path.name} is damaged ({type(error).__name__}: {error}); the run cannot go on from it, start it again."
        ) from None


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunError(
            f"checkpoint.npz has {len(values)} arrays of another network, expected the {len(variables)} of this run's "
            "configuration; put the run's own files back, or start it again."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _below(found: dict[str, np.ndarray], folder: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(folder + "/"): value for name, value in found.items() if name.startswith(folder + "/")}


def _numbered(found: dict[str, np.ndarray], folder: str) -> list[np.ndarray]:
    found = _below(found, folder)
    return [found[str(i)] for i in range(len(found))]
