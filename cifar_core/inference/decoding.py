"""The bytes of a picture file become an RGB image in sRGB, upright, of at most 2**20 pixels, or an ImageError.

Nothing is written to disk, and a file's name never decides how it is read. One picture at a time is decoded in a
process, in at most 1.25 GiB beside the file's own bytes (measured: 0.92 GiB, a progressive CMYK JPEG of 120 or a WebP
of 60 million pixels); the result takes 4 MiB at most.
"""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageChops, ImageOps

from cifar_core.errors import ImageError
from cifar_core.inference import color, formats
from cifar_core.inference.color import ColorSpace
from cifar_core.untrusted import quoted

MAX_PIXELS = 120_000_000  # a phone's 100 megapixels are welcome
MAX_MODERN_PIXELS = 60_000_000  # the decoders of WebP and AVIF take 16 bytes a pixel, others 8 at most
MAX_RUN_LENGTH_PIXELS = 10_000_000  # of a run-length coded BMP, which Pillow decodes in Python
MAX_SIDE = 65_535
WORKING_PIXELS = 2**20

# What Pillow raises on malformed files, found by mutation tests.
_MALFORMED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error)
_MAX_READS = 1_000_000
_MAX_SCANS = 100
_MAX_FRAMES = 100
_BAND_PIXELS = 2**22
_RUN_LENGTH = (1, 2)  # BI_RLE8, BI_RLE4
_END_OF_JPEG = b"\xff\xd9"
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_FAINT = 8  # of 255: differences below, and alpha below, cannot be seen
_LOW_CONTRAST = 0.15

# One at a time, so that the memory bound is the process's, and because `warnings.catch_warnings` is not
# safe between threads.
_one_at_a_time = threading.Lock()


def open_picture(data: bytes, name: str = "the picture") -> Image.Image:
    """Return the picture in `data`, a file's bytes, as an RGB image of at most 2**20 pixels.

    PNG, JPEG, WebP, AVIF, BMP and GIF are known by content. Colors are converted to sRGB, EXIF rotation is applied,
    16-bit grayscale scaled; transparency is put on white, or on black where white would hide the picture. Of an
    animation the first frame that shows something counts. A larger picture is reduced by a whole factor. Any shape
    will do, 1x1 and 1x20,000 too.

    Raises ImageError if `data` is empty, longer than MAX_FILE_BYTES, not such a picture, damaged, cut off, wholly
    transparent, or by its header has more pixels than MAX_PIXELS (fewer for WebP, AVIF and run-length BMP).
    """
    format_name = formats.identify(data, name)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters about a file is decided here
        try:
            return _decoded(data, format_name, name)
        except Image.DecompressionBombError as error:
            raise _too_large("far too many", MAX_PIXELS, name) from error
        except MemoryError as error:
            raise ImageError(
                f"{quoted(name)} needs more memory than is free here; shrink it first, or close other programs."
            ) from error
        except _MALFORMED as error:
            raise ImageError(
                f"{quoted(name)} begins as {format_name} but is damaged or cut off;"
                " open it in another program, save it again and retry."
            ) from error


def _decoded(data: bytes, format_name: str, name: str) -> Image.Image:
    if format_name == "PNG":
        parts, chunks = formats.png_parts(data, animated=True)
        space = color.png_space(chunks)
        try:
            return _read(parts, format_name, name, space)
        except _MALFORMED:  # a broken animation still has its first picture
            return _read(formats.png_parts(data, animated=False)[0], format_name, name, space)
    if format_name == "JPEG":
        return _jpeg(data, name)
    return _read(data, format_name, name, color.bmp_space(data) if format_name == "BMP" else None)


def _jpeg(data: bytes, name: str) -> Image.Image:
    jpeg = formats.jpeg_parts(data)
    if jpeg.scans > _MAX_SCANS:  # each goes over the whole picture: thousands in a small file take minutes
        raise ImageError(
            f"{quoted(name)} is a JPEG of more than {_MAX_SCANS} scans, where ten are usual;"
            " save it again as an ordinary JPEG or as PNG."
        )
    try:
        return _read(jpeg.data, "JPEG", name)
    except _MALFORMED:
        # Only the end may be missing: then whatever follows the data decides no pixel.
        ended, continued = (_read(jpeg.data + more + _END_OF_JPEG, "JPEG", name) for more in (b"", b"\x5a" * 256))
        if ended.tobytes() != continued.tobytes():
            raise
        return ended


def _read(data: bytes, format_name: str, name: str, space: ColorSpace = None) -> Image.Image:
    with Image.open(_BoundedFile(data), formats=[format_name]) as image:
        _check_size(image, name)
        if format_name == "JPEG":  # decodes at 1/2, 1/4 or 1/8 where that is still enough
            factor = _reduction(image.size)
            image.draft("RGB", (max(1, image.width // factor), max(1, image.height // factor)))
        small = _first_visible(image, name)
        tags = image.info.get("exif")
        in_srgb = color.to_srgb(small, space or image.info.get("icc_profile"))
    return _upright(_on_ground(in_srgb), tags)


def _first_visible(image: Image.Image, name: str) -> Image.Image:
    """Return the first frame that shows something, reduced: L, RGB, RGBA or CMYK; the first where all are plain."""
    frames = _frames(image)
    first = next(frames)
    chosen = first if not _is_plain(first) else next((one for one in frames if not _is_plain(one)), first)
    if _is_invisible(chosen):
        raise ImageError(
            f"{quoted(name)} is transparent all over, so there is nothing to see; save it with its colors."
        )
    return chosen


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    image.load()
    factor = _reduction(image.size)
    yield _within_frame(_reduced(image, factor), image, factor)
    most = min(_MAX_FRAMES, MAX_PIXELS // (image.width * image.height)) if image.format in _ANIMATED else 1
    for number in range(1, most):
        try:
            image.seek(number)
            image.load()
        except _MALFORMED:  # the end, or damage behind what was shown
            return
        yield _reduced(image, factor)


def _within_frame(small: Image.Image, image: Image.Image, factor: int) -> Image.Image:
    """Return a GIF's first frame with the canvas around it transparent; Pillow gives it the palette's first color."""
    box = getattr(image, "dispose_extent", None) if image.format == "GIF" else None
    if not box or tuple(box) == (0, 0, *image.size):
        return small
    around = Image.new("L", small.size, 0)
    around.paste(255, (box[0] // factor, box[1] // factor, -(-box[2] // factor), -(-box[3] // factor)))
    framed = small.convert("RGBA")
    framed.putalpha(ImageChops.darker(framed.getchannel("A"), around))
    return framed


def _is_plain(image: Image.Image) -> bool:
    """Return whether an image is of one color, or transparent all over."""
    return _is_invisible(image) or int(np.ptp(np.asarray(image), axis=(0, 1)).max()) < _FAINT


def _is_invisible(image: Image.Image) -> bool:
    return image.mode == "RGBA" and int(np.asarray(image)[..., 3].max()) < _FAINT


def _upright(image: Image.Image, tags: object) -> Image.Image:
    """Return `image` as its EXIF tags turn it; broken EXIF does not make a picture bad."""
    image.info = {"exif": tags} if tags else {}
    try:
        turned = ImageOps.exif_transpose(image)
    except _MALFORMED:
        turned = image
    turned.info = {}
    return turned


def _too_large(pixels: str, bound: int, name: str) -> ImageError:
    return ImageError(
        f"{quoted(name)} has {pixels} pixels, and at most {bound // 10**6} million and {MAX_SIDE:,} a side are"
        " read; shrink it first."
    )


class _BoundedFile(io.BytesIO):
    """A file that ends headers made of millions of tiny parts, which cost time and memory."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise OSError("too many small parts")
        return super().read(size)


def _check_size(image: Image.Image, name: str) -> None:
    bound = MAX_PIXELS
    if image.format in ("WEBP", "AVIF"):
        bound = MAX_MODERN_PIXELS
    elif image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH:
        bound = MAX_RUN_LENGTH_PIXELS
    if image.width * image.height > bound or max(image.size) > MAX_SIDE:
        raise _too_large(f"{image.width:,} x {image.height:,}", bound, name)


def _reduction(size: tuple[int, int]) -> int:
    """Return the whole factor by which both sides shrink so that WORKING_PIXELS remain at most."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / WORKING_PIXELS)))


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return `image` as L, RGB, RGBA or CMYK, smaller by `factor`; in bands, so that no second full copy is made."""
    width, height = image.size
    small = None
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    for top in range(0, height, rows):
        band = _plain_mode(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        small = small or Image.new(band.mode, (-(-width // factor), -(-height // factor)))
        small.paste(band, (0, top // factor))
    assert small is not None
    return small


def _plain_mode(image: Image.Image) -> Image.Image:
    """Return `image`, of any mode that the formats have, as L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):  # 16-bit grayscale; Pillow alone would clip it at 255
        values = np.asarray(image)
        gray = Image.fromarray((values >> 8).astype(np.uint8))  # the upper byte, as Pillow has of 16-bit color
        transparent = image.info.get("transparency")
        if not isinstance(transparent, int):
            return gray
        gray.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return gray.convert("RGBA")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert({"1": "L", "L": "L", "CMYK": "CMYK"}.get(image.mode, "RGB"))


def _on_ground(image: Image.Image) -> Image.Image:
    """Return an RGB or RGBA image as RGB: on white, or on black where the picture could not be seen on white."""
    if image.mode == "RGB":
        return image
    gray, alpha = (
        np.asarray(band, np.float32) / 255 for band in (image.convert("RGB").convert("L"), image.getchannel("A"))
    )
    contrast = (alpha * (1 - gray)).sum() / alpha.sum()
    ground = Image.new("RGBA", image.size, "white" if contrast >= _LOW_CONTRAST or alpha.min() == 1 else "black")
    return Image.alpha_composite(ground, image).convert("RGB")
