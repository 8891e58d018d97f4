"""What the tests in a real browser share: the program, how it is started, and the marks of a file of such tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cifar_core.bench_browser import find_chromium

CHROMIUM = find_chromium()
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
MARKS = [pytest.mark.browser, pytest.mark.slow, NEEDS_CHROMIUM]
PATIENCE = 300_000
"""Milliseconds for what takes half a minute at most on a machine that nobody shares."""
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving picture
    "--use-fake-ui-for-media-stream",
)
SETTLED = """() => new Promise((done) => {
    const isDrawn = () => !document.querySelector('.live-chart:not(:has(.main-svg))');
    let timer;
    const wait = () => { clearTimeout(timer); timer = setTimeout(() => isDrawn() ? done() : wait(), 500); };
    wait();
    new MutationObserver(wait)
        .observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    setTimeout(done, 4_000);
})"""
"""JavaScript that waits until all charts are drawn and nothing has changed for half a second; 4 s where a run lives."""


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Start Chromium, with a camera; give Playwright's `Browser`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def opened_tab(chromium: Any, width: int = 1440, height: int = 1000, **options: Any) -> Iterator[Any]:
    """Open a tab in a context of its own, with `options` of Playwright's `new_context`.

    `complaints` of the tab collects errors of its scripts; there must be none in the end.
    """
    tab = chromium.new_context(viewport={"width": width, "height": height}, **options).new_page()
    tab.set_default_timeout(PATIENCE)
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    yield tab
    assert not tab.complaints, tab.complaints
    tab.context.close()
