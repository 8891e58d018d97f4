"""What kind of file some bytes are, by their signature, and what to do with the kinds that are not read."""

from __future__ import annotations

import re

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
