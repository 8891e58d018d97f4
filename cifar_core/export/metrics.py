"""Export the metrics of a run as CSV, JSON and TensorBoard event files.

The event files are written without `tf.summary`, which requires the package tensorboard; TensorFlow no longer installs
it.
"""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

from cifar_core import runs
from cifar_core.runs import Run, curves, records
from cifar_core.untrusted import csv_text

_COLUMNS = (
    "kind", "phase", "epoch", "step", "steps", "loss", "cross_entropy", "accuracy", "validation_loss",
    "validation_cross_entropy", "validation_accuracy", "learning_rate", "images_per_second", "elapsed_seconds",
)  # fmt: skip
_TRAINING = ("loss", "cross_entropy", "accuracy", "learning_rate", "images_per_second")
_VALIDATION = ("loss", "cross_entropy", "accuracy")
_CASTAGNOLI = 0x82F63B78  # CRC-32C, reversed


def to_csv(run: Run) -> bytes:
    """Return one line for each step and epoch; missing values are empty."""
    return csv_text([_COLUMNS, *([row.get(name) for name in _COLUMNS] for row in _rows(run))]).encode()


def to_json(run: Run) -> bytes:
    """Return ID, configuration, result, environment and rows as one JSON object.

    Raises RunError if config.json or environment.json is damaged.
    """
    records.environment(run.path)
    values = {
        "id": run.id,
        "config": run.config.to_dict(),
        "result": run.result,
        "environment": runs.load_json(run.path / "environment.json") or {},
        "rows": _rows(run),
    }
    return json.dumps(records.sanitized(values), indent=1).encode()  # NaN is not JSON


def to_tensorboard(run: Run) -> bytes:
    """Return a zip with event files for training and validation; equal names share a chart in TensorBoard."""
    start = float(run.status.get("started", 0))
    training, validation = _events(_rows(run), start)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, events in (("training", training), ("validation", validation)):
            content = _record(_double(1, start) + _bytes(3, b"brain.Event:2")) + b"".join(events)
            archive.writestr(f"{run.id}/{folder}/events.out.tfevents.{start:.0f}.cifar-studio", content)
    return packed.getvalue()


def _rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in curves.sound_rows(run.metrics()) if row["kind"] in ("step", "epoch")]


def _events(rows: list[dict[str, Any]], start: float) -> tuple[list[bytes], list[bytes]]:
    """Return the events of training (step rows) and validation (epoch rows), by steps since the start."""
    steps = {row["phase"]: row["steps"] for row in rows if row["kind"] == "step"}
    head = max((row["epoch"] for row in rows if row["phase"] == "head"), default=0)
    before = {"head": 0, "fine_tune": head * steps.get("head", 0)}
    training, validation, seconds = list[bytes](), list[bytes](), 0.0
    for row in rows:
        phase, seconds = row["phase"], row.get("elapsed_seconds") or seconds  # imported rows may lack it
        if row["kind"] == "step":
            step = before[phase] + (row["epoch"] - 1) * row["steps"] + row["step"]
            training.append(_event(start + seconds, step, {name: row.get(name) for name in _TRAINING}))
        else:
            step = before[phase] + row["epoch"] * steps.get(phase, 0)
            values = {name: row.get(f"validation_{name}") for name in _VALIDATION}
            validation.append(_event(start + seconds, step, values))
    return training, validation


def _event(seconds: float, step: int, values: Mapping[str, float | None]) -> bytes:
    """Return an Event message (tensorflow/core/util/event.proto) as a TFRecord, without None values."""
    known = ((name, value) for name, value in values.items() if value is not None)
    summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in known)
    return _record(_double(1, seconds) + _integer(2, step) + _bytes(5, summary))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _masked_crc(length)) + content + struct.pack("<I", _masked_crc(content))


def _masked_crc(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_TABLE = [_crc_of_byte(byte) for byte in range(256)]


# Protocol buffer fields: number << 3 | type, then the value.
def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])
