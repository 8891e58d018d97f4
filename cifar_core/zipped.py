"""Zips that strangers packed, of pictures, runs, arrays or a model: which members are read, and what can go wrong."""

from __future__ import annotations

import struct
import zipfile
import zlib

MALFORMED = (
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    LookupError,
    struct.error,
    zlib.error,
)
"""What zipfile raises where a zip of ordinary members is malformed: found by mutation, in tests/security and
tests/test_zips.py. Its NotImplementedError, for a zip's unknown version, is a RuntimeError."""


def is_ordinary(info: zipfile.ZipInfo) -> bool:
    """Return whether a member is not encrypted, and stored or deflated; other methods have exceptions of their own."""
    return not info.flag_bits & 0x1 and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
