"""Many people at once: `python -m tests.load` from the folder of app.py.

Starts the app on a runs directory with many runs, starts a training, lets visitors use all pages for some minutes, and
prints errors, how long an interaction took, the server's memory, and by how much the training was slowed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cifar_core import bench_browser, jobs, runs
from cifar_core.config import PRESETS
from cifar_core.runs import Run
from tests.load import figures, many_runs, training_run
from tests.load.browser import Browser
from tests.load.server_usage import Watch
from tests.load.visitors import Visitor

_ARRIVE_SECONDS = 0.5  # between two visitors


def main() -> int:
    """Measure as the arguments say; return 0 if there was no error and every target was reached."""
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        os.environ["CIFAR_RUNS_DIR"] = str(Path(folder) / "runs")
        found = _measure(options, Path(folder))
    print(figures.table(found))
    text = json.dumps(found, indent=1)
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    late = found["p95_seconds"] >= figures.MOST_P95_SECONDS
    return 1 if found["errors"] or late or found.get("slowdown", 0) >= figures.MOST_SLOWDOWN else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--runs", type=int, default=500, help="how many finished runs lie on the disk")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--alone", type=float, default=1.0, help="minutes of training alone before, and after")
    parser.add_argument("--like", type=Path, help="a finished run to copy; without it one is trained first")
    parser.add_argument("--no-training", action="store_true", help="nothing is trained meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    _say("Putting runs on the disk")
    finished = many_runs.fill(options.like or _template(), options.runs)
    live = None if options.no_training else training_run.start()
    try:
        log = folder / "server.log"
        with bench_browser.running_app(log) as app:
            found = asyncio.run(_visit(app, live, finished, options))
            found["log"] = _complaints(log)
    finally:
        if live:
            jobs.stop_run(live)
    return found


def _template() -> Path:
    """Train the run that the others are copied from."""
    run = jobs.start_run(PRESETS["quick"], "template")
    while run.state in runs.LIVE_STATES:
        time.sleep(1)
    if run.state != "finished":
        raise RuntimeError(f"The run to be copied {run.state}: {run.status.get('error')}")
    return run.path


async def _visit(
    app: bench_browser.Server, live: Run | None, finished: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Let the visitors in; return the figures."""
    load = os.getloadavg()
    moments = [] if live is None else [training_run.moment(live)]
    if live:
        _say("Training alone")
        await asyncio.sleep(60 * options.alone)
        moments.append(training_run.moment(live))
    _say(f"{options.visitors} visitors for {options.minutes:g} minutes")
    watch = Watch(app.process.pid)
    samples, cpu = asyncio.create_task(watch.memory_samples()), (watch.cpu_seconds(), time.process_time())
    start = time.perf_counter()
    until = start + 60 * options.minutes
    people = await asyncio.gather(
        *(
            _visitor(f"localhost:{app.port}", number, until, live, finished, options)
            for number in range(options.visitors)
        )
    )
    seconds = time.perf_counter() - start
    cores = {
        "server": (watch.cpu_seconds() - cpu[0]) / seconds,
        "visitors": (time.process_time() - cpu[1]) / seconds,
    }
    samples.cancel()
    more: dict[str, Any] = {"memory": figures.slope(watch.memory), "cores": cores, "load": [load, os.getloadavg()]}
    if live:
        moments.append(training_run.moment(live))
        _say("Training alone")
        await asyncio.sleep(60 * options.alone)
        moments.append(training_run.moment(live))
        paces = [training_run.Pace.between(*pair) for pair in itertools.pairwise(moments)]
        more["slowdown"] = figures.slowdown(*paces)
        more["training"] = {name: asdict(pace) for name, pace in zip(("before", "during", "after"), paces, strict=True)}
    return figures.summary(
        [item for person in people for item in person.taken],
        [item for person in people for item in person.browser.polls],
        [item for person in people for item in person.browser.problems],
        messages_a_minute=sum(person.browser.messages for person in people) / len(people) / seconds * 60,
        kilobytes_a_minute=sum(person.browser.received_bytes for person in people) / len(people) / seconds * 60 / 1e3,
        conditions={"visitors": options.visitors, "runs": len(finished), "minutes": options.minutes},
        **more,
    )


async def _visitor(
    address: str, number: int, until: float, live: Run | None, finished: list[str], options: argparse.Namespace
) -> Visitor:
    await asyncio.sleep(_ARRIVE_SECONDS * number)
    async with Browser(address) as browser:
        person = Visitor(
            browser, random.Random(options.seed * 1000 + number), live.id if live else finished[-1], finished
        )
        await person.wander(until)
    return person


def _complaints(log: Path) -> list[str]:
    """Return the lines of the server's terminal that tell of an error."""
    return [line for line in log.read_text(errors="replace").splitlines() if "Error" in line or "Traceback" in line]


def _say(words: str) -> None:
    print(f"{words}…", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
