"""Colors of a picture file become sRGB, as in CIFAR-10: ICC profiles, PNG's gAMA and cHRM, BMP's headers.

A profile that is broken, or of another kind than the picture, is ignored, as browsers do.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_MOST_PROFILE_BYTES = 8 * 2**20
_BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError, struct.error, zlib.error)
_SRGB_GAMMA = 1 / 2.2
_REC709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y of white, red, green, blue
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_BMP_CALIBRATED, _BMP_EMBEDDED = 0, 0x4D424544


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Colors by measurement.

    xyz: float (3, 3), red, green and blue in its columns. gamma: float (3,), encoding exponents.
    """

    xyz: np.ndarray
    gamma: np.ndarray


ColorSpace = bytes | Calibrated | None
"""An ICC profile, colors by measurement, or (None) sRGB."""


def to_srgb(image: Image.Image, space: ColorSpace) -> Image.Image:
    """Return `image` (L, RGB, RGBA or CMYK) in sRGB: RGB, or RGBA where it has transparency."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if space is None:
        return image.convert(mode)
    alpha = image.getchannel("A") if mode == "RGBA" else None
    opaque = image.convert("RGB") if alpha else image
    try:
        converted = _measured(opaque, space) if isinstance(space, Calibrated) else _profiled(opaque, space)
    except _BROKEN:
        return image.convert(mode)
    if alpha:
        converted.putalpha(alpha)
    return converted


def png_space(chunks: Mapping[bytes, bytes]) -> ColorSpace:
    """Return what a PNG's chunks iCCP, sRGB, gAMA and cHRM say, by content; the first of them that is sound counts."""
    if b"iCCP" in chunks:
        packed = chunks[b"iCCP"].partition(b"\0")[2][1:]
        try:
            return zlib.decompressobj().decompress(packed, _MOST_PROFILE_BYTES)
        except zlib.error:
            pass
    if b"sRGB" in chunks or not chunks.keys() & {b"gAMA", b"cHRM"}:
        return None
    try:
        gamma = struct.unpack(">I", chunks[b"gAMA"])[0] / 100_000 if b"gAMA" in chunks else _SRGB_GAMMA
        points = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])] if b"cHRM" in chunks else _REC709
        if abs(gamma - _SRGB_GAMMA) < 0.005 and np.abs(np.subtract(points, _REC709)).max() < 0.005:
            return None
        return Calibrated(_from_chromaticities(points), np.full(3, gamma))
    except _BROKEN:
        return None


def bmp_space(data: bytes) -> ColorSpace:
    """Return what a BMP's header of version 4 or 5 says (BITMAPV5HEADER)."""
    try:
        (size,) = struct.unpack_from("<I", data, 14)
        if size < 108:
            return None
        (kind,) = struct.unpack_from("<I", data, 14 + 56)
        if kind == _BMP_EMBEDDED and size >= 124:
            start, length = struct.unpack_from("<II", data, 14 + 112)
            return data[14 + start : 14 + start + length] or None
        numbers = struct.unpack_from("<12I", data, 14 + 60)
    except struct.error:
        return None
    if kind != _BMP_CALIBRATED or not all(numbers):
        return None
    return Calibrated(np.reshape(numbers[:9], (3, 3)).T / 2**30, 2**16 / np.array(numbers[9:]))


def _profiled(image: Image.Image, profile: bytes) -> Image.Image:
    if not profile or len(profile) > _MOST_PROFILE_BYTES:
        raise ValueError("no profile")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() == "GRAY":
        image = image.convert("L")
    elif image.mode == "L":
        image = image.convert("RGB")
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    assert converted is not None  # only where it works in place
    return converted


@np.errstate(all="ignore")
def _measured(image: Image.Image, space: Calibrated) -> Image.Image:
    if not ((space.gamma > 0.1) & (space.gamma < 10)).all():
        raise ValueError("gamma")
    light = (np.asarray(image.convert("RGB"), np.float32) / 255) ** (1 / space.gamma).astype(np.float32)
    target = _from_chromaticities(_REC709)
    white, wanted = (_BRADFORD @ xyz.sum(axis=1) for xyz in (space.xyz, target))
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(wanted / white) @ _BRADFORD @ space.xyz
    matrix = np.linalg.inv(target) @ adapted
    if not np.isfinite(matrix).all():
        raise ValueError("primaries")
    linear = (light @ matrix.T.astype(np.float32)).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((encoded * 255 + 0.5).astype(np.uint8))


@np.errstate(all="ignore")
def _from_chromaticities(points: tuple[float, ...] | list[float]) -> np.ndarray:
    """Return XYZ of red, green and blue in columns, float (3, 3), for x and y of white, red, green and blue."""
    xy = np.reshape(points, (4, 2))
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])
    if not np.isfinite(xyz).all():
        raise ValueError("chromaticities")
    return xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
