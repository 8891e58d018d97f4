import os
import pickle
import tarfile
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
        batch_files.read(batch_files.find(tmp_path / batch_files.BINARY_FOLDER)),
        batch_files.read(batch_files.find(tmp_path / batch_files.PYTHON_FOLDER)),
        batch_files.read_archive(cifar_files.write_archive(binary, tmp_path / "binary.tar.gz")),
        batch_files.read_archive(cifar_files.write_archive(python, tmp_path / "python.tar.gz")),
    )
    for form in forms:
        np.testing.assert_array_equal(list(form), records)


def test_written_batches_read_back(records: list[np.ndarray], tmp_path: Path) -> None:
    batch_files.write_binary_folder(records, tmp_path)
    np.testing.assert_array_equal(list(batch_files.read(batch_files.find(tmp_path))), records)


@pytest.mark.parametrize("change", [-1, 1, -cifar_files.IMAGES * batch_files.RECORD_BYTES])
def test_batch_of_another_size_is_refused(records: list[np.ndarray], tmp_path: Path, change: int) -> None:
    batch_files.write_binary_folder(records, tmp_path)
    path = tmp_path / "data_batch_3.bin"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(DataError, match=r"data_batch_3\.bin.*bytes, expected 61,460"):
        list(batch_files.read(batch_files.find(tmp_path)))


def test_label_above_nine_is_refused(records: list[np.ndarray], tmp_path: Path) -> None:
    records[5][17, 0] = 10
    batch_files.write_binary_folder(records, tmp_path)
    with pytest.raises(DataError, match=r"test_batch\.bin.*record 17 has label 10, expected 0 to 9"):
        list(batch_files.read(batch_files.find(tmp_path)))


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
        list(batch_files.read(batch_files.find(tmp_path)))


class Payload:
    """Leaves a mark when it is unpickled."""

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
    with pytest.raises(DataError, match=r"data_batch_1.*MD5 [0-9a-f]{32}, expected"):
        list(batch_files.read(batch_files.find(tmp_path / batch_files.PYTHON_FOLDER)))
    assert not mark.exists()
    pickle.loads(payload)
    assert mark.exists()  # the payload is a real one


@pytest.mark.parametrize("python", [False, True])
def test_an_archive_that_is_not_the_official_one_is_not_opened(
    records: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: bool
) -> None:
    files = cifar_files.python_files(records, monkeypatch) if python else cifar_files.binary_files(records)
    path = cifar_files.write_archive(files, tmp_path / "a.tar.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    monkeypatch.delattr(tarfile, "open")
    with pytest.raises(DataError, match=r"MD5 [0-9a-f]{32}, expected"):
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
        read = batch_files.parse(bytes(changed), "test_batch.bin", "here")
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
        batch_files.parse(bytes(changed), "test_batch", "here")
