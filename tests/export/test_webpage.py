"""The HTML page of a run: in a real Chromium, opened from its file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from real_browser import NEEDS_CHROMIUM, opened_tab

from cifar_core.data import cifar10
from cifar_core.evaluation import predictions
from cifar_core.export import bundle, webpage
from cifar_core.inference import calibration, classifier, decoding, model_file, pictures
from cifar_core.network import litert_format
from cifar_core.runs import labels

SAMPLE = Path(__file__).parents[2] / "pages" / "samples" / "cat.jpg"
MARKUP = "</script><script>window.injected = 1</script><img src=x onerror='window.injected = 1'>"


def test_the_page_of_the_default_width_is_small_and_forbids_every_connection(make_run, finish_run) -> None:
    run = finish_run(make_run(alpha=0.5, image_size=96, dense_units=128))
    answers = predictions.load(run).validation
    rule = calibration.OutOfDistribution(1.0, 0.95, {"noise": 0.9, MARKUP: 0.5}, 200)
    calibration.fit(answers.probabilities, answers.labels, rule).save(run.path / calibration.FILE)
    page = webpage.page(run)
    assert len(page) < 3_000_000
    assert page.decode().count("</script>") == 4
    card = json.loads(re.search('id="model">(.*?)</script>', page.decode())[1])["card"]
    told = bundle.facts(bundle.card(run, answers, predictions.load(run).test))
    assert (
        told.items() <= card.items() and {"Recipe", "Calibration", "Out-of-distribution", "Weaknesses"} <= told.keys()
    )
    assert "95% interval" in card["Test accuracy"] and "noise 90%" in card["Out-of-distribution"]
    assert card["Command"].startswith("python -m cifar_core train") and "airplane " in card["By class"]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.decode())
    assert policy and "default-src 'none'" in policy[1] and "connect-src" not in policy[1] and "http" not in policy[1]


@pytest.fixture
def page(finished_run, chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of a finished run whose name is markup, in a browser without a network."""
    labels.change(finished_run, name=MARKUP[: labels.NAME_LIMIT])
    (tmp_path / "page.html").write_bytes(webpage.page(finished_run))
    with opened_tab(chromium, offline=True) as opened:
        opened.goto((tmp_path / "page.html").as_uri())
        yield opened


@pytest.mark.browser
@NEEDS_CHROMIUM
def test_the_page_answers_as_the_run_does(page: Any, finished_run) -> None:
    images, _ = cifar10.samples(200, "generated", test=True)
    expected = model_file.opened(litert_format.probabilities_only(model_file.read(finished_run)))(images)
    ask = "images => classify(images.map(one => Uint8Array.from(one))).then(all => all.map(one => [...one]))"
    found = np.array(page.evaluate(ask, images.reshape(200, -1).tolist()))
    assert np.abs(found - expected).max() < 2e-3  # what the page says
    page.set_input_files("#file", str(SAMPLE))
    seen = "() => [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 32, 32).data]"
    page.locator("#answer").filter(has_text="%").wait_for()
    pixels = np.array(page.evaluate(seen)).reshape(32, 32, 4)[..., :3]
    own = pictures.prepare(decoding.open_picture(SAMPLE.read_bytes(), SAMPLE.name))
    assert np.abs(pixels - own.astype(int)).max() <= 2


@pytest.mark.browser
@NEEDS_CHROMIUM
def test_the_page_is_calibrated_as_the_app_is(finished_run, chromium: Any, tmp_path: Path) -> None:
    answers = predictions.load(finished_run).validation
    made = msgspec.structs.replace(calibration.fit(answers.probabilities, answers.labels), temperature=2.5)
    made.save(finished_run.path / calibration.FILE)
    (tmp_path / "page.html").write_bytes(webpage.page(finished_run))
    images, _ = cifar10.samples(20, "generated", test=True)
    ask = "images => classify(images.map(one => Uint8Array.from(one))).then(all => all.map(one => [...one]))"
    with opened_tab(chromium, offline=True) as tab:
        tab.goto((tmp_path / "page.html").as_uri())
        found = np.array(tab.evaluate(ask, images.reshape(20, -1).tolist()))
    model = classifier.open_classifier(finished_run.id)
    assert np.abs(found - model.calibrated(images)).max() < 2e-3 < np.abs(found - model.probabilities(images)).max()


@pytest.mark.browser
@NEEDS_CHROMIUM
def test_a_name_with_markup_a_bad_file_an_explanation_and_the_camera(page: Any) -> None:
    assert page.evaluate("window.injected") is None
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    page.locator("#note").filter(has_text="notes.txt").wait_for()
    page.set_input_files("#file", str(SAMPLE))
    page.locator("#why").click()
    page.locator("#note").filter(has_text="evidence").wait_for()
    assert page.locator("#bars li").count() == 10
    answer = page.locator("#answer").inner_text()
    page.check("#camera")
    page.locator("#answer").filter(has_text="%", has_not_text=answer).wait_for()
    assert json.loads(page.locator("#model").text_content())["classes"][3] == "cat"
