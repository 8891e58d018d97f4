"""Signals to the worker, to the server, to both; the terminal closed; the server restarted."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from kills import kill, wait_for
from real_browser import NEEDS_CHROMIUM, opened_tab, running_chromium
from run_outcome import places
from terminals import Terminal, terminal

from cifar_core import jobs, runs
from cifar_core.bench_browser import app_answers, free_port
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan

ENDS = ("SIGTERM", "SIGINT", "closed")
START_THREE = """
import json, sys, time
from cifar_core import jobs
from cifar_core.config import TrainConfig
config = TrainConfig.from_dict(json.loads(sys.argv[1]))
for _ in range(3):
    jobs.start_run(config)
time.sleep(600)
"""
"""What a server does when somebody presses start three times."""


@contextmanager
def app_in_terminal(port: int) -> Iterator[Terminal]:
    """The app, started in a terminal as the README says, once it answers."""
    with terminal("-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless=true") as server:
        wait_for(lambda: app_answers(f"http://localhost:{port}"), "the server answers")
        yield server


def signalled(run: Run, stage: str, number: signal.Signals) -> None:
    """Send a signal to the worker of `run` once it is in `stage`, and wait until it has ended."""
    wait_for(lambda: run.status.get("stage") == stage, stage, pause=0.005)
    psutil.Process(run.status["pid"]).send_signal(number)
    wait_for(lambda: run.state not in runs.LIVE_STATES, "the signal is obeyed")


@pytest.mark.slow
def test_a_worker_told_to_end_is_stopped_and_keeps_the_epochs_that_ended(
    short_config: TrainConfig, small_data: Path
) -> None:
    run = jobs.start_run(replace(short_config, fine_tune_epochs=100, early_stopping_patience=100))
    signalled(run, "import", signal.SIGTERM)
    assert (run.state, places(run)) == ("stopped", [])
    jobs.resume_run(run)
    signalled(run, "fine_tune", signal.SIGINT)
    assert (run.state, places(run)[:3]) == ("stopped", [("head", 1), ("head", 2), ("head", 3)])


@pytest.mark.parametrize("how", ENDS)
def test_a_queue_of_three_outlives_the_server_and_its_terminal(
    tiny_config: TrainConfig, small_data: Path, how: str
) -> None:
    with terminal("-c", START_THREE, json.dumps(tiny_config.to_dict())) as server:
        wait_for(lambda: len(runs.list_runs()) == 3 and runs.list_runs()[0].is_alive, "three runs are started")
        server.end(how)
    waiting = runs.list_runs()[::-1]
    while waiting:
        wait_for(lambda: waiting[0].state == "running", f"{waiting[0].id} trains")
        assert [run.state for run in waiting[1:]] == ["queued"] * (len(waiting) - 1)
        kill(waiting.pop(0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_and_worker_told_to_end_at_once_leave_a_stopped_run(
    tiny_config: TrainConfig, small_data: Path, number: signal.Signals
) -> None:
    with terminal("-c", START_THREE, json.dumps(tiny_config.to_dict())) as server:
        wait_for(lambda: len(runs.list_runs()) == 3 and "pid" in runs.list_runs()[0].status, "three runs are started")
        wait_for(lambda: runs.list_runs()[-1].state == "running", "the first trains")
        wait_for(lambda: all("pid" in run.status for run in runs.list_runs()), "all workers have begun")
        for run in runs.list_runs():
            psutil.Process(run.status["pid"]).send_signal(number)
        server.end(number.name)
    wait_for(lambda: {run.state for run in runs.list_runs()} == {"stopped"}, "all have stopped")


@pytest.mark.slow
def test_a_sweep_outlives_the_server_that_began_it(tiny_config: TrainConfig, small_data: Path) -> None:
    base = replace(tiny_config, fine_tune_epochs=0)
    studies.create("kept", Plan(base, (space.parse_range("dropout=0,0.3"),)), Goal(2))
    code = (
        "import time; from cifar_core.search import sweep_workers; sweep_workers.start_workers('kept'); time.sleep(600)"
    )
    try:
        with terminal("-c", code) as server:
            wait_for(lambda: any(run.state == "running" for run in runs.list_runs()), "a trial is trained")
            server.end("closed")
        assert sweep_workers.living_workers("kept")
        wait_for(lambda: not sweep_workers.living_workers("kept"), "the sweep ends")
        assert [trial.state for trial in findings.find("kept").trials] == ["finished"] * 2
    finally:
        sweep_workers.stop("kept")


@pytest.mark.slow
@pytest.mark.browser
@NEEDS_CHROMIUM
def test_a_training_started_by_a_click_goes_on_when_the_servers_terminal_is_closed_and_the_next_server_shows_it(
    short_config: TrainConfig, small_data: Path
) -> None:
    settings = runs.create(replace(short_config, fine_tune_epochs=100, early_stopping_patience=100))
    runs.write_json(settings.path / "status.json", {"state": "stopped"})  # else it would queue, too
    port = free_port()
    with running_chromium() as browser, opened_tab(browser) as page:
        with app_in_terminal(port) as server:
            page.goto(f"http://localhost:{port}/?settings={settings.id}")
            page.get_by_role("button", name="Start training", exact=True).click()
            wait_for(lambda: len(runs.list_runs()) == 2, "the click starts a run")
            run = runs.list_runs()[0]
            wait_for(lambda: run.status.get("stage") == "fine_tune", "it trains")
            server.end("closed")
        rows = len(run.metrics())
        wait_for(lambda: len(run.metrics()) > rows, "it goes on")
        with app_in_terminal(port):
            page.goto(f"http://localhost:{port}/?run={run.id}")
            page.get_by_text(re.compile("Phase 2")).first.wait_for()
            page.get_by_role("button", name="Stop", exact=True).click()
            wait_for(lambda: run.state == "stopped", "the new server stops it")
