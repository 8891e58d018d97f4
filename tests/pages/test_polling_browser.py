"""How often a live run is looked at: each second, less often while it waits or nobody sees the tab."""

import time

import pytest
from app_pages import living_worker, make_run
from real_browser import CHROMIUM, MARKS

from cifar_core import bench_browser

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


class Frames:
    """Counts the messages of the server."""

    def __init__(self, page) -> None:
        self.count = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._add))

    def _add(self, frame) -> None:
        self.count += 1

    def within(self, page, seconds: float) -> int:
        before = self.count
        page.wait_for_timeout(seconds * 1_000)
        return self.count - before


def test_a_hidden_tab_is_sent_a_fifth_at_most_and_all_at_once_when_it_is_seen_again(small_data, tmp_path) -> None:
    run = make_run("running", rows=[], stage="head", began=time.time(), updated=time.time())
    with (
        living_worker(run),
        bench_browser.running_app(tmp_path / "log") as app,
        playwright.sync_playwright() as starting,
    ):
        browser = starting.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        frames = Frames(page)
        page.goto(f"{app.address}/?run={run.id}", timeout=120_000)
        page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=120_000)
        page.wait_for_timeout(3_000)
        seen = frames.within(page, 9)
        page.evaluate(HIDE, True)
        page.wait_for_timeout(8_000)
        hidden = frames.within(page, 9)
        page.evaluate(HIDE, False)
        page.wait_for_timeout(3_000)
        again = frames.within(page, 9)
        browser.close()
    assert seen > 0 and hidden <= seen / 5 and again > seen / 2, (seen, hidden, again)
