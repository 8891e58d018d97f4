"""Pages in Chromium: axe-core finds nothing in either theme, headings are in order, a phone scrolls one way only."""

import importlib.util
import itertools
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from app_pages import living_worker, make_run, metrics
from finished_sweeps import FIVE, play
from real_browser import MARKS, SETTLED, opened_tab, training_slot
from teach_pictures import drawn

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.inference import pins
from cifar_core.inference.pictures import Picture
from cifar_core.runs import write_json
from cifar_core.teach import project as projects
from pages.components.formatting import FRONTEND

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
AXE = importlib.util.find_spec("axe_playwright_python")
pytestmark = [*MARKS, pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")]
PAGES = (
    "",
    "classify",
    "teach",
    "evaluate",
    "explore",
    "explore?section=search",
    "learn",
    "learn?lesson=inside&guesses=inside.1",
    "learn?lesson=scaling&guesses=scaling.1",
    "learn?lesson=augmentation&guesses=augmentation.1",
)
VIOLATIONS = """async (only) => {
    const rules = {"presentation-role-conflict": {enabled: false}};  // of Streamlit's file uploader
    const {violations} = await axe.run(document, {resultTypes: ["violations"], rules, ...only});
    return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`));
}"""
HEADINGS = "() => [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((heading) => Number(heading.tagName[1]))"
ELEMENTS = "() => [...document.querySelectorAll('[data-testid]')].map((element) => element.dataset.testid)"
COLORS = ["color-contrast", "link-in-text-block"]
"""The rules of axe that a theme can break; all are asked of the light one."""
IS_DARK = "() => getComputedStyle(document.querySelector('[data-testid=stApp]')).colorScheme === 'dark'"
WIDTH = (
    "() => Math.max(...[document.documentElement, ...document.querySelectorAll('section')].map((e) => e.scrollWidth))"
)
SIDEWAYS = """() => [...document.querySelectorAll('[data-testid=stMainBlockContainer] *')]
    .filter((e) => e.checkVisibility() && !e.closest('pre, .scrolled') && e.scrollWidth > e.clientWidth + 1
        && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
    .map((e) => e.outerHTML.slice(0, 150))"""

COVERED = """() => [...document.querySelectorAll('.js-plotly-plot, .live-chart')].flatMap((chart) => {
    const legend = chart.querySelector('.legend')?.getBoundingClientRect();
    const texts = [...chart.querySelectorAll('.gtitle, .xtitle, .ytitle')];
    return !legend?.width ? [] : texts.filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width && box.left < legend.right && legend.left < box.right
            && box.top < legend.bottom - 1 && legend.top + 1 < box.bottom;
    }).map((text) => text.textContent);
})"""
"""Titles that a chart's legend covers."""
STREAMLIT_CSS = (FRONTEND / "streamlit.css").read_text("utf-8")
TARGETS = " ".join(re.search(r":is\(([^{]*)\) \{\s*min-height: 40px", STREAMLIT_CSS)[1].split())
LOW = f"""() => [...document.querySelectorAll("{TARGETS}")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 40)
    .map((one) => one.outerHTML.slice(0, 150))"""
"""Targets that are too low for a finger."""


IN_SIGHT_PAST_THE_NOTICE = """(place) => {
    document.querySelector('[data-testid=stMain]').scrollTop = 100;
    const box = document.querySelector(place)?.getBoundingClientRect();
    return box && box.top > 0 && box.bottom <= innerHeight;
}"""
"""JavaScript that scrolls by 100 px and tells whether the element of a selector is in sight, whole."""


@pytest.fixture(scope="module")
def filled(served):
    """The app with two finished runs, a search and two classes of one's own."""
    for dropout, accuracy in ((0.1, 0.7), (0.2, 0.8)):
        run = runs.create(TrainConfig(dropout=dropout), "test")
        result = {"validation_accuracy": accuracy, "validation_images": 100, "elapsed_seconds": 60.0}
        write_json(run.path / "status.json", {"state": "finished", "result": result})
    play("one", *FIVE, goal=5)
    projects.create("kinds")
    kinds = [(kind, Picture(f"{n}.png", drawn(kind, n))) for kind in ("stripes", "spots") for n in range(4)]
    projects.add("kinds", kinds)


def open_page(tab, app, page: str, opens_panels: bool = True) -> None:
    """Show `page` of the app, as a rule with all panels open."""
    tab.goto(f"{app.address}/{page}")
    tab.wait_for_selector("h1")
    tab.evaluate(SETTLED)
    if opens_panels:
        tab.evaluate("() => document.querySelectorAll('details:not([open]) > summary').forEach((one) => one.click())")
        tab.evaluate(SETTLED)


def check(tab, app, pages: Iterable[str]) -> set[str]:
    """Look at `pages` in both themes, and on a phone; return the names of Streamlit's elements on them.

    The titles of the tab and of the page are looked at where the address is no more than the page.
    """
    axe = (Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text()
    found = {}
    elements: set[str] = set()
    heights = set()
    touch = tab.context.new_cdp_session(tab)
    for page in pages:
        touch.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
        tab.set_viewport_size({"width": 1440, "height": 900})
        tab.emulate_media(color_scheme="light", reduced_motion="reduce")
        open_page(tab, app, page)
        tab.evaluate(axe)
        found[page, "light"] = tab.evaluate(VIOLATIONS, {})
        assert not tab.locator(".live-chart:not([aria-label])").count(), page
        elements |= set(tab.evaluate(ELEMENTS))
        levels = tab.evaluate(HEADINGS)
        assert levels[0] == 1 and levels.count(1) == 1, page
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), (page, levels)
        if "?" not in page:
            playwright.expect(tab).to_have_title(f"{page.capitalize() or 'Train'} · CIFAR Studio")
            title = tab.locator("h1")
            heights.add((title.bounding_box()["y"], title.evaluate("(one) => getComputedStyle(one).padding")))
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function(IS_DARK)
        tab.evaluate(SETTLED)
        found[page, "dark"] = tab.evaluate(VIOLATIONS, {"runOnly": COLORS})
        tab.set_viewport_size({"width": 390, "height": 844})
        touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        tab.wait_for_function("() => innerWidth === 390 && matchMedia('(pointer: coarse)').matches")
        tab.evaluate(SETTLED)
        assert not tab.evaluate(LOW), page
        assert tab.evaluate(WIDTH) <= 390, page
        assert not tab.evaluate(SIDEWAYS), page
        assert not tab.evaluate(COVERED), page
        elements |= set(tab.evaluate(ELEMENTS))
    assert len(heights) <= 1, heights
    assert not {key: violations for key, violations in found.items() if violations}
    return elements


def test_the_keyboard_alone_sets_starts_stops_and_classifies(app, tab) -> None:
    open_page(tab, app, "?dataset=generated+images&weights=random&image_size=32", opens_panels=False)
    reach(tab, "[data-testid=stTopNavLink]")
    assert tab.evaluate("() => getComputedStyle(document.activeElement).boxShadow") != "none"  # its ring
    reach(tab, ".st-key-dropout input")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_url("**dropout=0.35**")
    tab.evaluate(SETTLED)
    with training_slot():
        reach(tab, ".st-key-start")
        tab.keyboard.press("Enter")
        tab.wait_for_url("**run=**")
        tab.wait_for_selector("[class*=st-key-stop] button:enabled")
        tab.evaluate(SETTLED)
        reach(tab, "[class*=st-key-stop]")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("[class*=st-key-resume] button")
    open_page(tab, app, "classify?model=bundled", opens_panels=False)
    reach(tab, ".st-key-sample_tiles")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".st-key-headline h2")


def test_axe_finds_nothing_on_a_run_that_lives_failed_or_has_all_its_files(filled, app, tab, recorded_run) -> None:
    failed = make_run("failed", error={"type": "StoreError", "message": "There is no room."})
    live = make_run("running", rows=metrics(2, 0)[:-1], stage="head", updated=time.time())
    pages = [f"?run={run.id}" for run in (recorded_run, failed, live)]
    with living_worker(live):
        check(tab, app, [*pages, f"evaluate?run={recorded_run.id}&sure=true&classes=true"])


def test_axe_finds_nothing_titles_and_headings_are_in_order_and_a_phone_scrolls_one_way_and_has_large_targets(
    filled, app, tab
) -> None:
    elements = check(tab, app, PAGES)
    named = set(re.findall(r"data-testid=([\w-]+)", STREAMLIT_CSS))
    assert named <= elements, "elements of Streamlit that the style names: an upgrade has renamed some"


def reach(tab, place: str) -> None:
    """Press Tab until `place` has the focus, which may be inside a component."""
    focused = """(place) => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
        return Boolean(element?.closest(place) ?? element?.getRootNode().host?.closest(place));
    }"""
    tab.wait_for_selector(place, state="attached")
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate(focused, place):
            return
    raise AssertionError(f"{place} cannot be reached")


@pytest.fixture
def watched_run():
    """A finished run that recorded a picture at three moments: first a dog, then the cat that it is."""
    run = make_run("finished", rows=metrics(2, 0))
    pin = pins.Pin(np.full((32, 32, 3), 200, np.uint8), "cat")
    pins.save(run, [pin])
    answers = [np.eye(10)[label].tolist() for label in (5, 5, 3)]
    rows = [{"phase": "head", "epoch": epoch, "pins": {pin.key: answer}} for epoch, answer in enumerate(answers)]
    (run.path / pins.PROBES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


PAST = """(slider) => {  // what the slider has said; some of it is there for a quarter of a second only
    window.past = [];
    const look = (changes) => past.push(...changes.map(({ oldValue }) => oldValue));
    new MutationObserver(look).observe(slider, {attributeFilter: ["aria-valuetext"], attributeOldValue: true});
}"""


def test_nothing_plays_where_motion_is_reduced(app, tab, watched_run) -> None:
    for motion, buttons in (("no-preference", 1), ("reduce", 0)):
        tab.emulate_media(reduced_motion=motion)
        open_page(tab, app, f"?run={watched_run.id}", opens_panels=False)
        tab.wait_for_selector(".st-key-watch input[type=range]")
        assert tab.locator(".st-key-watch button:visible").count() == buttons


def test_the_keyboard_plays_and_goes_through_the_epochs_of_a_picture(app, tab, watched_run) -> None:
    open_page(tab, app, f"?run={watched_run.id}", opens_panels=False)
    slider, heading = tab.locator(".st-key-watch input"), tab.locator(".st-key-watch .textpoint")
    slider.focus()
    tab.keyboard.press("ArrowLeft")
    heading.get_by_text("labeled cat").wait_for()
    assert slider.get_attribute("aria-valuetext") == "Head, epoch 1"
    reach(tab, ".st-key-watch button")
    slider.evaluate(PAST)
    tab.keyboard.press("Enter")
    playwright.expect(slider).to_have_attribute("aria-valuetext", "Head, epoch 2")
    said = [words for words, _ in itertools.groupby(tab.evaluate("past"))]
    assert said == ["Head, epoch 1", "before any training", "Head, epoch 1"]
    heading.get_by_text("correct").wait_for()


def test_a_click_on_the_picture_of_a_card_opens_its_lesson(app, tab) -> None:
    open_page(tab, app, "learn", opens_panels=False)
    box = tab.locator(".st-key-card_scaling img").bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_url("**lesson=scaling**")


def test_on_a_phone_start_is_in_sight_and_why_it_is_disabled(app, tab) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    open_page(tab, app, "?alpha=1.3&weights=imagenet", opens_panels=False)
    for width, height in ((390, 844), (844, 390)):
        tab.set_viewport_size({"width": width, "height": height})
        for place in (".st-key-start button:disabled", ".st-key-start_buttons [data-testid=stAlert]"):
            tab.wait_for_function(IN_SIGHT_PAST_THE_NOTICE, arg=place)


def test_on_a_phone_the_photo_stays_in_sight(app, tab) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    open_page(tab, app, "classify?model=bundled", opens_panels=False)
    tab.locator(".tile").first.click()
    tab.wait_for_selector(".st-key-view")
    tab.evaluate(SETTLED)
    tab.evaluate("() => document.querySelector('[data-testid=stMain]').scrollBy(0, 600)")
    tab.evaluate(SETTLED)
    box = tab.locator(".st-key-photo").bounding_box()
    assert box["y"] > 0 and box["y"] + box["height"] < 844 / 2


@pytest.fixture
def phone(chromium):
    """A tab of a phone, where touch is the pointer."""
    with opened_tab(chromium, 390, 844, has_touch=True, is_mobile=True) as opened:
        yield opened


def test_a_tap_beside_the_open_menu_closes_it_and_presses_nothing(app, phone) -> None:
    tab = phone
    open_page(tab, app, "", opens_panels=False)
    box = tab.locator(".st-key-preset_standard button").bounding_box()
    tab.locator("[data-testid=stExpandSidebarButton]").tap()
    tab.wait_for_selector("[data-testid=stSidebar][data-collapsed=false]")
    tab.touchscreen.tap(box["x"] + box["width"] - 8, box["y"] + 20)
    tab.wait_for_selector("[data-testid=stSidebar][data-collapsed=true]", state="attached")
    tab.evaluate(SETTLED)
    assert "?" not in tab.url, "a preset was pressed"


def test_on_a_phone_nothing_is_said_of_a_keyboard_and_the_handle_of_the_crop_is_large(app, phone) -> None:
    tab = phone
    open_page(tab, app, "classify?model=bundled", opens_panels=False)
    assert not tab.get_by_text("Ctrl+V").is_visible()
    tab.locator(".tile").first.tap()
    handle = tab.locator(".square i")
    handle.wait_for()
    tab.evaluate(SETTLED)
    assert min(handle.bounding_box()[side] for side in ("width", "height")) >= 44
