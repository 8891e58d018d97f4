"""The Classify page from an upload to its answer."""

import base64
import re

import pytest
from app_pages import (
    CLASSIFY,
    MARKUP,
    button,
    charts_of,
    is_inert,
    make_finished_run,
    make_run,
    numbers,
    open_app,
    sound,
    texts,
    upload,
)
from corpus import NOT_PICTURES, encoded, scene, zipped
from PIL import Image

from cifar_core.data import cifar10
from pages.components import picture_view, uploads


@pytest.fixture
def classify(model):
    """The page with one finished run to choose."""
    make_finished_run(model)
    return open_app(CLASSIFY)


def test_without_a_model_classify_says_what_to_do_next():
    app = open_app(CLASSIFY)
    assert "Train" in texts(app.info)
    assert not app.file_uploader


def test_a_picture_is_answered_with_ten_sorted_probabilities(classify):
    upload(classify, **{"photo.jpg": encoded(scene(size=(90, 60)), "JPEG")})
    bars = charts_of(classify)["bars0"]["data"][0]
    probabilities = numbers(bars["x"])
    assert sorted(probabilities) == probabilities
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert sorted(bars["y"]) == sorted(cifar10.CLASSES)
    assert f"{bars['y'][-1]}, {probabilities[-1]:.0%}" in texts(classify.markdown)
    assert not classify.error


def test_a_model_of_generated_images_says_so(classify):
    assert "generated images, not CIFAR-10" in texts(classify.warning)


def test_a_model_of_cifar10_has_no_such_warning(model):
    make_finished_run(model, dataset="CIFAR-10")
    assert not open_app(CLASSIFY).warning


def test_before_an_upload_test_images_are_shown_and_others_at_a_press(classify):
    def shown():
        return [image.value for image in classify.get("image")]

    first = shown()
    assert len(first) == 6
    sound(next(b for b in classify.button if "Other test images" in b.label).click().run())
    assert len(shown()) == 6
    assert shown() != first


def test_bad_files_are_named_with_their_reason_and_the_good_one_is_answered(classify):
    upload(classify, **NOT_PICTURES, **{"good.png": encoded(scene(), "PNG")})
    assert len(classify.error) == len(NOT_PICTURES)
    for name, error in zip(NOT_PICTURES, classify.error, strict=True):
        assert name in error.value.replace("\\", "")
    assert set(charts_of(classify)) == {"bars0"}


def test_what_is_uploaded_is_cleared_and_the_uploader_is_empty_at_once(classify):
    upload(classify, first=encoded(scene(), "PNG"))
    uploader = next(found for found in classify.file_uploader if found.key.startswith("files_"))
    assert not uploader.value
    assert not uploader.proto.type  # no list of endings: the reader decides
    sound(button(classify, "clear").click().run())
    assert not charts_of(classify)
    upload(classify, second=encoded(scene(seed=1), "PNG"))
    assert [picture.name for picture in classify.session_state["pictures"]] == ["second"]


def test_the_csv_has_full_names_that_are_short_on_the_screen(classify):
    long = [f"Fotos/2024-07-{day} Morgens am Strand bei Ancona/IMG_0001 (bearbeitet, Kopie).png" for day in (14, 15)]
    upload(classify, **{"a.zip": zipped((name, encoded(scene(), "PNG")) for name in long)})
    assert [picture.name for picture in classify.session_state["pictures"]] == [f"a.zip/{name}" for name in long]
    shown = [caption.value for caption in classify.caption if "bearbeitet" in caption.value]
    assert [len(name.replace("\\", "")) for name in shown] == [60, 60]


def test_a_file_name_is_never_an_icon(classify):
    upload(classify, **{"a.zip": zipped([(":material/delete:/:smile:.png", b"no")])})
    assert not re.search(r":(material|smile)", classify.error[0].value)


@pytest.mark.parametrize(("size", "shown"), [((1, 512), (256, 512)), ((512, 1), (512, 128)), ((60, 90), (60, 90))])
def test_a_thin_picture_does_not_fill_the_page(size, shown):
    image = picture_view.bounded(Image.new("RGB", size, "red"))
    assert image.size == shown
    assert image.getpixel((shown[0] // 2, shown[1] // 2)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://studio.example/classify", True),
        ("http://localhost:8501/classify", True),
        ("http://127.0.0.1:8501", True),
        ("http://[::1]:8501/", True),
        ("http://192.168.1.7:8501/classify", False),
        ("http://localhost.example/", False),
        (None, True),
    ],
)
def test_a_camera_is_asked_for_where_browsers_allow_it(address, allowed):
    assert uploads.camera_allowed(address) == allowed


def test_all_pasted_files_are_taken_and_what_is_too_long_is_refused():
    def url(data):
        return "data:image/png;base64," + base64.b64encode(data).decode()

    pasted = [
        {"name": "image.png", "data": url(b"1")},
        {"name": "a.zip", "bytes": 30_000_000},
        {"name": "image.png", "data": url(b"2")},
        {"name": "x", "data": "data:;base64,%%%"},
        {"name": 5, "data": 7},
        "no file",
    ]
    assert list(uploads.pasted_files(pasted)) == [("pasted picture", b"1"), ("pasted picture", b"2")]
    (error,) = uploads.pasted_errors(pasted)
    assert error.error.startswith('"a.zip" has 30 MB')
    assert list(uploads.pasted_files("x")) == uploads.pasted_errors(None) == []


def test_a_zip_is_answered_picture_by_picture(classify):
    members = [("a/one.png", encoded(scene(), "PNG")), ("two.png", encoded(scene(seed=1), "PNG")), ("words.png", b"no")]
    upload(classify, **{"pictures.zip": zipped(members)})
    assert [text for text in ("a/one.png", "two.png") if text not in texts(classify.caption).replace("\\", "")] == []
    assert "bars0" in charts_of(classify)  # of the one that is looked at closer
    assert ["words.png" in error.value.replace("\\", "") for error in classify.error] == [True]


def test_a_files_name_is_text_never_markup(classify):
    upload(classify, **{f"{MARKUP}.png": b"no picture", f"{MARKUP}.bmp": encoded(scene(), "BMP")})
    assert "onerror" in classify.error[0].value
    assert is_inert(classify.error[0].value)
    captions = [caption for image in classify.get("image") for caption in image.captions if "onerror" in caption]
    assert len(captions) == 1
    assert is_inert(captions[0])


def test_the_crop_changes_what_the_network_sees(classify):
    upload(classify, **{"wide.png": encoded(scene(size=(200, 40)), "PNG")})
    centre = charts_of(classify)["bars0"]["data"][0]["x"]
    sound(classify.segmented_control(key="crop").set_value("squeeze").run())
    assert charts_of(classify)["bars0"]["data"][0]["x"] != centre


def test_the_newest_run_classifies_unless_the_address_names_another(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    assert open_app(CLASSIFY).selectbox(key="model").value == newer.id
    assert open_app(CLASSIFY, model=older.id).selectbox(key="model").value == older.id
    assert open_app(CLASSIFY, model="../../etc").selectbox(key="model").value == newer.id


def test_a_damaged_model_is_said_in_a_sentence_and_another_can_be_chosen(model):
    good = make_finished_run(model)
    make_finished_run(b"no model", validation_accuracy=0.5)
    app = open_app(CLASSIFY)
    assert "not a usable LiteRT model" in texts(app.error)
    sound(app.selectbox(key="model").set_value(good.id).run())
    assert not app.error
    assert app.file_uploader


def test_a_stopped_run_cannot_be_chosen(model):
    make_run("stopped")
    assert not open_app(CLASSIFY).selectbox
