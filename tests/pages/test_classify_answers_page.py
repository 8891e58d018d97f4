"""The Classify page from an upload to its answer."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import pytest
from app_pages import (  # noqa: F401 - fixtures among them
    CLASSIFY,
    MARKUP,
    charts_of,
    drawn,
    is_inert,
    make_finished_run,
    make_run,
    model,
    numbers,
    open_app,
    small_set,
    sound,
    texts,
    upload,
)
from corpus import NOT_PICTURES, encoded, scene, zipped

from cifar_core.data import cifar10


@pytest.fixture
def classify(model):
    """The page with one finished run to choose."""
    make_finished_run(model)
    return open_app(CLASSIFY)


def test_without_a_model_classify_says_what_to_do_next():
    app = open_app(CLASSIFY)
    assert "Start training" in texts(app.info)
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


def test_a_zip_is_answered_picture_by_picture(classify):
    members = [("a/one.png", encoded(scene(), "PNG")), ("two.png", encoded(scene(seed=1), "PNG")), ("words.png", b"no")]
    upload(classify, **{"pictures.zip": zipped(members)})
    assert [text for text in ("a/one.png", "two.png") if text not in texts(classify.caption).replace("\\", "")] == []
    assert "bars0" in charts_of(classify)  # of the one that is looked at closer
    assert ["words.png" in error.value.replace("\\", "") for error in classify.error] == [True]


def test_a_files_name_is_text_never_markup(classify):
    upload(classify, **{f"{MARKUP}.png": b"no picture", f"{MARKUP}.bmp": encoded(scene(), "BMP")})
    assert "onerror" in classify.error[0].value
    # The page's own bold name and its colon remain.
    assert is_inert(classify.error[0].value.replace("**", "", 1).replace("**: ", "", 1))
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
