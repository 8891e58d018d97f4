"""Loads the images: CIFAR-10 from CIFAR10_DIR or the app's cache, or else synthetic images.

`status` returns which images are used and why. CIFAR_CACHE_DIR sets the cache folder, which contains downloads,
unpacked archives and the synthetic images.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from cifar_core import machine
from cifar_core.data import batch_files, synthetic
from cifar_core.data.batch_files import Arrays
from cifar_core.data.download import AlreadyRunning, Progress, fetch, is_running, part_bytes
from cifar_core.errors import ConfigError, DataError, os_errors_as
from cifar_core.runs import read_json, write_json

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Class names; a label is an index of this tuple."""

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_BYTES = 170_052_171
OFFICIAL_FINGERPRINT = "80387ddb9a0edf3f"
TRAIN_SEED, TEST_SEED = 1, 2  # of the synthetic images

LABELS = {"cifar10": "CIFAR-10", "generated": "generated images, not CIFAR-10"}
_Name = Literal["cifar10", "generated"]


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory, read-only: uint8 (n, 32, 32, 3) RGB and uint8 (n,), 0 to 9 as in CLASSES."""

    name: _Name
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    fingerprint: str
    """First 16 hexadecimal digits of the SHA-256 hash of all pixels and labels, independent of the file format."""
    source: str
    """Folder or archive, or how the images were made."""

    @property
    def label(self) -> str:
        """Text on screen beside each result that depends on this data set."""
        return LABELS[self.name]

    @property
    def official(self) -> bool:
        """Whether all pixels and labels are those of CIFAR-10."""
        return self.fingerprint == OFFICIAL_FINGERPRINT


@dataclass(frozen=True)
class _Source:
    """Location of a data set: an archive, which is then the only one of `files`, or a folder with `files`.

    `stamp` and `changed` change with the files, so that loaded data is never stale.
    """

    name: _Name
    path: Path
    files: tuple[Path, ...] = field(repr=False, default=())
    stamp: tuple[tuple[int, int], ...] = ()
    changed: int = field(repr=False, default=0)

    @property
    def where(self) -> str:
        """See `Dataset.source`."""
        return str(self.path) if self.files else f"drawn by the program, version {synthetic.VERSION}"


_loaded: dict[str, tuple[_Source, Dataset | DataError]] = {}  # by name; an error if the files are damaged
_loading, _drawing_few = threading.Lock(), threading.Lock()
_few_drawn = functools.lru_cache(maxsize=16)(synthetic.images)


def cache_dir() -> Path:
    """Return the folder of downloads and stores: CIFAR_CACHE_DIR, by default ~/.cache/cifar-studio."""
    return machine.expanded(os.environ.get("CIFAR_CACHE_DIR") or "~/.cache/cifar-studio")


def load(dataset: str = "auto", progress: machine.Progress = lambda done, total: None) -> Dataset:
    """Return a data set: "cifar10", "generated", or "auto", the first that is available.

    CIFAR-10 takes half a second and 184 MB; it is loaded once per process until the files change. Synthetic images are
    drawn, with `progress`, once per cache folder.
    Raises DataError if CIFAR10_DIR or the cache is damaged, or "cifar10" is not found.
    """
    return _load(_choose(dataset)[0], progress)


def name_of(dataset: str = "auto") -> _Name:
    """Return which data set `load` would give, without reading it. Raises as `load` does."""
    return _choose(dataset)[0].name


def sizes(dataset: str = "auto") -> tuple[int, int]:
    """Return the numbers of training and test images of a data set without reading it. Raises as `load` does."""
    if name_of(dataset) == "generated":
        return synthetic.TRAIN_IMAGES, synthetic.TEST_IMAGES
    return 5 * batch_files.IMAGES_PER_BATCH, batch_files.IMAGES_PER_BATCH


def samples(count: int, dataset: str = "auto", test: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `count` training (or test) images and labels: uint8 (count, 32, 32, 3) and (count,), read-only.

    Draws only as many synthetic images. Raises as `load` does.
    """
    if name_of(dataset) == "generated":
        with _drawing_few:  # concurrent callers wait for one drawing, 0.7 ms per image
            return _few_drawn(count, TEST_SEED if test else TRAIN_SEED)
    data = load(dataset)
    if test:
        return data.test_images[:count], data.test_labels[:count]
    return data.train_images[:count], data.train_labels[:count]


def status() -> dict:
    """Return the data set that "auto" selects, the reason, and the state of a download, ready for JSON. Never raises.

    "dataset", "label", "reason", "source", "train_images", "test_images", "fingerprint" and "official" are None if
    there is an "error". The fingerprint is also None before synthetic images are drawn. "download" contains "running",
    "bytes" (of the unfinished file), "total" and "error" (of the last attempt, or None). "cache_dir" is always known.
    """
    keys = ("dataset", "label", "reason", "source", "train_images", "test_images", "fingerprint", "official")
    state: dict = dict.fromkeys((*keys, "error"))
    try:
        source, reason = _choose("auto")
        fingerprint = drawn_fingerprint() if source.name == "generated" else _load(source).fingerprint
        facts = source.name, LABELS[source.name], reason, source.where, *sizes(), fingerprint
        state.update(zip(keys, (*facts, fingerprint == OFFICIAL_FINGERPRINT), strict=True))
    except DataError as error:
        state["error"] = str(error)
    archive, failure = cache_dir() / batch_files.BINARY_ARCHIVE, read_json(_error_file()).get("message")
    state["download"] = {
        "running": is_running(archive),
        "bytes": part_bytes(archive),
        "total": ARCHIVE_BYTES,
        "error": failure if isinstance(failure, str) else None,
    }
    state["cache_dir"] = str(cache_dir())
    return state


def download(progress: Progress = lambda done, total: None) -> Dataset:
    """Download the official CIFAR-10 to the cache, unless it is already there, and return it.

    Downloads 170 MB and keeps 184 MB. Other processes can follow the progress with `status()`. Raises AlreadyRunning
    if another process downloads it, or DataError; `status()` contains its message until the next attempt.
    """
    archive, folder = cache_dir() / batch_files.BINARY_ARCHIVE, cache_dir() / batch_files.BINARY_FOLDER
    if present := _find(cache_dir()):
        with contextlib.suppress(DataError):  # damaged: download again
            return _load(present)
    with contextlib.suppress(OSError):
        _error_file().unlink(missing_ok=True)
    try:
        md5 = batch_files.ARCHIVE_MD5[batch_files.BINARY_ARCHIVE]
        fetch(URL, archive, ARCHIVE_BYTES, md5, progress, magic=b"\x1f\x8b")
        shutil.rmtree(folder, ignore_errors=True)
        dataset = _load(_source([archive]))
        if folder.is_dir():  # else there was no room, and the archive is used
            archive.unlink(missing_ok=True)
            dataset = _load(_source(batch_files.find(folder)))
    except DataError as error:
        if not isinstance(error, AlreadyRunning):
            with contextlib.suppress(OSError):
                write_json(_error_file(), {"message": str(error)})
        raise
    return dataset


def shown_label(label: object) -> str:
    """Return the label of a data set for the user; "generated" in files becomes "synthetic"."""
    return str(label).replace("generated", "synthetic")


def drawn_fingerprint() -> str | None:
    """Return the fingerprint of the synthetic images, or None if they are not yet generated."""
    return machine.read_text(_drawn_dir() / "fingerprint") or None


def _drawn_dir() -> Path:
    return cache_dir() / f"generated-{synthetic.VERSION}"


def _error_file() -> Path:  # of the last download
    return cache_dir() / f"{batch_files.BINARY_ARCHIVE}.error.json"


def _choose(dataset: str) -> tuple[_Source, str]:
    """Return the location of `dataset` and the reason for it."""
    generated = _Source("generated", _drawn_dir(), stamp=((synthetic.TRAIN_IMAGES, synthetic.TEST_IMAGES),))
    if dataset == "generated":
        return generated, "chosen by name"
    if named := os.environ.get("CIFAR10_DIR"):
        if source := _find(machine.expanded(named)):
            return source, "CIFAR10_DIR names it"
        raise DataError(
            f"CIFAR10_DIR = {named!r} does not contain CIFAR-10, expected {batch_files.BINARY_FOLDER}, "
            f"{batch_files.PYTHON_FOLDER}, {batch_files.BINARY_ARCHIVE} or {batch_files.PYTHON_ARCHIVE}. "
            "Correct it, or unset it for the download."
        )
    if source := _find(cache_dir()):
        return source, "it is in the app's cache"
    if dataset == "cifar10":
        raise DataError(
            f"CIFAR-10 is not on this machine: CIFAR10_DIR is not set, and {cache_dir()} does not contain it; "
            f"{batch_files.NEXT_STEP}."
        )
    return generated, "CIFAR-10 is not on this machine: CIFAR10_DIR is not set, and it was not downloaded"


def _find(place: Path) -> _Source | None:
    """Return CIFAR-10 in any of its formats at or in `place`, or None."""
    with os_errors_as(DataError, f"{place} cannot be read", batch_files.NEXT_STEP):
        files = batch_files.find(place)
        return _source(files) if files else None


def _source(files: list[Path]) -> _Source:
    facts = [file.stat() for file in files if file.exists()]
    stamp = tuple((fact.st_size, fact.st_mtime_ns) for fact in facts)
    changed = max((fact.st_ctime_ns for fact in facts), default=0)
    return _Source("cifar10", files[0] if len(files) == 1 else files[0].parent, tuple(files), stamp, changed)


def _load(source: _Source, progress: machine.Progress = lambda done, total: None) -> Dataset:
    with _loading:
        known, found = _loaded.get(source.name, (None, None))
        if known != source:
            try:
                found = _dataset(source, _read(source, progress))
            except DataError as error:
                if isinstance(error.__context__, OSError):
                    raise  # the next attempt may succeed
                found = DataError(str(error))  # without the traceback, which would keep the arrays in memory
            _loaded[source.name] = source, found
        if isinstance(found, Dataset):
            return found
        raise DataError(str(found))


def _dataset(source: _Source, arrays: Arrays) -> Dataset:
    for array in arrays:
        array.flags.writeable = False
    dataset = Dataset(source.name, *arrays, fingerprint=_fingerprint(arrays), source=source.where)
    if source.name == "cifar10" and source.path.parent == cache_dir() and not dataset.official:
        raise DataError(
            f"{source.path} is damaged: fingerprint {dataset.fingerprint}, expected {OFFICIAL_FINGERPRINT}. "
            "Run 'python -m cifar_core data download', which replaces it."
        )
    return dataset


def _read(source: _Source, progress: machine.Progress) -> Arrays:
    if source.name == "generated":
        return _drawn(source.path, progress)
    is_archive = source.files == (source.path,)
    return batch_files.to_arrays(_unpacked(source) if is_archive else batch_files.read(source.files))


def _fingerprint(arrays: Arrays) -> str:
    digest = hashlib.sha256()  # 0.1 s for CIFAR-10, or 0.6 s on a CPU without SHA instructions
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _unpacked(source: _Source) -> list[np.ndarray]:
    """Return the batches of an archive; unpack it into the cache on first use."""
    key = hashlib.sha256(repr(source).encode()).hexdigest()[:16]
    folder = cache_dir() / (batch_files.BINARY_FOLDER if source.path.parent == cache_dir() else f"unpacked-{key}")
    with _cache_lock(folder.name):
        with contextlib.suppress(DataError):  # missing or damaged
            return list(batch_files.read(folder / f"{batch}.bin" for batch in batch_files.BATCHES))
        records = batch_files.read_archive(source.path)
        _store_folder(folder, lambda part: batch_files.write_binary_folder(records, part))
    return records


def _drawn(folder: Path, progress: machine.Progress) -> Arrays:
    """Return the synthetic images; draw them on first use and store them in `folder`."""
    with _cache_lock(folder.name):
        if stored := _stored(folder):
            return stored
        count, total = synthetic.TRAIN_IMAGES, synthetic.TRAIN_IMAGES + synthetic.TEST_IMAGES
        train = synthetic.images(count, TRAIN_SEED, lambda done, _: progress(done, total))
        test = synthetic.images(total - count, TEST_SEED, lambda done, _: progress(count + done, total))
        arrays = (*train, *test)

        def write(part: Path) -> None:
            for number, array in enumerate(arrays):
                np.save(part / f"{number}.npy", array)
            (part / "fingerprint").write_text(_fingerprint(arrays))

        _store_folder(folder, write)
        return arrays


def _stored(folder: Path) -> Arrays | None:
    """Return the synthetic images stored in `folder`, or None if they are missing or damaged."""
    try:
        first, second, third, fourth = (np.load(folder / f"{number}.npy", allow_pickle=False) for number in range(4))
        arrays = first, second, third, fourth
        same_size = (len(second), len(fourth)) == (synthetic.TRAIN_IMAGES, synthetic.TEST_IMAGES)
        return arrays if same_size and _fingerprint(arrays) == drawn_fingerprint() else None
    except (OSError, ValueError, EOFError, MemoryError):
        return None


@contextlib.contextmanager
def _cache_lock(name: str) -> Iterator[None]:
    """Hold the lock of a cache entry, so that one process at a time creates it."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a read-only cache needs no lock
            cache_dir().mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(cache_dir() / f"{name}.lock"))
        yield


def _store_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Create `folder` atomically with the files that `write` writes; ignore OSErrors."""
    part = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        write(part)
        shutil.rmtree(folder, ignore_errors=True)
        machine.replace(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)


def split(
    labels: np.ndarray, train_images: int, validation_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training and validation images in `labels`: int64, sorted, disjoint, stratified by class.

    `train_images` images are used (all if there are fewer); of these, the share `validation_fraction`, 0 to 1, is for
    validation. Class shares are exact to within one image. With the same seed, a smaller set is a subset of a larger
    one. Raises ConfigError if a class would have no training or no validation image.
    """
    counts = np.bincount(labels, minlength=len(CLASSES))
    used = _shares(counts, min(train_images / len(labels), 1))
    held_out = _shares(used, validation_fraction)
    if used.min() < 2 or held_out.min() < 1 or (used - held_out).min() < 1:
        raise ConfigError(
            f"train_images = {train_images:,} of {len(labels):,} with validation_fraction = {validation_fraction:g} "
            "leaves a class without an image for training or validation, expected one of each at least. "
            "Use more images, or a share further from 0 and 1.",
            field="train_images" if used.min() < 2 else "validation_fraction",
        )
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    validation = [order[:end] for order, end in zip(shuffled, held_out, strict=True)]
    training = [order[start:end] for order, start, end in zip(shuffled, held_out, used, strict=True)]
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(validation))


def _shares(counts: np.ndarray, share: float) -> np.ndarray:
    """Return `share` of each of `counts`, rounded up or down to integers so that their sum fits best."""
    exact = counts * share
    whole = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - whole.sum()
    largest = np.argsort(whole - exact, kind="stable")[:missing]
    whole[largest] += 1
    return whole
