"""Test images in other color spaces get the labels that they have in sRGB.

    CIFAR_COLOR_IMAGES=2000 python -m pytest -n 0 -s -m slow tests/inference/test_color_labels.py

prints for each kind of file the share of images whose label is another one than in sRGB: as the file is read, and as
it is read without its color information.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable

import corpus
import numpy as np
import pytest
from PIL import Image, ImageCms

from cifar_core.data import cifar10
from cifar_core.inference import classifier
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.pictures import prepare

IMAGES = int(os.environ.get("CIFAR_COLOR_IMAGES", "150"))
SRGB = ImageCms.createProfile("sRGB")
SPACES = {  # XYZ of red, green and blue under D50, and the gamma, 0 for the curve of sRGB
    "Display P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407), 0),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457), 2.19921875),
    "ProPhoto": ((0.79767, 0.28804, 0.00000), (0.13519, 0.71187, 0.00000), (0.03134, 0.00009, 0.82491), 1.8),
}
DOT_GAIN = 0.75  # exponent: ink spreads on paper, so little ink covers much
NODES = 9


def light(values: np.ndarray) -> np.ndarray:
    """Return the linear light of values of sRGB, both 0..1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def rgb_profile(name: str) -> bytes:
    """The profile of one of SPACES."""
    *primaries, gamma = SPACES[name]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    if not gamma:
        curve = (
            b"curv"
            + bytes(4)
            + struct.pack(">I", 1024)
            + (light(np.linspace(0, 1, 1024)) * 65535).astype(">u2").tobytes()
        )
    tags = [(f"{color}TRC".encode(), curve) for color in "rgb"]
    for color, xyz in zip("rgb", primaries, strict=True):
        values = struct.pack(">3i", *(round(value * 65536) for value in xyz))
        tags.append((f"{color}XYZ".encode(), b"XYZ " + bytes(4) + values))
    return corpus.icc_profile(b"RGB ", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """A profile of a press whose inks gain as DOT_GAIN says, and otherwise cover light as plain CMYK does."""
    ink = np.stack(np.meshgrid(*[np.linspace(0, 1, NODES)] * 4, indexing="ij"), axis=-1).reshape(-1, 4) ** DOT_GAIN
    rgb = ((1 - ink[:, :3]) * (1 - ink[:, 3:]) * 255).round().astype(np.uint8)
    to_lab = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = np.asarray(ImageCms.applyTransform(Image.fromarray(rgb[None]), to_lab))[0].astype(int)
    lab[:, 1:] = (lab[:, 1:] + 128) % 256  # Pillow's a and b are signed
    table = np.stack([lab[:, 0] * 0xFF00 // 255, lab[:, 1] * 256, lab[:, 2] * 256], axis=1).astype(">u2")
    identity = b"".join(struct.pack(">i", 65536 * (i in (0, 4, 8))) for i in range(9))
    lut = b"mft2" + bytes(4) + bytes([4, 3, NODES, 0]) + identity + struct.pack(">HH", 2, 2)
    lut += struct.pack(">HH", 0, 65535) * 4 + table.tobytes() + struct.pack(">HH", 0, 65535) * 3
    return corpus.icc_profile(b"CMYK", b"Lab ", [(b"A2B0", lut)])


def in_space(image: Image.Image, profile: bytes) -> Image.Image:
    return ImageCms.profileToProfile(image, SRGB, ImageCms.ImageCmsProfile(io.BytesIO(profile)))


def with_profile(name: str) -> Callable[[Image.Image], tuple[bytes, bytes]]:
    profile = rgb_profile(name)

    def files(image: Image.Image) -> tuple[bytes, bytes]:
        other = in_space(image, profile)
        return corpus.encoded(other, "PNG", icc_profile=profile), corpus.encoded(other, "PNG", icc_profile=None)

    return files


def cmyk() -> Callable[[Image.Image], tuple[bytes, bytes]]:
    profile = cmyk_profile()

    def files(image: Image.Image) -> tuple[bytes, bytes]:
        rgb = np.asarray(image) / 255
        black = 1 - rgb.max(axis=2, keepdims=True)
        inks = np.concatenate([(1 - black - rgb) / np.maximum(1 - black, 1e-6), black], axis=2)
        printed = Image.fromarray((inks.clip(0, 1) ** (1 / DOT_GAIN) * 255).round().astype(np.uint8), "CMYK")
        plain = {"quality": 100, "subsampling": 0}
        return corpus.encoded(printed, "JPEG", icc_profile=profile, **plain), corpus.encoded(printed, "JPEG", **plain)

    return files


def with_gamma(image: Image.Image) -> tuple[bytes, bytes]:
    """A PNG as an old Macintosh has it: gamma 1.8, said in its gAMA chunk."""
    values = (light(np.asarray(image) / 255) ** (1 / 1.8) * 255).round().astype(np.uint8)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    gamma = (b"gAMA", round(100_000 / 1.8).to_bytes(4, "big"))
    return corpus.png(*image.size, [gamma, (b"IDAT", rows)]), corpus.png(*image.size, [(b"IDAT", rows)])


def bmp_with_profile(image: Image.Image) -> tuple[bytes, bytes]:
    profile = rgb_profile("Adobe RGB")
    plain = corpus.encoded(in_space(image, profile), "BMP")
    return corpus.bmp_v5(plain, profile), plain


KINDS = {
    **{f"{name}, ICC profile": lambda name=name: with_profile(name) for name in SPACES},
    "CMYK, ICC profile": cmyk,
    "gamma 1.8, gAMA": lambda: with_gamma,
    "Adobe RGB, BMP v5": lambda: bmp_with_profile,
}


def column(images: np.ndarray) -> Image.Image:
    """One picture of all `images`, one below the other: making a color conversion takes longer than its pixels."""
    return Image.fromarray(images.reshape(-1, 32, 3))


def read(data: bytes) -> np.ndarray:
    """The images of a file with a picture of `column`, each as the app takes it from a file of its own."""
    picture = open_picture(data)
    return np.stack([prepare(picture.crop((0, top, 32, top + 32))) for top in range(0, picture.height, 32)])


@pytest.mark.slow
@pytest.mark.bundled
@pytest.mark.real_images
@pytest.mark.parametrize("kind", KINDS)
def test_colors_of_another_space_change_no_label(kind: str) -> None:
    images = cifar10.samples(IMAGES, "cifar10", test=True)[0]
    network = classifier.open_classifier(classifier.BUNDLED)
    expected = network.probabilities(images).argmax(axis=1)
    shares = []
    for file in KINDS[kind]()(column(images)):
        shares.append(float((network.probabilities(read(file)).argmax(axis=1) != expected).mean()))
    print(f"{kind}: {shares[0]:.2%} of {IMAGES:,} labels change; {shares[1]:.2%} without its colors")
    assert shares[0] <= 0.02
    assert shares[1] > shares[0]
