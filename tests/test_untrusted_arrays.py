"""Files of arrays are sound, or refused in one way; those who read them refuse what a stranger puts in."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from cifar_core import untrusted
from cifar_core.inference import pins


def packed(path: Path, header: bytes) -> Path:
    """A file with one member `images`, whose header promises anything."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904,), }\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1 +, }\n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (8,), }\n",
        b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (8,), }\n",
        b"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (8,), }\n",
        b"\xff" * 40,
    ],
    ids=["more than there is memory", "no Python", "objects", "dates", "records", "no text"],
)
def test_what_is_no_sound_array_is_a_value_error(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        untrusted.load_arrays(packed(tmp_path / "odd.npz", header))


def test_a_rare_packing_is_not_tried(tmp_path: Path) -> None:
    path = tmp_path / "rare.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("images.npy", bytes(200))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x09\x04\x05\x00\x5d", b"\x09\x04\x05\x00\xff"))  # bad properties: LZMAError
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match="rare method"):
        untrusted.load_arrays(path)


def test_a_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez_compressed(path, a=np.zeros((4, 3), np.float16), names=np.array(["x", "y"]))
    found = untrusted.load_arrays(path, 2_000)
    assert found["a"].shape == (4, 3)
    assert found["names"].tolist() == ["x", "y"]
    with pytest.raises(ValueError, match="too large when unpacked"):
        untrusted.load_arrays(path, 100)


def test_pins_without_a_list_of_names_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / pins.FILE, images=np.zeros((1, 32, 32, 3), np.uint8), names=np.array("one"))
    assert pins.load(tmp_path) == []


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        untrusted.load_arrays(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="zip"):
        untrusted.load_arrays(tmp_path / "text.npz")
