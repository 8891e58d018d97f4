"""Run archives: export a finished run as a zip, and import it.

    run.json          kind, schema, id
    config.json  status.json  environment.json  metrics.jsonl  summary.txt  evaluation.npz  model.tflite  best.keras
    calibration.json  neighbours.npz    out-of-distribution rule, index of training images; not in older archives
    figures.html      the learning curves, for any browser

An archive is untrusted input that contains weights but no code. Only the file names of an archive are accepted, and
they are never used as paths. Sizes are counted while unpacking. JSON is parsed into known fields and written again. The
metrics must follow from the predictions, to which the temperature is fitted again. Except for the weights, model.tflite
must equal the file that this program writes for the configuration. best.keras is read only for its weights, never its
configuration (see training/export_worker.py). An import is written to a hidden folder that is renamed at the end.
"""

import io
import json
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from cifar_core import machine, runs, untrusted
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError, RunError, os_errors_as
from cifar_core.evaluation import predictions
from cifar_core.export import report
from cifar_core.inference import calibration, model_file, neighbors
from cifar_core.runs import Run, curves, records, trash
from cifar_core.untrusted import quoted, shown_name

KIND, SCHEMA = "cifar-studio-run", 1
MANIFEST, FIGURES = "run.json", "figures.html"
_STORED = (".npz", ".keras")  # already compressed
MAX_ZIP_BYTES = 200 * 2**20
_MIB = 2**20
FILES = {  # maximum unpacked bytes; a model of the widest network has 20 MB
    "config.json": _MIB,
    "status.json": _MIB,
    "environment.json": _MIB,
    "metrics.jsonl": 32 * _MIB,
    "summary.txt": 4 * _MIB,
    "evaluation.npz": 32 * _MIB,
    "model.tflite": 64 * _MIB,
    "best.keras": 64 * _MIB,
}
EXTRAS = {calibration.FILE: _MIB, neighbors.FILE: 64 * _MIB}
_LIMITS = FILES | EXTRAS | {MANIFEST: _MIB, FIGURES: 32 * _MIB}
_MOST_TEXT, _MOST_ROWS = 500, 400_000
_SAME = 1e-6  # tolerance for metrics computed from the same predictions
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Number = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Text = Annotated[str, msgspec.Meta(max_length=_MOST_TEXT)]


class _Result(msgspec.Struct):
    """The metrics of a finished run."""

    validation_accuracy: records.Share
    test_accuracy: records.Share
    validation_images: _Count
    test_images: _Count
    best_epoch: _Count
    parameters: _Count
    validation_loss: _Number
    test_loss: _Number
    elapsed_seconds: _Number
    litert_max_difference: _Number
    best_phase: Literal["head", "fine_tune"]
    dataset: _Text
    weights: _Text
    linear_probe_accuracy: records.Share | msgspec.UnsetType = msgspec.UNSET


def missing(run: Run) -> str | None:
    """Return the first archive file that `run` lacks, or None."""
    return next((name for name in FILES if not (run.path / name).is_file()), None)


def pack(run: Run) -> bytes:
    """Return the finished `run` as a zip. Raises RunError if it lacks a file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps({"kind": KIND, "schema": SCHEMA, "id": run.id}, indent=1))
        for name in (*FILES, *(name for name in EXTRAS if (run.path / name).is_file())):
            with os_errors_as(RunError, f"Run {run.id} has no readable {name}", "train it again"):
                content = (run.path / name).read_bytes()
            method = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, method)
        archive.writestr(FIGURES, report.curves_page(run))
    return packed.getvalue()


def import_run(content: bytes) -> Run:
    """Import the run in the zip `content` and return it; it keeps its ID unless that is in use.

    Its status contains "imported": {"id", "time"}. Raises RunError if the archive is invalid or the run cannot be
    written.
    """
    trash.clear_unfinished()
    runs.check_disk()
    files = _unpacked(content)
    manifest = _object(files, MANIFEST)
    old_id = str(manifest.get("id"))
    if (manifest.get("kind"), manifest.get("schema")) != (KIND, SCHEMA) or not runs.ID_PATTERN.fullmatch(old_id):
        raise _refused(f"its {MANIFEST} is not one of schema {SCHEMA}, or has no id of a run")
    try:
        config = TrainConfig.from_dict(_object(files, "config.json"))
    except CifarError as error:
        raise _refused(str(error)) from None
    network = files[model_file.FILE]
    if not model_file.is_own(network, config) or not model_file.answers_with_probabilities(network):
        raise _refused("its model.tflite is not a network of its configuration, as this version writes it")
    advice = "free disk space, make it writable, or set CIFAR_RUNS_DIR"
    with os_errors_as(RunError, f"The run could not be written to {runs.runs_dir()}", advice):
        runs.runs_dir().mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=trash.IMPORTING, dir=runs.runs_dir()))
        try:
            _write(staging, files, config, old_id)
            _check_figures(Run(staging.name))
            _check_extras(Run(staging.name))
            return _placed(staging, old_id)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of the zip by name. Their names must be exactly those of an archive."""
    if len(content) > MAX_ZIP_BYTES:
        raise _refused(f"it has more than {MAX_ZIP_BYTES // _MIB} MiB")
    if content.count(b"PK\x01\x02") > 1_000:  # before zipfile creates an object for each entry
        raise _refused("it contains too many files")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [info.filename for info in archive.infolist()]
            if odd := next((name for name in names if name not in _LIMITS or names.count(name) > 1), None):
                raise _refused(f"it contains {quoted(odd)}, which is unexpected or duplicated")
            if missing := next((name for name in (MANIFEST, *FILES) if name not in names), None):
                raise _refused(f"it has no {missing}")
            return {info.filename: _member(archive, info) for info in archive.infolist()}
    except (*untrusted.MALFORMED_ZIP, OSError) as error:
        raise _refused(f"it is not a valid ZIP file ({shown_name(str(error)) or type(error).__name__})") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    limit = _LIMITS[info.filename]
    if not untrusted.is_ordinary(info):
        raise _refused(f"its {info.filename} is encrypted, or packed by an unsupported method")
    with archive.open(info) as member:
        content = member.read(limit + 1)
    if len(content) > limit:
        raise _refused(f"its {info.filename} unpacks to more than {limit // _MIB} MiB")
    return content


def _write(folder: Path, files: dict[str, bytes], config: TrainConfig, old_id: str) -> None:
    """Write the run's files, with JSON from the parsed values and without figures.html."""
    runs.write_json(folder / "config.json", config.to_dict())
    runs.write_json(folder / "environment.json", _plain(_object(files, "environment.json")))
    result = _result(_object(files, "status.json"), len(files["model.tflite"]))
    imported = {"id": old_id, "time": time.time()}
    status = {"state": "finished", "stage": "done", "result": result, "imported": imported}
    runs.write_json(folder / "status.json", status)
    rows = _sound_rows(files["metrics.jsonl"])
    (folder / "metrics.jsonl").write_text("".join(json.dumps(_plain(row)) + "\n" for row in rows), encoding="utf-8")
    (folder / "summary.txt").write_text(files["summary.txt"].decode("utf-8", "replace"), encoding="utf-8")
    for name in ("evaluation.npz", "model.tflite", "best.keras", *EXTRAS):
        if name in files:
            (folder / name).write_bytes(files[name])


def _result(status: dict[str, Any], model_bytes: int) -> dict[str, Any]:
    """Return the validated result of a finished run's status."""
    if status.get("state") != "finished":
        raise _refused("its run is not finished")
    try:
        result = msgspec.to_builtins(msgspec.convert(status.get("result"), _Result))
    except ValueError as error:  # msgspec.ValidationError, or invalid Unicode
        raise _refused(f"its figures are not those of a run ({error})") from None
    texts = {key: shown_name(result[key], _MOST_TEXT) for key in ("dataset", "weights")}
    return result | texts | {"model_bytes": model_bytes}


def _check_figures(run: Run) -> None:
    """Raise RunError unless the metrics of `run` follow from its predictions."""
    evaluation, result = predictions.load(run), run.result
    for name, stored in (("validation", evaluation.validation), ("test", evaluation.test)):
        same = (
            abs(stored.accuracy - result[f"{name}_accuracy"]) < _SAME
            and abs(stored.loss - result[f"{name}_loss"]) < 1e-3
            and len(stored.labels) == result[f"{name}_images"]
        )
        if not same:
            raise _refused(f"its {name} figures are not those of its predictions")


def _check_extras(run: Run) -> None:
    """Fit the temperature of `run` to its validation predictions; keep its rule. Raises RunError if one is damaged."""
    path = run.path / calibration.FILE
    for load, file in ((calibration.load, path), (neighbors.load, run.path / neighbors.FILE)):
        try:
            load(file)
        except RunError:
            raise _refused(f"its {file.name} is damaged") from None
    saved, validation = calibration.load(path), predictions.load(run).validation
    rule = saved.out_of_distribution if saved else None
    calibration.fit(validation.probabilities, validation.labels, rule).save(path)


def _placed(staging: Path, old_id: str) -> Run:
    """Rename the folder to the run's ID, or to a new ID with the same suffix if it is in use."""
    slug = old_id.rsplit("-", 1)[1]
    run = Run(old_id)
    while True:
        try:
            if not run.path.exists():
                staging.chmod(0o755)
                machine.replace(staging, run.path)
                return run
        except OSError:
            if not run.path.exists():
                raise
        run = Run(runs.new_id(slug))


def _plain(value: Any, depth: int = 3) -> Any:
    """Return JSON data reduced to short texts and numbers, with at most `depth` levels of objects and lists."""
    if isinstance(value, dict) and depth:
        return {shown_name(str(key)): _plain(item, depth - 1) for key, item in list(value.items())[:50]}
    if isinstance(value, list) and depth:
        return [_plain(item, depth - 1) for item in value[:50]]
    if isinstance(value, str):
        return shown_name(value, _MOST_TEXT) if value else ""
    return value if isinstance(value, bool | float) or records.is_number(value) else None


def _object(files: dict[str, bytes], name: str) -> dict[str, Any]:
    try:
        value = json.loads(files[name])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refused(f"its {name} is damaged")
    return value


def _sound_rows(content: bytes) -> list[dict[str, Any]]:
    if content.count(b"\n") > _MOST_ROWS:
        raise _refused("its metrics.jsonl has too many rows")
    try:
        rows = (json.loads(line) for line in io.BytesIO(content))
        return curves.sound_rows(row for row in rows if isinstance(row, dict))
    except (ValueError, RecursionError):
        raise _refused("its metrics.jsonl is damaged") from None


def _refused(reason: str) -> RunError:
    return RunError(
        f"This is not the archive of a run: {reason}. Expected a ZIP file that CIFAR Studio exported, unchanged; "
        "export the run again."
    )
