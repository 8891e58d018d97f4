"""Makes the pictures of the documents in a real browser: docs/*.webp and docs/*.png.

    pip install -e ".[dev]" && python docs/pictures.py

Needs CIFAR-10 and Chromium (CHROMIUM names its program). The pictures show the sample photos of Classify, no images of
CIFAR-10: those may not be passed on.
"""

from __future__ import annotations

import io
import json
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
from random import Random
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
SAMPLES = sorted((ROOT / "pages" / "samples").glob("*.jpg"))
VIEW = {"width": 1200, "height": 1520}
WIDTH = 800  # of the animation
CROPS = 12
PAUSE_MS, FRAME_MS, LAST_MS = 500, 160, 4_000
MOST_FRAMES = 30  # a slow machine would make a large file
ZOOM = """async (chart) => { // to some forty dots around the first one
    const all = chart._fullData.flatMap(({ x, y }) => [...x].map((value, i) => [value, y[i]]));
    const [[left, top]] = all;
    const far = all.map(([x, y]) => Math.max(Math.abs(x - left), Math.abs(y - top))).sort((a, b) => a - b)[40];
    const around = (value) => [value - far, value + far];
    await Plotly.relayout(chart, { "xaxis.range": around(left), "yaxis.range": around(top) });
}"""


@contextmanager
def server() -> Iterator[tuple[str, dict[str, str]]]:
    """Start the app with an empty folder of runs; give its address and its environment."""
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
                yield address, environment
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
    while not page.get_by_text("new pictures correct").is_visible():
        frames.append(_screenshot(page))
        page.wait_for_timeout(PAUSE_MS)
    page.wait_for_timeout(2_000)
    frames = [*frames[:: -(-len(frames) // MOST_FRAMES)], _screenshot(page)]
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


def teach(page: Page, address: str) -> None:
    """Teach three things by crops of the sample photos, try one of the photos; write docs/teach.webp."""
    page.set_viewport_size(VIEW | {"height": 900})
    page.goto(f"{address}/teach")
    page.get_by_role("button", name="Start with two empty classes").click()
    page.get_by_role("button", name="Add a class").click()
    for number, name in enumerate(("cat", "coffee", "rocket")):
        field = page.get_by_role("textbox", name="Name of the class").nth(number)
        field.fill(name)
        field.press("Enter")
        card = page.locator(f".st-key-teach_my-classes_{number}_card")
        card.locator("input[type=file]").set_input_files(_crops(name))
        page.get_by_alt_text(f"Picture {CROPS} of {name}").wait_for()
    page.locator(".st-key-teach_samples .tile").first.click()
    page.get_by_role("heading", name="cat, ").wait_for()
    page.get_by_role("heading", name="Teach it your own classes").scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    page.wait_for_timeout(3_000)
    _save(page.screenshot(), "teach")


def inside(page: Page) -> None:
    """Open *Inside* for the cat of `classify`; write docs/inside.webp, the blocks and the strongest channels."""
    page.get_by_role("radio", name="Inside").click()
    page.locator(".st-key-inside_images .tile").first.wait_for(timeout=120_000)  # below are training images
    page.set_viewport_size(VIEW | {"width": 1480})
    page.mouse.move(0, 0)
    page.wait_for_timeout(3_000)
    first, last = (page.locator(f".st-key-inside_{name}") for name in ("block", "channels .tiles"))
    _save(_part(page, first, last), "inside")


def html_page(browser: Browser, environment: dict[str, str]) -> None:
    """Export the run of `train` as an HTML page, and open it without a network; write docs/page.webp."""
    run = _command(environment, "runs", "list")[0]["id"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        _command(environment, "export", run, "--format", "html", "--output", str(file))
        page = browser.new_context(offline=True, viewport={"width": 800, "height": 740}).new_page()
        page.goto(file.as_uri())
        page.set_input_files("#file", str(SAMPLES[0].with_stem("cat")))
        page.locator("#answer").filter(has_text="%").wait_for()
        page.locator("#why").click()
        page.locator("#note").filter(has_text="evidence").wait_for()
        page.evaluate("scrollTo(0, 0)")
        _save(page.screenshot(), "page")


def data_map(page: Page, address: str, environment: dict[str, str]) -> None:
    """Train with synthetic images, make their map, and zoom in on one of its two sides; write docs/data-map.webp."""
    settings = ("--preset", "quick", "--dataset", "generated", "--fine-tune-learning-rate", "0.001")
    run = _command(environment, "train", *settings)["id"]
    _command(environment, "evaluate", run, "--map")
    page.goto(f"{address}/evaluate?run={run}&map=true&part=alike")
    titles = ("Before training", "After fine-tuning")
    left, right = (page.locator(".live-chart", has=page.locator(f".gtitle:has-text('{title}')")) for title in titles)
    for chart in (left, right):
        chart.wait_for(timeout=120_000)
    page.wait_for_timeout(5_000)
    right.evaluate(ZOOM)
    right.locator(".imagelayer image").first.wait_for()
    _save(_part(page, left, right), "data-map")


def _command(environment: dict[str, str], *words: str) -> Any:
    """Return what a command prints as JSON."""
    call = [sys.executable, "-m", "cifar_core", *words, "--json"]
    return json.loads(subprocess.run(call, cwd=ROOT, env=environment, check=True, capture_output=True).stdout)


def _part(page: Page, first: Locator, last: Locator) -> bytes:
    """Return a screenshot from the top left of one element to the bottom right of another one."""
    first.scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    page.wait_for_timeout(2_000)
    one, other = first.bounding_box(), last.bounding_box()
    assert one and other
    left, top = one["x"], one["y"]
    width, height = max(one["width"], other["x"] + other["width"] - left), other["y"] + other["height"] - top
    return page.screenshot(clip={"x": left, "y": top, "width": width, "height": height})


def _save(screenshot: bytes, name: str) -> None:
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    image.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    image.save(ROOT / "docs" / f"{name}.webp", quality=80, method=6)


def _crops(name: str) -> list[FilePayload]:
    """Return random squares of a sample photo as files."""
    photo, random = Image.open(ROOT / "pages" / "samples" / f"{name}.jpg"), Random(name)
    files: list[FilePayload] = []
    for number in range(CROPS):
        side = round(min(photo.size) * random.uniform(0.6, 0.95))
        left, top = random.randint(0, photo.width - side), random.randint(0, photo.height - side)
        content = io.BytesIO()
        photo.crop((left, top, left + side, top + side)).save(content, "JPEG")
        files.append({"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()})
    return files


def _screenshot(page: Page) -> Image.Image:
    image = Image.open(io.BytesIO(page.screenshot()))
    return image.convert("RGB").resize((WIDTH, WIDTH * VIEW["height"] // VIEW["width"]), Image.Resampling.LANCZOS)


def main() -> None:
    """Make all pictures."""
    with server() as (address, environment), sync_playwright() as playwright:
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        train(page, address)
        classify(page)
        inside(page)
        html_page(browser, environment)
        teach(page, address)
        data_map(page, address, environment)
        browser.close()


if __name__ == "__main__":
    main()
