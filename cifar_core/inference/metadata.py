"""PNG and JPEG files without the parts that do not decide pixels: broken or huge text must not make a picture bad."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

_MOST_PARTS = 1_000_000
_PNG_START = 8
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_ANIMATION_CHUNKS = {b"acTL", b"fcTL", b"fdAT"}
_OPTIONAL_CHUNKS = {b"tRNS", b"eXIf"}
_COLOR_CHUNKS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM"}

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ALONE = {0x01, *range(0xD0, 0xD9)}
_JPEG_MARKERS = {*range(0xC0, 0xD0), *range(0xDA, 0xE0)}
_JPEG_APPLICATIONS = ((0xE0, b"JFIF"), (0xE1, b"Exif"), (0xE2, b"ICC_PROFILE"), (0xEE, b"Adobe"))
_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True)
class Jpeg:
    """A JPEG of one picture: `data` without what does not decide its pixels, and its number of scans."""

    data: bytes
    scans: int


def png_parts(data: bytes, animated: bool) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the PNG `data` with its pixels, transparency and orientation alone, and its color chunks by name.

    A chunk that is optional and whose checksum is wrong is left out. Frames behind the first stay if `animated`.
    Raises OSError for a file of more than a million chunks.
    """
    wanted = _PIXEL_CHUNKS | (_ANIMATION_CHUNKS if animated else set())
    parts, colors, at = [data[:_PNG_START]], dict[bytes, bytes](), _PNG_START
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            return b"".join(parts), colors
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in wanted:
            parts.append(data[at:end])
        elif kind in _OPTIONAL_CHUNKS | _COLOR_CHUNKS:
            content = data[at + 8 : end - 4]
            if zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big") == data[end - 4 : end]:
                if kind in _COLOR_CHUNKS:
                    colors.setdefault(kind, content)
                else:
                    parts.append(data[at:end])
        at = end
    raise OSError("too many small parts")


def jpeg_parts(data: bytes) -> Jpeg:
    """Return the first picture in the JPEG `data`; thumbnails, text and further pictures behind it are left out.

    Raises OSError for a file of more than a million segments.
    """
    parts, at, scans = [data[:2]], 2, 0
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(data, at)
        if found is None:
            return Jpeg(b"".join(parts), scans)
        marker, at = data[found.end() - 1], found.end()
        if marker in _ALONE:
            continue
        if marker == _END_OF_IMAGE:
            return Jpeg(b"".join([*parts, b"\xff\xd9"]), scans)
        end = at + int.from_bytes(data[at : at + 2], "big")
        if marker == _START_OF_SCAN:
            scans += 1
            following = _NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data.rstrip(b"\xff"))
        if marker in _JPEG_MARKERS or any(
            marker == number and data.startswith(text, at + 2) for number, text in _JPEG_APPLICATIONS
        ):
            parts.append(b"\xff" + data[at - 1 : end])
        at = end
    raise OSError("too many small parts")
