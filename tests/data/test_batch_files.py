import gzip
import hashlib
import os
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples

from cifar_core.data import batch_files
from cifar_core.errors import DataError


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    return cifar_files.small_batches(monkeypatch)


def test_a_record_is_a_label_and_three_planes(records: list[np.ndarray]) -> None:
    train_images, train_labels, test_images, test_labels = batch_files.to_arrays(records)
    assert train_images.shape == (5 * cifar_files.IMAGES, 32, 32, 3)
    assert test_images.shape == (cifar_files.IMAGES, 32, 32, 3)
    assert train_images.dtype == train_labels.dtype == np.uint8
    for images, labels, number, batch in (
        (train_images[20:], train_labels[20:], 3, 1),
        (test_images, test_labels, 7, 5),
    ):
        record = records[batch][number]
        assert labels[number] == record[0]
        for row, column, channel in ((0, 0, 0), (31, 31, 2), (4, 9, 1)):
            assert images[number, row, column, channel] == record[1 + channel * 1024 + row * 32 + column]


def test_all_four_forms_give_the_same_records(
    records: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary, python = cifar_files.binary_files(records), cifar_files.python_files(records, monkeypatch)
    cifar_files.write_files(binary | python, tmp_path)
    forms = (
        batch_files.read_binary_folder(tmp_path / batch_files.BINARY_FOLDER),
        batch_files.read_python_folder(tmp_path / batch_files.PYTHON_FOLDER),
        batch_files.read_archive(cifar_files.write_archive(binary, tmp_path / "binary.tar.gz")),
        batch_files.read_archive(cifar_files.write_archive(python, tmp_path / "python.tar.gz")),
    )
    for form in forms:
        np.testing.assert_array_equal(list(form), records)


def test_written_batches_read_back(records: list[np.ndarray], tmp_path: Path) -> None:
    batch_files.write_binary_folder(records, tmp_path)
    np.testing.assert_array_equal(list(batch_files.read_binary_folder(tmp_path)), records)


@pytest.mark.parametrize("change", [-1, 1, -cifar_files.IMAGES * batch_files.RECORD_BYTES])
def test_batch_of_another_size_is_refused(records: list[np.ndarray], tmp_path: Path, change: int) -> None:
    batch_files.write_binary_folder(records, tmp_path)
    path = tmp_path / "data_batch_3.bin"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(DataError, match=r"data_batch_3\.bin.*bytes, expected 61,460"):
        list(batch_files.read_binary_folder(tmp_path))


def test_label_above_nine_is_refused(records: list[np.ndarray], tmp_path: Path) -> None:
    records[5][17, 0] = 10
    batch_files.write_binary_folder(records, tmp_path)
    with pytest.raises(DataError, match=r"test_batch\.bin.*record 17 has label 10, expected 0 to 9"):
        list(batch_files.read_binary_folder(tmp_path))


@pytest.mark.parametrize("instead", ["nothing", "folder", "pipe"])
def test_batch_that_is_no_file_is_refused(records: list[np.ndarray], tmp_path: Path, instead: str) -> None:
    batch_files.write_binary_folder(records, tmp_path)
    path = tmp_path / "data_batch_1.bin"
    path.unlink()
    if instead == "folder":
        path.mkdir()
    elif instead == "pipe":
        os.mkfifo(path)
    with pytest.raises(DataError, match="missing"):
        list(batch_files.read_binary_folder(tmp_path))


class Payload:
    """Leaves a mark when unpickled by anything but the restricted reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_payload_in_a_python_batch_is_not_executed(
    records: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    payload = pickle.dumps({b"data": Payload(mark), b"labels": [0] * cifar_files.IMAGES}, protocol=3)
    files = cifar_files.python_files(records, monkeypatch)
    files[f"{batch_files.PYTHON_FOLDER}/data_batch_1"] = payload
    cifar_files.write_files(files, tmp_path)
    folder, archive = tmp_path / batch_files.PYTHON_FOLDER, cifar_files.write_archive(files, tmp_path / "a.tar.gz")
    with pytest.raises(DataError, match=r"MD5.*pickles, which could run anybody's code"):
        list(batch_files.read_python_folder(folder))
    with pytest.raises(DataError, match="MD5"):
        batch_files.read_archive(archive)
    # and were its checksum the published one:
    monkeypatch.setitem(batch_files.PYTHON_MD5, "data_batch_1", hashlib.md5(payload).hexdigest())
    with pytest.raises(DataError, match="it asks for"):
        list(batch_files.read_python_folder(folder))
    assert not mark.exists()
    pickle.loads(payload)
    assert mark.exists()  # the payload is a real one


@pytest.mark.parametrize(
    "value",
    [
        [],
        {b"data": b"", b"labels": []},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [1, 2, 3]},
        {b"data": np.zeros((cifar_files.IMAGES, 3072), np.uint8), b"labels": [300] * cifar_files.IMAGES},
        {b"data": np.zeros((cifar_files.IMAGES, 3072), object), b"labels": [0] * cifar_files.IMAGES},
    ],
)
def test_pickle_of_something_else_is_refused(
    records: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    content = cifar_files.pickled(value)
    monkeypatch.setitem(batch_files.PYTHON_MD5, "test_batch", hashlib.md5(content).hexdigest())
    with pytest.raises(DataError, match="here is not a batch"):
        batch_files.parse_python(content, "test_batch", "here")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


BATCH = f"{batch_files.BINARY_FOLDER}/data_batch_1.bin"


@pytest.mark.parametrize(
    "extra",
    [
        member("../escaped"),
        member(f"{batch_files.BINARY_FOLDER}/../../escaped"),
        member("/tmp/escaped"),
        member(BATCH, tarfile.SYMTYPE, "/etc/passwd"),
        member("innocent", tarfile.SYMTYPE, "/etc"),
        member(BATCH, tarfile.LNKTYPE, "/etc/passwd"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_archive_with_paths_outside_or_links_is_refused(
    records: list[np.ndarray], tmp_path: Path, extra: tarfile.TarInfo
) -> None:
    path = cifar_files.write_archive(cifar_files.binary_files(records), tmp_path / "inner" / "a.tar.gz", extra)
    with pytest.raises(DataError, match="refused: its member 1"):
        batch_files.read_archive(path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.tar.gz"]


def test_archive_of_too_many_files_is_refused(records: list[np.ndarray], tmp_path: Path) -> None:
    many = [member(f"{number}") for number in range(batch_files.MEMBER_LIMIT)]
    path = cifar_files.write_archive(cifar_files.binary_files(records), tmp_path / "a.tar.gz", *many)
    with pytest.raises(DataError, match="refused: its member 101"):
        batch_files.read_archive(path)


@pytest.mark.parametrize("extra", [member(BATCH, size=cifar_files.IMAGES * 3073), member(BATCH, size=1 << 20)])
def test_batch_there_twice_or_too_large_is_refused(
    records: list[np.ndarray], tmp_path: Path, extra: tarfile.TarInfo
) -> None:
    path = cifar_files.write_archive(cifar_files.binary_files(records), tmp_path / "a.tar.gz", extra)
    with pytest.raises(DataError, match="twice or"):
        batch_files.read_archive(path)


def test_archive_without_a_batch_is_refused(records: list[np.ndarray], tmp_path: Path) -> None:
    files = cifar_files.binary_files(records)
    del files[BATCH]
    with pytest.raises(DataError, match="data_batch_1 missing"):
        batch_files.read_archive(cifar_files.write_archive(files, tmp_path / "a.tar.gz"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_archive_that_unpacks_to_very_much_is_refused_early(tmp_path: Path, kind: bytes) -> None:
    megabyte = gzip.compress(bytes(1 << 20))
    header = member("huge", kind, size=1 << 32).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(header) + megabyte * 4096)
    assert path.stat().st_size < 8 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than 268,435,456 bytes"):
        batch_files.read_archive(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * batch_files.ARCHIVE_LIMIT


def test_damage_behind_the_last_batch_is_noticed(records: list[np.ndarray], tmp_path: Path) -> None:
    path = cifar_files.write_archive(cifar_files.binary_files(records), tmp_path / "a.tar.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # gzip's checksum of the whole
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read: CRC"):
        batch_files.read_archive(path)


@examples(60)
@given(data=st.data())
def test_mutated_archives_are_read_or_refused_and_nothing_else(
    records: list[np.ndarray], tmp_path: Path, data: st.DataObject
) -> None:
    files = {name: content for name, content in cifar_files.binary_files(records).items() if "readme" in name}
    good = gzip.decompress(cifar_files.write_archive(files, tmp_path / "a.tar.gz").read_bytes())
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    packed = bytearray(gzip.compress(bytes(changed), 1))
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    del packed[data.draw(st.integers(0, len(packed))) :]
    path = tmp_path / "mutated.tar.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError):  # there is no batch in it
        batch_files.read_archive(path)


@examples(60)
@given(data=st.data())
def test_mutated_batches_are_read_or_refused_and_nothing_else(records: list[np.ndarray], data: st.DataObject) -> None:
    good = records[0].tobytes()
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(
            st.integers(0, len(good) - 1) | st.integers(0, cifar_files.IMAGES - 1).map(lambda n: n * 3073)
        )
        changed[place] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(len(good) - 2, len(good))) :]
    try:
        read = batch_files.parse_binary(bytes(changed), "here")
    except DataError:
        assert len(changed) != len(good) or max(changed[::3073]) > 9
    else:
        assert read.tobytes() == changed
        assert read[:, 0].max() <= 9


@given(place=st.integers(0), value=st.integers(1, 255))
@examples(30)
def test_python_batch_with_one_byte_changed_is_refused(
    records: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, place: int, value: int
) -> None:
    files = cifar_files.python_files(records, monkeypatch)
    changed = bytearray(files[f"{batch_files.PYTHON_FOLDER}/test_batch"])
    changed[place % len(changed)] ^= value
    with pytest.raises(DataError, match="MD5"):
        batch_files.parse_python(bytes(changed), "test_batch", "here")
