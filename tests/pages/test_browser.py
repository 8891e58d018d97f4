"""The app as a person meets it: the README's command, a real Chromium, a real training."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from corpus import encoded, scene
from finished_sweeps import FIVE, grid, play
from real_browser import MARKS, PATIENCE, SETTLED

from cifar_core import runs
from cifar_core.data.cifar10 import CLASSES
from cifar_core.runs import Run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS

STOP = 3  # seconds that are promised
PAGES = ["Train", "Classify", "Teach", "Explore", "Evaluate", "Learn"]
COMPLAINT = re.compile(r"warn|error|traceback|exception|deprecat", re.IGNORECASE)

POINTS = """() => {
    const plots = [...document.querySelectorAll('.st-key-run_place .js-plotly-plot')];
    const plot = plots.find(p => p.layout?.title?.text?.includes('Accuracy'));
    return plot?._fullData?.find(trace => trace.name === 'training')?.x?.length ?? 0;
}"""
BARS = """() => {
    const words = [...document.querySelectorAll('.bars span')].map(word => word.textContent);
    const [names, shares] = [0, 1].map(half => words.filter((_, i) => i % 2 === half));
    return names.length < 10 ? null : {names, shares};
}"""


def wait_until(condition: Callable[[], bool], complaint: str, seconds: float = PATIENCE / 1_000) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)


@pytest.fixture
def page(tab):
    """A tab whose `complaints` are what its console says of errors, too."""
    tab.on("console", lambda message: is_ours(message) and tab.complaints.append(message.text))
    return tab


def is_ours(message) -> bool:
    """Whether a line of the console is an error; below a page's address Streamlit first asks in vain for its own."""
    return message.type == "error" and "/_stcore/" not in message.location["url"]


def see(page, text: str | re.Pattern) -> None:
    """Wait until `text` is on the screen."""
    playwright.expect(page.get_by_text(text).first).to_be_visible()


@contextmanager
def paused(run: Run) -> Iterator[None]:
    """Let the training wait: it takes seconds, what the browser does meanwhile may take longer on a busy machine."""
    worker = psutil.Process(run.status["pid"])
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


def steps(run: Run) -> int:
    return sum(row["kind"] == "step" for row in run.metrics())


def more_points(page, run: Run, than: int) -> int:
    """Let the training take more steps; return the number of points in its chart once that has more than `than`."""
    before = steps(run)
    wait_until(lambda: steps(run) > before, "The training takes no step.")
    with paused(run):
        page.wait_for_function(f"({POINTS})() > {than}")
        return page.evaluate(POINTS)


def press(page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def click(page, place: str, across: float = 0.5, down: float = 0.5) -> None:
    """Click on a drawing at these shares of `place`: the pointer comes first, as Plotly looks where it hovers."""
    page.wait_for_selector(place)
    page.evaluate(SETTLED)  # it is drawn twice, at first in another width
    page.locator(place).first.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = page.locator(place).first.bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    page.locator(f"{place.split()[0]} .hoverlayer .hovertext").first.wait_for()
    page.mouse.down()
    page.mouse.up()


def test_a_fresh_server_may_first_be_asked_for_any_page_and_a_click_opens_a_trial_or_a_cell(app, page):
    page.goto(f"{app.address}/classify")
    see(page, "Or drop or paste photos here")
    links = page.get_by_test_id("stTopNavLink")
    playwright.expect(links).to_have_count(len(PAGES))
    assert [link.split()[-1] for link in links.all_inner_texts()] == PAGES  # behind the name of an icon
    assert page.get_by_test_id("stSidebarNavLink").count() == 0

    study = play("one", *FIVE, goal=5)
    page.goto(f"{app.address}/explore?section=sweep&sweep=one")
    click(page, ".st-key-search_slice_dropout .points path")
    see(page, re.compile(r"^Trial 1: validation accuracy 60\.0%"))
    link = page.get_by_role("link", name="Open as a run")
    assert link.get_attribute("href").endswith(f"run={study.trials[0].user_attrs['run']}")
    page.get_by_text("Order of trials, cost").click()
    click(page, ".st-key-search_front .points path:nth-child(3)")
    see(page, re.compile(r"^Trial 3: validation accuracy 70\.0%"))
    page.wait_for_url("**trial=3**")

    grid(0.5, 0.8, 0.6, 0.7)
    page.goto(f"{app.address}/explore?section=surface&grid=map")
    click(page, ".st-key-grid_map .nsewdrag", across=0.05, down=0.95)  # far from the middle of the cell
    see(page, re.compile(r"^Trial 1: validation accuracy 50\.0%"))


def test_the_whole_path_from_the_first_visit_to_ten_probabilities(app, page, tmp_path):
    settings = "image_size=32&alpha=0.35&weights=random&train_images=1000&head_epochs=20&fine_tune_epochs=2"
    page.goto(f"{app.address}?{settings}&early_stopping_patience=20")
    see(page, re.compile("synthetic images, not CIFAR-10", re.IGNORECASE))
    before = set(runs.list_runs())  # another test's
    press(page, "Start training")

    page.wait_for_url("**run=**")
    (run,) = set(runs.list_runs()) - before
    page.wait_for_url(f"**run={run.id}**")
    config = run.config
    assert (config.image_size, config.weights, config.train_images, config.head_epochs) == (32, "random", 1_000, 20)
    assert config.early_stopping_patience == 20
    first = more_points(page, run, than=0)
    second = more_points(page, run, than=first)

    with paused(run):
        page.reload()
        page.wait_for_function(f"({POINTS})() >= {second}")
    more_points(page, run, than=second)
    assert f"run={run.id}" in page.url
    assert set(runs.list_runs()) - before == {run}

    with paused(run):
        press(page, "Stop")
        wait_until((run.path / "stop").exists, "The press did not reach the app.")
    wait_until(lambda: not run.is_alive, "The worker did not stop in time.", STOP)
    see(page, re.compile("^Stopped"))
    assert run.state == "stopped"

    page.evaluate(SETTLED)  # all of the page says so
    press(page, "Resume")
    see(page, re.compile("^Finished after"))
    see(page, "of 100 new pictures correct")
    epochs = [(row["phase"], row["epoch"]) for row in run.metrics() if row["kind"] == "epoch"]
    head = sum(phase == "head" for phase, _ in epochs)
    assert head == config.head_epochs
    assert epochs == [("head", n) for n in range(1, head + 1)] + [
        ("fine_tune", n) for n in range(1, len(epochs) - head + 1)
    ]
    assert 0 < len(epochs) - head <= config.fine_tune_epochs

    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(scene(size=(120, 90)), "PNG"))
    page.get_by_role("link", name="Classify").click()
    see(page, "Or drop or paste photos here")  # Train takes files, too, and may still be there
    page.locator("input[type=file]").set_input_files(picture)
    bars = page.wait_for_function(BARS).json_value()
    shares = [float(share.rstrip("%")) for share in bars["shares"]]
    assert sorted(bars["names"]) == sorted(CLASSES)
    assert sorted(shares, reverse=True) == shares
    assert sum(shares) == pytest.approx(100, abs=0.6)  # each is rounded

    assert not COMPLAINT.search(app.log.read_text()), app.log.read_text()
