"""Files of arrays (.npz) in a run directory. A run may be a stranger's copy: a file is sound, or one kind of error."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

_MALFORMED = (
    LookupError,
    TypeError,
    EOFError,
    MemoryError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)  # what NumPy raises beside ValueError, found by the tests' mutations

_KINDS = "biufU"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that NumPy writes; others have exceptions of their own


def load(path: Path, most_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Return all arrays in `path` by name; no pickle is read.

    Raises OSError if the file cannot be read, ValueError if it is damaged or unpacks to more than `most_bytes`.
    """
    try:
        with path.open("rb") as content:
            with zipfile.ZipFile(content) as archive:  # before NumPy makes room for whatever its headers promise
                if any(info.compress_type not in _PACKED for info in archive.infolist()):
                    raise ValueError("it is packed by a rare method")
                if most_bytes is not None and sum(info.file_size for info in archive.infolist()) > most_bytes:
                    raise ValueError("it unpacks to too much")
            content.seek(0)
            with np.load(content, allow_pickle=False) as file:
                found = {name: np.asarray(file[name]) for name in file.files}
    except _MALFORMED as error:
        raise ValueError(str(error)[:200] or type(error).__name__) from error
    for name, array in found.items():
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"{name[:60]} holds neither numbers nor text")
    return found
