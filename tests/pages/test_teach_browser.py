"""*Teach* as a person meets it: two classes by upload and camera, an accuracy, a photo, an exported page."""

import re
from pathlib import Path

import pytest
from real_browser import MARKS, SETTLED, opened_tab
from teach_pictures import drawn, png

from cifar_core.teach import project as projects

skimage_data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
pytestmark = MARKS
UPLOADS = "[data-testid=stFileUploaderDropzoneInput]"
ONE_UPLOADER = f"() => document.querySelectorAll('.st-key-teach_try {UPLOADS}').length == 1"
"""JavaScript that tells whether the uploader of the last photo is gone."""


def test_two_classes_are_taught_tried_and_taken_away(app, chromium, tab, tmp_path):
    tab.goto(f"{app.address}/teach")
    tab.get_by_role("button", name="Start with two empty classes").click()
    uploads = tab.locator(UPLOADS)
    for number, kind in enumerate(("stripes", "spots")):
        name = tab.get_by_role("textbox", name="Name of the class").nth(number)
        name.fill(kind)
        name.press("Enter")
        files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(drawn(kind, n, 96))} for n in range(12)]
        tab.locator(f".st-key-teach_my-classes_{number}_card").locator(uploads).set_input_files(files)
        tab.get_by_alt_text(f"Picture 12 of {kind}").wait_for()
    accuracy = tab.get_by_role("heading", name=re.compile(r"\d+% correct"))
    accuracy.wait_for()
    assert int(re.search(r"\d+", accuracy.inner_text())[0]) >= 90

    tab.get_by_role("button", name="Add a class").click()
    card = tab.locator(".st-key-teach_my-classes_2_card")
    card.get_by_role("button", name="Camera").click()
    hold = card.get_by_role("button", name="Hold to record")
    tab.evaluate(SETTLED)
    hold.hover()
    tab.mouse.down()
    card.get_by_text(re.compile(r"^([5-9]|\d\d+) frames")).wait_for()
    tab.mouse.up()
    card.get_by_text(re.compile(r"^\d+ pictures")).filter(has_not_text=re.compile("^0")).wait_for()
    assert {sample.burst for sample in projects.load("my-classes").classes[2].samples} == {1}
    tab.evaluate(SETTLED)
    assert hold.is_visible()  # the camera goes on
    tab.locator(".st-key-teach_my-classes_1_card").locator(uploads).set_input_files(files[:1])
    tab.get_by_text("were in the class already").wait_for()
    tab.evaluate(SETTLED)
    assert hold.is_visible(), "a notice above the classes closed the camera"
    tab.get_by_role("button", name="Remove picture 1 of spots").first.click()
    tab.get_by_text("Deleted: 1 picture").wait_for()
    tab.evaluate(SETTLED)
    assert hold.is_visible(), "the undo bar closed the camera"

    photo = {"name": "new.png", "mimeType": "image/png", "buffer": png(drawn("spots", 99, 96))}
    tab.locator(".st-key-teach_try").locator(uploads).set_input_files(photo)
    tab.get_by_role("heading", name=re.compile(r"^spots, ")).wait_for()
    tab.wait_for_function(ONE_UPLOADER)
    tab.locator(".st-key-teach_try").locator(uploads).set_input_files(str(Path(skimage_data.data_dir) / "coffee.png"))
    tab.get_by_text("Like none of these").first.wait_for()

    tab.reload()
    accuracy.wait_for()
    tab.get_by_role("button", name="Export").click()
    with tab.expect_download() as taken:
        tab.get_by_role("button", name="Web page").click()
    taken.value.save_as(tmp_path / "taken.html")
    with opened_tab(chromium, offline=True) as alone:
        alone.goto((tmp_path / "taken.html").as_uri())
        alone.set_input_files("#file", photo)
        alone.locator("#answer").filter(has_text="spots").wait_for()
        assert alone.locator("#bars li").count() == 3
        alone.locator("#why").click()
        alone.locator("#note").filter(has_text="evidence").wait_for()
