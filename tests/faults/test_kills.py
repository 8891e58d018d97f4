"""SIGKILL at random moments: every run is lost, resumes, finishes, and ends as an undisturbed one, bit for bit."""

import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from kills import train_killed
from run_outcome import Outcome, assert_complete, outcome

from cifar_core.config import TrainConfig

pytestmark = pytest.mark.slow


def test_killed_runs_resume_and_end_as_an_undisturbed_one(
    chain: list[str],
    kill_seed: int,
    short_config: TrainConfig,
    undisturbed: Outcome,
    small_data: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    ended, kills = train_killed(short_config, chain, random.Random(kill_seed))
    told = {"seed": kill_seed, "kills": [asdict(kill) for kill in kills], "runs": len(ended)}
    told |= {"finished": sum(run.state == "finished" for run in ended), "equal": 0}
    record_property("killed", told)
    print(f"seed {kill_seed}: " + "; ".join(f"{kill.aim} + {kill.seconds} s -> {kill.met}" for kill in kills))
    assert [kill.state for kill in kills] == ["lost"] * len(chain)
    for run in ended:
        assert run.state == "finished", run.status
        assert_complete(run)
        assert outcome(run).differences(undisturbed) == []
        told["equal"] += 1
