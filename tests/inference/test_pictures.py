import corpus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.pictures import crop_box, prepare, read_all

REAL_FILES = corpus.real_files()

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
