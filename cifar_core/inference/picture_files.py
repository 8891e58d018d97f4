"""Untrusted picture files: their formats, the parts of PNG and JPEG that decide the pixels, and members of zips.

A zip is unpacked in memory, one file at a time. Nothing is written to disk, so a name like "../x" is harmless. Sizes
are counted while unpacking; the sizes that the archive declares are not trusted. At most MAX_FILE_BYTES of one file are
in memory (twice while they are joined).
"""

import io
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from cifar_core.errors import ImageError
from cifar_core.untrusted import MALFORMED_ZIP, is_ordinary, quoted

MAX_FILE_BYTES = 64 * 2**20  # limit of one picture, in a zip or not
ZIP_SIGNATURE = rb"PK(\x03\x04|\x05\x06)"
WANTED = "PNG, JPEG, WebP, AVIF, BMP or GIF"
_EXPORT = "export it as JPEG or PNG"
_UNPACK = "unpack it, and choose the pictures or a ZIP file of them"
_HEIC = "export it as JPEG (an iPhone takes JPEG with Settings > Camera > Formats > Most Compatible)"
_KINDS = (  # Pillow's names of the formats that are read, other formats and advice
    ("PNG", rb"\x89PNG\r\n\x1a\n", ""),
    ("JPEG", rb"\xff\xd8\xff", ""),
    ("WEBP", rb"RIFF....WEBP", ""),
    ("BMP", rb"BM", ""),
    ("GIF", rb"GIF8[79]a", ""),
    ("a ZIP archive", ZIP_SIGNATURE, _UNPACK),
    ("an archive (RAR, 7z, gzip, tar)", rb"\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|.{257}ustar", _UNPACK),
    ("an SVG drawing", rb"(?i)\s*(<\?xml.*)?(<!doctype svg.*)?<svg", "export it as PNG"),
    ("a web page", rb"(?i)\s*(<!doctype html|<html|<\?xml)", "open it in a browser and save the picture itself"),
    ("a PDF document", rb"%PDF", "export its page as PNG, or take a screenshot"),
    ("a raw file", rb"FUJIFILMCCD-RAW|II\*\x00....CR|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM", "develop it as JPEG"),
    ("a TIFF picture or raw file", rb"II[*+]\x00|MM\x00[*+]", _EXPORT),
    ("a JPEG XL picture", rb"\xff\x0a|\x00\x00\x00\x0cJXL ", _EXPORT),
    ("a JPEG 2000 picture", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", _EXPORT),
    ("an icon", rb"\x00\x00[\x01\x02]\x00[^\x00]", "export it as PNG"),
    ("a Photoshop document", rb"8BP[SB]", _EXPORT),
    ("a video", rb"\x1aE\xdf\xa3|RIFF....AVI |OggS|\x00\x00\x01[\xb3\xba]|FLV\x01|....moov", "save one of its frames"),
    ("an Office document", rb"\xd0\xcf\x11\xe0", "save the picture itself"),
)
_BRANDS = (  # the same by the brands of ISO base media files (ISO/IEC 14496-12, 23008-12)
    ("AVIF", {b"avif", b"avis"}, ""),
    ("a HEIC picture", {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}, _HEIC),
    ("a raw file", {b"crx "}, "develop it as JPEG"),
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
_JPEG_APPLICATIONS = {0xE0: b"JFIF", 0xE1: b"Exif", 0xE2: b"ICC_PROFILE", 0xEE: b"Adobe"}
_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")

MAX_ZIP_BYTES = 200 * 2**20
MAX_ZIP_MEMBERS = 5_000
MAX_UNPACKED_BYTES = 2**30  # limit of one zip

_SLICE_BYTES = 2**20
_UTF8_FLAG = 0x800
_HIGH_FLAGS = re.compile(rb"(PK\x03\x04.{3}|PK\x01\x02.{5})(.)", re.DOTALL)  # of a member's two headers
_CODE_PAGES = ("cp932", "cp437", "cp1252")  # Windows in Japan, Windows in the West, other tools
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"}


def identify(data: bytes, name: str) -> str:
    """Return Pillow's name of the file format.

    Raises ImageError if `data` is empty, longer than MAX_FILE_BYTES or not in a supported format.
    """
    if not data:
        raise ImageError(f"{quoted(name)} is empty, 0 bytes; choose a {WANTED} file.")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{quoted(name)} has {_mib(len(data))}, expected at most {_mib(MAX_FILE_BYTES)}; shrink it.")
    kind, advice = _kind(data[:512])
    if advice:
        looks = f"looks like {kind}, not a" if kind else "is not a"
        raise ImageError(f"{quoted(name)} {looks} supported image file ({WANTED}); {advice}.")
    return kind


def is_picture(data: bytes) -> bool:
    """Return whether `data` starts like a picture in a supported format."""
    return not _kind(data[:512])[1]


def _kind(head: bytes) -> tuple[str, str]:
    """Return the name of the format and "", or a description of an unsupported one ("" if unknown) and advice."""
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
        found = [(kind, advice) for kind, known, advice in _BRANDS if brands & known]
        return found[0] if found else ("a video", "save one of its frames")
    for kind, signature, advice in _KINDS:
        if re.match(signature, head, re.DOTALL):
            return kind, advice
    return "", "save or export it as one of these"


def png_parts(data: bytes, whole: bool) -> bytes:
    """Return the PNG `data` with only pixels, transparency and orientation; with animation and colors if `whole`.

    An optional chunk with a wrong checksum is dropped. Raises OSError if the file has more than a million chunks.
    """
    wanted = _PIXEL_CHUNKS | (_ANIMATION_CHUNKS if whole else set())
    optional = _OPTIONAL_CHUNKS | (_COLOR_CHUNKS if whole else set())
    parts, at = [data[:_PNG_START]], _PNG_START
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            return b"".join(parts)
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in wanted or (
            kind in optional and zlib.crc32(data[at + 4 : end - 4]).to_bytes(4, "big") == data[end - 4 : end]
        ):
            parts.append(data[at:end])
        at = end
    raise OSError("too many small parts")


def jpeg_parts(data: bytes) -> tuple[bytes, int]:
    """Return the first picture in the JPEG `data`, without thumbnails and text, and its number of scans.

    Raises OSError if the file has more than a million segments.
    """
    parts, at, scans = [data[:2]], 2, 0
    for _ in range(_MOST_PARTS):
        match = _MARKER.search(data, at)
        if match is None:
            return b"".join(parts), scans
        marker, at = data[match.end() - 1], match.end()
        if marker in _ALONE:
            continue
        if marker == _END_OF_IMAGE:
            return b"".join([*parts, b"\xff\xd9"]), scans
        end = at + int.from_bytes(data[at : at + 2], "big")
        if marker == _START_OF_SCAN:
            scans += 1
            following = _NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data.rstrip(b"\xff"))
        wanted = _JPEG_APPLICATIONS.get(marker)
        if marker in _JPEG_MARKERS or (wanted and data.startswith(wanted, at + 2)):
            parts.append(b"\xff" + data[at - 1 : end])
        at = end
    raise OSError("too many small parts")


def from_zip(data: bytes, name: str = "the zip") -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield the name and the bytes, or an error, of each file in the zip `data`; never raises.

    The kind of a file is detected from its bytes. Hidden files and system files are skipped unless they are
    pictures. Names may repeat. An error of the zip itself is yielded under its own `name`.
    """
    try:
        archive, room, is_empty = open_zip(data, name), MAX_UNPACKED_BYTES, True
        for info in archive.infolist():
            filename = member_name(info)
            if info.orig_filename.endswith("/"):  # ZipInfo.is_dir fails on an empty name in Python 3.11
                continue
            if room <= 0:
                most = _mib(MAX_UNPACKED_BYTES)
                raise ImageError(
                    f"{quoted(name)} unpacks to more than {most}; the rest is left out: pack it separately."
                )
            content, unpacked = _content(archive, info, filename, room)
            room -= unpacked
            if is_hidden(filename) and not (isinstance(content, bytes) and is_picture(content)):
                continue
            is_empty = False
            yield filename, content
        if is_empty:
            raise ImageError(f"{quoted(name)} is a ZIP file without pictures; choose one with pictures.")
    except ImageError as error:
        yield name, error


def open_zip(data: bytes, name: str) -> zipfile.ZipFile:
    """Open a zip. Raises ImageError if it is damaged, or has more than MAX_ZIP_BYTES or MAX_ZIP_MEMBERS."""
    several = "pack the pictures into several ZIP files"
    if len(data) > MAX_ZIP_BYTES:
        raise ImageError(f"{quoted(name)} has {_mib(len(data))}, expected at most {_mib(MAX_ZIP_BYTES)}; {several}.")
    # Count the signatures of directory entries first: zipfile creates an object of 1 KB for each entry.
    entries = data.count(b"PK\x01\x02")
    if entries > MAX_ZIP_MEMBERS:
        raise ImageError(f"{quoted(name)} has {entries:,} files, expected at most {MAX_ZIP_MEMBERS:,}; {several}.")
    try:
        try:
            return zipfile.ZipFile(io.BytesIO(data))
        except UnicodeDecodeError:  # one name is not UTF-8, against its flag; without the flags, `member_name` decodes
            return zipfile.ZipFile(io.BytesIO(_HIGH_FLAGS.sub(_without_utf8_flag, data)))
    except MALFORMED_ZIP as error:
        raise ImageError(f"{quoted(name)} is a damaged or truncated ZIP file; pack the pictures again.") from error


def _without_utf8_flag(header: re.Match[bytes]) -> bytes:
    return header[1] + bytes([header[2][0] & ~(_UTF8_FLAG >> 8)])


def visible_files(folder: Path) -> list[Path]:
    """Return the files below `folder`, recursively and sorted, without hidden ones."""
    below = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in below if not is_hidden(path.relative_to(folder).as_posix())]


def is_hidden(filename: str) -> bool:
    """Return whether `filename`, or a folder in it, is hidden or added by Windows or macOS."""
    parts = re.split(r"[/\\]", filename)
    is_dotted = any(part.startswith(".") and part.strip(".") for part in parts)
    return is_dotted or "__MACOSX" in parts or parts[-1].lower() in _SYSTEM_FILES


def member_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name, decoded by its flag or Unicode Path field, as UTF-8 or in the likeliest code page.

    Many zips lack the UTF-8 flag, and Windows wrote the format's code page 437 only in some countries (APPNOTE
    4.4.4, 4.6.9 and appendix D).
    """
    if info.flag_bits & _UTF8_FLAG:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437")
    for encoded in (_unicode_path(info.extra, raw), raw):
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            continue
    return next((text for page in _CODE_PAGES if (text := _in_code_page(raw, page))), info.orig_filename)


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


def _in_code_page(raw: bytes, page: str) -> str:
    """Return `raw` decoded with a code page if the result consists of letters, else ""."""
    try:
        text = raw.decode(page)
    except UnicodeDecodeError:
        return ""
    if page == "cp932" and re.search(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", text):
        return ""  # a German or French name: an umlaut and the next letter become one ideograph
    wanted = ("Lo", "Lm", "Po", "Ps", "Pe") if page == "cp932" else ("Lu", "Ll")
    return text if all(char.isascii() or unicodedata.category(char) in wanted for char in text) else ""


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, room: int) -> tuple[bytes | ImageError, int]:
    """Return the bytes of a member, or an error, and the number of unpacked bytes, at most about `room`."""
    content = bytearray()
    try:
        if info.flag_bits & 0x1:
            raise ImageError(f"{quoted(name)} is encrypted; unpack it with its password and choose the picture.")
        if not is_ordinary(info):
            raise ImageError(f"{quoted(name)} uses a rare compression method; pack it again with deflate.")
        with archive.open(info) as member:
            while part := member.read(_SLICE_BYTES):
                content += part
                if len(content) > min(MAX_FILE_BYTES, room - 1):
                    most = f"{_mib(MAX_FILE_BYTES)} a file and {_mib(MAX_UNPACKED_BYTES)} a ZIP file"
                    raise ImageError(f"{quoted(name)} unpacks to more than {most}; shrink it or leave it out.")
        if re.match(ZIP_SIGNATURE, content):
            raise ImageError(f"{quoted(name)} is a ZIP file within a ZIP file; unpack the outer one first.")
        return bytes(content), len(content)
    except ImageError as error:
        return error, len(content)
    except MALFORMED_ZIP:
        return ImageError(f"{quoted(name)} is damaged inside its ZIP file; pack it again and retry."), len(content)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB".replace(".0 ", " ")
