"""Color spaces, profiles and transparency of picture files become sRGB."""

import contextlib
import struct
import zlib

import corpus
import numpy as np
import pytest
from corpus import pixels
from PIL import Image, ImageCms

from cifar_core.errors import ImageError
from cifar_core.inference.decoding import open_picture


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_alpha_is_put_on_white(format_name):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 255), (0, 0, 0, 0), (0, 0, 255, 128)])
    data = corpus.encoded(image, format_name, lossless=True)
    assert pixels(open_picture(data)).tolist() == [[[255, 0, 0], [255, 255, 255], [127, 127, 255]]]


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(format_name):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 0, 0, 0, 200, 0, 0])
    image.putdata([0, 1, 2])
    data = corpus.encoded(image, format_name, transparency=1)
    assert pixels(open_picture(data)).tolist() == [[[10, 20, 30], [255, 255, 255], [200, 0, 0]]]


def test_half_transparent_palette_entries_are_blended_with_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putdata([0, 1])
    data = corpus.encoded(image, "PNG", transparency=bytes([0, 128]))
    assert pixels(open_picture(data)).tolist() == [[[255, 255, 255], [227, 127, 127]]]


def test_a_transparent_colour_becomes_white():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    data = corpus.encoded(image, "PNG", transparency=(9, 9, 9))
    assert pixels(open_picture(data)).tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_sixteen_bit_greyscale_is_scaled_not_clipped():
    values = np.array([[0, 256, 0x1234, 0x8000, 65_535]], np.uint16)
    data = corpus.encoded(Image.fromarray(values), "PNG")
    grey = pixels(open_picture(data))[0, :, 0]
    assert grey.tolist() == [0, 1, 0x12, 0x80, 255]


def test_transparent_sixteen_bit_greyscale_becomes_white():
    values = np.array([[500, 40_000]], np.uint16)
    data = corpus.encoded(Image.fromarray(values), "PNG", transparency=500)
    assert pixels(open_picture(data))[0, :, 0].tolist() == [255, 40_000 >> 8]


def test_cmyk_jpeg_keeps_its_colours():
    # Pillow writes CMYK JPEGs inverted, with the Adobe marker, as Photoshop does.
    data = corpus.encoded(Image.new("RGB", (32, 32), (230, 40, 20)).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(pixels(open_picture(data)) - [230, 40, 20]).max() <= 6


def swapped() -> bytes:
    """An sRGB profile with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmp_").replace(b"bXYZ", b"rXYZ").replace(b"tmp_", b"bXYZ")


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_an_icc_profile_decides_the_colors(format_name):
    data = corpus.encoded(Image.new("RGB", (64, 64), "red"), format_name, icc_profile=swapped())
    assert np.abs(pixels(open_picture(data)) - [0, 0, 255]).max() <= 6


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_an_icc_profile_leaves_transparency_alone(format_name):
    image = Image.new("RGBA", (64, 64), "red")
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    found = open_picture(corpus.encoded(image, format_name, icc_profile=swapped()))
    assert np.abs(pixels(found)[32, [5, 60]] - [[255, 255, 255], [0, 0, 255]]).max() <= 6


def test_a_profile_of_cmyk_decides_the_colors():
    image = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    with_profile = open_picture(corpus.encoded(image, "JPEG", icc_profile=corpus.cmyk_profile()))
    assert np.abs(pixels(with_profile) - [255, 0, 0]).max() <= 8  # its cyan is red
    assert pixels(open_picture(corpus.encoded(image, "JPEG")))[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("profile", [b"rubbish", swapped()[:200], swapped()[:128] + bytes(300)])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_broken_profile_is_ignored(profile, mode):
    image = corpus.scene(mode)
    plain, broken = (open_picture(corpus.encoded(image, "JPEG", **more)) for more in ({}, {"icc_profile": profile}))
    assert np.array_equal(pixels(plain), pixels(broken))


def test_a_profile_of_another_kind_than_the_picture_is_ignored():
    data = corpus.encoded(corpus.scene(), "JPEG", icc_profile=corpus.cmyk_profile())
    assert np.array_equal(pixels(open_picture(data)), pixels(open_picture(corpus.encoded(corpus.scene(), "JPEG"))))


def of_one_color(rgb: tuple[int, ...], *chunks: tuple[bytes, bytes]) -> list[int]:
    row = b"\0" + bytes(rgb) * 4
    return pixels(open_picture(corpus.png(4, 4, [*chunks, (b"IDAT", zlib.compress(row * 4))])))[0, 0].tolist()


DISPLAY_P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
REC709 = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def test_gamma_and_chromaticities_of_a_png_decide_the_colors():
    def gamma(value):
        return b"gAMA", value.to_bytes(4, "big")

    def primaries(values):
        return b"cHRM", struct.pack(">8I", *values)

    assert of_one_color((128, 128, 128), gamma(100_000)) == [188, 188, 188]  # linear light
    assert of_one_color((200, 100, 50), gamma(45_455), primaries(REC709)) == [200, 100, 50]
    assert of_one_color((200, 100, 50), gamma(45_455), primaries(DISPLAY_P3)) == [
        216,
        93,
        24,
    ]  # by the standards' matrix
    assert of_one_color((128, 128, 128), gamma(100_000), (b"sRGB", b"\0")) == [128, 128, 128]


def test_a_profile_in_the_header_of_a_bmp_decides_the_colors():
    plain = corpus.encoded(Image.new("RGB", (4, 4), "red"), "BMP")
    assert pixels(open_picture(corpus.bmp_v5(plain, swapped())))[0, 0].tolist()[2] >= 254
    linear = corpus.bmp_v5(corpus.encoded(Image.new("RGB", (4, 4), "#808080"), "BMP"), gamma=1.0)
    assert np.abs(pixels(open_picture(linear)) - 188).max() <= 1
    for size in (20, 60, 110, 135):  # a header that is cut off is not read beyond its end
        with contextlib.suppress(ImageError):
            open_picture(corpus.bmp_v5(plain, swapped())[:size])


def silhouette(color: str, size: int = 64) -> Image.Image:
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    image.paste(color, (20, 10, 44, 54))
    return image


@pytest.mark.parametrize(
    ("color", "ground"), [("white", 0), ("#f4f4f4", 0), ("black", 255), ("red", 255), ("gray", 255)]
)
@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF", "GIF"])
def test_a_transparent_picture_gets_the_ground_on_which_it_can_be_seen(color, ground, format_name):
    image = open_picture(corpus.encoded(silhouette(color), format_name))
    assert np.abs(pixels(image)[2, 2] - ground).max() <= 3


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF", "GIF"])
def test_the_first_frame_that_shows_something_counts(format_name):
    blank, shown = silhouette("white").copy(), silhouette("red")
    blank.paste((0, 0, 0, 0), (0, 0, 64, 64))
    for first in (blank, Image.new("RGBA", (64, 64), "white")):
        data = corpus.encoded(first, format_name, save_all=True, append_images=[shown, shown], duration=50)
        assert np.abs(pixels(open_picture(data))[32, 32] - [255, 0, 0]).max() <= 8
