"""What the tests in a real browser share: the program, how it is started, and the marks of a file of such tests."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.bench_browser import find_chromium
from cifar_core.training.worker import SLOT

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
_ASKS = """(() => {  // whether the server has not yet said anything to what the page sent it last
    const Socket = window.WebSocket;
    window.asks = false;
    window.WebSocket = class extends Socket {
        constructor(...options) {
            super(...options);
            window.asks = true;
            this.addEventListener("message", () => (window.asks = false));
        }
        send(...content) {
            window.asks = true;
            return super.send(...content);
        }
    };
})()"""
SETTLED = f"""() => new Promise((done, failed) => {{
    const begun = performance.now();
    let changed = begun;
    const isSeen = (place) => [...document.querySelectorAll(place)].some((element) => element.checkVisibility());
    const isDrawn = () => !window.asks
        && document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
        && !isSeen('.live-chart:not(:has(.main-svg)), [data-stale=true], [data-testid^=stSkeleton]');
    const watch = new MutationObserver(() => (changed = performance.now()));
    watch.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
    const look = setInterval(() => {{
        const now = performance.now(), isDone = isDrawn() && (now - changed > 500 || now - begun > 4000);
        if (!isDone && now - begun < {PATIENCE}) return;
        clearInterval(look);
        watch.disconnect();
        isDone ? done() : failed(new Error("The page does not come to rest."));
    }}, 50);
}})"""
"""JavaScript that waits until the server has answered, all is drawn, and nothing has changed for half a second.

Where something always changes, as the seconds of a live run do, it waits for 4 s until it is drawn.
"""


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Start Chromium, with a camera; give Playwright's `Browser`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def opened_tab(chromium: Any, width: int = 1440, height: int = 1000, **options: Any) -> Iterator[Any]:
    """Open a tab in a context of its own, with `options` of Playwright's `new_context`.

    `complaints` of the tab collects errors of its scripts; there must be none in the end.
    """
    context = chromium.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(_ASKS)
    tab = context.new_page()
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    try:
        yield tab
        assert not tab.complaints, tab.complaints
    finally:
        context.close()


def training_slot() -> FileLock:
    """Return a lock: while it is held, runs that start wait in the queue, so that none ends before it is stopped."""
    runs.runs_dir().mkdir(exist_ok=True)
    return FileLock(runs.runs_dir() / SLOT)


def free_ports(count: int) -> list[int]:
    """Return different free ports of localhost."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
