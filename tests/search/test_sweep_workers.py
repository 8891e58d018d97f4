"""Which processes work on a sweep, where graphics cards are played by a tool that names them."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cifar_core import costs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError, SweepError
from cifar_core.runs import Run
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan


@pytest.mark.skipif(os.name == "nt", reason="the tool is played by a shell script")
@pytest.mark.parametrize(
    ("said", "workers", "cards"),
    [
        ("0\n1\n2\n", None, [0, 1, 2]),
        ("0\n1\n", 3, [0, 1, 0]),
        ("0\n1\n", 1, [None]),
        ("0\n", None, [None]),
        ("no devices were found\n", None, [None]),
        ("no devices were found\n", 2, [None, None]),
    ],
)
def test_a_sweep_gets_a_worker_on_each_card(
    said: str,
    workers: int | None,
    cards: list[int | None],
    tiny_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    spawned: list[int | None] = []
    monkeypatch.setattr(sweep_workers, "_spawn", lambda name, card: spawned.append(card))
    plan = Plan(tiny_config, (space.parse_range("dropout=0:0.5"),))
    sweep_workers.start("one", plan, Goal(3), workers)
    assert spawned == cards
    spawned.clear()
    sweep_workers.extend("one", trials=2, workers=workers)
    assert spawned == cards


def test_a_sweep_without_room_on_the_disk_is_not_begun(
    tiny_config: TrainConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_RUNS_GB", "1e-9")
    with pytest.raises(RunError, match="CIFAR_RUNS_GB"):
        sweep_workers.start("one", Plan(tiny_config, (space.parse_range("dropout=0:0.5"),)), Goal(3))
    assert studies.names() == []


def test_the_expected_time_grows_with_trials_and_with_the_features_that_are_computed(tiny_config: TrainConfig) -> None:
    one = Plan(tiny_config, (space.parse_range("dropout=0:0.5"),))
    three = Plan(tiny_config, tuple(map(space.parse_range, ("dropout=0:0.5", "alpha=0.35,0.5,0.75"))))
    assert sweep_workers.expected_seconds(one, 20) > sweep_workers.expected_seconds(one, 10) > 0
    assert sweep_workers.expected_seconds(three, 3) > 2 * sweep_workers.expected_seconds(one, 3)


def test_one_trial_is_not_expected_to_build_the_networks_of_all(tiny_config: TrainConfig) -> None:
    """A search over four sizes was expected to build four networks, also for one trial."""
    sizes = Plan(tiny_config, (space.parse_range("image_size=32,64,96,128"),))
    most = Plan(replace(tiny_config, image_size=128), (space.parse_range("dropout=0,0.3"),))
    assert sweep_workers.expected_seconds(sizes, 1) < sweep_workers.expected_seconds(most, 1)


def test_features_are_expected_once_for_each_value_that_needs_its_own(
    tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"features": 100.0, "start": 10.0, "head": 1.0}
    monkeypatch.setattr(costs, "estimate", lambda *_: SimpleNamespace(stages=dict(stages)))
    for ranges, trials, expected in (
        (["dropout=0:0.5"], 8, 10 + 100 + 8),
        (["alpha=0.35,0.5,0.75"], 8, 30 + 300 + 8),
        (["augmentation=0:1.5"], 4, 10 + 400 + 4),  # seven steps
        (["augmentation=0:1.5"], 20, 10 + 700 + 20),
        (["alpha=0.35,0.5", "augmentation=0:1.5"], 30, 20 + 1_400 + 30),
        (["fine_tune_blocks=1:4", "dropout=0:0.5"], 3, 10 + 300 + 3),
    ):
        plan = Plan(tiny_config, tuple(map(space.parse_range, ranges)))
        assert sweep_workers.expected_seconds(plan, trials) == pytest.approx(expected), (ranges, trials)


@pytest.mark.parametrize("content", ['{"pid": 1', "", "[]"], ids=["cut", "empty", "other type"])
def test_a_worker_whose_record_is_damaged_is_not_left_silently(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_workers.studies, "open_study", lambda *_: None)
    monkeypatch.setattr(sweep_workers.studies, "ask_to_stop", lambda *_: None)
    monkeypatch.setattr(sweep_workers, "living_workers", lambda _: [1])
    monkeypatch.setattr(sweep_workers, "STOP_SECONDS", 0.01)
    folder = sweep_workers.studies.folder("test")
    folder.mkdir(parents=True)
    (folder / "worker-1.json").write_text(content)
    with pytest.raises(SweepError, match=r"Worker 1 .* worker-1\.json"):
        sweep_workers.stop("test")
