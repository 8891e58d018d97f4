"""Pictures of two kinds, and zips of them, for the tests of Teach."""

import io
import zipfile

import numpy as np
from PIL import Image


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
