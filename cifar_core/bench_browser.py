"""Starts the app as the README does, on a free port, and times it in Chromium; for the benchmark and tests."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from cifar_core import machine, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.runs import Run

_START_SECONDS = 120.0

_PATIENCE_SECONDS = 60
_STARTS, _VISITS = 3, 5
_INTERACTIONS = 10
_POINTS = 10
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_LAST_EPOCH = """() => {
    const plot = [...document.querySelectorAll('.live-chart')].find(p => p.layout?.title?.text?.includes('Accuracy'));
    return Math.max(0, ...(plot?._fullData ?? []).filter(t => t.name === 'validation').map(t => t.x.length));
}"""
_CLASSIFIED = """async () => {
    const image = Uint8Array.from({length: 32 * 32 * 3}, (_, i) => i % 251), times = [];
    for (let number = 0; number < 40; number++) {
        const start = performance.now();
        await classify([image]);
        times.push(performance.now() - start);
    }
    return times.slice(10).sort((a, b) => a - b)[15] / 1000;
}"""
_CAN_START = "() => [...document.querySelectorAll('button')].some((one) => one.innerText.includes('Start training'))"
_COST = "() => document.querySelector('.st-key-start_place')?.innerText ?? ''"


@dataclass(frozen=True)
class Server:
    """A running app: its port, its process, and the log file of its output, or None."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path | None
    path: str = ""

    @property
    def address(self) -> str:
        """The URL of the app."""
        return f"http://localhost:{self.port}{self.path}"


def free_port() -> int:
    """Return a free port of localhost."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_app(log: Path | None = None, port: int = 0, path: str = "") -> Iterator[Server]:
    """Start the app, wait until it answers, and end it on exit. Raises RunError if it does not answer.

    `port` 0 selects a free port. `path` is the base path of the URL, such as "/studio".
    """
    port, options = port or free_port(), ["--server.baseUrlPath", path] if path else []
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *options],
            cwd=machine.app_dir(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(port, process, log, path)
    try:
        _wait_for(server)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def find_chromium() -> str | None:
    """Return the path of Chromium or Chrome, or None if neither is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not app_answers(server.address):
        if server.process.poll() is not None or time.monotonic() > deadline:
            output = f"; its output is in {server.log}" if server.log else ""
            raise RunError(f"The app's server did not start{output}; try 'streamlit run app.py'.")
        time.sleep(0.1)


def app_answers(address: str) -> bool:
    """Return whether the app at `address` answers."""
    with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
        return True
    return False


def measure(finished: Run) -> dict[str, Any]:
    """Return the median times in seconds, or under "unavailable" the reason why they cannot be measured.

    first_page: from the request to the button on *Train*, with warm server and cache. cold_page: the same with a new
    server and a new browser. interaction: from a change of a slider to the new cost on screen. metric: from a row in
    metrics.jsonl to its point in the curve. html_page: one picture in the exported HTML page.
    """
    chromium = find_chromium()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return {"unavailable": "the package playwright is not installed (`pip install playwright`)"}
    if chromium is None:
        return {"unavailable": "Chromium is not installed"}
    with sync_playwright() as playwright:
        try:
            cold = []
            for _ in range(_STARTS):
                with _new_tab(playwright, chromium) as (page, address):
                    cold.append(_visit(page, address))
            with _new_tab(playwright, chromium) as (page, address):
                _visit(page, address)  # fills the caches of browser and server
                return {
                    "cold_page_seconds": statistics.median(cold),
                    "first_page_seconds": statistics.median(_visit(page, address) for _ in range(_VISITS)),
                    "interaction_seconds": statistics.median(_interactions(page, address)),
                    "metric_seconds": statistics.median(_metrics(page, address, finished)),
                    "html_page_seconds": html_page_seconds(page, finished),
                }
        except Error as error:
            return {"unavailable": f"Chromium did not get there: {str(error).splitlines()[0]}"}


@contextmanager
def _new_tab(playwright: Any, chromium: str) -> Iterator[tuple[Any, str]]:
    """Start the app and a browser; return a tab of it and the URL of the app."""
    with running_app() as app:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_QUIET))
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(_PATIENCE_SECONDS * 1000)
        try:
            yield page, app.address
        finally:
            browser.close()


def _visit(page: Any, address: str) -> float:
    """Time a visit of *Train*."""
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(_CAN_START, polling=10)  # Playwright's locators look once a second after the first half
    return time.perf_counter() - start


def _interactions(page: Any, address: str) -> list[float]:
    """Move the width slider and time the update of the cost beside the button."""
    page.goto(address)
    page.get_by_role("button", name="Start training").wait_for()
    page.wait_for_timeout(2_000)
    slider = page.get_by_role("slider").first
    taken = []
    for number in range(_INTERACTIONS):
        before = page.evaluate(_COST)
        start = time.perf_counter()
        slider.press("ArrowRight" if number % 2 else "ArrowLeft")
        page.wait_for_function(f"before => ({_COST})() !== before", arg=before, polling=10)
        taken.append(time.perf_counter() - start)
        page.wait_for_timeout(300)
    return taken


def _metrics(page: Any, address: str, finished: Run) -> list[float]:
    """Append epochs to a run that appears to be running, and time until each is drawn."""
    epoch = next(row for row in finished.metrics() if row["kind"] == "epoch")
    live = runs.create(TrainConfig(head_epochs=100), "watched")
    with FileLock(live.path / "lock"):
        runs.write_json(live.path / "status.json", {"state": "running", "stage": "head", "started": time.time()})
        page.goto(f"{address}/?run={live.id}")
        page.get_by_text("Phase 1").first.wait_for()
        page.wait_for_timeout(2_000)
        taken = []
        for number in range(1, _POINTS + 1):
            start = time.perf_counter()
            with (live.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(epoch | {"phase": "head", "epoch": number, "epochs": 100}) + "\n")
            page.wait_for_function(f"({_LAST_EPOCH})() >= {number}", polling=20)
            taken.append(time.perf_counter() - start)
            page.wait_for_timeout(137 * (number % 5))  # vary the time relative to the polls
    runs.delete(live)
    return taken


def html_page_seconds(page: Any, finished: Run) -> float:
    """Return the median of the seconds that the exported HTML page of a run takes for a picture, once it is warm."""
    from cifar_core.export import webpage

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_bytes(webpage.page(finished))
        page.goto(file.as_uri())
        return float(page.evaluate(_CLASSIFIED))
