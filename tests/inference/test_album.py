import numpy as np
import pytest
from corpus import NOT_PICTURES, encoded, scene, zipped
from PIL import Image

from cifar_core.inference import album, pictures
from cifar_core.inference.album import Held, Refused


@pytest.mark.parametrize("size", [(32, 32), (300, 200), (1, 40), (1_500, 900)])
def test_the_network_sees_of_a_kept_picture_what_it_sees_of_the_picture(size):
    image = scene(size=size)
    held = album.hold(image, "x.png")
    for crop in ("centre", "squeeze"):
        assert (held.seen(crop) == pictures.prepare(image, crop)[0]).all()


def test_a_square_of_ones_own_comes_from_the_copy_at_nearly_the_same_pixels():
    image = scene(size=(1_400, 900))
    crop = (0.2, 0.1, 0.5)
    difference = np.abs(album.hold(image, "x").seen(crop).astype(int) - pictures.prepare(image, crop)[0])
    assert difference.mean() < 4


def test_a_copy_is_small_and_a_small_picture_is_kept_exactly():
    large = album.hold(scene(size=(1_200, 800)), "x")
    assert max(large.image.size) == album.COPY_SIDE
    small = scene(size=(60, 50))
    assert (np.asarray(album.hold(small, "x").image) == np.asarray(small)).all()
    assert album.hold(Image.new("RGB", (1, 20_000)), "x").image.size == (1, album.COPY_SIDE)


def test_good_files_are_kept_and_bad_ones_refused_in_order_zips_included():
    archive = zipped([("../a.png", encoded(scene(), "PNG")), ("words.png", b"no")])
    files = [("zip.zip", archive), *NOT_PICTURES.items(), ("last.png", encoded(scene(seed=2), "PNG"))]
    found = list(album.hold_each(files))
    assert [type(one) for one in found] == [Held, Refused, *[Refused] * len(NOT_PICTURES), Held]
    assert all(one.error for one in found if isinstance(one, Refused))
    assert found[-1].name == "last.png"


def test_more_pictures_than_are_kept_are_told_of(monkeypatch):
    monkeypatch.setattr(album, "MOST", 3)
    one = encoded(scene(), "PNG")
    found = list(album.hold_each((f"{i}.png", one) for i in range(10)))
    assert len(found) == 4
    assert "At most 3" in found[-1].error


def test_a_name_has_one_line_and_nothing_invisible():
    assert album.hold(scene(), "a\n\u202eb\0" + "x" * 500).name.startswith("a b x")
