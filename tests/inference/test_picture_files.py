import warnings
import zipfile
import zlib

import corpus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import examples
from PIL import Image

from cifar_core.errors import ImageError
from cifar_core.inference import picture_files
from cifar_core.inference.picture_files import from_zip
from cifar_core.inference.pictures import read_each

REAL_FILES = corpus.real_files()


def zip_errors(data):
    return [str(content) for _, content in from_zip(data, "photos.zip") if isinstance(content, ImageError)]


def test_a_zip_gives_its_pictures_without_folders_and_hidden_files():
    members = [
        ("pets/", b""),
        ("pets/cat.png", REAL_FILES["RGB.png"]),
        ("__MACOSX/pets/._cat.png", b"x"),
        ("pets/.DS_Store", b"x"),
        ("dog.jpg", REAL_FILES["RGB.jpg"]),
    ]
    assert [name for name, _ in from_zip(corpus.zipped(members))] == ["pets/cat.png", "dog.jpg"]


def test_what_systems_leave_behind_is_skipped_and_no_picture_ever_is():
    cat = REAL_FILES["RGB.png"]
    litter = ["Thumbs.db", "a/desktop.ini", "ehthumbs.db", "a/.DS_Store", "._cat.png", "__MACOSX/x.png", ".git/config"]
    data = corpus.zipped([("cat.png", cat), (".cat.png", cat), *((name, b"\0\5\x16\7") for name in litter)])
    assert [name for name, _ in from_zip(data)] == ["cat.png", ".cat.png"]


def named(raw: bytes, flag: bool = False, extra: bytes = b"") -> bytes:
    """A zip of two pictures, the first of whose names is `raw`."""
    data = corpus.zipped([("x" * len(raw), REAL_FILES["L.png"]), ("ok.png", REAL_FILES["RGB.png"])])
    data = data.replace(b"x" * len(raw), raw)
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    changed = bytearray(data)
    changed[local + 7] |= 8 * flag
    changed[central + 9] |= 8 * flag
    if extra:
        at = central + 46 + len(raw)
        changed[at:at] = extra
        changed[central + 30 : central + 32] = len(extra).to_bytes(2, "little")
        end = changed.index(b"PK\5\6")
        changed[end + 12 : end + 16] = (end - central).to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("表.jpg".encode("cp932"), "表.jpg"),  # its second byte is a backslash
        ("写真/ソート.jpg".encode("cp932"), "写真/ソート.jpg"),
        ("猫.jpg".encode(), "猫.jpg"),
        ("Müller.jpg".encode(), "Müller.jpg"),
        ("Müller.jpg".encode("cp437"), "Müller.jpg"),
        ("Köln.jpg".encode("cp437"), "Köln.jpg"),
        ("Müller.jpg".encode("cp1252"), "Müller.jpg"),
    ],
)
def test_a_name_is_read_in_the_encoding_that_wrote_it(raw, name):
    assert [found for found, _ in from_zip(named(raw))] == [name, "ok.png"]


def test_the_unicode_path_of_a_name_counts():
    content = b"\1" + zlib.crc32(b"?.jpg").to_bytes(4, "little") + "猫.jpg".encode()
    extra = b"\x75\x70" + len(content).to_bytes(2, "little") + content
    assert [found for found, _ in from_zip(named(b"?.jpg", extra=extra))] == ["猫.jpg", "ok.png"]


@pytest.mark.parametrize("raw", [b"\xff\xfe.jpg", "表.jpg".encode("cp932"), b"\xc3.jpg"])
def test_a_name_that_is_not_what_its_flag_says_costs_no_picture(raw):
    found = list(from_zip(named(raw, flag=True)))
    assert [isinstance(content, bytes) for _, content in found] == [True, True]
    assert found[1][0] == "ok.png"


def test_names_that_climb_are_only_names(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    cat = REAL_FILES["RGB.png"]
    names = ["../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png"]
    found = list(read_each([("photos.zip", corpus.zipped([(name, cat) for name in names]))]))
    assert [picture.image.size for picture in found] == [(24, 17)] * 4
    assert found[0].name == "photos.zip/../../evil.png"
    assert not list(tmp_path.rglob("*evil*"))


def test_repeated_names_get_their_number():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's "Duplicate name", while the test writes it
        data = corpus.zipped([("cat.png", REAL_FILES["RGB.png"])] * 2)
    assert [picture.name for picture in read_each([("a.zip", data)])] == ["a.zip/cat.png", "a.zip/cat.png (2)"]


def test_a_thousand_empty_files_give_sentences_and_the_rest_goes_on():
    members = [(f"{i}.png", b"") for i in range(1000)] + [("cat.png", REAL_FILES["RGB.png"])]
    found = list(read_each([("photos.zip", corpus.zipped(members)), ("dog.jpg", REAL_FILES["RGB.jpg"])]))
    assert len(found) == 1002
    assert all("is empty, 0 bytes; choose" in picture.error for picture in found[:1000])
    assert all(not picture.error and picture.image for picture in found[1000:])


def test_a_picture_of_one_color_is_no_bomb_and_a_bomb_ends_at_the_bounds(monkeypatch):
    drawing = corpus.encoded(Image.new("RGB", (2000, 1500), "white"), "BMP")
    (picture,) = read_each([("a.zip", corpus.zipped([("drawing.bmp", drawing)]))])
    assert picture.image.size == (1000, 750)
    monkeypatch.setattr(picture_files, "MAX_FILE_BYTES", 20 * 2**20)
    bomb = corpus.zipped([("bomb.png", bytes(30 * 2**20))])
    assert ["20 MiB a file" in error for error in zip_errors(bomb)] == [True]


def test_a_declared_size_is_not_trusted():
    content = np.random.default_rng(0).bytes(3 * 2**20)
    for declared in (10, 2**32 - 2):
        data = corpus.with_directory_field(corpus.zipped([("a.png", content)]), 24, declared.to_bytes(4, "little"))
        ((_, unpacked),) = from_zip(data)
        assert isinstance(unpacked, ImageError) or unpacked == content
        assert isinstance(unpacked, ImageError) == (declared == 10)


def test_a_file_that_unpacks_to_too_much_is_refused_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_FILE_BYTES", 2**20)
    noise = np.random.default_rng(0).bytes(3 * 2**20)
    found = list(from_zip(corpus.zipped([("large.png", noise), ("small.png", b"x")])))
    assert "1 MiB a file" in str(found[0][1])
    assert found[1] == ("small.png", b"x")


def test_a_zip_that_unpacks_to_too_much_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_UNPACKED_BYTES", 5000)
    found = list(from_zip(corpus.zipped([(f"{i}.png", bytes(2000)) for i in range(9)]), "photos.zip"))
    assert [isinstance(content, bytes) for _, content in found] == [True, True, False, False]
    assert "the rest is left out" in str(found[-1][1])


def test_too_many_files_or_bytes_are_refused_before_the_zip_is_opened(monkeypatch):
    data = corpus.zipped([(f"{i}.png", b"") for i in range(50)])
    monkeypatch.setattr(picture_files, "MAX_ZIP_MEMBERS", 49)
    assert ["has 50 files" in error for error in zip_errors(data)] == [True]
    monkeypatch.setattr(picture_files, "MAX_ZIP_BYTES", 100)
    assert ["MiB" in error for error in zip_errors(data)] == [True]


def test_encrypted_and_rarely_packed_files_and_inner_zips_are_refused():
    one = [("a.png", REAL_FILES["RGB.png"])]
    encrypted = corpus.with_directory_field(corpus.zipped(one), 8, b"\1")
    assert ["encrypted" in error for error in zip_errors(encrypted)] == [True]
    assert ["rare compression method" in error for error in zip_errors(corpus.zipped(one, zipfile.ZIP_LZMA))] == [True]
    nested = corpus.zipped([("inner.zip", corpus.zipped(one)), *one])
    assert ["ZIP file within a ZIP file" in error for error in zip_errors(nested)] == [True]
    assert len(list(from_zip(nested))) == 2


def test_a_zip_that_is_empty_or_damaged_gives_one_sentence():
    for data in (corpus.zipped([]), corpus.zipped([("a/", b"")]), corpus.zipped([("a.png", b"x")])[:-9], b"PK\3\4"):
        (picture,) = read_each([("photos.zip", data)])
        assert picture.name == "photos.zip"
        assert picture.error.startswith('"photos.zip" is a ')
        assert "ZIP" in picture.error.removeprefix('"photos.zip"')


def test_a_damaged_member_leaves_the_others():
    data = bytearray(corpus.zipped([("a.png", b"abcd" * 99), ("b.png", b"x")], zipfile.ZIP_STORED))
    data[60] ^= 255
    (_, first), second = from_zip(bytes(data))
    assert "damaged inside" in str(first)
    assert second == ("b.png", b"x")


def test_found_by_mutation_a_member_without_a_name():
    """ZipInfo.is_dir of Python 3.11 raises IndexError."""
    data = corpus.zipped([("", b"x")])
    assert list(from_zip(data)) == [("", b"x")]


def test_found_by_mutation_an_offset_beyond_any_file():
    """A zip64 offset of 2**64 - 1 raises OverflowError in seek."""
    data = corpus.zipped([("a.png", b"x")])
    directory, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    extra = b"\1\0\x08\0" + b"\xff" * 8
    entry = data[directory:end]
    entry = entry[:30] + len(extra).to_bytes(2, "little") + entry[32:42] + b"\xff" * 4 + entry[46:] + extra
    tail = data[end : end + 12] + len(entry).to_bytes(4, "little") + data[end + 16 :]
    assert ["damaged inside" in error for error in zip_errors(data[:directory] + entry + tail)] == [True]


@examples(200)
@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 5000)),
)
def test_mutated_zips_never_raise(changes, cut):
    content = bytearray(corpus.zipped([("a.png", REAL_FILES["L.png"]), ("b/<i>.png", b"")]))
    for at, value in changes:
        content[at % len(content)] = value
    for picture in read_each([("photos.zip", bytes(content[:cut]))]):
        assert (picture.content is None) == bool(picture.error)
