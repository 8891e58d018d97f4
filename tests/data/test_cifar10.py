"""Which images a training gets, and what is kept of them in memory and cache."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import subprocess
import sys
from functools import partial
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from machines import binary, cache, forget, official, place, records, same  # noqa: F401 - fixtures among them

from cifar_core.data import batch_files, cifar10, synthetic
from cifar_core.data.cifar10 import split
from cifar_core.errors import DataError


def test_every_form_of_cifar10_is_found_and_has_one_fingerprint(
    records: list[np.ndarray], binary: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = cifar_files.python_files(records, monkeypatch)
    cifar_files.write_files(binary, tmp_path / "a")
    cifar_files.write_files(python, tmp_path / "b")
    cifar_files.write_archive(binary, tmp_path / "c" / batch_files.BINARY_ARCHIVE)
    cifar_files.write_archive(python, tmp_path / "d" / batch_files.PYTHON_ARCHIVE)
    for form in (
        "a",
        f"a/{batch_files.BINARY_FOLDER}",
        "b",
        f"b/{batch_files.PYTHON_FOLDER}",
        "c",
        f"c/{batch_files.BINARY_ARCHIVE}",
        "d",
        f"d/{batch_files.PYTHON_ARCHIVE}",
    ):
        monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / form))
        found = cifar10.load()
        assert (found.name, found.label, found.official) == ("cifar10", "CIFAR-10", True), form
        assert str(tmp_path / form) in found.source
        np.testing.assert_array_equal(found.test_labels, records[5][:, 0])


def test_generated_images_stand_in_and_say_so(cache: Path) -> None:
    drawn = cifar10.load()
    assert drawn.name == "generated"
    assert drawn.label == cifar10.LABELS["generated"]
    assert not drawn.official
    assert drawn.train_images.shape == (40, 32, 32, 3)
    assert drawn.test_images.shape == (20, 32, 32, 3)
    assert drawn.train_images.dtype == drawn.train_labels.dtype == np.uint8
    assert not np.array_equal(drawn.train_images[:20], drawn.test_images)


def test_cifar10_by_name_is_never_replaced(cache: Path) -> None:
    with pytest.raises(DataError, match=r"CIFAR10_DIR.*data download"):
        cifar10.load("cifar10")


def test_generated_by_name_is_never_replaced(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    assert cifar10.load("generated").name == "generated"
    assert cifar10.load("auto").name == "cifar10"


@pytest.mark.parametrize("dataset", ["auto", "cifar10"])
@pytest.mark.parametrize("exists", [False, True])
def test_named_place_without_data_is_an_error(cache: Path, place: Path, dataset: str, exists: bool) -> None:
    if exists:
        place.mkdir()
    with pytest.raises(DataError, match=r"CIFAR10_DIR = .*place'"):
        cifar10.load(dataset)
    assert cifar10.load("generated").name == "generated"


@pytest.mark.parametrize("damage", ["missing", "short", "archive"])
def test_damaged_data_is_an_error_and_not_replaced(binary: dict[str, bytes], place: Path, damage: str) -> None:
    cifar_files.write_files(binary, place)
    batch = place / batch_files.BINARY_FOLDER / "data_batch_2.bin"
    if damage == "missing":
        batch.unlink()
    elif damage == "short":
        batch.write_bytes(batch.read_bytes()[:-1])
    else:
        (place / batch_files.BINARY_FOLDER).rename(place / "elsewhere")
        (place / batch_files.BINARY_ARCHIVE).write_bytes(b"not an archive")
    with pytest.raises(DataError):
        cifar10.load()


def test_named_place_goes_before_the_cache(
    records: list[np.ndarray], binary: dict[str, bytes], cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar_files.write_files(binary, cache)
    records[0][0, 1] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), place)
    other = cifar10.load()
    assert not other.official
    assert other.label == "CIFAR-10"
    monkeypatch.delenv("CIFAR10_DIR")
    assert cifar10.load().official


def test_damaged_cache_is_an_error_with_the_remedy(records: list[np.ndarray], cache: Path) -> None:
    records[3][5, 2000] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), cache)
    with pytest.raises(DataError, match=rf"expected {cifar10.OFFICIAL_FINGERPRINT}.*data download"):
        cifar10.load()


def test_fingerprint_knows_every_pixel_and_label(records: list[np.ndarray], place: Path) -> None:
    seen = set()
    for batch, byte in ((0, 0), (0, 1), (5, 0), (5, 3072)):
        records[batch][7, byte] ^= 1
        cifar_files.write_files(cifar_files.binary_files(records), place)
        forget()
        seen.add(cifar10.load().fingerprint)
    assert len(seen) == 4
    assert all(len(fingerprint) == 16 for fingerprint in seen)


def test_same_process_gets_the_same_arrays_until_files_change(
    records: list[np.ndarray], binary: dict[str, bytes], place: Path
) -> None:
    cifar_files.write_files(binary, place)
    first = cifar10.load()
    assert cifar10.load() is first
    records[0][0, 1] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), place)
    assert cifar10.load().fingerprint != first.fingerprint


def test_shared_arrays_cannot_be_written(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    for found in (cifar10.load(), cifar10.load("generated")):
        with pytest.raises(ValueError, match="read-only"):
            found.train_images[0] = 0


def test_archive_is_unpacked_once(
    binary: dict[str, bytes], cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = cifar_files.write_archive(binary, place / batch_files.BINARY_ARCHIVE)
    first = cifar10.load()
    forget()
    with monkeypatch.context() as without:
        without.delattr(batch_files, "read_archive")
        assert same(cifar10.load(), first)
    for damaged in cache.glob("unpacked-*/data_batch_1.bin"):
        damaged.write_bytes(b"")
    forget()
    assert same(cifar10.load(), first)
    assert archive.exists()
    monkeypatch.delenv("CIFAR10_DIR")
    assert cifar10.load().name == "generated"  # a person's archive does not become the app's own copy


def test_a_damaged_archive_is_unpacked_again_only_when_it_has_changed(
    binary: dict[str, bytes], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = cifar_files.write_archive(binary, place / batch_files.BINARY_ARCHIVE)
    sound = archive.read_bytes()
    archive.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(DataError) as first:
        cifar10.load()
    with monkeypatch.context() as without:
        without.delattr(batch_files, "read_archive")
        with pytest.raises(DataError) as second:
            cifar10.load()
    assert str(second.value) == str(first.value)
    archive.write_bytes(sound)
    assert cifar10.load().name == "cifar10"


def test_generated_images_are_drawn_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    first = cifar10.load(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)
    forget()
    with monkeypatch.context() as without:
        without.delattr(synthetic, "images")
        assert same(cifar10.load(), first)
        assert cifar10.load().fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_damaged_store_of_generated_images_is_drawn_again(cache: Path, damage: bytes | None) -> None:
    first = cifar10.load()
    path = next(cache.glob("generated-*/0.npy"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    forget()
    assert same(cifar10.load(), first)
    assert path.read_bytes() == content


def test_object_array_in_the_store_is_not_unpickled(cache: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "mark",)

    cifar10.load()
    path = next(cache.glob("generated-*/0.npy"))
    np.save(path, np.array([Payload()], object), allow_pickle=True)
    forget()
    assert cifar10.load().train_images.dtype == np.uint8
    assert not (tmp_path / "mark").exists()


def test_cache_that_cannot_be_written_is_done_without(binary: dict[str, bytes], cache: Path, place: Path) -> None:
    cache.write_text("a file where the folder should be")
    cifar_files.write_archive(binary, place / batch_files.BINARY_ARCHIVE)
    assert cifar10.load().official
    assert cifar10.load("generated").name == "generated"


def test_full_disk_is_done_without_and_leaves_nothing(binary: dict[str, bytes], cache: Path, place: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits stand in for a full disk")
    cifar_files.write_archive(binary, place / batch_files.BINARY_ARCHIVE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        assert cifar10.load().official
        assert cifar10.load("generated").name == "generated"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert all(path.suffix == ".lock" for path in cache.iterdir())


def test_two_processes_draw_once(cache: Path) -> None:
    code = (
        "from cifar_core.data import cifar10, synthetic; synthetic.TRAIN_IMAGES, synthetic.TEST_IMAGES = 40, 20; "
        "drawn = []; print(cifar10.load(progress=lambda *done: drawn.append(done)).fingerprint, bool(drawn))"
    )
    command = [sys.executable, "-c", code]
    start = partial(subprocess.Popen, command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    answers = []
    for process in [start(), start()]:
        answers.append(process.communicate(timeout=60)[0].split())
        assert process.returncode == 0
    assert answers[0][0] == answers[1][0]
    assert sorted(drawn for _, drawn in answers) == ["False", "True"]


@pytest.mark.real_images
def test_official_files_are_recognised(official: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(official))
    if cifar10._find(official) is None:
        pytest.skip(f"no official CIFAR-10 in {official}")
    found = cifar10.load("cifar10")
    assert found.official
    assert found.train_images.shape == (50_000, 32, 32, 3)
    assert found.test_images.shape == (10_000, 32, 32, 3)
    assert np.all(np.bincount(found.train_labels) == 5_000)
    assert np.all(np.bincount(found.test_labels) == 1_000)
    first_ten = [cifar10.CLASSES[label] for label in found.test_labels[:10]]
    assert first_ten == ["cat", "ship", "ship", "airplane", "frog", "frog", "automobile", "frog", "cat", "automobile"]
    training, validation = split(found.train_labels, 5_000, 0.2, seed=0)
    assert (len(training), len(validation)) == (4_000, 1_000)
    assert np.all(np.bincount(found.train_labels[validation]) == 100)


@pytest.mark.real_images
def test_official_python_batches_are_the_same_images(
    official: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next((f for f in (official, official.parent) if (f / batch_files.PYTHON_FOLDER).is_dir()), None)
    if folder is None:
        pytest.skip(f"no {batch_files.PYTHON_FOLDER} in or beside {official}")
    monkeypatch.setenv("CIFAR10_DIR", str(folder / batch_files.PYTHON_FOLDER))
    assert cifar10.load("cifar10").official


def test_a_few_generated_images_are_drawn_once_and_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cifar10.samples(23, "generated")
    monkeypatch.setattr(cifar10.synthetic, "images", lambda *_: pytest.fail("drawn again"))
    again = cifar10.samples(23, "generated")
    assert all(one is other for one, other in zip(first, again, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 0
