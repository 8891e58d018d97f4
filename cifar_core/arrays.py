"""Files of arrays (.npz) in a run directory. A run may be a stranger's copy: a file is sound, or one kind of error."""

from __future__ import annotations

import tokenize
import zipfile
from pathlib import Path

import numpy as np

from cifar_core import zipped

_MALFORMED = (*zipped.MALFORMED, TypeError, MemoryError, ArithmeticError, SyntaxError, tokenize.TokenError)
"""What NumPy raises beside, found by the tests' mutations."""
_KINDS = "biufU"


def load(path: Path, most_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Return all arrays in `path` by name; no pickle is read.

    Raises OSError if the file cannot be read, ValueError if it is damaged or unpacks to more than `most_bytes`.
    """
    try:
        with path.open("rb") as content:
            with zipfile.ZipFile(content) as archive:  # before NumPy makes room for whatever its headers promise
                if not all(map(zipped.is_ordinary, archive.infolist())):
                    raise ValueError("it is encrypted, or packed by a rare method")
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
