"""The files of a stranger's zip, unpacked in memory one at a time, and every way that it can be bad.

Nothing is written to disk, so a name like "../x" is only a name. Sizes are counted while unpacking; what the
archive declares is not trusted. At most MAX_FILE_BYTES of one file are held (twice while joined).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from cifar_core import untrusted
from cifar_core.errors import ImageError
from cifar_core.untrusted import quoted

ZIP_SIGNATURE = rb"PK(\x03\x04|\x05\x06)"

MAX_FILE_BYTES = 64 * 2**20  # of one picture, in a zip or not
MAX_ZIP_BYTES = 200 * 2**20
MAX_ZIP_MEMBERS = 5_000
MAX_UNPACKED_BYTES = 2**30  # of one zip
MAX_RATIO = 250  # looked at beyond the first MiB: small plain pictures do shrink 1,000 times

_SLICE_BYTES = 2**20


@dataclass
class _Room:
    """How many bytes a zip may still unpack to, failed files included."""

    left: int


def from_zip(data: bytes, name: str = "the zip") -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield the name and the bytes of each file in the zip `data`, or why it cannot be had; never raises.

    Folders and hidden files are left out; a repeated name gets its number. Why the zip as a whole, or the
    rest of it, cannot be read comes as an error under the zip's own `name`.
    """
    try:
        archive = _opened(data, name)
        members = [info for info in archive.infolist() if not _left_out(info.filename)]
        if not members:
            raise ImageError(f"{quoted(name)} is a zip without a picture; choose one that holds pictures.")
        room, times = _Room(MAX_UNPACKED_BYTES), Counter[str]()
        for info in members:
            if room.left <= 0:
                raise ImageError(
                    f"{quoted(name)} unpacks to more than {_gib(MAX_UNPACKED_BYTES)}; the rest is left out,"
                    " pack it into several zips."
                )
            times[info.filename] += 1
            repeat = times[info.filename]
            member = info.filename if repeat == 1 else f"{info.filename} ({repeat})"
            yield member, _content_or_error(archive, info, member, room)
    except ImageError as error:
        yield name, error


def _opened(data: bytes, name: str) -> zipfile.ZipFile:
    if len(data) > MAX_ZIP_BYTES:
        raise ImageError(
            f"{quoted(name)} has {_mib(len(data))}, and at most {_mib(MAX_ZIP_BYTES)} are read;"
            " pack the pictures into several zips."
        )
    # Counted before zipfile makes an object of a kilobyte for each; every entry of the directory has this mark.
    entries = data.count(b"PK\x01\x02")
    if entries > MAX_ZIP_MEMBERS:
        raise ImageError(
            f"{quoted(name)} holds {entries:,} files, and at most {MAX_ZIP_MEMBERS:,} are read;"
            " pack them into several zips."
        )
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except untrusted.MALFORMED_ZIP as error:
        raise ImageError(
            f"{quoted(name)} is a zip that is damaged or cut off; pack the pictures again and retry."
        ) from error


def _left_out(filename: str) -> bool:
    """Folders (ZipInfo.is_dir fails on an empty name in Python 3.11), hidden files, those of macOS."""
    parts = filename.replace("\\", "/").split("/")
    hidden = any(part == "__MACOSX" or (part.startswith(".") and part.strip(".")) for part in parts)
    return hidden or filename.endswith("/")


def _content_or_error(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, room: _Room) -> bytes | ImageError:
    if info.flag_bits & 0x1:
        return ImageError(f"{quoted(name)} is encrypted; unpack it with its password and choose the picture.")
    if not untrusted.is_ordinary(info):
        return ImageError(f"{quoted(name)} is packed by a rare method; pack it again as an ordinary zip (deflate).")
    try:
        content = _unpacked(archive, info, name, room)
    except ImageError as error:
        return error
    except untrusted.MALFORMED_ZIP:
        return ImageError(f"{quoted(name)} is damaged inside its zip; pack it again and retry.")
    if re.match(ZIP_SIGNATURE, content):
        return ImageError(f"{quoted(name)} is a zip within a zip, which is not read; unpack the outer one first.")
    return content


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, room: _Room) -> bytes:
    parts, size = [], 0
    with archive.open(info) as member:
        while part := member.read(_SLICE_BYTES):
            parts.append(part)
            size += len(part)
            room.left -= len(part)
            if size > _SLICE_BYTES and size > MAX_RATIO * info.compress_size:
                raise ImageError(
                    f"{quoted(name)} unpacks to more than {MAX_RATIO} times its size, as a zip bomb does;"
                    " choose the picture itself."
                )
            if size > MAX_FILE_BYTES or room.left <= 0:
                raise ImageError(
                    f"{quoted(name)} unpacks to more than is read, {_mib(MAX_FILE_BYTES)} a file and"
                    f" {_gib(MAX_UNPACKED_BYTES)} a zip; shrink it or leave it out."
                )
    return b"".join(parts)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB".replace(".0 ", " ")


def _gib(count: int) -> str:
    return f"{count / 2**30:g} GiB"
