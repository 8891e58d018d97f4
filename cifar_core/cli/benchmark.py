"""The command `bench`: this app beside recipe.py."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from cifar_core.cli.commands import reply
from cifar_core.cli.terminal import Screen
from cifar_core.errors import ConfigError
from cifar_core.runs import write_json


def bench(arguments: Namespace) -> int:
    """Measure, print the table, and save it as JSON; with --readme in the section of that file as well."""
    from cifar_core.bench import measure, report

    folder, readme = Path(arguments.output), Path(arguments.readme) if arguments.readme else None
    if not folder.is_dir():
        raise ConfigError(f"Output: received {str(folder)[:200]!r}, expected a folder that exists; make it first.")
    if readme and not (readme.is_file() and report.BEGIN in readme.read_text(encoding="utf-8")):
        raise ConfigError(f"Readme: received {str(readme)[:200]!r}, expected a file that holds {report.BEGIN!r}.")
    screen = Screen(quiet=arguments.json)
    found = measure.run(arguments.quick, 60 * arguments.plain_minutes, lambda text: screen.line(f"{text} …"))
    write_json(folder / "bench.json", found)
    if readme:
        report.write_section(readme, found)
    reply(arguments, found, [*report.table(found), f"Saved in {folder / 'bench.json'}."])
    return 0
