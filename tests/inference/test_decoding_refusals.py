"""Which picture files are refused, with what sentence, and which oddities are overlooked."""

import zlib

import corpus
import numpy as np
import pytest
from corpus import pixels
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference import decoding, picture_files
from cifar_core.inference.decoding import open_picture
from cifar_core.untrusted import shown_name

REAL_FILES = corpus.real_files()


def refusal(data, name="cat.png"):
    with pytest.raises(ImageError) as caught:
        open_picture(data, name)
    message = str(caught.value)
    assert message.startswith(f'"{shown_name(name)}" ')
    assert ";" in message, "what is wrong; what to do"
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", corpus.NOT_PICTURES)
def test_what_is_not_a_picture_is_refused(name):
    assert picture_files.WANTED in refusal(corpus.NOT_PICTURES[name], name)


@pytest.mark.parametrize(("kind", "advice", "start"), corpus.OTHER_KINDS)
def test_a_refusal_names_the_format_and_what_to_do(kind, advice, start):
    message = refusal(start + bytes(300), "photo.jpg")
    assert kind in message
    assert advice in message


def test_an_avif_is_read_and_is_not_called_heic():
    data = corpus.encoded(corpus.scene(), "AVIF")
    assert np.abs(pixels(open_picture(data)) - pixels(corpus.scene())).mean() < 12
    general = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"  # a general brand first, its own among the compatible ones
    assert "AVIF" in refusal(general + bytes(99))


def test_formats_that_pillow_knows_beyond_the_five_are_refused():
    assert "TIFF" in refusal(corpus.encoded(corpus.scene(), "TIFF"))
    assert "is not a supported image file" in refusal(corpus.encoded(corpus.scene(), "PPM"))


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


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_a_picture_that_is_transparent_all_over_is_refused(format_name):
    assert "transparent" in refusal(corpus.encoded(Image.new("RGBA", (9, 9), (9, 9, 9, 0)), format_name))
