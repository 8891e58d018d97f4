import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import corpus
import numpy as np
import pytest
from corpus import pixels
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples
from PIL import Image, ImageOps

from cifar_core.errors import ImageError
from cifar_core.inference import decoding
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.pictures import prepare, read_each

REAL_FILES = corpus.real_files()


@pytest.mark.parametrize("name", REAL_FILES)
def test_every_format_and_mode_becomes_rgb(name):
    image = open_picture(REAL_FILES[name], name)
    assert image.mode == "RGB"
    assert prepare(image).shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["RGB.png", "RGB.bmp"])
def test_lossless_pictures_come_through_unchanged(name):
    assert np.array_equal(pixels(open_picture(REAL_FILES[name])), pixels(corpus.scene()))


def test_the_format_is_told_by_content_not_by_name():
    assert open_picture(REAL_FILES["RGB.png"], "photo.jpg").size == (24, 17)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_exif_rotation_is_applied(format_name):
    # Orientation 6: the camera's upper edge is the right one. Red is left in the file, so above when upright.
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    upright = open_picture(corpus.encoded(image, format_name, exif=corpus.exif(6)))
    assert upright.size == (20, 40)
    red, _, blue = upright.getpixel((10, 5))
    assert red > 200 > 50 > blue


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_agree_with_pillow(orientation):
    data = corpus.encoded(corpus.scene(), "PNG", exif=corpus.exif(orientation))
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
    assert np.array_equal(pixels(open_picture(data)), pixels(expected))


@pytest.mark.parametrize(
    "tags", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"]
)
def test_broken_exif_does_not_make_a_picture_bad(tags):
    """Nor does a sound orientation among tags of a wrong type."""
    odd = corpus.exif(6)
    odd[0x010F] = "a maker"
    text, rational = b"\x01\x0f\0\x02\0\0\0\x08", b"\x01\x0f\0\x05\0\0\0\x01"
    assert text in odd.tobytes()
    bent = odd.tobytes().replace(text, rational)
    assert open_picture(corpus.encoded(corpus.scene(), "JPEG", exif=bent)).size == (17, 24)
    assert open_picture(corpus.encoded(corpus.scene(), "JPEG", exif=tags)).size == (24, 17)
    assert open_picture(corpus.encoded(corpus.scene(), "WEBP", exif=tags)).size == (24, 17)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_counts(format_name):
    red, green, blue = open_picture(corpus.animated(format_name)).getpixel((10, 10))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (1, 65_535)])
def test_extreme_shapes_are_read(size):
    image = open_picture(corpus.encoded(Image.new("RGB", size, (9, 99, 199)), "PNG"))
    assert image.size == size
    for crop in ("centre", "squeeze", (0.9, 0.9, 0.5)):
        assert np.abs(prepare(image, crop).astype(int) - [9, 99, 199]).max() == 0


def test_large_pictures_are_reduced_without_shifting_anything():
    small = corpus.scene("RGB", (30, 20))
    large = small.resize((3600, 2400), Image.Resampling.NEAREST)
    for format_name, tolerance in (("PNG", 0), ("JPEG", 6)):
        image = open_picture(corpus.encoded(large, format_name, quality=95))
        assert image.width * image.height <= decoding.WORKING_PIXELS
        back = image.resize(small.size, Image.Resampling.BOX)
        assert np.abs(pixels(back) - pixels(small)).max() <= tolerance


def test_reading_in_bands_equals_reading_at_once(monkeypatch):
    image = corpus.scene("RGBA", (1201, 1103))
    at_once = pixels(open_picture(corpus.encoded(image, "PNG")))
    monkeypatch.setattr(decoding, "_BAND_PIXELS", 50_000)
    assert np.array_equal(pixels(open_picture(corpus.encoded(image, "PNG"))), at_once)


@examples(300)
@given(data=st.data())
def test_mutated_files_give_a_picture_or_an_image_error(data):
    content = bytearray(REAL_FILES[data.draw(st.sampled_from(sorted(REAL_FILES)))])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        change = data.draw(st.sampled_from(["set", "cut", "drop", "insert", "splice"]))
        if change == "set" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del content[at:]
        elif change == "drop":
            del content[at : at + data.draw(st.integers(1, 8))]
        elif change == "insert":
            content[at:at] = data.draw(st.binary(max_size=8))
        else:
            other = REAL_FILES[data.draw(st.sampled_from(sorted(REAL_FILES)))]
            content[at:] = other[data.draw(st.integers(0, len(other))) :]
    try:
        image = open_picture(bytes(content))
    except ImageError:
        return
    assert image.mode == "RGB"
    assert min(image.size) >= 1
    assert image.width * image.height <= decoding.WORKING_PIXELS


def test_pictures_read_in_threads_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda files: list(read_each(files)), [list(REAL_FILES.items())] * 4))
    assert warnings.filters == before
