import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import corpus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples
from PIL import Image, ImageOps

from cifar_core.errors import ImageError
from cifar_core.inference import pictures
from cifar_core.inference.pictures import crop_box, open_picture, prepare, read_all
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
        assert image.width * image.height <= pictures.WORKING_PIXELS
        back = image.resize(small.size, Image.Resampling.BOX)
        assert np.abs(pixels(back) - pixels(small)).max() <= tolerance


def test_reading_in_bands_equals_reading_at_once(monkeypatch):
    image = corpus.scene("RGBA", (1201, 1103))
    at_once = pixels(open_picture(corpus.encoded(image, "PNG")))
    monkeypatch.setattr(pictures, "_BAND_PIXELS", 50_000)
    assert np.array_equal(pixels(open_picture(corpus.encoded(image, "PNG"))), at_once)


# What is refused


@pytest.mark.parametrize("name", corpus.NOT_PICTURES)
def test_what_is_not_a_picture_is_refused(name):
    assert "PNG, JPEG, WebP, BMP or GIF" in refusal(corpus.NOT_PICTURES[name], name)


@pytest.mark.parametrize(
    ("name", "kind"), [("page.png", "a web page"), ("drawing.png", "an SVG drawing"), ("phone.jpg", "a HEIC picture")]
)
def test_a_refusal_says_what_the_file_looks_like(name, kind):
    assert kind in refusal(corpus.NOT_PICTURES[name], name)


def test_formats_that_pillow_knows_beyond_the_five_are_refused():
    assert "a TIFF picture" in refusal(corpus.encoded(corpus.scene(), "TIFF"))
    assert "something else" in refusal(corpus.encoded(corpus.scene(), "PPM"))


@pytest.mark.parametrize("name", REAL_FILES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_truncated_pictures_are_refused(name, share):
    data = REAL_FILES[name]
    assert "damaged or cut off" in refusal(data[: int(len(data) * share)], name)


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


@pytest.mark.parametrize("name", ["comments.jpg", "chunks.png", "comments.gif"])
def test_headers_of_millions_of_parts_are_given_up(name):
    assert "damaged" in refusal(corpus.many_parts()[name], name)


def test_a_jpeg_of_thousands_of_scans_is_refused():
    assert "scans" in refusal(corpus.many_scans_jpeg(5_000))
    assert open_picture(corpus.many_scans_jpeg(50)).size == (24, 17)


def test_long_files_are_refused(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 500)
    assert "MiB" in refusal(REAL_FILES["RGB.bmp"])


def test_a_lack_of_memory_is_said(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(pictures, "_reduced", no_memory)
    assert "memory" in refusal(REAL_FILES["RGB.png"])


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iCCP", b"")],  # IndexError
        [(b"iCCP", b"name\0\x45")],  # SyntaxError
        [(b"cHRM", b"\0")],  # ValueError
        [(b"acTL", b"\0\0\0\2\0\0\0\0"), (b"fcTL", b"\0\0\0\x05" + bytes(22))],  # SyntaxError
    ],
    ids=["iCCP", "iCCP method", "cHRM", "fcTL"],
)
def test_found_by_mutation_broken_chunks_after_the_pixels(chunks):
    """Each made Pillow raise something else than OSError while it loads."""
    pixels_chunk = (b"IDAT", corpus.zlib.compress(bytes(4 * 13)))
    assert "damaged" in refusal(corpus.png(4, 4, [pixels_chunk, *chunks]))


def test_found_by_mutation_orientation_in_text_of_the_wrong_type():
    """A text chunk of the key "xmp" makes Pillow search text with a pattern of bytes: TypeError."""
    data = corpus.png(4, 4, [(b"tEXt", b"xmp\0abc"), (b"IDAT", corpus.zlib.compress(bytes(4 * 13)))])
    assert open_picture(data).size == (4, 4)


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
    assert image.width * image.height <= pictures.WORKING_PIXELS


def test_pictures_read_in_threads_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_all, [list(REAL_FILES.items())] * 4))
    assert warnings.filters == before


# What the network gets


@pytest.mark.parametrize("crop", ["centre", "squeeze", (0, 0, 1)])
def test_training_and_upload_give_the_same_pixels(crop):
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    prepared = prepare(open_picture(corpus.encoded(Image.fromarray(image), "PNG")), crop)
    assert prepared.dtype == np.uint8
    assert np.array_equal(prepared, image[None])
    prepared[0, 0, 0, 0] = 7  # the caller's own, writable


def test_centre_crop_takes_the_middle_and_squeeze_everything():
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    assert (prepare(image) == [0, 0, 255]).all()
    assert (prepare(image, "squeeze")[0, :, 0] == [255, 0, 0]).all()


def test_a_square_in_fractions_is_what_the_network_gets():
    image = Image.new("RGB", (400, 200), "white")
    image.paste("green", (100, 100, 200, 200))
    assert crop_box(image.size, (0.25, 0.5, 0.5)) == (100, 100, 200, 200)
    assert (prepare(image, (0.25, 0.5, 0.5)) == [0, 128, 0]).all()


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    crop=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_min=True)),
)
def test_any_square_lies_inside_the_picture(size, crop):
    left, top, right, bottom = crop_box(size, crop)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert right - left == bottom - top


@pytest.mark.parametrize(
    "crop", ["middle", (0, 0), (0, 0, 0), (-0.1, 0, 1), (0, 0, 1.1), (float("nan"), 0, 1), (0, "x", 1), None]
)
def test_other_crops_are_refused(crop):
    with pytest.raises(ImageError, match=r"not usable; give .* side above 0\."):
        prepare(Image.new("RGB", (9, 9)), crop)


def test_nothing_outside_the_square_shines_in():
    image = Image.new("RGB", (100, 100), "black")
    image.paste("white", (20, 20, 60, 60))
    assert (prepare(image, (0.2, 0.2, 0.4)) == 255).all()


def test_fine_detail_is_averaged_not_sampled():
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    prepared = prepare(Image.fromarray(stripes)).astype(int)
    assert np.abs(prepared - 127.5).max() <= 4


# Batches


def test_a_batch_keeps_its_order_and_says_what_is_wrong_with_each():
    found = read_all([*REAL_FILES.items(), *corpus.NOT_PICTURES.items()])
    assert [picture.name for picture in found] == [*REAL_FILES, *corpus.NOT_PICTURES]
    assert [picture.error is None for picture in found] == [True] * len(REAL_FILES) + [False] * len(corpus.NOT_PICTURES)
