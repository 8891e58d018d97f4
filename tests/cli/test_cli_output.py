"""What becomes of a command's answer where nobody takes it, and of what is no answer's business to read."""

import argparse
import errno
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifar_core import runs
from cifar_core.cli import parser
from cifar_core.cli.terminal import Answer
from cifar_core.evaluation import listing
from cifar_core.runs import Run
from cifar_core.search import studies, sweep_workers

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")


def command(*words: str, closed: str = "") -> subprocess.CompletedProcess[str]:
    """The command line as a process of a shell, which closes some of its streams."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    line = f'exec "$0" -m cifar_core "$@" {closed}'
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *words], capture_output=True, text=True, env=environment, timeout=600
    )


def _commands(of: argparse.ArgumentParser) -> Iterator[str]:
    """The commands of a parser and of all parsers below it."""
    yield from filter(None, [of.get_default("command")])
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _commands(below)


def test_every_command_has_its_function() -> None:
    names = list(_commands(parser._parser()))
    assert len(names) > 30
    assert all(
        inspect.signature(pkgutil.resolve_name(f"cifar_core.cli.{name}"), eval_str=True).return_annotation is Answer
        for name in names
    )


def test_a_bar_is_drawn_while_native_messages_are_hidden() -> None:
    screen, own = os.openpty()
    code = """
import os
from cifar_core.cli.terminal import Screen, native_messages_hidden
with Screen() as screen, native_messages_hidden():
    os.write(2, b"banner")
    screen.bar("map", 0.5)
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], stderr=own, env=environment, check=True, timeout=60)
    drawn = os.read(screen, 10_000).decode()
    os.close(own)
    os.close(screen)
    assert "map [####" in drawn and "banner" not in drawn


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_answer_on_a_full_disk_is_a_sentence(run: Run, form: tuple[str, ...]) -> None:
    ended = command("runs", "list", *form, closed=f">{FULL}")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "No space left on device; free disk space" in ended.stderr


@pytest.mark.parametrize(
    ("code", "advice"),
    [(errno.ENOSPC, "free disk space"), (errno.EDQUOT, "free disk space"), (errno.EACCES, "permissions")],
)
def test_a_disk_that_refuses_ends_a_command_with_2(
    code: int, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(code, os.strerror(code), "/runs/a.json")

    monkeypatch.setattr(listing, "rows", refuse)
    assert parser.main(["runs", "list"]) == 2
    complaint = capsys.readouterr().err
    assert "/runs/a.json" in complaint
    assert advice in complaint


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_takes_nothing_and_breaks_nothing(run: Run, closed: str) -> None:
    ended = command("runs", "list", "--json", closed=closed)
    assert (ended.returncode, ended.stderr) == (0, "")
    if closed == "2>&-":
        assert json.loads(ended.stdout)[0]["id"] == run.id
    assert command("runs", "show", "none", closed=closed).returncode == 2


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="POSIX has a file without an end")
def test_an_archive_without_an_end_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser.main(["import", "/dev/zero"]) == 2
    assert "/dev/zero" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--trials", "0"], ["--trials", "-1"], ["--minutes", "0"], ["--minutes", "nan"]])
def test_a_sweep_of_no_trials_or_no_time_is_not_taken_for_one_of_the_usual_length(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_workers, "_spawn", lambda *arguments: pytest.fail("a worker was started"))
    assert parser.main(["sweep", "start", "none", "--vary", "dropout", *words]) == 2
    assert "1 to 10,000 trials" in capsys.readouterr().err
    assert studies.names() == []
    assert not list(runs.runs_dir().glob("*"))
