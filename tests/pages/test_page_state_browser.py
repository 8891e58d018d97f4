"""What a browser shows and what a press does agree: after a restart of the server."""

import shutil
import subprocess
import sys

import pytest

from cifar_core import bench_browser, jobs, machine, runs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PATIENCE = 120_000  # ms
START = ".st-key-start button"


@pytest.fixture
def server(small_data, tmp_path):
    with bench_browser.running_app(tmp_path / "terminal.log") as app:
        yield app
    for run in runs.list_runs():
        jobs.stop_run(run)


@pytest.fixture
def page(server):
    with playwright.sync_playwright() as chromium:
        browser = chromium.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run"], timeout=PATIENCE
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def slide(page, key: str, presses: int) -> None:
    for _ in range(presses):
        page.locator(f".st-key-{key}").get_by_role("slider").press("ArrowRight")
    page.wait_for_timeout(1_500)


def test_a_press_after_a_restart_of_the_server_starts_what_the_screen_shows(server, page):
    page.goto(f"{server.address}/?train_images=1000&dataset=generated+images&weights=random&image_size=32")
    page.wait_for_selector(START)
    slide(page, "dropout", 2)
    assert "dropout=0.4" in page.url
    server.process.terminate()
    server.process.wait(20)
    again = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(server.port)],
        cwd=machine.app_dir(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        bench_browser._wait_for(server.__class__(server.port, again, None))
        page.wait_for_timeout(8_000)  # the browser reconnects by itself
        page.locator(START).click()
        page.wait_for_url("**run=**")
        (run,) = runs.list_runs()
        config = run.config
        assert (config.dropout, config.train_images, config.image_size, config.weights) == (0.4, 1_000, 32, "random")
        jobs.stop_run(run)
    finally:
        again.terminate()
        again.wait(20)
