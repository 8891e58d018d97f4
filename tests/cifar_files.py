"""Small files in the forms of the official ones, for the tests of the reader and of the data."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cifar_core.data import batch_files

IMAGES = 20  # in each of the six small batches


def small_batches(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Make the reader expect batches of IMAGES records, and return six of them, every class equally often.

    Archives that `write_archive` makes stand for the official ones.
    """
    monkeypatch.setattr(batch_files, "ARCHIVE_MD5", {})
    monkeypatch.setattr(batch_files, "IMAGES_PER_BATCH", IMAGES)
    records = np.random.default_rng(5).integers(0, 256, (6, IMAGES, batch_files.RECORD_BYTES), np.uint8)
    records[:, :, 0] = np.arange(IMAGES) % 10
    return list(records)


def binary_files(records: list[np.ndarray]) -> dict[str, bytes]:
    folder = batch_files.BINARY_FOLDER
    files = {f"{folder}/{batch}.bin": part.tobytes() for batch, part in zip(batch_files.BATCHES, records, strict=True)}
    return files | {f"{folder}/readme.html": b"<html>"}


def python_files(records: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return Python batches, whose MD5 sums stand for the published ones."""
    files = {
        batch: pickled({b"data": np.ascontiguousarray(part[:, 1:]), b"labels": part[:, 0].tolist()})
        for batch, part in zip(batch_files.BATCHES, records, strict=True)
    }
    monkeypatch.setattr(
        batch_files, "PYTHON_MD5", {batch: hashlib.md5(content).hexdigest() for batch, content in files.items()}
    )
    return {f"{batch_files.PYTHON_FOLDER}/{batch}": content for batch, content in files.items()}


def pickled(value: object) -> bytes:
    """Return `value` as the official files name NumPy's function, whatever NumPy calls it today."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def write_files(files: dict[str, bytes], place: Path) -> None:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def write_archive(files: dict[str, bytes], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    name = batch_files.BINARY_ARCHIVE if any(".bin" in name for name in files) else batch_files.PYTHON_ARCHIVE
    batch_files.ARCHIVE_MD5[name] = hashlib.md5(path.read_bytes()).hexdigest()
    return path
