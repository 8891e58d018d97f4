"""File formats of pictures: which are read, what to do with others, and which parts of PNG and JPEG decide pixels."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from cifar_core.errors import ImageError
from cifar_core.untrusted import quoted

MAX_FILE_BYTES = 64 * 2**20  # of one picture, in a zip or not
ZIP_SIGNATURE = rb"PK(\x03\x04|\x05\x06)"
WANTED = "a PNG, JPEG, WebP, AVIF, BMP or GIF picture"
_READ = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("WEBP", rb"RIFF....WEBP"),
    ("BMP", rb"BM"),
    ("GIF", rb"GIF8[79]a"),
)
_EXPORT = "export it as JPEG or PNG"
_UNPACK = "unpack it, and choose the pictures or a zip of them"
_NOT_READ = (
    ("a zip archive", ZIP_SIGNATURE, _UNPACK),
    ("an archive (RAR, 7z, gzip, tar)", rb"\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|.{257}ustar", _UNPACK),
    ("an SVG drawing", rb"\s*(<\?xml.*)?(<!doctype svg.*)?<svg", "export it as PNG"),
    ("a web page", rb"\s*(<!doctype html|<html|<\?xml)", "open it in a browser and save the picture itself"),
    ("a PDF document", rb"%PDF", "export its page as PNG, or take a screenshot"),
    ("a camera raw", rb"FUJIFILMCCD-RAW|II\*\x00....CR|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM", "develop it as JPEG"),
    ("a TIFF picture or camera raw", rb"II[*+]\x00|MM\x00[*+]", _EXPORT),
    ("a JPEG XL picture", rb"\xff\x0a|\x00\x00\x00\x0cJXL ", _EXPORT),
    ("a JPEG 2000 picture", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", _EXPORT),
    ("an icon", rb"\x00\x00[\x01\x02]\x00[^\x00]", "export it as PNG"),
    ("a Photoshop document", rb"8BP[SB]", _EXPORT),
    ("a video", rb"\x1aE\xdf\xa3|RIFF....AVI |OggS|\x00\x00\x01[\xb3\xba]|FLV\x01|....moov", "save one of its frames"),
    ("an Office document", rb"\xd0\xcf\x11\xe0", "save the picture itself"),
)
_BRANDS = (  # ISO base media files, by their brands (ISO/IEC 14496-12, 23008-12)
    ("AVIF", {b"avif", b"avis"}, ""),
    (
        "a HEIC picture",
        {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
        "export it as JPEG (an iPhone takes JPEG with Settings > Camera > Formats > Most Compatible)",
    ),
    ("a camera raw", {b"crx "}, "develop it as JPEG"),
)

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


def identify(data: bytes, name: str) -> str:
    """Return Pillow's name of the format of a file's bytes.

    Raises ImageError if `data` is empty, longer than MAX_FILE_BYTES or none of the formats that are read.
    """
    if not data:
        raise ImageError(f"{quoted(name)} is empty, 0 bytes; choose {WANTED}.")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"{quoted(name)} has {len(data) / 2**20:,.1f} MiB, and at most {MAX_FILE_BYTES / 2**20:,.0f} are read;"
            " shrink it, or save it as JPEG."
        )
    kind, advice = _kind(data[:512])
    if advice:
        raise ImageError(f"{quoted(name)} looks like {kind}, not {WANTED}; {advice}.")
    return kind


def is_picture(data: bytes) -> bool:
    """Return whether `data` begins as a picture of a format that is read."""
    return not _kind(data[:512])[1]


def _kind(head: bytes) -> tuple[str, str]:
    """Return the format's name or a description, and what to do where it is not read."""
    for format_name, signature in _READ:
        if re.match(signature, head, re.DOTALL):
            return format_name, ""
    if head[4:8] == b"ftyp":
        return _media_kind(head)
    for kind, signature, advice in _NOT_READ:
        if re.match(signature, head, re.DOTALL | re.IGNORECASE):
            return kind, advice
    return "something else", "save or export it as one of these"


def _media_kind(head: bytes) -> tuple[str, str]:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    for kind, known, advice in _BRANDS:
        if brands & known:
            return kind, advice
    return "a video", "save one of its frames"


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
