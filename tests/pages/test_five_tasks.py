"""What people come for, on a phone: each of five tasks takes at most three clicks from its page or the home page."""

import re

import numpy as np
import pytest
from real_browser import MARKS, SETTLED, opened_tab

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.runs import labels, write_json

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS
MOST_CLICKS = 3
TINY = "dataset=generated+images&weights=random&image_size=32&train_images=1000&head_epochs=1&fine_tune_epochs=0"


class Phone:
    """A tab that shows `page` and counts its clicks."""

    def __init__(self, tab, address: str, page: str) -> None:
        self.tab = tab
        self.tab.goto(f"{address}/{page}")
        self.tab.wait_for_selector("h1")
        self.clicks = 0

    def click(self, selector: str) -> None:
        """Click on the first that matches, once it is visible."""
        self.tab.locator(selector).first.click()
        self.clicks += 1

    def sees(self, text: str | re.Pattern) -> str:
        """Return the first text on the page that matches, once it is visible without sideways scrolling."""
        place = self.tab.get_by_text(text).first
        playwright.expect(place).to_be_visible()
        self.tab.evaluate(SETTLED)
        box = place.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        return place.inner_text()


@pytest.fixture
def server(app, recorded_run):
    """The app with a recorded run, and with one of width 0.5 and one of width 1 that took six times as long."""
    truth = np.arange(200, dtype=np.uint8) % 10
    for alpha, accuracy, seconds, wrong in ((0.5, 0.80, 60.0, 30), (1.0, 0.808, 360.0, 29)):
        run = runs.create(TrainConfig(alpha=alpha), "test")
        result = {"validation_accuracy": accuracy, "validation_images": 1_000, "elapsed_seconds": seconds}
        write_json(run.path / "status.json", {"state": "finished", "result": result})
        answers = np.eye(10, dtype=np.float32)[np.where(np.arange(200) < wrong, (truth + 1) % 10, truth)]
        parts = {f"{split}_{part}" for split in ("validation", "test") for part in ("labels", "probabilities")}
        arrays = {name: truth if name.endswith("labels") else answers for name in parts}
        np.savez(run.path / "evaluation.npz", **arrays)
        labels.change(run, name=f"width {alpha:g}")
    return app


@pytest.fixture
def narrow(chromium):
    """A tab as wide as a phone."""
    with opened_tab(chromium, 390, 844, has_touch=True) as opened:
        yield opened


def train_and_say_the_accuracy(phone: Phone) -> None:
    phone.click(".st-key-start button")
    assert re.search(
        r"\d+ of 100 new pictures correct, \d+\.\d% to \d+\.\d%", phone.sees("of 100 new pictures correct")
    )


def classify_a_photo(phone: Phone) -> None:
    phone.click(".st-key-sample_tiles button.tile")
    answer = phone.tab.locator(".st-key-headline h2")
    answer.wait_for()
    phone.tab.evaluate(SETTLED)
    assert re.fullmatch(r"[a-z]+, (over )?\d+%", answer.inner_text())
    box = answer.bounding_box()
    assert box["y"] + box["height"] <= 844, "the answer is on the first screen"


def is_width_1_worth_it(phone: Phone) -> None:
    said = phone.sees(re.compile("has the best validation accuracy"))
    assert re.search(r"width 1 .*\+0\.8 points.* 6\.0 ×.*not a significant gain", said)


def why_stuck_at_0_4(phone: Phone) -> None:
    phone.click("[data-testid=stPageLink] >> text=Lessons")
    phone.click("button:has-text('Stuck near 0.4?')")
    phone.sees(re.compile("What is the validation accuracy"))
    phone.click("[data-testid=stRadio] >> text=30 to 70%")
    assert "batch normalization" in phone.sees(re.compile("Keep batch normalization in inference mode"))


def take_the_model_away(phone: Phone) -> None:
    phone.click(".st-key-open_last button")
    phone.click(".st-key-open_export button")
    with phone.tab.expect_download() as download:
        phone.click(".st-key-download_html button:visible")
    assert download.value.suggested_filename.endswith(".html")  # classifies on the phone


def test_each_of_five_tasks_takes_at_most_three_clicks_on_a_phone(server, narrow, recorded_run) -> None:
    tasks = {
        classify_a_photo: f"classify?model={recorded_run.id}",
        is_width_1_worth_it: "explore",
        why_stuck_at_0_4: "",
        train_and_say_the_accuracy: f"?{TINY}",
        take_the_model_away: "",  # the last run is the one just trained
    }
    clicks = {}
    for task, address in tasks.items():
        phone = Phone(narrow, server.address, address)
        task(phone)
        clicks[task.__name__] = phone.clicks
    assert max(clicks.values()) <= MOST_CLICKS, clicks

    narrow.goto(server.address)
    the_menu_closes_once_a_page_is_chosen(narrow)


def the_menu_closes_once_a_page_is_chosen(tab) -> None:
    tab.wait_for_selector("h1")
    tab.evaluate(SETTLED)
    is_open = "() => document.querySelector('[data-testid=stSidebar]').getBoundingClientRect().left > -9"
    for name, title in (("Learn", "Guess"), ("Teach", "Teach it"), ("Train", "Train")):
        assert not tab.evaluate(is_open)
        tab.locator("[data-testid=stExpandSidebarButton]").click()
        tab.wait_for_function(is_open)
        tab.get_by_role("link", name=name).first.click()
        tab.get_by_role("heading", name=title, level=1).wait_for()
        tab.wait_for_function(f"() => !({is_open})()")
