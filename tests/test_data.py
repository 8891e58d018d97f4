import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_core.errors import ConfigError, DataError
from cifar_core.images import batches, data, generated

OFFICIAL = (os.environ.get("CIFAR10_DIR"), os.environ.get("CIFAR_CACHE_DIR"))  # before any test changes them


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, nothing in memory, and few generated images."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(folder))
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(data, "_loaded", {})
    monkeypatch.setattr(generated, "TRAIN_IMAGES", 40)
    monkeypatch.setattr(generated, "TEST_IMAGES", 20)
    return folder


@pytest.fixture
def records(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Six small batches, whose fingerprint stands for the official one."""
    small = cifar_files.small_batches(monkeypatch)
    monkeypatch.setattr(data, "OFFICIAL_FINGERPRINT", data._fingerprint(batches.to_arrays(small)))
    return small


@pytest.fixture
def binary(records: list[np.ndarray]) -> dict[str, bytes]:
    return cifar_files.binary_files(records)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that CIFAR10_DIR names."""
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "place"))
    return tmp_path / "place"


def same(one: data.Dataset, other: data.Dataset) -> bool:
    fields = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(one, field), getattr(other, field)) for field in fields)


def forget() -> None:
    """Do as a new process would."""
    data._loaded.clear()


# ---- which set


def test_every_form_of_cifar10_is_found_and_has_one_fingerprint(
    records: list[np.ndarray], binary: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = cifar_files.python_files(records, monkeypatch)
    cifar_files.write_files(binary, tmp_path / "a")
    cifar_files.write_files(python, tmp_path / "b")
    cifar_files.write_archive(binary, tmp_path / "c" / batches.BINARY_ARCHIVE)
    cifar_files.write_archive(python, tmp_path / "d" / batches.PYTHON_ARCHIVE)
    for form in (
        "a",
        f"a/{batches.BINARY_FOLDER}",
        "b",
        f"b/{batches.PYTHON_FOLDER}",
        "c",
        f"c/{batches.BINARY_ARCHIVE}",
        "d",
        f"d/{batches.PYTHON_ARCHIVE}",
    ):
        monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / form))
        found = data.load()
        assert (found.name, found.label, found.official) == ("cifar10", "CIFAR-10", True), form
        assert str(tmp_path / form) in found.source
        np.testing.assert_array_equal(found.test_labels, records[5][:, 0])


def test_generated_images_stand_in_and_say_so(cache: Path) -> None:
    drawn = data.load()
    assert drawn.name == "generated"
    assert drawn.label == "generated images, not CIFAR-10"
    assert not drawn.official
    assert drawn.train_images.shape == (40, 32, 32, 3)
    assert drawn.test_images.shape == (20, 32, 32, 3)
    assert drawn.train_images.dtype == drawn.train_labels.dtype == np.uint8
    assert not np.array_equal(drawn.train_images[:20], drawn.test_images)


def test_cifar10_by_name_is_never_replaced(cache: Path) -> None:
    with pytest.raises(DataError, match=r"not on this machine.*data download"):
        data.load("cifar10")


def test_generated_by_name_is_never_replaced(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    assert data.load("generated").name == "generated"
    assert data.load("auto").name == "cifar10"


def test_unknown_name_is_a_configuration_error(cache: Path) -> None:
    with pytest.raises(ConfigError, match="'mnist' is unknown, expected one of auto, cifar10, generated") as caught:
        data.load("mnist")
    assert caught.value.field == "dataset"


@pytest.mark.parametrize("dataset", ["auto", "cifar10"])
@pytest.mark.parametrize("exists", [False, True])
def test_named_place_without_data_is_an_error(cache: Path, place: Path, dataset: str, exists: bool) -> None:
    if exists:
        place.mkdir()
    with pytest.raises(DataError, match=r"CIFAR10_DIR = .*place' holds no CIFAR-10"):
        data.load(dataset)
    assert data.load("generated").name == "generated"


@pytest.mark.parametrize("damage", ["missing", "short", "archive"])
def test_damaged_data_is_an_error_and_not_replaced(binary: dict[str, bytes], place: Path, damage: str) -> None:
    cifar_files.write_files(binary, place)
    batch = place / batches.BINARY_FOLDER / "data_batch_2.bin"
    if damage == "missing":
        batch.unlink()
    elif damage == "short":
        batch.write_bytes(batch.read_bytes()[:-1])
    else:
        (place / batches.BINARY_FOLDER).rename(place / "elsewhere")
        (place / batches.BINARY_ARCHIVE).write_bytes(b"not an archive")
    with pytest.raises(DataError):
        data.load()


def test_named_place_goes_before_the_cache(
    records: list[np.ndarray], binary: dict[str, bytes], cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar_files.write_files(binary, cache)
    records[0][0, 1] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), place)
    other = data.load()
    assert not other.official
    assert other.label == "CIFAR-10"
    monkeypatch.delenv("CIFAR10_DIR")
    assert data.load().official


def test_damaged_cache_is_an_error_with_the_remedy(records: list[np.ndarray], cache: Path) -> None:
    records[3][5, 2000] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), cache)
    with pytest.raises(DataError, match=r"damaged: fingerprint.*data download"):
        data.load()


def test_fingerprint_knows_every_pixel_and_label(records: list[np.ndarray], place: Path) -> None:
    seen = set()
    for batch, byte in ((0, 0), (0, 1), (5, 0), (5, 3072)):
        records[batch][7, byte] ^= 1
        cifar_files.write_files(cifar_files.binary_files(records), place)
        forget()
        seen.add(data.load().fingerprint)
    assert len(seen) == 4
    assert all(len(fingerprint) == 16 for fingerprint in seen)


# ---- memory and cache


def test_same_process_gets_the_same_arrays_until_files_change(
    records: list[np.ndarray], binary: dict[str, bytes], place: Path
) -> None:
    cifar_files.write_files(binary, place)
    first = data.load()
    assert data.load() is first
    records[0][0, 1] ^= 1
    cifar_files.write_files(cifar_files.binary_files(records), place)
    assert data.load().fingerprint != first.fingerprint


def test_shared_arrays_cannot_be_written(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    for found in (data.load(), data.load("generated")):
        with pytest.raises(ValueError, match="read-only"):
            found.train_images[0] = 0


def test_archive_is_unpacked_once(
    binary: dict[str, bytes], cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = cifar_files.write_archive(binary, place / batches.BINARY_ARCHIVE)
    first = data.load()
    forget()
    with monkeypatch.context() as without:
        without.delattr(batches, "read_archive")
        assert same(data.load(), first)
    for damaged in cache.glob("unpacked-*/data_batch_1.bin"):
        damaged.write_bytes(b"")
    forget()
    assert same(data.load(), first)
    assert archive.exists()
    monkeypatch.delenv("CIFAR10_DIR")
    assert data.load().name == "generated"  # a person's archive does not become the app's own copy


def test_generated_images_are_drawn_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    first = data.load(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)
    forget()
    with monkeypatch.context() as without:
        without.delattr(generated, "images")
        assert same(data.load(), first)
        assert data.load().fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_damaged_store_of_generated_images_is_drawn_again(cache: Path, damage: bytes | None) -> None:
    first = data.load()
    path = next(cache.glob("generated-*/0.npy"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    forget()
    assert same(data.load(), first)
    assert path.read_bytes() == content


def test_object_array_in_the_store_is_not_unpickled(cache: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "mark",)

    data.load()
    path = next(cache.glob("generated-*/0.npy"))
    np.save(path, np.array([Payload()], object), allow_pickle=True)
    forget()
    assert data.load().train_images.dtype == np.uint8
    assert not (tmp_path / "mark").exists()


def test_cache_that_cannot_be_written_is_done_without(binary: dict[str, bytes], cache: Path, place: Path) -> None:
    cache.write_text("a file where the folder should be")
    cifar_files.write_archive(binary, place / batches.BINARY_ARCHIVE)
    assert data.load().official
    assert data.load("generated").name == "generated"


def test_full_disk_is_done_without_and_leaves_nothing(binary: dict[str, bytes], cache: Path, place: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits stand in for a full disk")
    cifar_files.write_archive(binary, place / batches.BINARY_ARCHIVE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        assert data.load().official
        assert data.load("generated").name == "generated"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert all(path.suffix == ".lock" for path in cache.iterdir())


def test_two_processes_draw_once(cache: Path) -> None:
    code = (
        "from cifar_core.images import data, generated; generated.TRAIN_IMAGES, generated.TEST_IMAGES = 40, 20; "
        "drawn = []; print(data.load(progress=lambda *done: drawn.append(done)).fingerprint, bool(drawn))"
    )
    command = [sys.executable, "-c", code]
    start = partial(subprocess.Popen, command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    answers = []
    for process in [start(), start()]:
        answers.append(process.communicate(timeout=60)[0].split())
        assert process.returncode == 0
    assert answers[0][0] == answers[1][0]
    assert sorted(drawn for _, drawn in answers) == ["False", "True"]


# ---- split


LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10, dtype=np.uint8), 100))


def test_split_of_everything() -> None:
    training, validation = data.split(LABELS, 50_000, 0.2, seed=3)
    assert (len(training), len(validation)) == (800, 200)
    assert training.dtype == validation.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(1000))
    assert np.all(np.diff(training) > 0)
    assert np.all(np.bincount(LABELS[validation]) == 20)


def test_split_depends_on_the_seed_alone() -> None:
    first, again, other = (data.split(LABELS, 500, 0.2, seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smaller_set_is_part_of_a_larger_one() -> None:
    small, large = (np.concatenate(data.split(LABELS, count, 0.2, seed=3)) for count in (200, 300))
    assert len(small) == 200
    assert np.isin(small, large).all()


@given(
    counts=st.lists(st.integers(12, 300), min_size=10, max_size=10),
    share=st.floats(0.5, 1),
    fraction=st.floats(0.3, 0.7),
    seed=st.integers(0, 2**32),
)
def test_shares_are_exact_to_within_one_image_a_class(
    counts: list[int], share: float, fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    wanted = max(1, round(share * len(labels)))
    training, validation = data.split(labels, wanted, fraction, seed)
    used = np.bincount(labels[np.concatenate([training, validation])], minlength=10)
    assert len(np.union1d(training, validation)) == used.sum() == wanted
    assert np.all(np.abs(used - np.array(counts) * wanted / len(labels)) < 1 + 1e-9)
    held_out = np.bincount(labels[validation], minlength=10)
    assert np.all(np.abs(held_out - used * fraction) < 1 + 1e-9)
    assert abs(len(validation) - wanted * fraction) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("train_images", "fraction", "field"),
    [
        (1000, 0.0, "validation_fraction"),
        (1000, 0.004, "validation_fraction"),
        (1000, 1.0, "validation_fraction"),
        (10, 0.2, "train_images"),
        (0, 0.2, "train_images"),
        (-5, 0.2, "train_images"),
    ],
)
def test_class_without_an_image_is_an_error(train_images: int, fraction: float, field: str) -> None:
    with pytest.raises(ConfigError, match="without an image") as caught:
        data.split(LABELS, train_images, fraction, seed=1)
    assert caught.value.field == field


def test_split_of_labels_that_lack_a_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match="without an image"):
        data.split(LABELS[LABELS != 9], 1000, 0.2, seed=1)


# ---- status


def test_status_of_an_empty_machine_draws_nothing(cache: Path) -> None:
    state = data.status()
    assert state == json.loads(json.dumps(state))
    assert (state["dataset"], state["label"]) == ("generated", "generated images, not CIFAR-10")
    assert "not downloaded" in state["reason"]
    assert (state["train_images"], state["test_images"], state["fingerprint"]) == (40, 20, None)
    assert (state["official"], state["error"], state["cache_dir"]) == (False, None, str(cache))
    assert state["download"] == {"running": False, "bytes": 0, "total": 170_052_171, "error": None}
    assert not cache.exists()
    drawn = data.load()
    assert data.status()["fingerprint"] == drawn.fingerprint
    assert data.status()["source"] == drawn.source


def test_status_of_official_data(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    state = data.status()
    assert (state["dataset"], state["official"], state["train_images"]) == ("cifar10", True, 5 * cifar_files.IMAGES)
    assert state["fingerprint"] == data.OFFICIAL_FINGERPRINT
    assert state["source"] == str(place / batches.BINARY_FOLDER)
    assert "CIFAR10_DIR" in state["reason"]


def test_status_tells_what_is_wrong_instead_of_raising(cache: Path, place: Path) -> None:
    state = data.status()
    assert "holds no CIFAR-10" in state["error"]
    assert state["dataset"] is None
    assert state["download"]["running"] is False


@pytest.mark.parametrize("content", ["", "[]", '{"message": 3}', "{", "\udcff"])
def test_status_survives_a_damaged_error_file(cache: Path, content: str) -> None:
    cache.mkdir()
    (cache / f"{batches.BINARY_ARCHIVE}.error.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert data.status()["download"]["error"] is None


# ---- download


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(binary: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive at the address of the official one."""
    archive = cifar_files.write_archive(binary, tmp_path / "server" / batches.BINARY_ARCHIVE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(data, "URL", f"http://127.0.0.1:{server.server_address[1]}/{archive.name}")
    monkeypatch.setattr(data, "ARCHIVE_BYTES", archive.stat().st_size)
    monkeypatch.setattr(data, "ARCHIVE_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    yield archive
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_puts_cifar10_into_the_cache(served: Path, cache: Path) -> None:
    seen = []
    downloaded = data.download(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (data.ARCHIVE_BYTES, data.ARCHIVE_BYTES)
    assert downloaded.official
    assert downloaded.source == str(cache / batches.BINARY_FOLDER)
    assert data.load("auto") is downloaded
    assert not (cache / batches.BINARY_ARCHIVE).exists()
    assert data.status()["reason"] == "it lies in the app's cache"
    served.unlink()
    assert data.download() is downloaded  # which needs no server


def test_download_replaces_a_damaged_copy(served: Path, cache: Path) -> None:
    data.download()
    (cache / batches.BINARY_FOLDER / "test_batch.bin").write_bytes(b"damaged")
    with pytest.raises(DataError):
        data.load()
    assert data.download().official
    assert data.load("cifar10").official


def test_failed_download_is_remembered_until_the_next(served: Path, cache: Path) -> None:
    hidden = served.with_name("hidden")
    served.rename(hidden)
    with pytest.raises(DataError, match="404"):
        data.download()
    state = data.status()
    assert "404" in state["download"]["error"]
    assert state["dataset"] == "generated"
    hidden.rename(served)
    data.download()
    assert data.status()["download"]["error"] is None


def test_download_cut_short_by_the_server_leaves_its_part(
    served: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "ARCHIVE_BYTES", data.ARCHIVE_BYTES + 1)
    with pytest.raises(DataError, match="broke off"):
        data.download()
    assert data.status()["download"]["bytes"] == data.ARCHIVE_BYTES - 1
    assert data.status()["dataset"] == "generated"


def test_archive_left_by_a_killed_download_is_used(binary: dict[str, bytes], cache: Path) -> None:
    cifar_files.write_archive(binary, cache / batches.BINARY_ARCHIVE)
    assert data.load("cifar10").official
    (cache / batches.BINARY_ARCHIVE).unlink()
    forget()
    assert data.load("cifar10").official


# ---- the official files


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Path:
    named, own = OFFICIAL
    place = Path(named or own or "~/.cache/cifar-studio").expanduser().absolute()
    if not place.exists():
        pytest.skip("the official CIFAR-10 is neither in CIFAR10_DIR nor in the app's cache")
    return place


@pytest.mark.real_images
def test_official_files_are_recognised(official: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(official))
    if data._find(official) is None:
        pytest.skip(f"no official CIFAR-10 in {official}")
    found = data.load("cifar10")
    assert found.official
    assert found.train_images.shape == (50_000, 32, 32, 3)
    assert found.test_images.shape == (10_000, 32, 32, 3)
    assert np.all(np.bincount(found.train_labels) == 5_000)
    assert np.all(np.bincount(found.test_labels) == 1_000)
    first_ten = [data.CLASSES[label] for label in found.test_labels[:10]]
    assert first_ten == ["cat", "ship", "ship", "airplane", "frog", "frog", "automobile", "frog", "cat", "automobile"]
    training, validation = data.split(found.train_labels, 5_000, 0.2, seed=0)
    assert (len(training), len(validation)) == (4_000, 1_000)
    assert np.all(np.bincount(found.train_labels[validation]) == 100)


@pytest.mark.real_images
def test_official_python_batches_are_the_same_images(
    official: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next((f for f in (official, official.parent) if (f / batches.PYTHON_FOLDER).is_dir()), None)
    if folder is None:
        pytest.skip(f"no {batches.PYTHON_FOLDER} in or beside {official}")
    monkeypatch.setenv("CIFAR10_DIR", str(folder / batches.PYTHON_FOLDER))
    assert data.load("cifar10").official


def test_a_few_generated_images_are_drawn_once_and_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.samples(23, "generated")
    monkeypatch.setattr(data.generated, "images", lambda *_: pytest.fail("drawn again"))
    again = data.samples(23, "generated")
    assert all(one is other for one, other in zip(first, again, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 0
