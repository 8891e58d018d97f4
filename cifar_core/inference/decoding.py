"""Decode picture files to upright sRGB images of at most 2**20 pixels.

Nothing is written to disk, and the name of a file never decides how it is read. A process decodes one picture at a
time, in at most 1.25 GiB besides the file's bytes (measured: 0.92 GiB for a progressive CMYK JPEG of 120 or a WebP of
60 million pixels). The result takes at most 4 MiB.

Colors are converted to sRGB, as in CIFAR-10, by ICC profiles, PNG's gAMA and cHRM, or BMP headers. A profile that is
broken or for another kind of picture is ignored, as in browsers.
"""

import io
import math
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageCms, PngImagePlugin

from cifar_core.errors import ImageError
from cifar_core.inference import picture_files
from cifar_core.untrusted import quoted

MAX_PIXELS = 120_000_000  # allows a phone's 100 megapixels
MAX_MODERN_PIXELS = 60_000_000  # WebP and AVIF decoders take 16 bytes per pixel, others at most 8
MAX_RUN_LENGTH_PIXELS = 10_000_000  # run-length encoded BMP: Pillow decodes it in Python
MAX_SIDE = 65_535
WORKING_PIXELS = 2**20
# What Pillow raises on malformed files, found by mutation tests.
_MALFORMED = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error)
_MAX_READS = 1_000_000
_MAX_SCANS = 100
_MAX_FRAMES = 100
_BAND_PIXELS = 2**22
_RUN_LENGTH = (1, 2)  # BI_RLE8, BI_RLE4
_END_OF_JPEG = b"\xff\xd9"
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_FAINT = 8  # of 255: smaller differences and alpha values are invisible
_LOW_CONTRAST = 0.15
_TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]
_TURN = dict(enumerate(_TURNS, 2))  # EXIF orientation -> the name in `Image.Transpose` that undoes it
# One at a time: the memory bound holds for the whole process, and `warnings.catch_warnings` is not
# thread-safe.
_one_at_a_time = threading.Lock()
_MOST_PROFILE_BYTES = PngImagePlugin.MAX_TEXT_CHUNK = 8 * 2**20  # the latter limits profiles of PNG, too
_BROKEN_PROFILE = (ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError, struct.error)
_SRGB_GAMMA = 1 / 2.2
_REC709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y of white, red, green, blue
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_BMP_CALIBRATED, _BMP_EMBEDDED = 0, 0x4D424544


def open_picture(data: bytes, name: str = "the picture") -> Image.Image:
    """Return the bytes of a picture file as an RGB image of at most 2**20 pixels.

    The format (PNG, JPEG, WebP, AVIF, BMP or GIF) is detected from the content. Colors are converted to sRGB, EXIF
    rotation is applied and 16-bit grayscale is scaled. Transparent pixels become white, or black if white would
    hide the picture. From an animation, the first frame that is not blank is taken. A larger picture is reduced by
    an integer factor. Any shape is accepted, also 1x1 and 1x20,000.

    Raises ImageError if `data` is empty, longer than MAX_FILE_BYTES, not such a picture, damaged, truncated or
    fully transparent, or if its header declares more pixels than MAX_PIXELS (fewer for WebP, AVIF and run-length
    BMP).
    """
    format_name = picture_files.identify(data, name)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # this module decides which files are errors
        try:
            return _decoded(data, format_name, name)
        except Image.DecompressionBombError as error:
            raise _too_large("far too many", MAX_PIXELS, name) from error
        except MemoryError as error:
            raise ImageError(f"{quoted(name)} needs more memory than is free here; shrink it first.") from error
        except _MALFORMED as error:
            damaged = f"{quoted(name)} is a damaged or truncated {format_name}"
            raise ImageError(f"{damaged}; open it in another program, save it again and retry.") from error


def _decoded(data: bytes, format_name: str, name: str) -> Image.Image:
    if format_name == "JPEG":
        return _jpeg(data, name)
    if format_name == "PNG":
        try:
            return _read(picture_files.png_parts(data, whole=True), format_name, name)
        except _MALFORMED:  # the animation or the colors are broken; the first frame, in sRGB, may be sound
            data = picture_files.png_parts(data, whole=False)
    return _read(data, format_name, name)


def _jpeg(data: bytes, name: str) -> Image.Image:
    content, scans = picture_files.jpeg_parts(data)
    if scans > _MAX_SCANS:  # each covers the whole picture: thousands in a small file take minutes
        raise ImageError(f"{quoted(name)} is a JPEG of more than {_MAX_SCANS} scans; save it again as JPEG or PNG.")
    try:
        return _read(content, "JPEG", name)
    except _MALFORMED:
        # If only the end is missing, the bytes after the data do not change any pixel.
        ended, continued = (_read(content + more + _END_OF_JPEG, "JPEG", name) for more in (b"", b"\x5a" * 256))
        if ended.tobytes() != continued.tobytes():
            raise
        return ended


def _read(data: bytes, format_name: str, name: str) -> Image.Image:
    with Image.open(_BoundedFile(data), formats=[format_name]) as image:
        _check_size(image, name)
        if format_name == "JPEG":  # decodes at 1/2, 1/4 or 1/8 if that is large enough
            factor = _reduction(image.size)
            image.draft("RGB", (max(1, image.width // factor), max(1, image.height // factor)))
        small = _first_visible(image, name)
        tags = image.info.get("exif", b"")
        in_srgb = _to_srgb(small, image.info, data)
    return _upright(_on_background(in_srgb), tags)


def _first_visible(image: Image.Image, name: str) -> Image.Image:
    """Return the first frame that is not blank, or the first frame if all are; reduced, L, RGB, RGBA or CMYK."""
    frames = _frames(image)
    first = next(frames)
    chosen = first if not _is_plain(first) else next((one for one in frames if not _is_plain(one)), first)
    if _is_invisible(chosen):
        raise ImageError(f"{quoted(name)} is transparent all over; save it without transparency.")
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
        except _MALFORMED:  # the last frame, or damage after it
            return
        yield _reduced(image, factor)


def _within_frame(small: Image.Image, image: Image.Image, factor: int) -> Image.Image:
    """Return a GIF's first frame with a transparent canvas; Pillow fills the canvas with the palette's first color."""
    box = getattr(image, "dispose_extent", None) if image.format == "GIF" else None
    if not box or tuple(box) == (0, 0, *image.size):
        return small
    around = Image.new("L", small.size, 0)
    around.paste(255, (box[0] // factor, box[1] // factor, -(-box[2] // factor), -(-box[3] // factor)))
    framed = small.convert("RGBA")
    framed.putalpha(ImageChops.darker(framed.getchannel("A"), around))
    return framed


def _is_plain(image: Image.Image) -> bool:
    """Return whether an image has only one color or is fully transparent."""
    extremes = [band.getextrema() for band in image.split()]  # NumPy's extrema over two axes are far slower
    return _is_invisible(image) or int(np.ptp(extremes, axis=1).max()) < _FAINT


def _is_invisible(image: Image.Image) -> bool:
    return image.mode == "RGBA" and int(np.asarray(image)[..., 3].max()) < _FAINT


def _upright(image: Image.Image, tags: bytes) -> Image.Image:
    """Return `image` rotated by its EXIF orientation; broken tags are ignored."""
    image.info = {}
    with suppress(*_MALFORMED):
        exif = Image.Exif()
        exif.load(tags)  # `ImageOps.exif_transpose` also writes all other tags, broken ones too
        if turn := _TURN.get(exif.get(ExifTags.Base.Orientation, 1)):
            return image.transpose(Image.Transpose[turn])
    return image


def _too_large(pixels: str, bound: int, name: str) -> ImageError:
    return ImageError(
        f"{quoted(name)} has {pixels} pixels, and at most {bound // 10**6} million and {MAX_SIDE:,} a side are"
        " read; shrink it first."
    )


class _BoundedFile(io.BytesIO):
    """File that raises OSError after a million reads: headers of tiny parts cost time and memory."""

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
    """Return the integer factor that reduces a picture to at most WORKING_PIXELS."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / WORKING_PIXELS)))


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return `image` as L, RGB, RGBA or CMYK, reduced by `factor`, in bands to avoid a second full copy."""
    width, height = image.size
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    parts = (image.crop((0, top, width, min(top + rows, height))) for top in range(0, height, rows))
    bands = [_plain_mode(part).reduce(factor) for part in parts]
    small = Image.new(bands[0].mode, (-(-width // factor), -(-height // factor)))
    for number, band in enumerate(bands):
        small.paste(band, (0, number * rows // factor))
    return small


def _plain_mode(image: Image.Image) -> Image.Image:
    """Return `image`, in any mode of the formats, as L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):  # 16-bit grayscale; Pillow would clip it at 255
        values = np.asarray(image)
        gray = Image.fromarray((values >> 8).astype(np.uint8))  # the high byte, as Pillow keeps of 16-bit color
        transparent = image.info.get("transparency")
        if not isinstance(transparent, int):
            return gray
        gray.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return gray.convert("RGBA")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert({"1": "L", "L": "L", "CMYK": "CMYK"}.get(image.mode, "RGB"))


def _on_background(image: Image.Image) -> Image.Image:
    """Return an RGB or RGBA image as RGB, on white, or on black if it is invisible on white."""
    if image.mode == "RGB":
        return image
    gray, alpha = (
        np.asarray(band, np.float32) / 255 for band in (image.convert("RGB").convert("L"), image.getchannel("A"))
    )
    contrast = (alpha * (1 - gray)).sum() / alpha.sum()
    ground = Image.new("RGBA", image.size, "white" if contrast >= _LOW_CONTRAST or alpha.min() == 1 else "black")
    return Image.alpha_composite(ground, image).convert("RGB")


def _to_srgb(image: Image.Image, info: Mapping[Any, Any], data: bytes) -> Image.Image:
    """Return `image` (L, RGB, RGBA or CMYK) in sRGB: RGB, or RGBA if it has transparency."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    opaque = image.convert("RGB") if alpha else image
    converted = None
    with suppress(*_BROKEN_PROFILE):
        space = _color_space(info, data)
        if space is not None:
            converted = _profiled(opaque, space) if isinstance(space, bytes) else _calibrated(opaque, *space)
    converted = converted or opaque.convert("RGB")
    if alpha:
        converted.putalpha(alpha)
    return converted


def _color_space(info: Mapping[Any, Any], data: bytes) -> bytes | tuple[np.ndarray, np.ndarray] | None:
    """Return the color space of a file: an ICC profile, or primaries and gamma; None for sRGB.

    The primaries are the XYZ of red, green and blue as columns, float (3, 3); gamma are encoding exponents, float (3,).
    Raises one of _BROKEN_PROFILE.
    """
    if profile := info.get("icc_profile"):
        return profile
    if data.startswith(b"BM"):
        return _bmp_space(data)
    if "srgb" in info or not info.keys() & {"gamma", "chromaticity"}:  # of a PNG
        return None
    gamma, points = info.get("gamma", _SRGB_GAMMA), info.get("chromaticity", _REC709)
    if abs(gamma - _SRGB_GAMMA) < 0.005 and np.abs(np.subtract(points, _REC709)).max() < 0.005:
        return None
    return _from_chromaticities(points), np.full(3, gamma)


def _bmp_space(data: bytes) -> bytes | tuple[np.ndarray, np.ndarray] | None:
    """Return the color space in a BMP header of version 4 or 5 (BITMAPV5HEADER)."""
    size, kind = struct.unpack_from("<I52xI", data, 14)
    if kind == _BMP_EMBEDDED and size >= 124:
        start, length = struct.unpack_from("<II", data, 14 + 112)
        return data[14 + start : 14 + start + length] or None
    numbers = struct.unpack_from("<12I", data, 14 + 60)
    if kind != _BMP_CALIBRATED or size < 108 or not all(numbers):
        return None
    return np.reshape(numbers[:9], (3, 3)).T / 2**30, 2**16 / np.array(numbers[9:])


def _profiled(image: Image.Image, profile: bytes) -> Image.Image:
    if len(profile) > _MOST_PROFILE_BYTES:
        raise ValueError("too large")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() == "GRAY":
        image = image.convert("L")
    elif image.mode == "L":
        image = image.convert("RGB")
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    assert converted is not None  # it is None only in place
    return converted


@np.errstate(all="ignore")
def _calibrated(image: Image.Image, primaries: np.ndarray, gamma: np.ndarray) -> Image.Image:
    if not ((gamma > 0.1) & (gamma < 10)).all():
        raise ValueError("gamma")
    light = (np.asarray(image.convert("RGB"), np.float32) / 255) ** (1 / gamma).astype(np.float32)
    target = _from_chromaticities(_REC709)
    white, wanted = (_BRADFORD @ xyz.sum(axis=1) for xyz in (primaries, target))
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(wanted / white) @ _BRADFORD @ primaries
    matrix = np.linalg.inv(target) @ adapted
    if not np.isfinite(matrix).all():
        raise ValueError("primaries")
    linear = (light @ matrix.T.astype(np.float32)).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((encoded * 255 + 0.5).astype(np.uint8))


@np.errstate(all="ignore")
def _from_chromaticities(points: Sequence[float]) -> np.ndarray:
    """Return the XYZ of red, green and blue as columns, float (3, 3), from x and y of white, red, green and blue."""
    xy = np.reshape(points, (4, 2))
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])
    return xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
