import contextlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import corpus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples
from PIL import Image, ImageCms, ImageOps

from cifar_core.errors import ImageError
from cifar_core.inference import decoding, picture_files
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.pictures import prepare, read_each
from cifar_core.untrusted import shown_name

REAL_FILES = corpus.real_files()


def pixels(image):
    return np.asarray(image).astype(int)


def refusal(data, name="cat.png"):
    with pytest.raises(ImageError) as caught:
        open_picture(data, name)
    message = str(caught.value)
    assert message.startswith(f'"{shown_name(name)}" ')
    assert ";" in message, "what is wrong; what to do"
    assert message.endswith(".")
    assert "\n" not in message
    return message


# What is read


@pytest.mark.parametrize("name", REAL_FILES)
def test_every_format_and_mode_becomes_rgb(name):
    image = open_picture(REAL_FILES[name], name)
    assert image.mode == "RGB"
    assert prepare(image).shape == (1, 32, 32, 3)


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
    assert open_picture(corpus.encoded(corpus.scene(), "JPEG", exif=tags)).size == (24, 17)
    assert open_picture(corpus.encoded(corpus.scene(), "WEBP", exif=tags)).size == (24, 17)


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


# What is refused


@pytest.mark.parametrize("name", corpus.NOT_PICTURES)
def test_what_is_not_a_picture_is_refused(name):
    assert picture_files.WANTED.removeprefix("a ") in refusal(corpus.NOT_PICTURES[name], name)


@pytest.mark.parametrize(("kind", "advice", "start"), corpus.OTHER_KINDS)
def test_a_refusal_names_the_format_and_what_to_do(kind, advice, start):
    message = refusal(start + bytes(300), "photo.jpg")
    assert kind in message
    assert advice in message


def test_an_avif_is_read_and_is_not_called_heic():
    data = corpus.encoded(corpus.scene(), "AVIF")
    assert np.abs(pixels(open_picture(data)) - pixels(corpus.scene())).mean() < 12
    general = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"  # a general brand first, its own among the compatible ones
    assert "truncated AVIF" in refusal(general + bytes(99))


def test_formats_that_pillow_knows_beyond_the_five_are_refused():
    assert "a TIFF picture" in refusal(corpus.encoded(corpus.scene(), "TIFF"))
    assert "something else" in refusal(corpus.encoded(corpus.scene(), "PPM"))


@pytest.mark.parametrize("name", REAL_FILES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_truncated_pictures_are_refused(name, share):
    data = REAL_FILES[name]
    assert "damaged or truncated" in refusal(data[: int(len(data) * share)], name)


@pytest.mark.parametrize(
    "data",
    [
        corpus.png_bomb(30_000, 5_000),
        corpus.png(200_000, 200_000, [(b"IDAT", b"")]),
        corpus.png(70_000, 1, [(b"IDAT", b"")]),
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08" + bytes(99),
    ],
    ids=["just above", "far above", "one side", "gif"],
)
def test_bombs_are_refused_by_their_header(data):
    assert "120 million" in refusal(data)


def test_webp_has_a_lower_bound_because_its_decoder_takes_more_memory():
    assert "60 million" in refusal(corpus.encoded(Image.new("RGB", (12_000, 6_000)), "WEBP", lossless=True, method=0))


def test_large_run_length_bmps_are_refused_because_they_take_long():
    data = bytearray(corpus.run_length_bmp())
    data[18:26] = (5_000).to_bytes(4, "little") * 2
    assert "10 million" in refusal(bytes(data))


def test_headers_of_millions_of_parts_are_skipped_or_given_up():
    files = corpus.many_parts()
    assert open_picture(files["comments.jpg"]).size == (24, 17)
    for name in ("chunks.png", "comments.gif"):
        assert "damaged" in refusal(files[name], name)


def test_a_jpeg_of_thousands_of_scans_is_refused():
    assert "scans" in refusal(corpus.many_scans_jpeg(5_000))
    assert open_picture(corpus.many_scans_jpeg(50)).size == (24, 17)


def test_long_files_are_refused(monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_FILE_BYTES", 500)
    assert "MiB" in refusal(REAL_FILES["RGB.bmp"])


def test_a_lack_of_memory_is_said(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(decoding, "_reduced", no_memory)
    assert "memory" in refusal(REAL_FILES["RGB.png"])


PIXELS = (b"IDAT", zlib.compress(bytes(4 * 13)))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iCCP", b"")],
        [(b"iCCP", b"name\0\x45")],
        [(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**21)))],
        [(b"cHRM", b"\0")],
        [(b"cHRM", bytes(32)), (b"gAMA", bytes(4))],
        [(b"acTL", b"\0\0\0\2\0\0\0\0"), (b"fcTL", b"\0\0\0\x05" + bytes(22))],
        [(b"tEXt", b"xmp\0abc")],
        [(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2**21)))],
    ],
    ids=["iCCP", "iCCP method", "iCCP size", "cHRM", "cHRM of zeros", "fcTL", "xmp", "zTXt size"],
)
@pytest.mark.parametrize("behind", [False, True])
def test_png_chunks_that_decide_no_pixel_make_no_picture_bad(chunks, behind):
    data = corpus.png(4, 4, [PIXELS, *chunks] if behind else [*chunks, PIXELS])
    assert not pixels(open_picture(data)).any()


def test_a_png_chunk_with_a_wrong_checksum_is_skipped_where_it_decides_no_pixel():
    data = corpus.png(4, 4, [(b"tEXt", b"k\0v"), PIXELS])
    at = data.index(b"tEXt") + 7
    assert open_picture(data[:at] + b"\0" + data[at + 1 :]).size == (4, 4)
    at = data.index(b"IHDR") + 4
    assert "damaged" in refusal(data[:at] + b"\1" + data[at + 1 :])


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("name", ["RGB.jpg", "L.jpg", "progressive.jpg"])
def test_a_jpeg_without_its_end_marker_is_read(name, missing):
    whole = open_picture(REAL_FILES[name])
    assert np.array_equal(pixels(open_picture(REAL_FILES[name][:-missing])), pixels(whole))


def test_a_jpeg_that_lacks_a_few_bytes_of_its_pixels_is_refused():
    assert "damaged or truncated" in refusal(corpus.encoded(corpus.scene(size=(200, 200)), "JPEG")[:-40])


def test_what_lies_behind_a_jpeg_is_not_read():
    data = REAL_FILES["RGB.jpg"]
    burst = data + corpus.encoded(corpus.scene(seed=1), "JPEG", progressive=True) * 30 + b"ftypmp42" * 99
    assert np.array_equal(pixels(open_picture(burst)), pixels(open_picture(data)))


def test_a_gif_is_transparent_around_a_first_frame_that_is_smaller_than_its_canvas():
    data = REAL_FILES["palette.gif"]
    wider = open_picture(data[:6] + (30).to_bytes(2, "little") + data[8:])
    assert wider.size == (30, 17)
    assert (pixels(wider)[:, 24:] == 255).all()
    assert np.array_equal(pixels(wider)[:, :24], pixels(open_picture(data)))


# Colors


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


# What can be seen


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


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_a_picture_that_is_transparent_all_over_is_refused(format_name):
    assert "transparent" in refusal(corpus.encoded(Image.new("RGBA", (9, 9), (9, 9, 9, 0)), format_name))


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
