"""The lock file and the installed command fit what pyproject.toml and requirements.txt ask for."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_lock_is_within_the_ranges() -> None:
    base = (ROOT / "requirements.txt").read_text().splitlines()
    extras = PROJECT["optional-dependencies"]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE):
        locked.setdefault(name, []).append(version)
    for line in [*base, *extras["onnx"], *extras["postgres"], *extras["login"]]:
        wanted = Requirement(line)
        assert all(wanted.specifier.contains(version) for version in locked[wanted.name.lower()]), line


def test_every_package_of_the_lock_has_a_hash() -> None:
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_installed_command_is_the_module_s() -> None:
    module, name = PROJECT["scripts"]["cifar-studio"].split(":")
    assert callable(getattr(import_module(module), name))
