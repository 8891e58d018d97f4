"""Many hands at once: ten clicks, two servers, two browsers. One training, the rest queued, in order."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
from filelock import FileLock
from kills import kill, wait_for
from streamlit.testing.v1 import AppTest

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.runs import Run
from cifar_core.training.worker import SLOT

APP = Path(__file__).resolve().parent.parent.parent / "app.py"
CLICKS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from cifar_core import jobs
from cifar_core.config import TrainConfig
config = TrainConfig.from_dict(json.loads(sys.argv[1]))
sys.stdin.readline()  # until both are there
with ThreadPoolExecutor(5) as clicks:
    print(json.dumps([run.id for run in clicks.map(lambda _: jobs.start_run(config), range(5))]))
"""
"""What a server does when a button is pressed five times at once."""
RESUMES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from cifar_core import jobs, runs
from cifar_core.errors import RunError
run = runs.get(sys.argv[1])
sys.stdin.readline()
def resume(_):
    try:
        jobs.resume_run(run)
    except RunError:
        return "refused"
    return "resumed"
with ThreadPoolExecutor(3) as clicks:
    print(*clicks.map(resume, range(3)))
"""


def server(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, cwd=APP.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pressed_at_once(servers: list[subprocess.Popen[str]]) -> list[str]:
    for process in servers:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in servers]


def test_ten_clicks_on_two_servers_are_ten_runs_that_train_one_after_the_other(
    tiny_config: TrainConfig, small_data: Path
) -> None:
    servers = [server(CLICKS, json.dumps(tiny_config.to_dict())) for _ in range(2)]
    answers = pressed_at_once(servers)
    ids = sorted(id_ for answer in answers for id_ in json.loads(answer))
    assert len(set(ids)) == 10
    waiting = [Run(id_) for id_ in ids]
    while waiting:
        first = waiting[0]
        wait_for(lambda first=first: first.state == "running", f"{first.id} trains")  # type: ignore[misc]
        assert [run.state for run in waiting] == ["running"] + ["queued"] * (len(waiting) - 1)
        assert [jobs.queue_position(run) for run in waiting] == list(range(len(waiting)))
        kill(waiting.pop(0))
        assert first.state == "lost"


def test_two_browsers_that_press_start_get_a_training_and_a_place_in_the_queue(
    tiny_config: TrainConfig, small_data: Path
) -> None:
    settings = runs.create(tiny_config)
    runs.write_json(settings.path / "status.json", {"state": "stopped"})  # else it would queue, too
    browsers = [AppTest.from_file(str(APP), default_timeout=60) for _ in range(2)]
    for browser in browsers:
        browser.query_params["settings"] = settings.id
        browser.run()
    for browser in browsers:
        browser.button(key="start").click().run()
        assert not browser.exception, browser.exception[0].message
    started = sorted(run.id for run in runs.list_runs() if run != settings)
    assert [browser.query_params["run"] for browser in browsers] == started
    wait_for(lambda: Run(started[0]).state == "running", "the first trains")
    assert Run(started[1]).state == "queued"
    assert "In the queue, 1 before it" in " ".join(text.value for text in browsers[1].markdown)


def test_a_run_resumed_by_many_at_once_has_one_worker(tiny_config: TrainConfig, small_data: Path) -> None:
    runs.runs_dir().mkdir()
    with FileLock(runs.runs_dir() / SLOT):  # so that the one that is left waits in the queue
        run = jobs.start_run(tiny_config)
        kill(run)
        answers = pressed_at_once([server(RESUMES, run.id) for _ in range(2)])
        assert sum(answer.count("resumed") for answer in answers) >= 1
        assert set("".join(answers).split()) <= {"resumed", "refused"}
        wait_for(lambda: run.is_alive and run.state == "queued", "it goes on")
        workers = [p for p in psutil.process_iter(["cmdline"]) if str(run.path) in (p.info["cmdline"] or [])]
        wait_for(lambda: sum(p.is_running() for p in workers) == 1, "the others leave it to one", 30)
        jobs.stop_run(run)
