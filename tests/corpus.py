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
    }


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, chunks: Iterable[tuple[bytes, bytes]], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of a claimed size and whatever else follows its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [png_chunk(kind, content) for kind, content in ((b"IHDR", header), *chunks, (b"IEND", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_bomb(width: int, height: int, colour: int = 6) -> bytes:
    """A sound PNG of zeros: tiny file, `width` x `height` pixels (RGBA unless told otherwise)."""
    row = bytes(1 + width * {0: 1, 2: 3, 3: 1, 6: 4}[colour])
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png(width, height, [(b"IDAT", packed)], colour=colour)


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
