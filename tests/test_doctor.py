"""Each check of this machine where all is well, and where something is missing."""

import json
import os
import tomllib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from app_pages import open_app, texts

from cifar_core import costs, doctor, machine, runs
from cifar_core.cli import parser
from cifar_core.data import cifar10, download
from cifar_core.network import pretrained

Usage = namedtuple("Usage", "total used free")
ROOT = Path(__file__).resolve().parents[1]
LOGIN = "[auth]\n" + "".join(f'{key} = "x"\n' for key in doctor._LOGIN_KEYS)


@pytest.fixture(autouse=True)
def good(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine to which nothing is lacking, but for login and graphics card, which are off."""
    monkeypatch.setattr(doctor, "SECRETS", tmp_path / "secrets.toml")
    monkeypatch.setattr(machine, "_GPU_DRIVERS", ())
    monkeypatch.setattr(machine, "processors", lambda: 2)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8 * 10**9)
    monkeypatch.setattr(download, "answers", lambda url: True)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: Usage(10**12, 0, 10**12))
    here = cifar10.status() | {"dataset": "cifar10", "source": "/data"}
    monkeypatch.setattr(cifar10, "status", lambda: here)


def found(name: str) -> doctor.Check:
    return next(check for check in doctor.checks() if check.name == name)


def test_a_good_machine_lacks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert [(check.name, check.advice) for check in doctor.checks() if check.state != "ok" or check.advice] == []
    assert parser.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["checks"][0].keys() == {"name", "state", "value", "advice"}


def old_package(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(machine, "package_version", lambda name: "0.1")


def no_package(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(machine, "package_version", lambda name: "not installed")


def old_python(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(doctor, "python_version", lambda: "3.10.4")


def one_processor(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(machine, "processors", lambda: 1)


def little_memory(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(machine, "memory_bytes", lambda: costs.QUICK_MEMORY_BYTES)


def full_disk(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(doctor.shutil, "disk_usage", lambda place: Usage(10**12, 10**12, 10**6))


def many_runs(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("CIFAR_RUNS_GB", "0.000001")
    runs.runs_dir().mkdir()
    (runs.runs_dir() / "large").write_bytes(bytes(2_000))


def bad_limit(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("CIFAR_STORE_GB", "much")


def no_folder(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "file").touch()
    patch.setenv("CIFAR_RUNS_DIR", str(folder / "file"))


def read_only(patch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    patch.setattr(doctor.tempfile, "TemporaryFile", refuse)


def no_images(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(cifar10, "status", lambda: {"error": None, "dataset": "generated"})


def damaged_images(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(cifar10, "status", lambda: {"error": "CIFAR10_DIR holds no CIFAR-10."})


def offline(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(download, "answers", lambda url: False)


def a_card_alone(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(machine, "_GPU_DRIVERS", (os.devnull,))


def no_database(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("CIFAR_SWEEP_STORAGE", "postgresql://nobody@127.0.0.1:1/nothing")


def half_a_login(patch: pytest.MonkeyPatch, folder: Path) -> None:
    doctor.SECRETS.write_text('[auth]\ncookie_secret = "x"\n')


def a_damaged_login(patch: pytest.MonkeyPatch, folder: Path) -> None:
    doctor.SECRETS.write_text("auth = 5\n")


def no_authlib(patch: pytest.MonkeyPatch, folder: Path) -> None:
    doctor.SECRETS.write_text(LOGIN)
    no_package(patch, folder)


@pytest.mark.parametrize(
    ("name", "state", "happens", "said"),
    [
        ("versions", "error", old_package, "tensorflow 0.1, expected"),
        ("versions", "error", no_package, "tensorflow not installed, expected"),
        ("versions", "error", old_python, "Python 3.10.4, expected"),
        ("processors", "warning", one_processor, "1 of "),
        ("memory", "error", little_memory, "1.7 GB"),
        ("runs", "error", full_disk, "MB free"),
        ("runs", "error", many_runs, "CIFAR_RUNS_GB"),
        ("cache", "warning", full_disk, "0 GB free"),
        ("cache", "error", bad_limit, "CIFAR_STORE_GB"),
        ("permissions", "error", read_only, "Permission denied"),
        ("permissions", "error", no_folder, "Not a directory"),
        ("images", "warning", no_images, "not CIFAR-10"),
        ("images", "error", damaged_images, "CIFAR10_DIR"),
        ("weights", "warning", offline, "random"),
        ("gpu", "warning", a_card_alone, os.devnull),
        ("network", "warning", offline, "www.cs.toronto.edu and storage.googleapis.com"),
        ("database", "error", no_database, "CIFAR_SWEEP_STORAGE"),
        ("login", "error", half_a_login, "redirect_uri, client_id"),
        ("login", "error", a_damaged_login, "cookie_secret"),
        ("login", "error", no_authlib, "Authlib"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    name: str, state: str, happens: Callable, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happens(monkeypatch, tmp_path)
    check = found(name)
    assert (check.state, said in check.value) == (state, True), check
    assert check.advice or state == "error"  # whose sentence may name both
    assert parser.main(["doctor", "--json"]) == 2 * any(check.state == "error" for check in doctor.checks())


def test_what_is_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GPU_DRIVERS", (os.devnull,))
    monkeypatch.setattr(machine, "package_version", lambda name: "9.3.0")
    doctor.SECRETS.write_text(LOGIN)
    assert found("login").value == "by x"
    assert found("gpu") == ("gpu", "ok", f"{os.devnull}, cuDNN 9.3.0", "")
    path = pretrained.imagenet_path(0.5, 96)
    assert "downloaded" in found("weights").value
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert str(path) in found("weights").value


def test_the_versions_are_those_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == doctor.PYTHON


def test_a_training_says_beforehand_that_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not open_app().warning
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**9)
    assert "1.0 GB" in texts(open_app().warning)


def test_learn_shows_the_checks_once_the_panel_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        doctor, "checks", lambda: looked.append(1) or [doctor.Check("memory", "error", "1 GB", "More.")]
    )
    app = open_app("pages/learn.py")
    panel = next(found for found in app.expander if found.label == "This machine")
    assert not looked and not panel.markdown
    app.session_state["this_machine"] = True
    app.run()
    panel = next(found for found in app.expander if found.label == "This machine")
    assert looked and "Memory" in panel.markdown[0].value
