"""Hostile and unusual picture files, made by code so that none is kept in the repository."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

NOT_PICTURES = {
    "empty.png": b"",
    "zeros.png": bytes(4096),
    "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
    "drawing.png": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "phone.jpg": b"\x00\x00\x00\x18ftypheic" + bytes(64),
    "words.gif": "a picture of a cat, in words".encode("utf-16"),
}

OTHER_KINDS = [  # what a refusal says, a word of its advice, and how such a file begins
    ("a web page", "browser", b"<!DOCTYPE html><html>"),
    ("an SVG drawing", "PNG", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("a PDF document", "PNG", b"%PDF-1.7"),
    ("a HEIC picture", "Most Compatible", b"\0\0\0\x18ftypheic"),
    ("a JPEG XL picture", "JPEG or PNG", b"\xff\x0a"),
    ("a JPEG XL picture", "JPEG or PNG", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("a JPEG 2000 picture", "JPEG or PNG", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("a JPEG 2000 picture", "JPEG or PNG", b"\xff\x4f\xff\x51"),
    ("an icon", "PNG", b"\0\0\1\0\1\0"),
    ("a Photoshop document", "JPEG or PNG", b"8BPS\0\1"),
    ("a TIFF picture", "JPEG or PNG", b"II*\0"),
    ("a TIFF picture", "JPEG or PNG", b"II+\0\x08\0\0\0"),
    ("a raw file", "develop", b"FUJIFILMCCD-RAW "),
    ("a raw file", "develop", b"II*\0\x10\0\0\0CR\2\0"),
    ("a raw file", "develop", b"\0\0\0\x18ftypcrx "),
    ("a video", "frame", b"\0\0\0\x18ftypmp42"),
    ("a video", "frame", b"\x1aE\xdf\xa3"),
    ("a video", "frame", b"RIFF\0\0\0\0AVI LIST"),
    ("an archive", "unpack", b"\x1f\x8b\x08\0"),
    ("an archive", "unpack", b"Rar!\x1a\7\1\0"),
    ("an archive", "unpack", b"7z\xbc\xaf\x27\x1c"),
    ("an archive", "unpack", bytes(257) + b"ustar"),
]


def scene(mode: str = "RGB", size: tuple[int, int] = (24, 17), seed: int = 0) -> Image.Image:
    """A smooth picture with some noise, every channel different."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 20, (height, width, 4))
    ramps = np.stack([x * 200 / width, y * 200 / height, (x + y) * 200 / (width + height), x + 40], axis=-1)
    rgba = Image.fromarray((ramps + noise).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray((ramps[..., 0] * 300).astype(np.uint16))
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    """The values of `image` as integers that do not overflow when subtracted."""
    return np.asarray(image).astype(int)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def animated(format_name: str) -> bytes:
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    return encoded(red, format_name, save_all=True, append_images=[blue], duration=50)


def real_files() -> dict[str, bytes]:
    """Small sound files of every format and mode that are read: seeds for mutation."""
    palette = scene().quantize(16)
    files = {f"{mode}.png": encoded(scene(mode), "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA", "I;16")}
    files |= {f"{mode}.bmp": encoded(scene(mode), "BMP") for mode in ("1", "L", "RGB", "RGBA")}
    files |= {f"{mode}.jpg": encoded(scene(mode), "JPEG", exif=exif(6)) for mode in ("L", "RGB", "CMYK")}
    return files | {
        "palette.png": encoded(palette, "PNG", transparency=bytes([0, 128, 255])),
        "colour-key.png": encoded(scene(), "PNG", transparency=(0, 0, 1), exif=exif(3)),
        "palette.gif": encoded(palette, "GIF", transparency=3),
        "palette.bmp": encoded(palette, "BMP"),
        "runs.bmp": run_length_bmp(),
        "progressive.jpg": encoded(scene(), "JPEG", progressive=True),
        "two.jpg": encoded(scene(), "MPO", save_all=True, append_images=[scene(seed=1)]),
        "lossy.webp": encoded(scene(), "WEBP", exif=exif(8)),
        "lossless.webp": encoded(scene("RGBA"), "WEBP", lossless=True),
        "animated.gif": animated("GIF"),
        "animated.png": animated("PNG"),
        "animated.webp": animated("WEBP"),
        "lossy.avif": encoded(scene(), "AVIF", exif=exif(6)),
        "alpha.avif": encoded(scene("RGBA"), "AVIF"),
    }


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, chunks: Iterable[tuple[bytes, bytes]], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of a claimed size and whatever else follows its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [png_chunk(kind, content) for kind, content in ((b"IHDR", header), *chunks, (b"IEND", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_bomb(width: int, height: int, colour: int = 6, value: int = 0) -> bytes:
    """A sound PNG of one byte value: tiny file, `width` x `height` pixels (RGBA by default)."""
    row = b"\0" + bytes([value]) * (width * {0: 1, 2: 3, 3: 1, 6: 4}[colour])
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png(width, height, [(b"IDAT", packed)], colour=colour)


def icc_profile(space: bytes, pcs: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """An ICC profile of a color space of four letters with these tags (ICC.1:2001-04)."""
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    tags = [*tags, (b"wtpt", b"XYZ " + bytes(4) + white)]
    start, listed, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags:
        listed += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"lcms", 0x02400000, kind, space, pcs, b"", b"acsp")
    header += bytes(28) + white
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + listed + body


def cmyk_profile() -> bytes:
    """A small profile of CMYK whose cyan is red, black black and the rest white."""
    white, red, black = bytes([255, 128, 128]), bytes([136, 208, 195]), bytes([0, 128, 128])  # CIE L*a*b* in 8 bits
    table = b"".join(black if corner & 1 else red if corner & 8 else white for corner in range(16))
    identity = b"".join(struct.pack(">i", 65536 * (i in (0, 4, 8))) for i in range(9))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4 + table + bytes(range(256)) * 3
    return icc_profile(b"CMYK", b"Lab ", [(b"A2B0", lut)])


def bmp_v5(plain: bytes, profile: bytes = b"", gamma: float = 0.0) -> bytes:
    """The 24-bit BMP `plain` with a header of version 5: a profile, or the primaries of sRGB and a gamma."""
    pixels, start = plain[54:], 14 + 124
    primaries = [0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505]
    header = struct.pack("<I", 124) + plain[18:54] + bytes(16)
    header += struct.pack("<I", 0x4D424544 if profile else 0) + struct.pack("<9I", *(int(p * 2**30) for p in primaries))
    header += struct.pack("<3I", *[int(gamma * 65536)] * 3) + struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return plain[:10] + struct.pack("<I", start) + header + pixels + profile


def run_length_bmp() -> bytes:
    """An 8-bit BMP of 6 x 2 pixels: two runs, the end of a line, absolute pixels, the end."""
    pixels = bytes([4, 1, 2, 2, 0, 0, 0, 6, 3, 2, 1, 3, 2, 1, 0, 1])
    palette = bytes(range(0, 240, 5))[: 4 * 8]
    header = struct.pack("<IiiHHIIiiII", 40, 6, 2, 1, 8, 1, len(pixels), 0, 0, 8, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + header + palette + pixels


def many_scans_jpeg(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each goes over the whole picture."""
    data = encoded(scene(), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * scans + data[end:]


def many_parts() -> dict[str, bytes]:
    """Headers made of millions of tiny parts, which would take a minute and gigabytes."""
    count = 600_000
    jpeg, gif = encoded(scene(), "JPEG"), encoded(scene("L"), "GIF")
    return {
        "comments.jpg": jpeg[:2] + b"\xff\xfe\x00\x02" * count + jpeg[2:],
        "chunks.png": png(4, 4, [])[:33] + png_chunk(b"prIv", b"") * count,
        "comments.gif": gif[: gif.index(b",")] + b"!\xfe" + b"\x02ab" * count + b"\0" + gif[gif.index(b",") :],
    }


def zipped(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def with_directory_field(archive: bytes, offset: int, value: bytes) -> bytes:
    """`archive` with bytes of its first directory entry replaced (APPNOTE 4.3.12: flags 8, sizes 20 and 24)."""
    at = archive.index(b"PK\x01\x02") + offset
    return archive[:at] + value + archive[at + len(value) :]
