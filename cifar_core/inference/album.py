"""Pictures kept for a page: what the network sees of each, and a copy small enough to keep hundreds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cifar_core.inference import pictures
from cifar_core.inference.pictures import Crop, Picture
from cifar_core.untrusted import shown_name

COPY_SIDE = 512
"""Longer side of the kept copy in pixels; smaller pictures are kept exactly. A copy takes some 50 KB."""
MOST = 2_000
"""Pictures that are kept at most, 200 MB."""


@dataclass(frozen=True, eq=False)
class Held:
    """A picture that is kept. `name` can be shown as text; `copy` is an encoded picture of at most COPY_SIDE pixels."""

    name: str
    copy: bytes
    centre: np.ndarray
    squeezed: np.ndarray

    @property
    def key(self) -> str:
        """What the picture is known by: 12 hexadecimal digits."""
        return hashlib.sha256(self.copy).hexdigest()[:12]

    @property
    def image(self) -> Image.Image:
        """The copy, RGB."""
        return Image.open(io.BytesIO(self.copy)).convert("RGB")

    def seen(self, crop: Crop) -> np.ndarray:
        """Return what the network sees under `crop` (see `pictures.crop_box`): uint8 (32, 32, 3).

        "centre" and "squeeze" come from the whole picture, as on the command line; a square of one's own from the copy.
        """
        if crop == "centre":
            return self.centre
        return self.squeezed if crop == "squeeze" else pictures.prepare(self.image, crop)[0]


@dataclass(frozen=True)
class Refused:
    """A file that is no usable picture, and why; both can be shown as text."""

    name: str
    error: str


def hold(image: Image.Image, name: str) -> Held:
    """Return `image` (RGB) as a kept picture."""
    centre, squeezed = (pictures.prepare(image, crop)[0] for crop in ("centre", "squeeze"))
    buffer = io.BytesIO()
    if max(image.size) > COPY_SIDE:
        image.copy().convert("RGB").resize(_fitting(image.size), Image.Resampling.BICUBIC).save(
            buffer, "JPEG", quality=90
        )
    else:
        image.save(buffer, "PNG")
    return Held(shown_name(name), buffer.getvalue(), centre, squeezed)


def hold_each(files: Iterable[tuple[str, bytes]]) -> Iterator[Held | Refused]:
    """Yield each picture in `files` (name, bytes), zips expanded, as kept or refused; the first MOST of them."""
    for number, picture in enumerate(pictures.read_each(files)):
        if number >= MOST:
            yield Refused("the rest", f"At most {MOST:,} pictures are kept at a time; the command line takes more.")
            return
        yield _held(picture)


def _held(picture: Picture) -> Held | Refused:
    if picture.image is None:
        return Refused(shown_name(picture.name), picture.error or "")
    return hold(picture.image, picture.name)


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    factor = COPY_SIDE / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
