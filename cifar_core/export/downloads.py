"""What a person downloads: one file for each format, and its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cifar_core.errors import ConfigError, RunError
from cifar_core.export import archive, card, exports, metrics, script
from cifar_core.export.formats import FORMATS, MODELS
from cifar_core.runs import Run

_MADE: dict[str, Callable[[Run], bytes]] = {
    "notebook": lambda run: script.notebook(run).encode(),
    "script": lambda run: script.script(run).encode(),
    "zip": archive.pack,
    "card": card.card,
    "animation": card.animation,
    "csv": metrics.to_csv,
    "json": metrics.to_json,
    "tensorboard": metrics.to_tensorboard,
}


def check(run: Run, name: str) -> None:
    """Raise RunError unless `run` is finished, ConfigError unless `name` is a format."""
    if name not in FORMATS:
        raise ConfigError(f"Format: received {name[:60]!r}, expected one of {', '.join(FORMATS)}.")
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be exported.")


def content(run: Run, name: str) -> bytes:
    """Return the file of `run` in the format `name`; a model file must have been made before.

    Raises RunError if the run is not finished or is damaged, ConfigError on an unknown format.
    """
    check(run, name)
    if name not in MODELS:
        return _MADE[name](run)
    try:
        return exports.path(run, name).read_bytes()
    except OSError as error:
        raise RunError(f"{exports.path(run, name)} cannot be read ({error.strerror}); make it again.") from None


def file_name(run: Run, name: str) -> str:
    """Return a name for the file."""
    return f"{run.id}{FORMATS[name].suffix}"


def usage(run: Run, name: str) -> str:
    """Return Python code that classifies a photo with the model file `name` of `run`."""
    return MODELS[name].usage.replace("{file}", file_name(run, name))


def save(run: Run, name: str, path: Path | None) -> Path:
    """Write the file to `path`, by default under its own name in the current folder; return where it is.

    Raises RunError if it cannot be written, and as `content` does.
    """
    target = path or Path(file_name(run, name))
    if target.is_dir():
        target = target / file_name(run, name)
    packed = content(run, name)
    try:
        target.write_bytes(packed)
    except OSError as error:
        raise RunError(f"{target} cannot be written ({error.strerror}); name another place with --output.") from None
    return target
