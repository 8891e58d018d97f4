import corpus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference import pictures
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.pictures import Picture, crop_box, prepare, read_compact, read_each

REAL_FILES = corpus.real_files()

# What the network gets


@pytest.mark.parametrize("crop", ["centre", "squeeze", (0, 0, 1)])
def test_training_and_upload_give_the_same_pixels(crop):
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    prepared = prepare(open_picture(corpus.encoded(Image.fromarray(image), "PNG")), crop)
    assert prepared.dtype == np.uint8
    assert np.array_equal(prepared, image)
    prepared[0, 0, 0] = 7  # the caller's own, writable


def test_centre_crop_takes_the_middle_and_squeeze_everything():
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    assert (prepare(image) == [0, 0, 255]).all()
    assert (prepare(image, "squeeze")[:, 0] == [255, 0, 0]).all()


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
    with pytest.raises(ImageError, match=r"side above 0\."):
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


def test_a_batch_has_the_order_of_its_files_and_says_what_is_wrong_with_each():
    found = list(read_each([*REAL_FILES.items(), *corpus.NOT_PICTURES.items()]))
    assert [picture.name for picture in found] == [*REAL_FILES, *corpus.NOT_PICTURES]
    assert [bool(picture.error) for picture in found] == [False] * len(REAL_FILES) + [True] * len(corpus.NOT_PICTURES)
    with pytest.raises(ImageError, match="is empty"):
        _ = found[len(REAL_FILES)].image


@pytest.mark.parametrize("size", [(32, 32), (300, 200), (1, 40), (1_500, 900)])
def test_the_network_sees_of_a_compact_picture_what_it_sees_of_the_picture(size):
    image = corpus.scene(size=size)
    compact = Picture("x.png", image).compact()
    for crop in ("centre", "squeeze"):
        assert (compact.network_input(crop) == prepare(image, crop)).all()


def test_a_square_of_ones_own_comes_from_the_copy_at_nearly_the_same_pixels():
    image = corpus.scene(size=(1_400, 900))
    crop = (0.2, 0.1, 0.5)
    difference = np.abs(Picture("x", image).compact().network_input(crop).astype(int) - prepare(image, crop))
    assert difference.mean() < 4


def test_a_copy_is_small_and_a_small_picture_is_copied_exactly():
    large = Picture("x", corpus.scene(size=(1_200, 800))).compact()
    assert max(large.image.size) == pictures.COPY_SIDE
    small = corpus.scene(size=(60, 50))
    assert (np.asarray(Picture("x", small).compact().image) == np.asarray(small)).all()
    assert Picture("x", Image.new("RGB", (1, 20_000))).compact().image.size == (1, pictures.COPY_SIDE)


def test_good_and_bad_files_come_in_order_zips_included():
    archive = corpus.zipped([("../a.png", corpus.encoded(corpus.scene(), "PNG")), ("words.png", b"no")])
    last = corpus.encoded(corpus.scene(seed=2), "PNG")
    found = list(read_compact([("zip.zip", archive), *corpus.NOT_PICTURES.items(), ("last.png", last)]))
    assert [bool(one.error) for one in found] == [False, True, *[True] * len(corpus.NOT_PICTURES), False]
    assert all(one.content is None for one in found if one.error)
    assert found[-1].name == "last.png"


def test_more_pictures_than_are_read_give_an_error(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_COMPACT", 3)
    one = corpus.encoded(corpus.scene(), "PNG")
    found = list(read_compact((f"{i}.png", one) for i in range(10)))
    assert len(found) == 4
    assert "At most 3" in found[-1].error


def test_names_are_full_and_unique():
    one = corpus.encoded(corpus.scene(), "PNG")
    long = [f"Fotos/2024-07-{day} Morgens am Strand bei Ancona/IMG_0001 (bearbeitet, Kopie).jpg" for day in (14, 15)]
    found = list(read_compact([("a.zip", corpus.zipped((name, one) for name in long)), ("b.png", one), ("b.png", b"")]))
    assert [one.name for one in found] == [*(f"a.zip/{name}" for name in long), "b.png", "b.png (2)"]
