"""Convert picture files, alone or in zips, to network inputs.

for picture in read_each([("cat.jpg", jpeg_bytes), ("holiday.zip", zip_bytes)]):
    if picture.error:
        print(picture.error)                          # one clear sentence
    else:
        pixels = picture.network_input("centre")      # uint8 (32, 32, 3)
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.picture_files import ZIP_SIGNATURE, from_zip
from cifar_core.untrusted import shown_name, unique_name

SIDE = 32
COPY_SIDE = 512
"""Longer side in pixels of the copy in a compact picture; smaller pictures are copied exactly."""
MAX_COMPACT = 2_000
"""Maximum number of pictures from `read_compact`, 200 MB."""

Crop = Literal["centre", "squeeze"] | tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture file: its content, or an error of one or two sentences.

    name: the full file name ("archive.zip/member" in a zip). Display it with `shown_name`, as text, never as
    markup.

    content: RGB; encoded in a compact picture.

    inputs: in a compact picture, the network inputs for "centre" and "squeeze", uint8 (32, 32, 3).
    """

    name: str
    content: Image.Image | bytes | None = None
    error: str = ""
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def image(self) -> Image.Image:
        """The RGB picture. Raises ImageError if there is none."""
        if self.content is None:
            raise ImageError(self.error)
        if isinstance(self.content, bytes):
            return Image.open(io.BytesIO(self.content)).convert("RGB")
        return self.content

    @property
    def key(self) -> str:
        """Hash of the content of a compact picture: 12 hexadecimal digits."""
        return hashlib.sha256(self.content if isinstance(self.content, bytes) else b"").hexdigest()[:12]

    def network_input(self, crop: Crop) -> np.ndarray:
        """Return the network input for `crop` (see `crop_box`): uint8 (32, 32, 3).

        In a compact picture, a square in fractions is cut from the copy, the other crops from the full picture.
        """
        known = self.inputs.get(crop) if isinstance(crop, str) else None
        return prepare(self.image, crop) if known is None else known

    def compact(self) -> Picture:
        """Return the picture in about 50 KB: a copy of at most COPY_SIDE pixels a side, and its network inputs."""
        if self.error or isinstance(self.content, bytes):
            return self
        image, buffer = self.image, io.BytesIO()
        inputs = {crop: self.network_input(crop) for crop in ("centre", "squeeze")}
        longer = max(image.size)
        if longer > COPY_SIDE:
            width, height = (max(1, round(side * COPY_SIDE / longer)) for side in image.size)
            image.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        else:
            image.save(buffer, "PNG")
        return Picture(self.name, buffer.getvalue(), inputs=inputs)


def prepare(image: Image.Image, crop: Crop = "centre", side: int = SIDE) -> np.ndarray:
    """Return `image` (RGB) as network input: uint8 (side, side, 3), RGB.

    `crop` is described in `crop_box`. The model itself resizes and scales, and a 32x32 picture is not changed, so
    training images and uploads are processed alike. Resizing is bicubic with antialiasing: every pixel of the
    square counts, and edges ring less than with Lanczos.

    Raises ImageError if `crop` is invalid.
    """
    square = image.crop(crop_box(image.size, crop))  # `box` of resize would mix in pixels from outside
    return np.array(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.uint8)


def crop_box(size: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    """Return the part of a picture of `size` (width, height) for the network: left, top, right, bottom.

    `crop` is "centre" (the largest square in the middle), "squeeze" (the full picture, squeezed to a square) or (x,
    y, side): the left and top edges as fractions 0..1 of width and height, and the side of the square as a fraction
    of the shorter side, above 0 up to 1. A square that extends beyond the picture is moved inside.

    Raises ImageError for any other value.
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
    """Yield a Picture for each file, with zips expanded. Names are unique; a bad file never raises."""
    names = set[str]()
    for name, data in files:
        if not re.match(ZIP_SIGNATURE, data):
            yield _picture(unique_name(name, names), data)
            continue
        for member, content in from_zip(data, name):
            yield _picture(unique_name(name if member == name else f"{name}/{member}", names), content)


def read_compact(files: Iterable[tuple[str, bytes]]) -> Iterator[Picture]:
    """Yield the pictures of `read_each` as compact pictures. After MAX_COMPACT, one error replaces the rest."""
    for number, picture in enumerate(read_each(files)):
        if number >= MAX_COMPACT:
            yield Picture(
                "the rest", error=f"At most {MAX_COMPACT:,} pictures are read at a time; the command line takes more."
            )
            return
        yield picture.compact()


def _picture(name: str, content: bytes | ImageError) -> Picture:
    try:
        if isinstance(content, ImageError):
            raise content
        return Picture(name, open_picture(content, name))
    except ImageError as error:
        return Picture(name, error=str(error))


def _checked_square(crop: object) -> tuple[float, float, float]:
    try:
        x, y, fraction = (float(value) for value in crop)  # type: ignore[attr-defined]
        if 0 <= x <= 1 and 0 <= y <= 1 and 0 < fraction <= 1:
            return x, y, fraction
    except (TypeError, ValueError):
        pass
    wanted = "center, squeeze, or x, y and side from 0 to 1, the side above 0"
    raise ImageError(f"Crop: received {shown_name(str(crop))}, expected {wanted}.")
