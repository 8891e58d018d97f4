"""The data map in a real Chromium: dots are clicked and boxed in, the map is made, the matrix follows the slider."""

import re
import shutil

import pytest
from real_browser import MARKS, SETTLED

from cifar_core.evaluation import data_map
from cifar_core.runs import Run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS


def dots(page, title: str):
    """The figure whose title begins with `title`."""
    return page.locator(".live-chart", has=page.locator(f".gtitle:has-text('{title}')"))


def test_dots_are_chosen_the_map_is_made_and_the_slider_moves(app, tab, undisturbed_run):
    run = Run(undisturbed_run.name)
    shutil.copytree(undisturbed_run, run.path)
    tab.goto(f"{app.address}/evaluate?map=true")
    choose_a_dot_and_then_more(tab)
    make_the_map(tab)
    zoom_in_and_point_at_a_dot(tab)
    tab.get_by_role("radio", name="Forgotten").or_(tab.get_by_text("Forgotten", exact=True)).first.click()
    slider = tab.locator(".st-key-map_epoch")
    slider.get_by_role("slider").press("ArrowLeft")
    slider.filter(has_text="Fine-tuning, epoch 2").wait_for()
    data_map.job(run).ask_to_stop()


def choose_a_dot_and_then_more(page) -> None:
    hard = dots(page, "Easy, ambiguous, hard")
    hard.locator(".scatterlayer .point").first.wait_for()
    page.evaluate(SETTLED)
    hard.scroll_into_view_if_needed()
    dot = hard.locator(".scatterlayer .point").first.bounding_box()
    page.mouse.click(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    page.get_by_text("1 chosen", exact=True).first.wait_for()
    page.evaluate(SETTLED)
    area = hard.locator(".nsewdrag").bounding_box()
    page.mouse.move(area["x"] + 5, area["y"] + 5)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] - 5, area["y"] + area["height"] - 5, steps=5)
    page.mouse.up()
    more = page.get_by_text(re.compile(r"^\d\d+ chosen$")).first
    more.wait_for()
    assert int(more.inner_text().split()[0]) > 50
    page.mouse.dblclick(area["x"] + 8, area["y"] + 8)
    page.get_by_text("The most ambiguous first.").wait_for()


def make_the_map(page) -> None:
    page.get_by_text("Alike", exact=True).first.click()
    page.locator(".st-key-make_map button").click()
    page.get_by_text(re.compile("^Made in")).first.wait_for()
    for title in ("Before training", "After fine-tuning"):
        playwright.expect(dots(page, title).locator(".scatterlayer .point")).to_have_count(200)
    page.evaluate(SETTLED)


ZOOM = """async (chart) => { // on the ten dots around the first one
    const all = chart._fullData.flatMap(({ x, y }) => [...x].map((value, i) => [value, y[i]]));
    const [[left, top]] = all;
    const far = all.map(([x, y]) => Math.max(Math.abs(x - left), Math.abs(y - top))).sort((a, b) => a - b)[10];
    const around = (value) => [value - far, value + far];
    await Plotly.relayout(chart, { "xaxis.range": around(left), "yaxis.range": around(top) });
    const { xaxis, yaxis } = chart._fullLayout;
    return [xaxis._offset + xaxis.d2p(left), yaxis._offset + yaxis.d2p(top)];
}"""


BOTH_SAY_THE_SAME = """() => {
    const texts = [...document.querySelectorAll(".live-chart .hoverlayer .hovertext")].map((one) => one.textContent);
    return texts.length === 2 && texts[0] === texts[1] && texts[0].startsWith("image ");
}"""


def zoom_in_and_point_at_a_dot(page) -> None:
    before, after = dots(page, "Before training"), dots(page, "After fine-tuning")
    pictures = before.locator(".imagelayer image")
    assert pictures.count() == after.locator(".imagelayer image").count() == 0
    x, y = before.evaluate(ZOOM)
    pictures.first.wait_for()
    assert 10 <= pictures.count() <= 12 and after.locator(".imagelayer image").count() == 0
    assert len({picture.get_attribute("href") for picture in pictures.all()}) > 5  # each has its own
    before.scroll_into_view_if_needed()
    box = before.bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.wait_for_function(BOTH_SAY_THE_SAME)  # on the way to the dot, the mouse meets others
    page.mouse.move(0, 0)
    after.locator(".hoverlayer .hovertext").wait_for(state="detached")
