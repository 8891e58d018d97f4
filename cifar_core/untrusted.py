"""Reads untrusted input: file names, zip members and .npz files."""

import csv
import io
import stat
import struct
import tokenize
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cifar_core.errors import CifarError

_MALFORMED = (RuntimeError, ValueError, OverflowError, EOFError, LookupError, struct.error)
MALFORMED_ZIP = (*_MALFORMED, zipfile.BadZipFile, zlib.error)
"""Exceptions that zipfile raises for a malformed zip file, themselves or as subclasses (found by mutation tests)."""
_MALFORMED_ARRAYS = (*MALFORMED_ZIP, TypeError, MemoryError, ArithmeticError, SyntaxError, tokenize.TokenError)
"""Exceptions that NumPy raises for a malformed array file (found by mutation tests)."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_ARRAY_KINDS = "biufU"


def shown_name(name: str, limit: int = 60) -> str:
    """Return `name` without control, direction and other invisible characters, at most `limit` characters long.

    The result is plain text; a page must still escape it before rendering it as markup.
    """
    text = one_line(name) or "the file"
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def one_line(text: str) -> str:
    """Return `text` as one line without control, direction and other invisible characters."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())


def quoted(name: str) -> str:
    """Return `name` in quotation marks for a message."""
    return f'"{shown_name(name) if one_line(name) else ""}"'


def unique_name(name: str, taken: set[str]) -> str:
    """Return `name`, with the first free number appended if it is taken, and add it to `taken`."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    taken.add(unique)
    return unique


def formula_safe(text: str) -> str:
    """Return `text` escaped so that a spreadsheet does not evaluate it as a formula."""
    return "'" + text if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return `rows`, header first, as CSV. Text is `formula_safe`, floats have seven digits, None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return int(value) if value.is_integer() else f"{value:.7g}"
    return formula_safe(value) if isinstance(value, str) else value


def read_plain_file(path: str | Path, most_bytes: int, wanted: str, error: type[CifarError]) -> bytes:
    """Return the bytes of a file. Raises `error` if it cannot be read, is a folder or device, or is too large."""
    name = quoted(str(path))
    try:
        facts = Path(path).stat()
        if not stat.S_ISREG(facts.st_mode):  # a device or a pipe may never end
            raise error(f"{name} is not a plain file, expected {wanted}; check the path.")
        if facts.st_size > most_bytes:
            size, most = facts.st_size / 2**20, most_bytes / 2**20
            raise error(f"{name} has {size:,.0f} MiB, expected {wanted} of at most {most:,.0f} MiB; make it smaller.")
        return Path(path).read_bytes()
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "a name that no file can have"
        raise error(f"{name} cannot be read: {reason}; check the path.") from None


def is_ordinary(info: zipfile.ZipInfo) -> bool:
    """Return whether a zip member is not encrypted, and is stored or deflated; other methods raise other exceptions."""
    return not info.flag_bits & 0x1 and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def load_arrays(path: Path, most_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Return all arrays in the .npz file `path` by name, without pickles.

    Raises OSError if the file cannot be read, ValueError if it is damaged or larger than `most_bytes` when unpacked.
    """
    try:
        with path.open("rb") as content:
            with zipfile.ZipFile(content) as archive:  # before NumPy allocates memory for untrusted shapes
                if not all(map(is_ordinary, archive.infolist())):
                    raise ValueError("it is encrypted, or packed by a rare method")
                if most_bytes is not None and sum(info.file_size for info in archive.infolist()) > most_bytes:
                    raise ValueError("it is too large when unpacked")
            content.seek(0)
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name]) for name in file.files}
    except _MALFORMED_ARRAYS as error:
        raise ValueError(str(error)[:200] or type(error).__name__) from error
    for name, array in arrays.items():
        if array.dtype.kind not in _ARRAY_KINDS:
            raise ValueError(f"{name[:60]} contains neither numbers nor text")
    return arrays
