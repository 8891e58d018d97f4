import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_core.inference import explain

IMAGE = np.random.default_rng(4).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def brightness(images: np.ndarray) -> np.ndarray:
    """A model that says class 0 of dark images and class 1 of light ones."""
    light = images.reshape(len(images), -1).mean(axis=1) / 255
    said = np.zeros((len(images), 10), np.float32)
    said[:, 0], said[:, 1] = 1 - light, light
    return said


def test_the_neutral_setting_changes_no_pixel():
    assert (explain.changed(IMAGE, explain.neutral()) == IMAGE).all()
    assert (explain.changed(IMAGE, {}) == IMAGE).all()


@pytest.mark.parametrize("name", list(explain.CHANGES))
def test_every_change_changes_pixels_at_both_ends_and_its_sweep_holds_its_range(name):
    change = explain.CHANGES[name]
    values = change.values
    assert values[[0, -1]] == pytest.approx([change.low, change.high])
    assert np.abs(values - change.neutral).min() < 1e-9
    assert (explain.changed(IMAGE, {name: change.high}) != IMAGE).any()


def test_turning_twice_by_90_degrees_moves_the_corners_against_the_clock():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:8, 24:] = 255  # upper right
    turned = explain.changed(image, {"rotate": 90})
    assert turned[:8, :8].mean() > 200  # upper left
    assert turned[24:].mean() < 30


def test_zoom_and_light_do_what_they_say():
    image = np.zeros((32, 32, 3), np.uint8)
    image[12:20, 12:20] = 200
    assert (explain.changed(image, {"zoom": 2})[9:23, 9:23] > 150).all()
    assert (explain.changed(image, {"zoom": 0.5})[12:14, 12:14] < 60).all()
    assert explain.changed(image, {"light": 0.5}).max() == 100


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries({name: st.floats(c.low, c.high) for name, c in explain.CHANGES.items()}))
def test_any_setting_gives_an_image(setting):
    found = explain.changed(IMAGE, setting)
    assert (found.dtype, found.shape) == (np.uint8, (32, 32, 3))


def test_the_flip_is_where_the_answer_changes_next_to_the_set_value():
    image = np.full((32, 32, 3), 90, np.uint8)  # dark: class 0; light from 127.5 on, at 1.42 times
    answer, found = explain.effects(brightness, image, explain.neutral())
    assert answer.argmax() == 0
    assert found["light"].flips == ((pytest.approx(1.5), 1),)
    assert found["rotate"].flips == ()


def test_a_sweep_is_around_the_other_settings():
    image = np.full((32, 32, 3), 90, np.uint8)
    answer, found = explain.effects(brightness, image, explain.neutral() | {"light": 1.9})
    assert answer.argmax() == 1
    assert found["light"].flips == ((pytest.approx(1.4), 0),)
    assert (found["zoom"].probabilities.argmax(axis=1) == 1).all()


def test_everything_is_answered_in_one_call():
    calls = []

    def model(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return brightness(images)

    explain.effects(model, IMAGE, explain.neutral())
    assert calls == [1 + sum(len(change.values) for change in explain.CHANGES.values())]
