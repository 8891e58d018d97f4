"""Projects: the user's own classes and their pictures, in a folder beside the runs.

    <runs>/teach/<name>/               classes.json, lock, features-<alpha>-<size>.npz
    <runs>/teach/<name>/pictures/      squares of at most 224 px, named by a hash of their content
    <runs>/teach/.deleted/             deleted projects, until another of the same name is deleted

The model is not stored: it is computed from pictures and settings in less than a second.
"""

import hashlib
import io
import itertools
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec
from PIL import Image

from cifar_core import machine, runs
from cifar_core.errors import CifarError, ImageError, ProjectError, os_errors_as
from cifar_core.export.exports import FORMATS
from cifar_core.inference.decoding import open_picture
from cifar_core.inference.picture_files import open_zip
from cifar_core.inference.pictures import Picture, crop_box, read_each
from cifar_core.network.litert import LAST_LAYER
from cifar_core.runs import records
from cifar_core.untrusted import MALFORMED_ZIP, is_ordinary, one_line, quoted

PREFIX = "teach/"
"""Prefix of a project's ID wherever a run's ID is also possible."""
SIDE = 224
"""Maximum side of a stored square in pixels; the largest input of the network."""
MOST_CLASSES, MOST_PICTURES, MOST_LETTERS = 20, 2_000, 40
ALPHAS, IMAGE_SIZES = (0.35, 0.5, 0.75, 1.0), (96, 128, 160, 224)
BLOCKS = (3, 6, 10, 13, 16, LAST_LAYER)
"""Layers that provide features: the ends of stages, and the layer above them."""
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
SETTINGS = {"alpha": ALPHAS, "image_size": IMAGE_SIZES, "block": BLOCKS, "strength": STRENGTHS}
"""The values of each setting."""
SUFFIXES = {name: FORMATS[name].suffix for name in ("zip", "html", "litert", "litert-int8", "onnx")}
"""Export formats of a project, with the suffix of the file."""
_BURST = re.compile(r"burst (\d{1,6})\b")
_QUALITY = 93
_SETTINGS, _SETTINGS_BYTES = ".settings.json", 1_000  # in a zip, hidden files are not read as pictures


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A picture of a class, by its key. Frames of one camera burst share a number above 0."""

    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    burst: Annotated[int, msgspec.Meta(ge=0, lt=10**9)] = 0


class Label(msgspec.Struct):
    """A class."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_LETTERS)]
    samples: list[Sample] = []


class Project(msgspec.Struct):
    """The content of classes.json. `block` is as in `litert.build_photo`, `strength` is the regularization."""

    classes: Annotated[list[Label], msgspec.Meta(max_length=MOST_CLASSES)] = []
    alpha: float = 0.5
    image_size: int = 96
    block: int = LAST_LAYER
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid setting or two classes with the same name."""
        if any(getattr(self, name) not in offered for name, offered in SETTINGS.items()):
            raise ValueError("a setting has an unknown value")
        if len({label.name for label in self.classes}) < len(self.classes):
            raise ValueError("two classes have one name")

    @property
    def names(self) -> list[str]:
        """The names of the classes, in order."""
        return [label.name for label in self.classes]

    @property
    def samples(self) -> list[Sample]:
        """The pictures of all classes, in order."""
        return [sample for label in self.classes for sample in label.samples]

    def label(self, name: str) -> Label:
        """Return class `name`; add it if it is missing. Raises ProjectError for the 21st class."""
        if name not in self.names:
            if len(self.classes) >= MOST_CLASSES:
                raise ProjectError(f"Class {quoted(name)} is left out: a project has {MOST_CLASSES} classes at most.")
            self.classes.append(Label(name))
        return self.classes[self.position(name)]

    def position(self, name: str) -> int:
        """Return the position of class `name`. Raises ProjectError if there is none."""
        if name not in self.names:
            raise ProjectError(f"There is no class {quoted(name)} in this project any more; reload the page.")
        return self.names.index(name)


def folder(name: str) -> Path:
    """Return the folder of project `name`. Raises ProjectError if the name is invalid or the folder has a link."""
    if not isinstance(name, str) or not runs.NAME_PATTERN.fullmatch(name):
        raise ProjectError(f"Project {quoted(str(name))}: {runs.NAME_WANTED}.")
    path = runs.folder_beside_runs("teach") / name
    if (path.exists() or path.is_symlink()) and runs.find_link(path):
        raise ProjectError(f"Project {name} is not opened: it is a link, or contains a link or device; delete that.")
    return path


def names() -> list[str]:
    """Return the sorted names of all projects."""
    files = runs.folder_beside_runs("teach").glob("*/classes.json")
    return sorted(path.parent.name for path in files if runs.NAME_PATTERN.fullmatch(path.parent.name))


def free_name(wish: str) -> str:
    """Return an unused project name based on `wish`, with a number if needed."""
    start = re.sub(r"[^a-z0-9]+", "-", one_line(wish).lower()).strip("-")[:34].strip("-") or "project"
    taken = names()
    wishes = itertools.chain([start], (f"{start}-{number}" for number in itertools.count(2)))
    return next(name for name in wishes if name not in taken)


def create(name: str) -> None:
    """Create an empty project. Raises ProjectError if it exists or cannot be written."""
    runs.check_disk()
    place = folder(name)
    if (place / "classes.json").exists():
        raise ProjectError(f"There is a project {name} already; choose another name, or open that one.")
    with os_errors_as(ProjectError, f"A project cannot be stored in {place}"):
        (place / "pictures").mkdir(parents=True, exist_ok=True)
        records.write_json(place / "classes.json", msgspec.to_builtins(Project()))


def make(wish: str, files: Iterable[tuple[str, bytes]]) -> tuple[str, list[str]]:
    """Create a project from `files` (see `by_folder`); return its name, based on `wish`, and error messages.

    A zip from `pack` also contains settings. Raises ProjectError if no class folder contains a picture; then
    nothing is kept.
    """
    name = free_name(wish)
    create(name)
    packed: list[Project] = []
    try:
        problems = add(name, by_folder(_watched(files, packed)))
        with changed(name) as project:
            for one in packed:
                for setting in SETTINGS:
                    setattr(project, setting, getattr(one, setting))
            if not project.samples:
                nothing = "No picture is in a folder of its class, so no picture is added."
                raise ProjectError(" ".join([nothing, *problems[:1]]))
    except CifarError:
        shutil.rmtree(folder(name), ignore_errors=True)  # not `delete`: a deleted project of this name stays
        raise
    return name, problems


def _watched(files: Iterable[tuple[str, bytes]], packed: list[Project]) -> Iterator[tuple[str, bytes]]:
    """Yield `files`; append the settings in a zip (a project without classes) to `packed`."""
    for path, content in files:
        # a damaged zip is reported when its pictures are read
        with suppress(ImageError, *MALFORMED_ZIP), open_zip(content, path) as archive:
            member = archive.getinfo(_SETTINGS)
            if is_ordinary(member):
                packed.append(msgspec.json.decode(archive.open(member).read(_SETTINGS_BYTES), type=Project))
        yield path, content


def load(name: str) -> Project:
    """Return project `name`. Raises ProjectError if it does not exist or is damaged."""
    path = folder(name) / "classes.json"
    try:
        project = records.load(path, Project)
    except CifarError as error:
        reason = str(error).partition("; ")[0]
        raise ProjectError(f"Project {name}: {reason}; correct the file, or delete the project.") from None
    if project is None:
        raise ProjectError(f"There is no project {name}.")
    return project


def stamp(name: str) -> int:
    """Return a stamp that changes with the project's classes, pictures and settings."""
    return machine.stamp(folder(name) / "classes.json")[0]


@contextmanager
def changed(name: str) -> Iterator[Project]:
    """Lock the project, yield it for changes, write it, and delete pictures that no class has any more.

    Raises ProjectError.
    """
    place = folder(name)
    load(name)  # raises if it does not exist
    try:
        busy = ProjectError(f"Project {name} is being changed elsewhere; try again.")
        with machine.hold_lock(place / "lock", 5, busy):
            project = load(name)
            before = {sample.key for sample in project.samples}
            yield project
            project.__post_init__()
            records.write_json(place / "classes.json", msgspec.to_builtins(project))
            for key in before - {sample.key for sample in project.samples}:
                with suppress(OSError):
                    (place / "pictures" / f"{key}.jpg").unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProjectError(f"Project {name} cannot be changed: {reason}.") from None


def delete(name: str) -> None:
    """Delete a project; `restore` restores it. Raises ProjectError."""
    place, target = folder(name), _deleted(name)
    shutil.rmtree(target, ignore_errors=True)  # an earlier deleted project of the same name
    with os_errors_as(ProjectError, f"Project {name} could not be deleted"):
        target.parent.mkdir(exist_ok=True)
        place.rename(target)


def restore(name: str) -> None:
    """Restore a deleted project. Raises ProjectError if it does not exist or the name is in use."""
    place = folder(name)
    if place.exists():
        raise ProjectError(f"There is a project {name} again; move {place} away to restore the deleted one.")
    with os_errors_as(ProjectError, f"Project {name} could not be restored"):
        _deleted(name).rename(place)


def _deleted(name: str) -> Path:
    return runs.folder_beside_runs("teach") / ".deleted" / name


def class_name(text: str) -> str:
    """Return `text` as a class name valid for a folder: one line, no slash. Raises ProjectError."""
    name = re.sub(r"[/\\]", "-", one_line(text))[:MOST_LETTERS].strip(" .")
    if not name:
        raise ProjectError(f"Class {quoted(text)}: expected a name of 1 to {MOST_LETTERS} letters, not dots alone.")
    return name


def rename(name: str, label: str, wish: str) -> None:
    """Rename class `label`. Raises ProjectError if there is none, or if the new name is in use."""
    new = class_name(wish)
    with changed(name) as project:
        if new in project.names and new != label:
            raise ProjectError(f"There is a class {quoted(new)} already; choose another name.")
        project.classes[project.position(label)].name = new


def add(name: str, pictures: Iterable[tuple[str, Picture]], burst: bool = False) -> list[str]:
    """Add (class, picture) pairs to a project, creating missing classes; return error messages.

    With `burst`, the pictures are frames of one burst. Duplicates in a class are added only once. Raises
    ProjectError if the project cannot be written, RunError if the disk is full.
    """
    runs.check_disk()
    place = folder(name) / "pictures"
    problems, squares, again = list[str](), list[tuple[str, Sample, bytes]](), 0
    room = MOST_PICTURES - len(load(name).samples)
    for label, picture in pictures:
        if len(squares) >= room:
            problems.append(f"A project has {MOST_PICTURES:,} pictures at most; the rest is left out.")
            break
        try:
            content = _square(picture.image)
            key, shot = hashlib.sha256(content).hexdigest()[:16], _BURST.search(picture.name.rpartition("/")[2])
            squares.append((class_name(label), Sample(key, int(shot[1]) if shot else 0), content))
        except CifarError as error:
            problems.append(str(error))
    with changed(name) as project:
        number = 1 + max((sample.burst for sample in project.samples), default=0)
        for label, sample, content in squares:
            try:
                known = project.label(label).samples
            except ProjectError as error:
                problems.append(str(error))
                continue
            if any(sample.key == one.key for one in known):
                again += 1
            else:
                (place / f"{sample.key}.jpg").write_bytes(content)
                known.append(Sample(sample.key, number) if burst else sample)
    if again:
        problems.append(f"Pictures that were in the class already: {again:,}. They count once.")
    return list(dict.fromkeys(problems))


def remove(name: str, label: str, key: str | None = None) -> None:
    """Remove picture `key` from class `label`, or the class if `key` is None. Raises ProjectError."""
    with changed(name) as project:
        match = project.classes[project.position(label)]
        if key is None:
            project.classes.remove(match)
        else:
            match.samples = [sample for sample in match.samples if sample.key != key]


def put_back(name: str, label: str, number: int, samples: Mapping[Sample, bytes]) -> None:
    """Restore removed pictures (sample -> file) of class `label`, or the class itself at position `number`.

    Raises ProjectError.
    """
    with changed(name) as project:
        for sample, content in samples.items():
            (folder(name) / "pictures" / f"{sample.key}.jpg").write_bytes(content)
        is_there = label in project.names
        restored = project.label(label)
        known = {sample.key for sample in restored.samples}  # added again meanwhile
        restored.samples += [sample for sample in samples if sample.key not in known]
        if not is_there:
            project.classes.insert(number, project.classes.pop())


def by_folder(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Picture]]:
    """Yield the pictures of `files` (path, bytes), with zips expanded, each with its folder as the class.

    A picture outside a folder has an error.
    """
    for path, content in files:
        for picture in read_each([(path, content)]):
            inside = picture.name.removeprefix(f"{path}/") if picture.name != path else path
            folders = [part for part in re.split(r"[/\\]", inside)[:-1] if part.strip(". ")]
            if picture.error or folders:
                yield folders[-1] if folders else "", picture
            else:
                error = f"{quoted(inside)} is in no folder; put the pictures of each class in a folder of its name."
                yield "", Picture(picture.name, error=error)


def content(name: str, key: str) -> bytes:
    """Return the JPEG file of a picture. Raises ProjectError if it is missing."""
    with os_errors_as(ProjectError, f"Picture {key} of project {name} is missing", "remove it"):
        return (folder(name) / "pictures" / f"{key}.jpg").read_bytes()


def image(name: str, key: str) -> Image.Image:
    """Return a picture, RGB. Raises ProjectError if it is missing or damaged."""
    try:
        return open_picture(content(name, key), f"{key}.jpg")
    except ImageError as error:
        raise ProjectError(f"A picture of project {name} is damaged: {error}") from None


def pack(name: str) -> bytes:
    """Return the project as a zip with a folder of pictures for each class, and its settings, for import."""
    buffer, project = io.BytesIO(), load(name)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_SETTINGS, msgspec.json.encode(msgspec.structs.replace(project, classes=[])))
        for label in project.classes:
            for number, sample in enumerate(label.samples, 1):
                burst = f"burst {sample.burst}, " if sample.burst else ""
                archive.writestr(f"{label.name}/{burst}{number:04}.jpg", content(name, sample.key))
    return buffer.getvalue()


def _square(picture: Image.Image) -> bytes:
    """Return the central square of a picture as JPEG, at most SIDE pixels wide."""
    square = picture.crop(crop_box(picture.size, "centre"))
    square.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=None)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
