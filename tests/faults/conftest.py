"""What the tests that break things share, and the table of what they broke.

pytest tests/faults -m "slow or not slow"              a sample of ten kills
pytest tests/faults/test_kills.py -m slow --kills 60   as many as are asked for
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kills import AIMS
from run_outcome import Outcome, assert_complete, outcome

from cifar_core import jobs, runs
from cifar_core.runs import Run

KILLS_A_RUN = len(AIMS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=len(AIMS), help="how many SIGKILLs test_kills.py deals out")
    parser.addoption("--kill-seed", type=int, default=1, help="decides their random moments")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chain" in metafunc.fixturenames:
        count = metafunc.config.getoption("--kills", len(AIMS))
        aims = [AIMS[number % len(AIMS)] for number in range(count)]
        chains = [sorted(aims[i : i + KILLS_A_RUN], key=AIMS.index) for i in range(0, count, KILLS_A_RUN)]
        seed = metafunc.config.getoption("--kill-seed", 1)
        seeded = [(chain, 1_000 * seed + number) for number, chain in enumerate(chains)]
        metafunc.parametrize(("chain", "kill_seed"), seeded, ids=[str(seed) for _, seed in seeded])


@pytest.fixture(autouse=True)
def no_worker_stays(own_folders: None) -> Iterator[None]:
    yield
    for run in runs.list_runs():
        jobs.stop_run(run)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run: Path) -> Outcome:
    """What it ended with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_RUNS_DIR", str(undisturbed_run.parent))
        run = Run(undisturbed_run.name)
        assert_complete(run)
        return outcome(run)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many faults of each kind there were and what came of them."""
    reports = [
        report
        for outcome_ in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome_, [])
        if "faults/" in getattr(report, "nodeid", "")
    ]
    if reports:
        terminalreporter.section("faults")
        _write_counts(terminalreporter, reports)
        _write_kills(terminalreporter, [dict(report.user_properties).get("killed") for report in reports])


def _write_counts(terminal: Any, reports: list[Any]) -> None:
    counts = Counter((report.nodeid.split("::")[0].rpartition("/")[2], report.outcome) for report in reports)
    terminal.line(f"{'':28}{'as it should be':>16}{'not':>6}{'skipped':>9}")
    for name in sorted({name for name, _ in counts}):
        passed, failed, skipped = (counts[name, outcome_] for outcome_ in ("passed", "failed", "skipped"))
        terminal.line(f"{name:28}{passed:16}{failed:6}{skipped:9}")


def _write_kills(terminal: Any, told: list[dict[str, Any] | None]) -> None:
    chains = [each for each in told if each]
    kills = [kill for each in chains for kill in each["kills"]]
    if not kills:
        return
    met, lost = (
        Counter(kill["met"] for kill in kills),
        Counter(kill["met"] for kill in kills if kill["state"] == "lost"),
    )
    terminal.line(f"\n{'SIGKILL in':28}{'kills':>16}{'then lost':>15}")
    for name in sorted(met, key=lambda name: AIMS.index(name) if name in AIMS else 0):
        terminal.line(f"{name:28}{met[name]:16}{lost[name]:15}")
    terminal.line(f"{'in all':28}{sum(met.values()):16}{sum(lost.values()):15}")
    ends = {name: sum(each[name] for each in chains) for name in ("runs", "finished", "equal")}
    terminal.line(
        f"{ends['runs']} runs were killed {len(kills)} times and resumed each time: {ends['finished']} finished, "
        f"{ends['equal']} with complete metrics and every weight of an undisturbed run. "
        f"Seeds {', '.join(str(each['seed']) for each in chains)}."
    )
