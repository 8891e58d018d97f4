"""A live run in a real Chromium: frame by frame, while the test appends to its metrics as a worker would.

How often it is looked at: each second, less often while nobody sees the tab.
"""

import json
import re
import time

import numpy as np
import pytest
from app_pages import CONFIG, RESULT, living_worker, make_run, metrics
from real_browser import MARKS, PATIENCE, SETTLED, opened_tab
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from cifar_core.inference import pins
from cifar_core.runs import write_json

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS

STEPS = 40  # of an epoch
BEGUN = STEPS + 5  # rows: the first epoch, its validation, and some steps
WATCH = """() => {
    const first = document.querySelector('.st-key-accuracy .live-chart');
    window.seen = {frames: 0, blank: 0, shift: 0};
    const look = () => {
        const chart = document.querySelector('.st-key-accuracy .live-chart');
        const line = chart?.querySelector('.scatterlayer .js-line')?.getAttribute('d');
        seen.frames += 1;
        seen.blank += chart !== first || !line || !chart.checkVisibility();
        requestAnimationFrame(look);
    };
    look();
    new PerformanceObserver(list => list.getEntries().forEach(entry => seen.shift += entry.value))
        .observe({type: 'layout-shift'});
}"""
ASKED_ONCE = """() => {
    window.sent = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() { return (Notification.permission = "granted"); }
        constructor(title, { body }) { sent.push([title, body]); }
    };
}"""
CHART = "document.querySelector('.st-key-accuracy .live-chart')"
POINTS = f"({CHART}?._fullData?.find(trace => trace.name === 'training')?.x.length ?? 0)"


def live_rows() -> list[dict]:
    """The rows of a run of both phases, many steps an epoch."""
    rows = []
    for row in metrics(CONFIG.head_epochs, CONFIG.fine_tune_epochs):
        if row["kind"] == "step":
            rows += [{**row, "step": 10 * (row["step"] - 1) + step, "steps": STEPS} for step in range(1, 11)]
        else:
            rows.append(row)
    return rows


def append(run, rows: list[dict]) -> None:
    with (run.path / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def watching(app, chromium, request):
    """A live run of six watched pictures with its first points, and a tab that watches it."""
    rows = live_rows()
    width, begun = getattr(request, "param", (1280, BEGUN))
    run = make_run("running", rows=rows[:begun], stage="head", updated=time.time())
    watched = [pins.Pin(np.full((32, 32, 3), 40 * number, np.uint8), f"picture {number}") for number in range(6)]
    pins.save(run, watched)
    answers = {"phase": "head", "epoch": 0, "pins": {pin.key: [0.1] * 10 for pin in watched}}
    (run.path / pins.PROBES).write_text(json.dumps(answers) + "\n")
    with living_worker(run), opened_tab(chromium, width, 900) as page:
        page.add_init_script(f"({ASKED_ONCE})()")
        page.goto(f"{app.address}/?run={run.id}")
        page.wait_for_function(f"{POINTS} > 0 && document.querySelector('.st-key-loss .js-line')")
        page.evaluate(SETTLED)
        yield page, run, rows[begun:]


def test_a_live_chart_never_blinks_and_keeps_zoom_and_hidden_traces(watching):
    page, run, rows = watching
    page.evaluate(WATCH)
    box = page.locator(".st-key-accuracy .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 240, box["y"] + 200, steps=5)
    page.mouse.up()
    page.locator(".st-key-accuracy .legendtoggle").last.click()
    page.wait_for_function(f"{CHART}._fullData.at(-1).visible === 'legendonly'")
    zoomed = page.evaluate(f"{CHART}.layout.xaxis.range")
    assert zoomed[1] < CONFIG.head_epochs

    for start in range(0, len(rows), 60):
        before = page.evaluate(POINTS)
        append(run, rows[start : start + 60])
        page.wait_for_function(f"{POINTS} > {before}")
    assert page.evaluate(f"{CHART}.layout.xaxis.range") == zoomed
    assert page.evaluate(f"{CHART}._fullData.map(trace => trace.visible)") == [True, "legendonly"]
    assert page.evaluate("seen.shift") < 0.05
    playwright.expect(page).to_have_title(re.compile("% trained"))

    write_json(run.path / "status.json", {"state": "finished", "stage": "done", "result": RESULT})
    page.wait_for_function("document.title.startsWith('Done')")
    page.wait_for_selector(".track", state="detached")
    page.wait_for_function("seen.frames > 20")
    assert page.evaluate("seen.blank") == 0
    assert page.evaluate(f"{CHART}.layout.xaxis.range") == zoomed
    page.evaluate(SETTLED)
    assert page.evaluate("seen.shift") < 0.05


LATE_PLOTLY = """(() => {
    const fetched = window.fetch;
    window.fetch = async (address, ...rest) => {
        if (String(address).includes("plotly.min")) await new Promise((done) => (window.loadPlotly = done));
        return fetched(address, ...rest);
    };
})()"""


def test_a_chart_whose_code_loads_slowly_still_follows_the_window(app, chromium):
    rows = live_rows()
    run = make_run("running", rows=rows[:BEGUN], stage="head", updated=time.time())
    with living_worker(run), opened_tab(chromium, 1280, 900) as page:
        page.add_init_script(LATE_PLOTLY)
        page.goto(f"{app.address}/?run={run.id}")
        page.wait_for_selector(".st-key-accuracy .live-chart", state="attached")
        for start in range(BEGUN, BEGUN + 30, 10):  # messages that overtake the first
            before = page.evaluate(f"{CHART}.drawn")
            append(run, rows[start : start + 10])
            page.wait_for_function(f"before => {CHART}.drawn !== before", arg=before)
        assert not page.evaluate(POINTS)
        page.evaluate("loadPlotly()")
        page.wait_for_function(f"{POINTS} > 0")
        page.set_viewport_size({"width": 900, "height": 900})
        page.wait_for_function(f"Math.abs({CHART}._fullLayout.width - {CHART}.offsetWidth) < 2")


@pytest.mark.parametrize("watching", [(390, 5), (800, 5)], indirect=True)
def test_on_a_phone_and_a_tablet_nothing_moves_while_a_run_is_watched_and_when_it_ends(watching):
    page, run, rows = watching
    page.evaluate(WATCH)
    before = page.evaluate(POINTS)
    append(run, rows)
    page.wait_for_function(f"{POINTS} > {before}")
    write_json(run.path / "status.json", {"state": "finished", "stage": "done", "result": RESULT})
    page.wait_for_selector(".track", state="detached")
    page.evaluate(SETTLED)
    assert page.evaluate("seen.shift") < 0.05


def test_who_asked_for_it_once_is_notified_when_the_run_ends(watching):
    page, run, rows = watching
    ask = page.get_by_role("button", name="Notify me when done")
    ask.click()
    playwright.expect(ask).to_be_hidden()
    append(run, rows)
    write_json(run.path / "status.json", {"state": "finished", "stage": "done", "result": RESULT})
    page.wait_for_function("sent.length > 0")
    page.evaluate(SETTLED)
    ((title, body),) = page.evaluate("sent")
    assert title.endswith(": finished")
    assert body == "Test accuracy 80.0%"
    assert not ask.is_visible()


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


def test_a_hidden_tab_polls_less_until_it_is_seen_again(app, tab):
    run = make_run("running", rows=[], stage="head", began=time.time(), updated=time.time())
    frames: list[bytes] = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(bytes(frame))))
    with living_worker(run):
        tab.goto(f"{app.address}/?run={run.id}")
        for hidden, expected in ((None, [1.0]), (True, [1.0, 10.0]), (False, [1.0, 10.0, 1.0])):
            if hidden is not None:
                tab.evaluate(HIDE, hidden)
            deadline = time.monotonic() + PATIENCE / 1_000
            while intervals(frames) != expected and time.monotonic() < deadline:
                tab.wait_for_timeout(200)
            assert intervals(frames) == expected
