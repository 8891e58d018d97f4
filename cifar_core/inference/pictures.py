"""A person's picture -> what the network sees, and every way that it can be bad.

    for picture in read_each([("cat.jpg", jpeg_bytes), ("holiday.zip", zip_bytes)]):
        if picture.image is None:
            print(picture.error)                        # one clear sentence
        else:
            pixels = prepare(picture.image, "centre")   # uint8 (1, 32, 32, 3)

Nothing is written to disk, a file's name never decides how it is read, and every failure is an ImageError.

Memory: one picture at a time is decoded in a process, in at most 1.25 GiB beside the file's own bytes
(measured: 0.92 GiB, a progressive CMYK JPEG of 120 or a WebP of 60 million pixels); what is handed back has at
most 2**20 pixels, 4 MiB. A zip adds one unpacked member at a time, MAX_FILE_BYTES at most.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference.zip_pictures import MAX_FILE_BYTES, ZIP_SIGNATURE, from_zip
from cifar_core.untrusted import quoted, shown_name

SIDE = 32
MAX_PIXELS = 120_000_000  # a phone's 100 megapixels are welcome
MAX_WEBP_PIXELS = 60_000_000  # its decoder takes 16 bytes a pixel, others 8 at most
MAX_RUN_LENGTH_PIXELS = 10_000_000  # of a run-length coded BMP, which Pillow decodes in Python
MAX_SIDE = 65_535
WORKING_PIXELS = 2**20

_WANTED = "a PNG, JPEG, WebP, BMP or GIF picture"
_SIGNATURES = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("WEBP", rb"RIFF....WEBP"),
    ("BMP", rb"BM"),
    ("GIF", rb"GIF8[79]a"),
)
_OTHER_KINDS = (
    ("a zip archive", ZIP_SIGNATURE),
    ("an SVG drawing", rb"\s*(<\?xml.*)?(<!doctype svg.*)?<svg"),
    ("a web page", rb"\s*(<!doctype html|<html|<\?xml)"),
    ("a PDF document", rb"%PDF"),
    ("an AVIF picture", rb"....ftypavi[fs]"),
    ("a HEIC picture", rb"....ftyp(hei|hev|mif1|msf1)"),
    ("a TIFF picture", rb"II\*\x00|MM\x00\*"),
)

# What Pillow raises on malformed files: found by mutation, but for the last two, which its decoders raise too.
_MALFORMED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    struct.error,
)

_MAX_READS = 1_000_000
_MAX_SCANS = 100
_SCAN_HEADER = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c][\x01-\x04]")
_BAND_PIXELS = 2**22
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_RUN_LENGTH = (1, 2)  # BI_RLE8, BI_RLE4

# One at a time, so that the memory bound is the process's, and because `warnings.catch_warnings` is not
# safe between threads.
_one_at_a_time = threading.Lock()

Crop = Literal["centre", "squeeze"] | tuple[float, float, float]


@dataclass(frozen=True)
class Picture:
    """One file that was offered: either `image` (RGB) or `error` (one or two sentences) is set.

    `name` is the file's, as it was given ("archive.zip/member" in a zip): show it with `shown_name`,
    as text, never as markup.
    """

    name: str
    image: Image.Image | None = None
    error: str | None = None


def open_picture(data: bytes, name: str = "the picture") -> Image.Image:
    """Return the picture in `data`, a file's bytes, as an RGB image of at most 2**20 pixels.

    PNG, JPEG, WebP, BMP and GIF are told apart by content. The first frame counts; EXIF rotation is applied,
    transparency put on white, 16-bit greyscale scaled, CMYK converted; a larger picture is reduced by a whole
    factor. Any shape will do, 1x1 and 1x20,000 too. Memory: see the top of this file.

    Raises ImageError if `data` is empty, longer than MAX_FILE_BYTES, not such a picture, damaged or cut off,
    or has more pixels than MAX_PIXELS (fewer for WebP and run-length BMP), told from the header.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters about a file is decided here
        format_name = _format_of(data, name)
        try:
            with Image.open(_PatientFile(data), formats=[format_name]) as image:
                _check_size(image, name)
                if format_name == "JPEG":  # decodes at 1/2, 1/4 or 1/8 where that is still enough
                    factor = _reduction(image.size)
                    image.draft("RGB", (max(1, image.width // factor), max(1, image.height // factor)))
                image.load()
                small = _reduced(image, _reduction(image.size))
                orientation = _orientation(image)
        except Image.DecompressionBombError as error:
            raise _too_large("far too many", MAX_PIXELS, name) from error
        except MemoryError as error:
            raise ImageError(
                f"{quoted(name)} needs more memory than is free here; shrink it first, or close other programs."
            ) from error
        except _MALFORMED as error:
            raise ImageError(
                f"{quoted(name)} begins as a {format_name} picture but is damaged or cut off;"
                " open it in another program, save it again and retry."
            ) from error
    return small.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else small


def prepare(image: Image.Image, crop: Crop = "centre") -> np.ndarray:
    """Return `image` as one model input: uint8 (1, 32, 32, 3), RGB.

    `crop` is explained at `crop_box`. The model resizes and scales itself, and a 32x32 picture comes through
    unchanged, so training and upload share one path. Bicubic
    with antialiasing: every pixel of the square counts, and edges ring less than with Lanczos.

    Raises ImageError if `crop` is not usable.
    """
    rgb = image if image.mode == "RGB" else _on_white(image)
    square = rgb.crop(crop_box(image.size, crop))  # resize's own `box` would let pixels outside shine in
    return np.array(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.uint8)[None]


def crop_box(size: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    """Return the part of a picture of `size` (width, height) that the network gets: left, top, right, bottom.

    `crop` is "centre" (the largest square in the middle), "squeeze" (everything, squeezed to a square) or
    (x, y, side): the left and upper edge as fractions 0..1 of width and height, and the square's side as a
    fraction, above 0 to 1, of the shorter side. A square that would reach outside is moved inside.

    Raises ImageError for anything else.
    """
    width, height = size
    if crop == "squeeze":
        return 0, 0, width, height
    shorter = min(size)
    if crop == "centre":
        left, top = (width - shorter) // 2, (height - shorter) // 2
        return left, top, left + shorter, top + shorter
    x, y, fraction = _checked_square(crop)
    side = max(1, round(fraction * shorter))
    left, top = min(round(x * width), width - side), min(round(y * height), height - side)
    return left, top, left + side, top + side


def read_each(files: Iterable[tuple[str, bytes]]) -> Iterator[Picture]:
    """Yield a Picture for each (name, bytes), zips expanded, one at a time; a bad file never raises."""
    for name, data in files:
        if not re.match(ZIP_SIGNATURE, data):
            yield _picture(name, data)
            continue
        for member, content in from_zip(data, name):
            full_name = name if member == name else f"{name}/{member}"
            yield _picture(full_name, content)


def read_all(files: Iterable[tuple[str, bytes]]) -> list[Picture]:
    """Return what `read_each` yields; takes up to 4 MiB a picture, so prefer `read_each` for hundreds."""
    return list(read_each(files))


def _picture(name: str, content: bytes | ImageError) -> Picture:
    try:
        if isinstance(content, ImageError):
            raise content
        return Picture(name, image=open_picture(content, name))
    except ImageError as error:
        return Picture(name, error=str(error))


def _too_large(pixels: str, bound: int, name: str) -> ImageError:
    return ImageError(
        f"{quoted(name)} has {pixels} pixels, and at most {bound // 10**6} million and {MAX_SIDE:,} a side are"
        " read; shrink it first."
    )


class _PatientFile(io.BytesIO):
    """A file that ends the patience for headers made of millions of tiny parts, which cost time and memory."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise OSError("too many small parts")
        return super().read(size)


def _format_of(data: bytes, name: str) -> str:
    """Return Pillow's name of the format that the bytes begin with, after the checks that need no decoder."""
    if not data:
        raise ImageError(f"{quoted(name)} is empty, 0 bytes; choose {_WANTED}.")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"{quoted(name)} has {len(data) / 2**20:,.1f} MiB, and at most {MAX_FILE_BYTES / 2**20:,.0f} are read;"
            " shrink it, or save it as JPEG."
        )
    for format_name, signature in _SIGNATURES:
        if re.match(signature, data, re.DOTALL):
            # Each scan of a JPEG goes over the whole picture: thousands in a small file take minutes.
            scans = _SCAN_HEADER.finditer(data) if format_name == "JPEG" else ()
            if any(itertools.islice(scans, _MAX_SCANS, None)):
                raise ImageError(
                    f"{quoted(name)} is a JPEG of more than {_MAX_SCANS} scans, where ten are usual;"
                    " save it again as an ordinary JPEG or as PNG."
                )
            return format_name
    head = data[:512]
    kinds = (kind for kind, signature in _OTHER_KINDS if re.match(signature, head, re.DOTALL | re.IGNORECASE))
    found = next(kinds, "something else")
    raise ImageError(f"{quoted(name)} is not {_WANTED}, it looks like {found}; save or export it as one of these.")


def _check_size(image: Image.Image, name: str) -> None:
    bound = MAX_PIXELS
    if image.format == "WEBP":
        bound = MAX_WEBP_PIXELS
    elif image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH:
        bound = MAX_RUN_LENGTH_PIXELS
    if image.width * image.height > bound or max(image.size) > MAX_SIDE:
        raise _too_large(f"{image.width:,} x {image.height:,}", bound, name)


def _reduction(size: tuple[int, int]) -> int:
    """Return the whole factor by which both sides shrink so that WORKING_PIXELS remain at most."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / WORKING_PIXELS)))


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return `image` as RGB, smaller by `factor`; in bands, so that no second full-size copy is made."""
    width, height = image.size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_on_white(band).reduce(factor), (0, top // factor))
    return small


def _on_white(image: Image.Image) -> Image.Image:
    """Return `image` of any of the modes that the five formats have as RGB, transparency put on white."""
    if image.mode.startswith("I"):  # 16-bit greyscale; Pillow alone would clip it at 255
        values = np.asarray(image)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            values = np.where(values == transparent, 65_535, values)
        # The upper byte, which is what Pillow keeps of 16-bit colour too.
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; broken EXIF does not make a picture bad."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _MALFORMED:
        return 1


def _checked_square(crop: object) -> tuple[float, float, float]:
    try:
        x, y, fraction = (float(value) for value in crop)  # type: ignore[attr-defined]
        if 0 <= x <= 1 and 0 <= y <= 1 and 0 < fraction <= 1:
            return x, y, fraction
    except (TypeError, ValueError):
        pass
    raise ImageError(
        f'The crop {shown_name(str(crop))} is not usable; give "centre", "squeeze" or x, y and side as three'
        " numbers from 0 to 1, the side above 0."
    )
