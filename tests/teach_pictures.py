"""Pictures of two kinds, and zips of them, for the tests of Teach."""

import io
import zipfile

import numpy as np
from PIL import Image, ImageDraw


def drawn(kind: str, seed: int, side: int = 48) -> Image.Image:
    """A picture of red stripes or blue spots, with some noise."""
    rng = np.random.default_rng([seed, len(kind)])
    y, x = np.mgrid[:side, :side]
    shape = (
        np.sin((x + rng.uniform(0, 9)) / 2) if kind == "stripes" else np.sin(x / 3) * np.sin(y / 3 + rng.uniform(0, 9))
    )
    tint = np.array([1, 0.2, 0.2] if kind == "stripes" else [0.2, 0.2, 1])
    pixels = 160 * tint + 60 * shape[..., None] + rng.normal(0, 12, (side, side, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def cup_or_hand(kind: str, seed: int, side: int = 128) -> Image.Image:
    """A drawing of a cup with its handle, or of a hand with five fingers, somewhere on a background of some color."""
    rng = np.random.default_rng([seed, len(kind)])
    picture = Image.new("RGB", (side, side), tuple(rng.integers(0, 256, 3).tolist()))
    draw, (left, top) = ImageDraw.Draw(picture), rng.integers(10, 40, 2).tolist()
    if kind == "cup":
        color = tuple(rng.integers(60, 256, 3).tolist())
        draw.ellipse((left + 36, top + 16, left + 76, top + 52), outline=color, width=7)
        draw.rectangle((left, top + 6, left + 56, top + 70), fill=color)
        draw.ellipse((left, top, left + 56, top + 14), fill=(60, 35, 20))
    else:
        skin = tuple((rng.uniform(0.5, 1) * np.array([240, 190, 160])).astype(int).tolist())
        draw.ellipse((left + 8, top + 30, left + 60, top + 84), fill=skin)
        for finger, length in enumerate((12, 26, 32, 28, 20)):
            x = left + 4 + 12 * finger
            draw.rounded_rectangle((x, top + 34 - length, x + 9, top + 56), 4, fill=skin)
    noise = rng.normal(0, 8, (side, side, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def photo_crop(name: str, seed: int) -> Image.Image:
    """A square of a photo that scikit-image ships."""
    from skimage import data

    photo, rng = Image.fromarray(getattr(data, name)()), np.random.default_rng(seed)
    side = int(min(photo.size) * rng.uniform(0.6, 0.95))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    return photo.crop((left, top, left + side, top + side))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
