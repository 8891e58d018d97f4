"""How often a live run is looked at: each second, less often while it waits or nobody sees the tab."""

import time

import pytest
from app_pages import living_worker, make_run
from real_browser import CHROMIUM, MARKS
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from cifar_core import bench_browser

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def intervals(frames: list[bytes]) -> list[float]:
    """Return the seconds between two polls that the server has asked for, without repetitions."""
    found: list[float] = []
    for frame in frames:
        message = ForwardMsg.FromString(frame)
        if message.WhichOneof("type") == "auto_rerun" and message.auto_rerun.interval < 60:
            found += [message.auto_rerun.interval] * (found[-1:] != [message.auto_rerun.interval])
    return found


def test_a_hidden_tab_polls_less_until_it_is_seen_again(small_data, tmp_path) -> None:
    run = make_run("running", rows=[], stage="head", began=time.time(), updated=time.time())
    with (
        living_worker(run),
        bench_browser.running_app(tmp_path / "log") as app,
        playwright.sync_playwright() as starting,
    ):
        browser = starting.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        frames: list[bytes] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(bytes(frame))))
        page.goto(f"{app.address}/?run={run.id}", timeout=120_000)
        for hidden, expected in ((None, [1.0]), (True, [1.0, 10.0]), (False, [1.0, 10.0, 1.0])):
            if hidden is not None:
                page.evaluate(HIDE, hidden)
            deadline = time.monotonic() + 120
            while intervals(frames) != expected and time.monotonic() < deadline:
                page.wait_for_timeout(200)
            assert intervals(frames) == expected
        browser.close()
