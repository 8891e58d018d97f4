"""What the system says, and what holds where it says nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_core import machine, runs
from cifar_core.cli import parser
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.network import pretrained


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 processors and no control groups yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    return tmp_path / "cgroup"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_control_groups_the_affinity_counts(cgroups: Path) -> None:
    assert machine.processors() == 64
    assert machine.threads() == machine.MOST_THREADS


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 64), ("200000 100000", 2), ("50000 100000", 1), ("damaged", 64), ("1 0", 64)]
)
def test_a_quota_of_version_2_counts(cgroups: Path, quota: str, expected: int) -> None:
    put(machine._PROC, "0::/user/app\n")
    put(cgroups / "cpu.max", "3200000 100000")  # 32 for everybody above
    put(cgroups / "user" / "app" / "cpu.max", quota)
    assert machine.processors() == min(expected, 32)


@pytest.mark.parametrize(("quota", "expected"), [("-1", 64), ("300000", 3)])
def test_a_quota_of_version_1_counts(cgroups: Path, quota: str, expected: int) -> None:
    put(machine._PROC, "3:memory:/app\n4:cpu,cpuacct:/app\n")
    put(cgroups / "cpu" / "app" / "cpu.cfs_quota_us", quota)
    put(cgroups / "cpu" / "app" / "cpu.cfs_period_us", "100000")
    assert machine.processors() == expected


@pytest.mark.parametrize(
    ("groups", "file"),
    [("0::/app\n", "app/memory.max"), ("3:memory:/app\n", "memory/app/memory.limit_in_bytes")],
)
def test_a_limit_of_memory_counts(cgroups: Path, groups: str, file: str) -> None:
    whole = machine.memory_bytes()
    put(machine._PROC, groups)
    for text, expected in (("max", whole), ("9223372036854771712", whole), ("1048576", 1_048_576)):
        put(cgroups / file, text)
        assert machine.memory_bytes() == expected


def test_without_a_home_there_is_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.delenv("CIFAR_CACHE_DIR")
    assert cifar10.cache_dir().is_absolute()
    assert cifar10.cache_dir().name == "cifar-studio"
    monkeypatch.delenv("KERAS_HOME")
    assert pretrained.imagenet_path(0.5, 96).is_absolute()
    assert parser.main(["data", "status"]) == 0
    assert machine.expanded("~/data") == machine.home() / "data"


@pytest.mark.parametrize("times", [2, 7])
def test_a_refused_replacement_is_tried_again(times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a virus scanner may hold the file for a moment."""
    real, calls = os.replace, []

    def refused(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) <= times:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", refused)
    runs.write_json(tmp_path / "status.json", {"state": "running"})
    assert runs.read_json(tmp_path / "status.json") == {"state": "running"}
    assert len(calls) == times + 1


def test_runs_do_not_follow_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFAR_RUNS_DIR")
    before = runs.runs_dir()
    monkeypatch.chdir(tmp_path)
    assert runs.runs_dir() == before
    assert before.is_absolute()


def test_the_command_line_works_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(machine.app_dir() / "cifar_core"), "runs", "list", "--json"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_missing_package_is_a_sentence_with_the_command_that_installs_it() -> None:
    with (
        pytest.raises(CifarError, match=r"ONNX needs no_such_package.*'pip install onnx'"),
        machine.extra("ONNX", "onnx"),
    ):
        import no_such_package  # noqa: F401
