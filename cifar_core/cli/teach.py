"""The command `teach`; `predict` and `export` open projects with `opened`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_core.cli.terminal import PROGRAM, Answer, Screen, interval, native_messages_hidden, percent, to_stderr
from cifar_core.errors import CifarError, ImageError
from cifar_core.inference.picture_files import MAX_ZIP_BYTES, visible_files
from cifar_core.teach import project as projects
from cifar_core.untrusted import read_plain_file

if TYPE_CHECKING:
    from cifar_core.teach.model import Model


def teach(arguments: Namespace) -> Answer:
    """Create a project from a folder and fit it; without a folder, list all projects."""
    if arguments.folder is None:
        rows = []
        for name in projects.names():
            try:
                rows.append({"id": f"{projects.PREFIX}{name}", "pictures": len(projects.load(name).samples)})
            except CifarError as error:  # damaged
                to_stderr(error)
        return Answer(rows, [f"{row['id']}  {row['pictures']} pictures" for row in rows])
    folder = Path(arguments.folder)
    files: Iterable[tuple[str, bytes]] = _below(folder)
    usual = folder.resolve().name if folder.is_dir() else folder.stem
    if not folder.is_dir():
        wanted = "a folder or ZIP file with a folder for each class"
        files = [(folder.name, read_plain_file(folder, MAX_ZIP_BYTES, wanted, ImageError))]
    name, problems = projects.make(arguments.name or usual, files)
    for problem in problems:
        to_stderr(problem)
    with projects.changed(name) as project:
        project.alpha = arguments.alpha or project.alpha
        project.image_size = arguments.image_size or project.image_size
    figures = opened(name, arguments.json).figures()
    lines = [f"Project {figures['id']}: {', '.join(f'{label} {n}' for label, n in figures['classes'].items())}."]
    lines.append(
        f"Accuracy {percent(figures['accuracy'])} by cross-validation ({interval(figures['interval'])}); "
        f"features {figures['feature_seconds']:.2f} s, fit {figures['fit_seconds']:.2f} s; {figures['weights']}."
    )
    hint = f"`{PROGRAM} predict --run {figures['id']} IMAGE` classifies; see `{PROGRAM} teach --help`."
    return Answer(figures, [*lines, *figures["warnings"], hint])


def opened(name: str, quiet: bool) -> Model:
    """Return the model of the project `name`, with or without PREFIX."""
    from cifar_core.teach.model import open_model  # takes 10 ms to import

    name = name.removeprefix(projects.PREFIX)
    with Screen(quiet) as screen, native_messages_hidden():
        return open_model(name, lambda done, total: screen.bar("features", done / total, f"{done}/{total} pictures"))


def _below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each file in a folder, recursively, without hidden files."""
    for path in visible_files(folder):
        try:
            yield path.relative_to(folder).as_posix(), read_plain_file(path, MAX_ZIP_BYTES, "a picture", ImageError)
        except CifarError as error:
            to_stderr(error)
