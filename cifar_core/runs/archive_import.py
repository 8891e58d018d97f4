"""A run archive becomes a run. It may be a stranger's, so nothing in it counts until it is checked.

Names are compared with the few that an archive has, never used as paths. Sizes are counted while unpacking. JSON is
read into what is expected and written anew. The figures must be those of the predictions, the network must be the
one that the configuration describes, operator by operator, and the Keras file may name Keras's layers only; it is
not loaded here. Everything happens in a hidden folder, which is renamed at the end.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import stat
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from cifar_core import runs, untrusted
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, RunError
from cifar_core.evaluation import predictions
from cifar_core.network import network_check
from cifar_core.runs import Run, leftovers, limits, metrics
from cifar_core.runs.archive import FIGURES, FILES, KIND, MANIFEST, SCHEMA
from cifar_core.untrusted import quoted, shown_name

MAX_ZIP_BYTES = 200 * 2**20
_MIB = 2**20
_LIMITS = {  # bytes unpacked; a model of the widest network has 20 MB
    MANIFEST: _MIB,
    "config.json": _MIB,
    "status.json": _MIB,
    "environment.json": _MIB,
    "metrics.jsonl": 32 * _MIB,
    "summary.txt": 4 * _MIB,
    "evaluation.npz": 32 * _MIB,
    "model.tflite": 64 * _MIB,
    "best.keras": 64 * _MIB,
    FIGURES: 32 * _MIB,
}
_MOST_TEXT = 500
_SAME = 1e-6  # figures of one and the same predictions


def read_archive(path: Path) -> bytes:
    """Return the bytes of a file that is not too large. Raises RunError."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a device or a pipe may never end
            raise RunError(f"{quoted(str(path))} is no plain file, expected the zip of a run; check the path.")
        if facts.st_size > MAX_ZIP_BYTES:
            raise _refused(f"it has more than {MAX_ZIP_BYTES // _MIB} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise RunError(f"{quoted(str(path))} cannot be read: {reason}; check the path.") from None


def import_run(content: bytes) -> Run:
    """Return the run in the zip `content`, now one of ours: under its old id, or a new one if that is taken.

    Its status says "imported": {"id", "time"}. Raises RunError if anything about the zip is not as it must be, or if
    the run cannot be written.
    """
    leftovers.clear()
    limits.check_disk(runs.runs_dir())
    files = _unpacked(content)
    manifest = _object(files, MANIFEST)
    old_id = manifest.get("id")
    if (manifest.get("kind"), manifest.get("schema")) != (KIND, SCHEMA) or not isinstance(old_id, str):
        raise _refused(f"its {MANIFEST} is not one of schema {SCHEMA}")
    if not runs.ID_PATTERN.fullmatch(old_id):
        raise _refused(f"{quoted(old_id)} is no id of a run")
    try:
        config = TrainConfig.from_dict(_object(files, "config.json"))
    except CifarError as error:
        raise _refused(str(error)) from None
    network_check.check_network(files["model.tflite"], config)
    network_check.check_keras_file(files["best.keras"])
    try:
        runs.runs_dir().mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=leftovers.IMPORT, dir=runs.runs_dir()))
    except OSError as error:
        raise RunError(f"Runs cannot be kept in {runs.runs_dir()} ({error.strerror}); set CIFAR_RUNS_DIR.") from None
    try:
        _write(staging, files, config, old_id)
        _check_figures(Run(staging.name))
        return _placed(staging, old_id)
    except OSError as error:
        raise RunError(f"The run could not be written: {error.strerror}; make room and try again.") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of the zip by name, those and only those that an archive has."""
    if len(content) > MAX_ZIP_BYTES:
        raise _refused(f"it has more than {MAX_ZIP_BYTES // _MIB} MiB")
    if content.count(b"PK\x01\x02") > 1_000:  # before zipfile makes an object for each
        raise _refused("it holds too many files")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [info.filename for info in archive.infolist()]
            if odd := next((name for name in names if name not in _LIMITS or names.count(name) > 1), None):
                raise _refused(f"it holds {quoted(odd)}, which an archive does not have, or has once")
            if missing := next((name for name in (MANIFEST, *FILES) if name not in names), None):
                raise _refused(f"it has no {missing}")
            return {info.filename: _member(archive, info) for info in archive.infolist()}
    except (*untrusted.MALFORMED_ZIP, OSError) as error:
        raise _refused(f"it is no sound zip ({shown_name(str(error)) or type(error).__name__})") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    limit = _LIMITS[info.filename]
    if not untrusted.is_ordinary(info):
        raise _refused(f"its {info.filename} is encrypted, or packed by a rare method")
    with archive.open(info) as member:
        found = member.read(limit + 1)
    if len(found) > limit:
        raise _refused(f"its {info.filename} unpacks to more than {limit // _MIB} MiB")
    return found


def _write(folder: Path, files: dict[str, bytes], config: TrainConfig, old_id: str) -> None:
    """Write the run: JSON from what was understood of it, figures.html not at all."""
    runs.write_json(folder / "config.json", config.to_dict())
    runs.write_json(folder / "environment.json", _tame(_object(files, "environment.json")))
    result = _result(_object(files, "status.json"), len(files["model.tflite"]))
    imported = {"id": old_id, "time": time.time()}
    runs.write_json(
        folder / "status.json", {"state": "finished", "stage": "done", "result": result, "imported": imported}
    )
    rows = metrics.sound_rows(_json_lines(files["metrics.jsonl"]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(_tame(row)) + "\n" for row in rows), encoding="utf-8")
    (folder / "summary.txt").write_text(files["summary.txt"].decode("utf-8", "replace"), encoding="utf-8")
    for name in ("evaluation.npz", "model.tflite", "best.keras"):
        (folder / name).write_bytes(files[name])


def _result(status: dict[str, Any], model_bytes: int) -> dict[str, Any]:
    """Return the figures of a finished run's status, each of its kind."""
    found = status.get("result")
    if status.get("state") != "finished" or not isinstance(found, dict):
        raise _refused("it is not of a finished run")
    shares = {f"{name}_accuracy" for name in ("validation", "test")}
    counts = {"validation_images", "test_images", "best_epoch", "parameters"}
    numbers = {"validation_loss", "test_loss", "elapsed_seconds", "litert_max_difference"}
    words = {"dataset", "weights"}
    sound = (
        all(_is_number(found.get(key)) and 0 <= found[key] <= 1 for key in shares)
        and all(type(found.get(key)) is int and 0 <= found[key] <= 10**9 for key in counts)
        and all(_is_number(found.get(key)) and 0 <= found[key] <= 1e9 for key in numbers)
        and all(isinstance(found.get(key), str) and len(found[key]) <= _MOST_TEXT for key in words)
        and found.get("best_phase") in list(metrics.PHASE_NAMES)  # a list among the keys would raise TypeError
    )
    if not sound:
        raise _refused("its figures are not those of a run")
    kept = {key: found[key] for key in (*shares, *counts, *numbers, "best_phase")}
    return kept | {key: shown_name(found[key], _MOST_TEXT) for key in words} | {"model_bytes": model_bytes}


def _check_figures(run: Run) -> None:
    """Raise RunError unless the figures of `run` follow from its predictions."""
    found, result = predictions.load(run), run.result
    for name, stored in (("validation", found.validation), ("test", found.test)):
        same = (
            abs(stored.accuracy - result[f"{name}_accuracy"]) < _SAME
            and abs(stored.loss - result[f"{name}_loss"]) < 1e-3
            and len(stored.labels) == result[f"{name}_images"]
        )
        if not same:
            raise _refused(f"its {name} figures are not those of its predictions")


def _placed(staging: Path, old_id: str) -> Run:
    """Move the folder to where its run belongs; a taken id gives way to a new one of the same name."""
    slug = old_id.rsplit("-", 1)[1]
    run = Run(old_id)
    while True:
        try:
            if not run.path.exists():
                staging.chmod(0o755)
                staging.rename(run.path)
                return run
        except OSError:
            if not run.path.exists():
                raise
        run = Run(runs.new_id(slug))


def _tame(value: Any, depth: int = 3) -> Any:
    """Return JSON data with nothing in it but short words, numbers and a little nesting."""
    if isinstance(value, dict) and depth:
        return {shown_name(str(key)): _tame(item, depth - 1) for key, item in list(value.items())[:50]}
    if isinstance(value, str):
        return shown_name(value, _MOST_TEXT) if value else ""
    return value if value is None or isinstance(value, bool) or _is_number(value) else None


def _object(files: dict[str, bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(files[name])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refused(f"its {name} is damaged")
    return found


def _json_lines(content: bytes) -> list[dict[str, Any]]:
    rows = []
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _refused("its metrics.jsonl is damaged") from None
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _refused(reason: str) -> RunError:
    return RunError(
        f"This is not the archive of a run: {reason}. Expected a zip that CIFAR Studio exported, unchanged; "
        "export the run again."
    )
