"""The live camera of *Classify* answers in the browser as the server would; a kept picture is classified."""

import re

import numpy as np
import pytest
from real_browser import MARKS

from cifar_core.data import cifar10
from cifar_core.export import webpage
from cifar_core.inference.classifier import open_classifier
from pages.components import uploads

pytestmark = [*MARKS, pytest.mark.bundled]
ASK = """async ([code, model, images]) => {
    const worker = new Worker(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
    const bytes = Uint8Array.from(atob(model.weights), (letter) => letter.charCodeAt(0)).buffer;
    worker.postMessage({model: model.network, bytes}, [bytes]);
    const answer = new Promise((done) => { worker.onmessage = ({data}) => done(data.probabilities); });
    worker.postMessage({id: 1, images: images.map((one) => Uint8Array.from(one))});
    return (await answer).map((one) => [...one]);
}"""


def test_the_camera_is_classified_in_the_browser_until_a_picture_is_kept(app, tab):
    tab.goto(f"{app.address}/classify")
    tab.get_by_text("Camera", exact=True).click()
    camera = tab.locator(".live-camera")
    camera.get_by_text(re.compile(r"^\d+ pictures a second")).wait_for()
    assert camera.locator("li").count() == 3
    shares = [float(text.rstrip("%")) for text in camera.locator("li span:last-child").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert not tab.get_by_text("camera.jpg").count()
    camera.evaluate("(box) => (box.isSame = true)")
    camera.get_by_role("button", name="Keep this one").click()
    tab.locator(".st-key-photo").wait_for()
    tab.locator(".st-key-headline h2").wait_for()
    assert camera.evaluate("(box) => box.isSame && box.stream.active")  # it goes on
    assert camera.locator("li").count() == 3
    tab.get_by_text("Camera", exact=True).click()
    camera.wait_for(state="detached")


SLOW_CAMERA = """
    window.streams = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        await new Promise((done) => setTimeout(done, 1000));
        const stream = await open(wanted);
        window.streams.push(stream);
        return stream;
    };
"""
RUNNING = "() => streams.filter((one) => one.getTracks().some((track) => track.readyState === 'live')).length"


def test_a_camera_that_is_closed_or_turned_while_the_browser_opens_it_does_not_stay_on(app, tab):
    tab.add_init_script(SLOW_CAMERA)
    tab.goto(f"{app.address}/classify")
    tab.get_by_text("Camera", exact=True).click()
    camera = tab.locator(".live-camera")
    camera.get_by_role("button", name="Front or rear").dblclick()
    camera.get_by_text(re.compile(r"^\d+ pictures a second")).wait_for()
    tab.wait_for_function("() => streams.length === 3")
    tab.wait_for_function(f"({RUNNING})() === 1")
    camera.get_by_role("button", name="Front or rear").click()
    tab.get_by_text("Camera", exact=True).click()
    camera.wait_for(state="detached")
    tab.wait_for_function("() => streams.length === 4")
    tab.wait_for_function(f"({RUNNING})() === 0")


def test_without_https_the_page_says_why_there_is_no_camera(app, tab):
    tab.add_init_script("Object.defineProperty(Navigator.prototype, 'mediaDevices', {value: undefined})")
    tab.goto(f"{app.address}/classify")
    tab.get_by_text("Camera", exact=True).click()
    camera = tab.locator(".live-camera")
    camera.get_by_role("heading", name="No camera").wait_for()
    camera.locator("p").filter(has_text="https").wait_for()


def test_its_answers_are_those_of_the_model(small_data, tab):
    model = open_classifier("bundled")
    images, _ = cifar10.samples(50, "generated", test=True)
    message = uploads.camera_model(model.content, model.calibration.temperature)
    found = tab.evaluate(ASK, [webpage.source("network.js"), message, images.reshape(50, -1).tolist()])
    assert np.abs(np.array(found) - model.calibrated(images)).max() < 2e-3
