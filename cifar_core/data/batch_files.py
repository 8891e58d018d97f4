"""The official CIFAR-10 files, read with suspicion: six batches, as folders or as archives.

Both versions, binary and Python, become records as the binary one has them: a label byte, then a red, a green
and a blue plane of 32x32 pixels (https://www.cs.toronto.edu/~kriz/cifar.html). A file may come from a stranger, so
sizes and labels are checked, nothing is unpacked by a path that an archive names, and no pickle is executed:
Python batches must have their published MD5 sums, and are read without importing anything.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from cifar_core.errors import DataError

IMAGES_PER_BATCH = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
BINARY_FOLDER, PYTHON_FOLDER = "cifar-10-batches-bin", "cifar-10-batches-py"
BINARY_ARCHIVE, PYTHON_ARCHIVE = "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"
PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
PYTHON_BATCH_LIMIT = 32 << 20  # bytes; the official ones have 31.04 million
ARCHIVE_LIMIT = 256 << 20  # bytes unpacked; the official archives have 184 and 186 million
MEMBER_LIMIT = 100  # the official archives have 9

NEXT_STEP = (
    "Point CIFAR10_DIR to a sound copy of the official archive or of the folder in it, or leave it unset and run "
    "`python -m cifar_core data download`."
)

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training images uint8 (n, 32, 32, 3) and labels uint8 (n,), then the same of the test set."""


def read_binary_folder(folder: Path) -> Iterator[np.ndarray]:
    """Yield the six batches of the unpacked binary version, uint8 (10000, 3073) each, in the order of BATCHES.

    Raises DataError if a file is missing, has another size or holds a label above 9.
    """
    size = IMAGES_PER_BATCH * RECORD_BYTES
    for batch in BATCHES:
        path = folder / f"{batch}.bin"
        yield parse_binary(_read(path, size), str(path))


def read_python_folder(folder: Path) -> Iterator[np.ndarray]:
    """Yield the six batches of the unpacked Python version as records, uint8 (10000, 3073) each.

    Raises DataError if a file is missing or is not byte for byte the official one.
    """
    for batch in BATCHES:
        yield parse_python(_read(folder / batch, PYTHON_BATCH_LIMIT), batch, str(folder / batch))


def read_archive(path: Path) -> list[np.ndarray]:
    """Return the six batches of a `.tar.gz` of either version as records, uint8 (10000, 3073) each.

    The process peaks at 450 MB (binary) or 550 MB (Python). Raises DataError if the archive is damaged, unpacks to
    more than 256 MiB, holds anything but plain files and folders inside itself, or lacks a batch.
    """
    found: dict[str, np.ndarray] = {}
    try:
        with _Bounded(path) as unpacked:
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                for number, member in enumerate(archive):
                    _check_member(member, number, path)
                    _take(archive, member, found, path)
            while unpacked.read(1 << 20):  # to the end, where gzip compares its checksum
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read: {str(error) or type(error).__name__}. Expected an undamaged official archive. "
            + NEXT_STEP
        ) from error
    if missing := [batch for batch in BATCHES if batch not in found]:
        raise DataError(
            f"{path} is not the official archive: {', '.join(missing)} missing. Expected six batches in a folder "
            f"{BINARY_FOLDER} or {PYTHON_FOLDER}. " + NEXT_STEP
        )
    return [found[batch] for batch in BATCHES]


def parse_binary(content: bytes, where: str) -> np.ndarray:
    """Return a batch of the binary version as records, uint8 (10000, 3073). Raises DataError naming `where`."""
    size = IMAGES_PER_BATCH * RECORD_BYTES
    if len(content) != size:
        raise DataError(f"{where} is not a batch of CIFAR-10: {len(content):,} bytes, expected {size:,}. " + NEXT_STEP)
    records = np.frombuffer(content, np.uint8).reshape(IMAGES_PER_BATCH, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] > 9)
    if wrong.size:
        raise DataError(
            f"{where} is damaged: record {wrong[0]} has label {records[wrong[0], 0]}, expected 0 to 9. " + NEXT_STEP
        )
    return records


def parse_python(content: bytes, batch: str, where: str) -> np.ndarray:
    """Return a batch of the Python version as records, uint8 (10000, 3073). Raises DataError naming `where`."""
    received = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if received != PYTHON_MD5[batch]:
        raise DataError(
            f"{where} is not the official file: MD5 {received}, expected {PYTHON_MD5[batch]}. Python batches are "
            "pickles, which could run anybody's code, so no others are read. " + NEXT_STEP
        )
    try:
        fields = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        pixels = np.frombuffer(fields[b"data"].state[4], np.uint8).reshape(IMAGES_PER_BATCH, RECORD_BYTES - 1)
        labels = np.array(fields[b"labels"], np.uint8).reshape(IMAGES_PER_BATCH, 1)
    except Exception as error:  # a pickle that is not what it should be can raise anything
        raise DataError(f"{where} is not a batch of CIFAR-10: {error}. " + NEXT_STEP) from error
    return parse_binary(np.hstack([labels, pixels]).tobytes(), where)


def to_arrays(batches: Iterable[np.ndarray]) -> Arrays:
    """Return images and labels of six batches of records, in the order of BATCHES."""
    images = np.empty((len(BATCHES) * IMAGES_PER_BATCH, 32, 32, 3), np.uint8)
    labels = np.empty(len(images), np.uint8)
    for number, records in enumerate(batches):
        part = slice(number * IMAGES_PER_BATCH, (number + 1) * IMAGES_PER_BATCH)
        labels[part] = records[:, 0]
        pixels = images[part].reshape(IMAGES_PER_BATCH, 1024, 3)
        for channel in range(3):  # three times faster than one transposed copy
            pixels[:, :, channel] = records[:, 1 + 1024 * channel : 1025 + 1024 * channel]
    test = len(images) - IMAGES_PER_BATCH
    return images[:test], labels[:test], images[test:], labels[test:]


def write_binary_folder(batches: Iterable[np.ndarray], folder: Path) -> None:
    """Write six batches of records into `folder` as the binary version has them. Raises OSError."""
    for batch, records in zip(BATCHES, batches, strict=True):
        records.tofile(folder / f"{batch}.bin")


def _read(path: Path, limit: int) -> bytes:
    """Return the bytes of `path`, one more than `limit` at most."""
    try:
        if not path.is_file():  # a pipe would be waited for forever
            raise DataError(f"{path} is missing: expected all six batches of CIFAR-10 beside it. " + NEXT_STEP)
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. " + NEXT_STEP) from error


class _Bounded(gzip.GzipFile):
    """Refuses to give more than ARCHIVE_LIMIT bytes: a few kilobytes can unpack to any size."""

    left = ARCHIVE_LIMIT

    def read(self, size: int | None = -1) -> bytes:
        most = self.left + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        self.left -= len(content)
        if self.left < 0:
            raise DataError(
                f"{self.name} is not the official archive: it unpacks to more than {ARCHIVE_LIMIT:,} bytes. "
                + NEXT_STEP
            )
        return content


def _check_member(member: tarfile.TarInfo, number: int, path: Path) -> None:
    """Raise DataError for anything that the official archives have no need of."""
    inside = PurePosixPath(member.name)
    plain = member.isdir() or (member.isreg() and not member.issparse())
    if number >= MEMBER_LIMIT or inside.is_absolute() or ".." in inside.parts or not plain:
        raise DataError(
            f"{path} is refused: its member {number + 1}, {member.name[:100]!r}, is not one of a few plain files in "
            "one folder, as the official archives have them. " + NEXT_STEP
        )


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, found: dict[str, np.ndarray], path: Path) -> None:
    """Add `member` to `found` if it is a batch."""
    inside = PurePosixPath(member.name)
    folder, name = inside.parent.name, inside.name
    batch = name.removesuffix(".bin") if folder == BINARY_FOLDER else name
    if folder not in (BINARY_FOLDER, PYTHON_FOLDER) or batch not in BATCHES or not member.isreg():
        return
    where = f"{path}: {member.name}"
    limit = IMAGES_PER_BATCH * RECORD_BYTES if folder == BINARY_FOLDER else PYTHON_BATCH_LIMIT
    if batch in found or member.size > limit:
        raise DataError(
            f"{where} is there twice or has {member.size:,} bytes, expected once and {limit:,} at most. " + NEXT_STEP
        )
    file = archive.extractfile(member)
    content = file.read() if file else b""
    found[batch] = parse_binary(content, where) if folder == BINARY_FOLDER else parse_python(content, batch, where)


class _Inert:
    """Stands for each NumPy name in a batch: keeps the state it is given and does nothing with it."""

    def __init__(self, *_: object) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Reads the official batches, whose only names are the three that rebuild an array; imports nothing."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }:
            return _Inert
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
