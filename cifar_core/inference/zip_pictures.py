"""The files of a zip, which is untrusted input, unpacked in memory one at a time.

Nothing is written to disk, so a name like "../x" is only a name. Sizes are counted while unpacking; what the
archive declares is not trusted. At most formats.MAX_FILE_BYTES of one file are in memory (twice while joined).
"""

from __future__ import annotations

import io
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cifar_core import untrusted
from cifar_core.errors import ImageError
from cifar_core.inference import formats
from cifar_core.untrusted import quoted, unique_name

MAX_ZIP_BYTES = 200 * 2**20
MAX_ZIP_MEMBERS = 5_000
MAX_UNPACKED_BYTES = 2**30  # of one zip

_SLICE_BYTES = 2**20
_UTF8_FLAG = 0x800
_CODE_PAGES = ("cp932", "cp437", "cp1252")  # of Windows in Japan and in the West, and what other tools write
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"}


@dataclass
class _Room:
    """How many bytes a zip may still unpack to, failed files included."""

    left: int


def from_zip(data: bytes, name: str = "the zip") -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield the name and the bytes of each file in the zip `data`, or why it cannot be had; never raises.

    Each entry is judged alone and by its bytes: what a system leaves behind and other hidden files
    are left out where they are no pictures. A repeated name gets a number. Why the zip as a whole, or the rest of it,
    cannot be read comes as an error under the zip's own `name`.
    """
    try:
        archive = _opened(data, name)
        room, names, found = _Room(MAX_UNPACKED_BYTES), set[str](), False
        for info in archive.infolist():
            filename = member_name(info)
            if info.orig_filename.endswith("/"):  # ZipInfo.is_dir fails on an empty name in Python 3.11
                continue
            if room.left <= 0:
                raise ImageError(
                    f"{quoted(name)} unpacks to more than {_gib(MAX_UNPACKED_BYTES)}; the rest is left out,"
                    " pack it into several zips."
                )
            content = _content_or_error(archive, info, filename, room)
            if is_hidden(filename) and not (isinstance(content, bytes) and formats.is_picture(content)):
                continue
            found = True
            yield unique_name(filename, names), content
        if not found:
            raise ImageError(f"{quoted(name)} is a zip without a picture; choose one that holds pictures.")
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
        return zipfile.ZipFile(io.BytesIO(_with_readable_names(data)))
    except untrusted.MALFORMED_ZIP as error:
        raise ImageError(
            f"{quoted(name)} is a zip that is damaged or cut off; pack the pictures again and retry."
        ) from error


def _with_readable_names(data: bytes) -> bytes:
    """Return `data` without the flag for UTF-8 on names that are none; zipfile would refuse the whole zip for one."""
    end = data.rfind(b"PK\x05\x06")
    if end < 0 or end + 20 > len(data):
        return data
    size, start = struct.unpack_from("<II", data, end + 12)
    at, wrong = end - size, list[int]()
    while 0 <= at < end - 45 and data.startswith(b"PK\x01\x02", at):
        flags, (length, extra, comment) = data[at + 9], struct.unpack_from("<HHH", data, at + 28)
        if flags & (_UTF8_FLAG >> 8) and not _is_utf8(data[at + 46 : at + 46 + length]):
            (header,) = struct.unpack_from("<I", data, at + 42)
            wrong += [at + 9, end - size - start + header + 7]
        at += 46 + length + extra + comment
    if not wrong:
        return data
    mended = bytearray(data)
    for place in (place for place in wrong if 0 <= place < len(data)):
        mended[place] &= ~(_UTF8_FLAG >> 8)
    return bytes(mended)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_litter(filename: str) -> bool:
    """Return whether `filename` is one that Windows or macOS leaves in folders and zips, which nobody put there."""
    parts = re.split(r"[/\\]", filename)
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1].lower() in _LITTER


def is_hidden(filename: str) -> bool:
    """Return whether `filename`, or a folder in it, is hidden or what a system leaves behind."""
    parts = re.split(r"[/\\]", filename)
    return is_litter(filename) or any(part.startswith(".") and part.strip(".") for part in parts)


def member_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name from its bytes: by flag or Unicode Path field, as UTF-8 or in the likeliest code page.

    The format's flag for UTF-8 is missing in many zips, and its code page 437 is what Windows wrote only in some
    countries (APPNOTE 4.4.4, 4.6.9 and appendix D).
    """
    if info.flag_bits & _UTF8_FLAG:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437")
    for encoded in (_unicode_path(info.extra, raw), raw):
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            continue
    return next((text for page in _CODE_PAGES if (text := _decoded(raw, page))), info.orig_filename)


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """Return the name in the extra field 0x7075 if it belongs to the name `raw`, else `raw`."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + size]
        if kind == 0x7075 and content[:1] == b"\1" and content[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return content[5:]
        at += 4 + size
    return raw


def _decoded(raw: bytes, page: str) -> str:
    """Return `raw` in a code page if it gives letters alone; nothing otherwise."""
    try:
        text = raw.decode(page)
    except UnicodeDecodeError:
        return ""
    if page == "cp932" and re.search(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", text):
        return ""  # a German or French name: its umlaut and the letter behind it read as one ideograph
    wanted = ("Lo", "Lm", "Po", "Ps", "Pe") if page == "cp932" else ("Lu", "Ll")
    return text if all(char.isascii() or unicodedata.category(char) in wanted for char in text) else ""


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
    if re.match(formats.ZIP_SIGNATURE, content):
        return ImageError(f"{quoted(name)} is a zip within a zip, which is not read; unpack the outer one first.")
    return content


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, room: _Room) -> bytes:
    parts, size = [], 0
    with archive.open(info) as member:
        while part := member.read(_SLICE_BYTES):
            parts.append(part)
            size += len(part)
            room.left -= len(part)
            if size > formats.MAX_FILE_BYTES or room.left <= 0:
                raise ImageError(
                    f"{quoted(name)} unpacks to more than is read, {_mib(formats.MAX_FILE_BYTES)} a file and"
                    f" {_gib(MAX_UNPACKED_BYTES)} a zip; shrink it or leave it out."
                )
    return b"".join(parts)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB".replace(".0 ", " ")


def _gib(count: int) -> str:
    return f"{count / 2**30:g} GiB"
