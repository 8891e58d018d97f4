"""What a browser shows and what a press does agree: several clicks, Back, a reload, pastes, a server's restart."""

import re
from contextlib import ExitStack

import pytest
from real_browser import MARKS, SETTLED, training_slot

from cifar_core import bench_browser, jobs, runs
from cifar_core.search import sweep_workers

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS
SETTINGS = "train_images=1000&dataset=generated+images&weights=random&image_size=32"
START = ".st-key-start button"
ERROR = "[data-testid=stAlertContentError]"
PASTE = """async ([sides, text, place]) => {
    const clipboard = new DataTransfer();
    for (const side of sides) {  // noise, which no encoder makes smaller
        const canvas = new OffscreenCanvas(side, side);
        const picture = new ImageData(side, side);
        const bytes = new Uint8Array(picture.data.buffer);
        for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
        for (let at = 3; at < bytes.length; at += 4) bytes[at] = 255;
        canvas.getContext("2d").putImageData(picture, 0, 0);
        clipboard.items.add(new File([await canvas.convertToBlob()], "image.png", { type: "image/png" }));
    }
    if (text) clipboard.items.add(text, "text/plain");
    const event = new ClipboardEvent("paste", {
        clipboardData: clipboard, bubbles: true, composed: true, cancelable: true });
    document.querySelector(place).dispatchEvent(event);
    return { taken: event.defaultPrevented, bytes: [...clipboard.files].map(file => file.size) };
}"""


def see(page, place: str) -> None:
    page.locator(place).first.wait_for()


def click_in_a_row(page, place: str, pauses: tuple[int, ...]) -> None:
    """Click where `place` is, again after each of `pauses` in ms, whatever is there by then."""
    page.locator(place).click(trial=True)  # waits until it stands still
    box = page.locator(place).bounding_box()
    for pause in (0, *pauses):
        page.wait_for_timeout(pause)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_what_is_on_screen_is_what_a_press_does(app, tab, recorded_run) -> None:
    with training_slot():
        five_clicks_start_one_run(app, tab)
        a_second_click_on_a_search_is_no_error(app, tab)
    back_goes_through_the_views_one_by_one(app, tab, recorded_run)
    back_after_a_link_with_settings_is_one_step(app, tab, recorded_run)
    pastes_are_taken_but_not_from_fields_and_their_order_goes_back(app, tab)
    a_restart_of_the_server_swallows_no_press(app, tab, recorded_run)


def five_clicks_start_one_run(server, page) -> None:
    page.goto(f"{server.address}/?{SETTINGS}")
    see(page, START)
    before = set(runs.list_runs())
    click_in_a_row(page, START, (60, 250, 60, 250))
    page.wait_for_url("**run=**")
    page.evaluate(SETTLED)  # all clicks are answered
    (run,) = set(runs.list_runs()) - before
    jobs.stop_run(run)


def a_second_click_on_a_search_is_no_error(server, page) -> None:
    for name, form in (("search-1", ""), ("search-2", "&search_grid=true")):
        page.goto(f"{server.address}/explore?section=search{form}")
        see(page, ".st-key-search_start button:enabled")
        click_in_a_row(page, ".st-key-search_start button", (150,))
        playwright.expect(page.locator(".st-key-search input").first).to_have_value(name)
        page.evaluate(SETTLED)
        assert page.locator(ERROR).count() == 0
        sweep_workers.stop(name)


def back_goes_through_the_views_one_by_one(server, page, run) -> None:
    page.goto(f"{server.address}/classify?model={run.id}")
    model = page.locator(".st-key-model input")
    see(page, ".st-key-sample_tiles")
    shown = model.input_value()
    model.click()
    page.get_by_role("option", name="bundled model").click()
    page.wait_for_url("**model=bundled")
    page.get_by_role("link", name="Explore").click()
    see(page, ".st-key-filter")
    playwright.expect(page).not_to_have_url(re.compile("model"))  # a word of another page
    page.locator(".st-key-filter input").fill("quick")
    page.locator(".st-key-filter input").press("Enter")
    page.wait_for_url("**filter=quick**")
    page.get_by_role("radio", name="Search").click()
    page.wait_for_url("**section=search**")
    page.get_by_text("New search").wait_for()
    page.go_back()
    see(page, ".st-key-filter")
    playwright.expect(page.locator(".st-key-filter input")).to_have_value("quick")
    page.go_back()
    playwright.expect(page.locator(".st-key-filter input")).to_have_value("")
    page.go_back()
    playwright.expect(model).to_have_value("bundled model")
    page.go_back()
    playwright.expect(model).to_have_value(shown)
    page.go_forward()
    playwright.expect(model).to_have_value("bundled model")


def back_after_a_link_with_settings_is_one_step(server, page, run) -> None:
    page.goto(f"{server.address}/explore?runs={run.id}")
    page.get_by_text("Rename, note, star, delete").click()
    page.get_by_role("link", name="Use its settings").click()
    see(page, START)
    page.get_by_text("Settings of Quick, none changed").wait_for(state="hidden")
    page.go_back()
    see(page, ".st-key-filter")


def pastes_are_taken_but_not_from_fields_and_their_order_goes_back(server, page) -> None:
    page.goto(f"{server.address}/classify")
    see(page, ".st-key-sample_tiles")
    page.evaluate(SETTLED)  # what listens for a paste is not seen
    pasted = page.evaluate(PASTE, [[2_700], "", "body"])
    assert pasted["taken"] and pasted["bytes"][0] > 18_700_000  # in base 64 more than the socket takes
    see(page, ".bars")
    page.evaluate(PASTE, [[64, 64], "", "body"])
    tiles = page.locator(".st-key-gallery_tiles button")
    playwright.expect(tiles).to_have_count(2)
    page.evaluate(SETTLED)
    views = page.get_by_role("radiogroup", name="More about it")
    assert views.evaluate("(element) => element.scrollWidth <= element.clientWidth")  # beside the gallery, too
    order = page.locator(".st-key-classify-sort input").first
    given = order.input_value()
    order.click()
    page.get_by_role("option").nth(1).click()
    page.wait_for_url("**sort=**")
    page.go_back()
    playwright.expect(order).to_have_value(given)
    assert not page.evaluate(PASTE, [[64], "words", ".st-key-model input"])["taken"]
    page.evaluate(SETTLED)
    playwright.expect(tiles).to_have_count(2)


def a_restart_of_the_server_swallows_no_press(server, page, run) -> None:
    table = page.context.new_page()
    table.goto(f"{server.address}/evaluate?run={run.id}")
    see(table, ".st-key-download_confusion0 button")
    page.goto(f"{server.address}/?{SETTINGS}")
    see(page, START)
    for _ in range(2):
        page.locator(".st-key-dropout").get_by_role("slider").press("ArrowRight")
    page.wait_for_url("**dropout=0.4**")
    page.reload()
    see(page, START)
    playwright.expect(page.locator(".st-key-dropout").get_by_role("slider")).to_have_value("0.4")
    before = set(runs.list_runs())
    server.process.terminate()
    server.process.wait(60)
    with ExitStack() as again, training_slot():
        with page.expect_websocket(), table.expect_websocket():  # browsers connect again by themselves
            again.enter_context(bench_browser.running_app(port=server.port))
        page.locator(START).click()
        page.wait_for_url("**run=**")
        (run,) = set(runs.list_runs()) - before
        config = run.config
        assert (config.dropout, config.train_images, config.image_size, config.weights) == (0.4, 1_000, 32, "random")
        jobs.stop_run(run)
        table.evaluate(SETTLED)  # its files have new addresses
        with table.expect_download() as download:
            table.locator(".st-key-download_confusion0 button").click()
        assert "airplane" in download.value.path().read_text()
