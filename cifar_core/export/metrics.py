"""The metrics of a run for other tools: CSV, JSON, and the event files that TensorBoard reads."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cifar_core import runs
from cifar_core.runs import Run, curves, records

_COLUMNS = (
    "kind", "phase", "epoch", "step", "steps", "loss", "cross_entropy", "accuracy", "validation_loss",
    "validation_cross_entropy", "validation_accuracy", "learning_rate", "images_per_second", "elapsed_seconds",
)  # fmt: skip
# Column of the metrics -> name in TensorBoard, the same for both, so that it draws them into one chart.
_TRAINING = {
    "loss": "loss",
    "cross_entropy": "cross_entropy",
    "accuracy": "accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}
_VALIDATION = {
    "validation_loss": "loss",
    "validation_cross_entropy": "cross_entropy",
    "validation_accuracy": "accuracy",
}
_CASTAGNOLI = 0x82F63B78  # CRC-32C, reversed


def to_csv(run: Run) -> bytes:
    """Return a line for each step and epoch; what a line has no value for is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(run))
    return text.getvalue().encode()


def to_json(run: Run) -> bytes:
    """Return id, configuration, result, environment and rows as one JSON object.

    Raises RunError as `config` does, or if environment.json is damaged.
    """
    records.environment(run.path)
    found = {
        "id": run.id,
        "config": run.config.to_dict(),
        "result": run.result,
        "environment": runs.load_json(run.path / "environment.json") or {},
        "rows": _rows(run),
    }
    return json.dumps(found, indent=1).encode()


def to_tensorboard(run: Run) -> bytes:
    """Return a zip of two folders of event files, training and validation, below one of the run's name."""
    started = run.status.get("started")
    start = float(started) if isinstance(started, int | float) and math.isfinite(started) else 0.0
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, names in (("training", _TRAINING), ("validation", _VALIDATION)):
            file = f"{run.id}/{folder}/events.out.tfevents.{start:.0f}.cifar-studio"
            archive.writestr(file, b"".join(_records(_scalars(_rows(run), folder, names), start)))
    return packed.getvalue()


def _rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in curves.sound_rows(run.metrics()) if row["kind"] in ("step", "epoch")]


def _scalars(
    rows: list[dict[str, Any]], folder: str, names: Mapping[str, str]
) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Yield training step since the run's start, seconds since then, and values by name in TensorBoard."""
    steps = {row["phase"]: row["steps"] for row in rows if row["kind"] == "step"}
    done, phase, last_epoch, seconds = 0, "", 0, 0.0
    for row in rows:
        seconds = row.get("elapsed_seconds") or seconds  # a row of a stranger may have none
        if row["phase"] != phase:
            done, phase, last_epoch = done + last_epoch * steps.get(phase, 0), row["phase"], 0
        last_epoch, is_step = row["epoch"], row["kind"] == "step"
        step = done + (
            (row["epoch"] - 1) * row["steps"] + row["step"] if is_step else row["epoch"] * steps.get(phase, 0)
        )
        if is_step == (folder == "training"):
            yield step, seconds, {names[key]: row[key] for key in names if row.get(key) is not None}


def _records(scalars: Iterable[tuple[int, float, dict[str, float]]], start: float) -> Iterator[bytes]:
    """Yield TFRecords of Event messages (tensorflow/core/util/event.proto), the first of which names the version."""
    yield _record(_double(1, start) + _bytes(3, b"brain.Event:2"))
    for step, seconds, values in scalars:
        summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
        yield _record(_double(1, start + seconds) + _integer(2, step) + _bytes(5, summary))


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


# Fields of a protocol buffer message: number << 3 | type, then the value.
def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
