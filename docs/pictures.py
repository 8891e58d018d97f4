"""Makes the pictures of the README in a real browser: docs/train.webp and docs/classify.png.

    pip install -e ".[dev]" && python docs/pictures.py

Needs CIFAR-10 and Chromium (CHROMIUM names its program). The pictures show the sample photos of Classify, no images of
CIFAR-10: those may not be passed on.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
SAMPLES = sorted((ROOT / "pages" / "samples").glob("*.jpg"))
VIEW = {"width": 1200, "height": 1520}
WIDTH = 800  # of the animation
PAUSE_MS, FRAME_MS, LAST_MS = 500, 160, 4_000


@contextmanager
def server() -> Iterator[str]:
    """Start the app with an empty folder of runs; give its address."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        command = [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "app.py",
            f"--server.port={port}",
            "--server.headless=true",
        ]
        environment = os.environ | {"CIFAR_RUNS_DIR": folder}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
            address = f"http://localhost:{port}"
            try:
                _wait_for(f"{address}/_stcore/health")
                yield address
            finally:
                process.terminate()


def _wait_for(address: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{address} did not answer within a minute.")


def train(page: Page, address: str) -> None:
    """Train `quick` with the sample photos as the watched pictures; write docs/train.webp."""
    page.goto(address)
    page.get_by_text("Watch it learn:").click()
    page.get_by_role("button", name="Unpin all").click()
    page.locator("[class*=st-key-pin_files] input[type=file]").set_input_files([str(path) for path in SAMPLES])
    page.get_by_text(f"{len(SAMPLES)} pictures pinned").wait_for()
    page.locator(".st-key-start button").click()
    page.mouse.move(0, 0)
    page.locator(".st-key-accuracy .live-chart svg").first.wait_for(timeout=120_000)
    frames = []
    while not page.get_by_text("new pictures right").is_visible():
        frames.append(_screenshot(page))
        page.wait_for_timeout(PAUSE_MS)
    page.wait_for_timeout(2_000)
    frames.append(_screenshot(page))
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    first, *others = frames
    first.save(
        ROOT / "docs" / "train.webp",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        quality=70,
        method=6,
    )


def classify(page: Page) -> None:
    """Classify the cat among the sample photos; write docs/classify.png."""
    page.get_by_role("button", name="Try a photo").click()
    page.locator(".st-key-sample_tiles .tile").first.click()
    page.locator(".st-key-headline").wait_for()
    page.get_by_role("radio", name="What if").click()  # *Why* shows training images
    page.mouse.move(0, 0)
    page.set_viewport_size(VIEW | {"height": 1000})
    page.wait_for_timeout(5_000)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(ROOT / "docs" / "classify.png", optimize=True)


def _screenshot(page: Page) -> Image.Image:
    image = Image.open(io.BytesIO(page.screenshot()))
    return image.convert("RGB").resize((WIDTH, WIDTH * VIEW["height"] // VIEW["width"]), Image.Resampling.LANCZOS)


def main() -> None:
    """Make both pictures."""
    with server() as address, sync_playwright() as playwright:
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        train(page, address)
        classify(page)
        browser.close()


if __name__ == "__main__":
    main()
