"""The official CIFAR-10 files: six batches, as folders or as archives.

Both versions, binary and Python, are read as records of the binary version: a label byte, then a red, a green and a
blue plane of 32x32 pixels (https://www.cs.toronto.edu/~kriz/cifar.html). The files are untrusted input: archives and
Python batches (pickles) are opened only if they have their published MD5 sums. The sizes and labels of binary batches
are checked.
"""

import hashlib
import pickle
import tarfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from cifar_core.data.download import md5_of
from cifar_core.errors import DataError, os_errors_as

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
_READ_LIMIT = 32 << 20  # bytes of a batch; the official ones have 30.73 and 31.04 million
ARCHIVE_MD5 = {BINARY_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530", PYTHON_ARCHIVE: "c58f30108f718f92721af3b95e74349a"}

NEXT_STEP = (
    "point CIFAR10_DIR to a sound copy of the official archive or of the folder in it, or leave it unset and run "
    "'python -m cifar_core data download'"
)

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training images uint8 (n, 32, 32, 3) and labels uint8 (n,), then test images and labels."""


def find(place: Path) -> list[Path]:
    """Return the archive, or the six files of a folder, at or in `place`; [] if there is neither. Raises OSError.

    Some of the six may be missing.
    """
    if place.is_file():
        return [place]
    for folder in (place, place / BINARY_FOLDER, place / PYTHON_FOLDER):
        for ending in (".bin", ""):
            files = [folder / f"{batch}{ending}" for batch in BATCHES]
            if any(file.exists() for file in files):
                return files
    return [place / name for name in (BINARY_ARCHIVE, PYTHON_ARCHIVE) if (place / name).is_file()][:1]


def read(files: Iterable[Path]) -> Iterator[np.ndarray]:
    """Yield the six batches of an unpacked version as records, uint8 (10000, 3073) each, in the order of BATCHES.

    Raises DataError if a file is missing or damaged, or a Python batch differs from the official one.
    """
    for path in files:
        with os_errors_as(DataError, f"{path} cannot be read", NEXT_STEP):
            if not path.is_file():  # reading a pipe might never end
                raise DataError(f"{path} is missing: expected all six batches of CIFAR-10 beside it; {NEXT_STEP}.")
            with path.open("rb") as file:
                content = file.read(_READ_LIMIT)
        yield parse(content, path.name, str(path))


def read_archive(path: Path) -> list[np.ndarray]:
    """Return the six batches of an official `.tar.gz` as records, uint8 (10000, 3073) each.

    Peak memory is 450 MB (binary) or 550 MB (Python). The file may have any name. Raises DataError if it differs from
    both official archives.
    """
    contents: dict[str, bytes] = {}
    with os_errors_as(DataError, f"{path} cannot be read", NEXT_STEP):
        received = md5_of(path)
        if received not in ARCHIVE_MD5.values():
            expected = " or ".join(ARCHIVE_MD5.values())
            raise DataError(
                f"{path} is not an official archive of CIFAR-10: MD5 {received}, expected {expected}. If you packed "
                f"it yourself, unpack it and point CIFAR10_DIR to the folder; or {NEXT_STEP}."
            )
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if file := archive.extractfile(member):
                    contents[PurePosixPath(member.name).name] = file.read()
    names = [batch if batch in contents else f"{batch}.bin" for batch in BATCHES]
    return [parse(contents[name], name, f"{path}: {name}") for name in names]


def parse(content: bytes, name: str, where: str) -> np.ndarray:
    """Return a batch as records, uint8 (10000, 3073). Its file `name` tells the version. Raises DataError."""
    if not name.endswith(".bin"):
        content = _unpickled(content, name, where)
    size = IMAGES_PER_BATCH * RECORD_BYTES
    if len(content) != size:
        raise DataError(f"{where} is not a batch of CIFAR-10: {len(content):,} bytes, expected {size:,}; {NEXT_STEP}.")
    records = np.frombuffer(content, np.uint8).reshape(IMAGES_PER_BATCH, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] > 9)
    if wrong.size:
        raise DataError(
            f"{where} is damaged: record {wrong[0]} has label {records[wrong[0], 0]}, expected 0 to 9; {NEXT_STEP}."
        )
    return records


def _unpickled(content: bytes, batch: str, where: str) -> bytes:
    """Return a batch of the Python version in the format of the binary version."""
    received = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if received != PYTHON_MD5[batch]:
        raise DataError(
            f"{where} is not the official file: MD5 {received}, expected {PYTHON_MD5[batch]}. Python batches are "
            f"pickles, which could run any code, so no others are read; {NEXT_STEP}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file refers to NumPy modules of 2009
        fields = pickle.loads(content, encoding="bytes")
    return np.column_stack([np.array(fields[b"labels"], np.uint8), fields[b"data"]]).tobytes()


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
    """Write six batches of records into `folder` in the binary version's format. Raises OSError."""
    for batch, records in zip(BATCHES, batches, strict=True):
        records.tofile(folder / f"{batch}.bin")
