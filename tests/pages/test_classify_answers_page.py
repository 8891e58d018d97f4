"""The Classify page from an upload to its answer."""

import base64
import gc
import json
import random
import re
import tracemalloc
from pathlib import Path
from zipfile import ZIP_STORED

import pytest
from app_pages import (
    CLASSIFY,
    MARKUP,
    bars_of,
    button,
    component,
    is_inert,
    make_finished_run,
    make_run,
    open_app,
    press_tile,
    says_synthetic,
    sound,
    texts,
    tiles_of,
    trigger,
    upload,
)
from corpus import NOT_PICTURES, encoded, scene, zipped

from cifar_core.data import cifar10
from cifar_core.inference import model_file
from pages.components import uploads


@pytest.fixture
def classify(model):
    """The page with one finished run to choose."""
    make_finished_run(model)
    return open_app(CLASSIFY)


def crop_key(app) -> str:
    return next(found.key for found in app.get("bidi_component") if (found.key or "").startswith("crop_"))


def crop_of(app) -> dict:
    return json.loads(component(app, crop_key(app)).json)


def test_without_a_model_classify_says_what_to_do_next():
    app = open_app(CLASSIFY)
    assert "Train" in texts(app.info)
    assert not app.file_uploader


def test_a_picture_is_answered_with_ten_sorted_probabilities(classify):
    upload(classify, **{"photo.jpg": encoded(scene(size=(90, 60)), "JPEG")})
    bars = bars_of(classify)
    probabilities = list(bars.values())
    assert sorted(probabilities, reverse=True) == probabilities
    assert sum(probabilities) == pytest.approx(100, abs=0.6)  # each is rounded
    assert sorted(bars) == sorted(cifar10.CLASSES)
    assert f"## {next(iter(bars))}, " in texts(classify.markdown)
    assert not classify.error


def test_a_model_of_generated_images_says_so(classify):
    assert says_synthetic(classify)


def test_a_model_of_cifar10_has_no_such_warning(model):
    make_finished_run(model, dataset="CIFAR-10")
    assert not open_app(CLASSIFY).warning


def test_before_an_upload_samples_and_test_images_are_offered(classify):
    samples = tiles_of(classify, "sample_tiles")
    assert len(samples) == len(uploads.SAMPLES) == 6
    assert [tile["title"] for tile in samples if tile["note"]] == list(uploads.OTHERS)
    first = tiles_of(classify, "example_tiles")
    assert len(first) == 6
    assert all(tile["alt"] and tile["tone"] in ("right", "wrong") for tile in first)
    sound(button(classify, "others").click().run())
    assert tiles_of(classify, "example_tiles") != first


@pytest.mark.parametrize("number", range(6))
def test_a_sample_photo_is_answered_at_a_click(classify, number):
    press_tile(classify, "sample_tiles", number)
    assert not classify.error
    assert len(bars_of(classify)) == 10
    assert not tiles_of(classify, "sample_tiles")


@pytest.mark.parametrize("number", [-1, 6, "0", None, 1.5])
def test_a_click_that_no_browser_sends_does_nothing(classify, number):
    press_tile(classify, "sample_tiles", number)
    assert tiles_of(classify, "sample_tiles")


def test_sample_photos_are_small_and_their_license_is_known():
    folder = Path(uploads.__file__).parents[1] / "samples"
    license_note = (folder / "LICENSE.md").read_text()
    assert sorted(path.stem for path in folder.glob("*.jpg")) == sorted(uploads.SAMPLES)
    for path in folder.glob("*.jpg"):
        assert path.stat().st_size < 40_000
        assert f"`{path.name}`" in license_note


def test_bad_files_are_named_with_their_reason_and_the_good_one_is_answered(classify):
    upload(classify, **NOT_PICTURES, **{"good.png": encoded(scene(), "PNG")})
    assert len(classify.error) == len(NOT_PICTURES)
    for name, error in zip(NOT_PICTURES, classify.error, strict=True):
        assert name in error.value.replace("\\", "")
    assert len(bars_of(classify)) == 10
    kinds = [one.type for one in classify.main]
    assert kinds.index("error") < kinds.index("button_group") < kinds.index("file_uploader")  # above the prediction


def test_what_is_uploaded_is_cleared_and_the_uploader_is_empty_at_once(classify):
    upload(classify, first=encoded(scene(), "PNG"))
    uploader = next(found for found in classify.file_uploader if found.key.startswith("files_"))
    assert not uploader.value
    assert not uploader.proto.type  # no list of endings: the reader decides
    assert "proxy" in uploader.help  # style.py explains what it answers, 413 or 403
    sound(button(classify, "clear").click().run())
    assert not bars_of(classify)
    upload(classify, second=encoded(scene(seed=1), "PNG"))
    assert [picture.name for picture in classify.session_state["pictures"]] == ["second"]


def test_seven_large_zips_leave_nothing_in_memory(classify):
    """Without a collection, as the server runs none after a script."""
    size = 20_000_000
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        held = []
        for number in range(7):
            uploader = next(found for found in classify.file_uploader if found.key.startswith("files_"))
            rest = random.Random(number).randbytes(size)
            content = zipped([("a.png", encoded(scene(), "PNG")), ("b.png", rest)], ZIP_STORED)
            sound(uploader.set_value([("a.zip", content, "")]).run())
            uploader._files = rest = content = None  # what the test holds
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(classify.session_state["pictures"]) == 1
    assert held[-1] < 2 * size


def test_the_csv_has_full_names_that_are_short_on_the_screen(classify):
    long = [f"Fotos/2024-07-{day} Morgens am Strand bei Ancona/IMG_0001 (bearbeitet, Kopie).png" for day in (14, 15)]
    upload(classify, **{"a.zip": zipped((name, encoded(scene(), "PNG")) for name in long)})
    assert [picture.name for picture in classify.session_state["pictures"]] == [f"a.zip/{name}" for name in long]
    assert [len(tile["note"]) for tile in tiles_of(classify, "gallery_tiles")] == [60, 60]


def test_a_file_name_is_never_an_icon(classify):
    upload(classify, **{"a.zip": zipped([(":material/delete:/:smile:.png", b"no")])})
    assert not re.search(r":(material|smile)", classify.error[0].value)


@pytest.mark.parametrize(("size", "ratio"), [((1, 512), 1 / 6), ((512, 1), 6), ((60, 90), 60 / 90)])
def test_a_thin_picture_can_be_seen_and_does_not_fill_the_page(classify, size, ratio):
    upload(classify, **{"thin.png": encoded(scene(size=size), "PNG")})
    assert crop_of(classify)["ratio"] == pytest.approx(ratio)


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
    files, (error,) = uploads.pasted_files(pasted)
    assert files == [("pasted picture", b"1"), ("pasted picture", b"2")]
    assert error.error.startswith('"a.zip" has 30 MB')
    assert uploads.pasted_files("x") == uploads.pasted_files(None) == ([], [])


def test_a_zip_is_answered_picture_by_picture(classify):
    members = [("a/one.png", encoded(scene(), "PNG")), ("two.png", encoded(scene(seed=1), "PNG")), ("words.png", b"no")]
    upload(classify, **{"pictures.zip": zipped(members)})
    names = [tile["alt"] for tile in tiles_of(classify, "gallery_tiles")]
    assert names == ["pictures.zip/a/one.png", "pictures.zip/two.png"]
    assert bars_of(classify)  # of the one that is looked at closer
    assert ["words.png" in error.value.replace("\\", "") for error in classify.error] == [True]


def test_a_files_name_is_text_never_markup(classify):
    upload(classify, **{f"{MARKUP}.png": b"no picture", f"{MARKUP}.bmp": encoded(scene(), "BMP")})
    assert "onerror" in classify.error[0].value
    assert is_inert(classify.error[0].value)
    captions = [caption.value for caption in classify.caption if "onerror" in caption.value]
    assert len(captions) == 1
    assert is_inert(captions[0])


def test_the_crop_changes_what_the_network_sees(classify):
    upload(classify, **{"wide.png": encoded(scene(size=(200, 40)), "PNG")})
    centre = bars_of(classify)
    trigger(classify, crop_key(classify), "square", [0.5, 0, 0.4])
    own = bars_of(classify)
    sound(classify.segmented_control(key="crop").set_value("squeeze").run())
    assert len({str(found) for found in (centre, own, bars_of(classify))}) == 3
    assert crop_of(classify)["square"] is None
    sound(classify.segmented_control(key="crop").set_value("centre").run())
    assert bars_of(classify) == own
    sound(button(classify, "crop_reset").click().run())
    assert bars_of(classify) == centre


@pytest.mark.parametrize("square", ["centre", None, [], [1, 2, 3], [0, 0], ["x", 0, 1], [0, 0, 0], [0, 0, None], {}])
def test_a_square_that_no_browser_sends_changes_nothing(classify, square):
    upload(classify, **{"wide.png": encoded(scene(size=(200, 40)), "PNG")})
    before = bars_of(classify)
    trigger(classify, crop_key(classify), "square", square)
    assert bars_of(classify) == before
    assert button(classify, "crop_reset") is None


def test_the_newest_run_classifies_unless_the_address_names_another(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    assert open_app(CLASSIFY).selectbox(key="model").value == newer.id
    assert open_app(CLASSIFY, model=older.id).selectbox(key="model").value == older.id
    assert open_app(CLASSIFY, model="../../etc").selectbox(key="model").value == newer.id


def test_a_damaged_model_is_said_in_a_sentence_and_another_can_be_chosen(model):
    good = make_finished_run(model)
    make_finished_run(b"no model", validation_accuracy=0.5)
    app = open_app(CLASSIFY)
    assert model_file.FILE in texts(app.error).replace("\\", "")
    sound(app.selectbox(key="model").set_value(good.id).run())
    assert not app.error
    assert app.file_uploader


def test_a_stopped_run_cannot_be_chosen(model):
    make_run("stopped")
    assert not open_app(CLASSIFY).selectbox
