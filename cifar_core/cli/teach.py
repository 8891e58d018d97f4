"""The command `teach`, and `predict` and `export` for projects."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_core.cli.terminal import PROGRAM, Answer, Screen, interval, native_messages_hidden, percent, save, to_stderr
from cifar_core.errors import CifarError, ConfigError, ImageError
from cifar_core.inference.picture_files import MAX_ZIP_BYTES, visible_files
from cifar_core.inference.pictures import Picture
from cifar_core.teach import project as projects
from cifar_core.untrusted import quoted, read_plain_file, shown_name

_REFUSED = ("crop", "explain", "what_if", "compare", "csv")

if TYPE_CHECKING:
    from cifar_core.teach.model import Model


def teach(arguments: Namespace) -> Answer:
    """Create a project from a folder and fit it; without a folder, list all projects."""
    if arguments.folder is None:
        counts = {f"{projects.PREFIX}{name}": projects.load(name).count for name in projects.names()}
        rows = [{"id": name, "pictures": count} for name, count in counts.items()]
        return Answer(rows, [f"{name}  {count} pictures" for name, count in counts.items()])
    folder = Path(arguments.folder)
    files: Iterable[tuple[str, bytes]] = _below(folder)
    if not folder.is_dir():
        wanted = "a folder or ZIP file with a folder for each class"
        files = [(folder.name, read_plain_file(folder, MAX_ZIP_BYTES, wanted, ImageError))]
    name, problems = projects.make(arguments.name or folder.resolve().stem, files)
    for problem in problems:
        to_stderr(problem)
    with projects.changed(name) as project:
        project.alpha, project.image_size = arguments.alpha, arguments.image_size
    figures = _opened(name, arguments.json).figures()
    lines = [f"Project {figures['id']}: {', '.join(f'{label} {n}' for label, n in figures['classes'].items())}."]
    lines.append(
        f"Accuracy {percent(figures['accuracy'])} by cross-validation ({interval(figures['interval'])}); "
        f"features {figures['feature_seconds']:.2f} s, fit {figures['fit_seconds']:.2f} s; {figures['weights']}."
    )
    hint = f"`{PROGRAM} predict --run {figures['id']} IMAGE` classifies; see `{PROGRAM} teach --help`."
    return Answer(figures, [*lines, *figures["warnings"], hint])


def predict(arguments: Namespace, pictures: Iterator[Picture]) -> Answer:
    """Classify pictures with a project. Raises ConfigError for unsupported options."""
    given = vars(arguments) | {"crop": arguments.crop != "centre"}
    if refused := [f"--{name.replace('_', '-')}" for name in _REFUSED if given[name]]:
        raise ConfigError(f"{', '.join(refused)}: not available for own classes; omit it.")
    model = _opened(arguments.run, arguments.json)
    rows = [_row(model, picture, arguments.nearest or 0) for picture in pictures]
    return Answer(rows, [line for row in rows for line in _lines(row)], 2 if any("error" in row for row in rows) else 0)


def export(arguments: Namespace) -> Answer:
    """Write a project to a file. Raises ConfigError for an unsupported format."""
    model, target = _opened(arguments.id, arguments.json), Path(arguments.output or ".")
    content = model.export(arguments.format)
    if target.is_dir():
        target /= f"{model.name}{projects.SUFFIXES[arguments.format]}"
    save(str(target), lambda path: path.write_bytes(content))
    answer = {"id": arguments.id, "format": arguments.format, "file": str(target), "bytes": len(content)}
    return Answer(answer, [f"{target}: {len(content) / 1e6:,.2f} MB."])


def _opened(name: str, quiet: bool) -> Model:
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


def _row(model: Model, picture: Picture, nearest: int) -> dict[str, Any]:
    if picture.error:
        to_stderr(picture.error)
        return {"file": picture.name, "error": picture.error}
    answer = model.answer(picture.image, nearest or 1)
    best = int(answer.probabilities.argmax())
    names = model.project.names
    row: dict[str, Any] = {
        "file": picture.name,
        "label": names[best],
        "probability": float(answer.probabilities[best]),
        "probabilities": dict(zip(names, map(float, answer.probabilities), strict=True)),
        "none_of_these": answer.is_none,
    }
    if nearest:
        row["nearest"] = [
            {"label": label, "picture": sample.key, "distance": far} for label, sample, far in answer.nearest
        ]
    return row


def _lines(row: dict[str, Any]) -> Iterator[str]:
    if "error" not in row:
        note = "  [like none of these classes]" if row["none_of_these"] else ""
        yield f"{shown_name(row['file'])}  {shown_name(row['label'])} {percent(row['probability'])}{note}"
        for near in row.get("nearest", ()):
            yield f"  near a picture of {quoted(near['label'])}, {near['distance']:.2f} away"
