"""What is told of the images, and their download."""

# ruff: noqa: F811 - fixtures are imported and named again by those who use them

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cifar_files
import pytest
from machines import binary, cache, forget, official, place, records  # noqa: F401 - fixtures among them

from cifar_core.data import batch_files, cifar10
from cifar_core.errors import DataError


def test_status_of_an_empty_machine_draws_nothing(cache: Path) -> None:
    state = cifar10.status()
    assert state == json.loads(json.dumps(state))
    assert (state["dataset"], state["label"]) == ("generated", cifar10.LABELS["generated"])
    assert "CIFAR10_DIR" in state["reason"]
    assert (state["train_images"], state["test_images"], state["fingerprint"]) == (40, 20, None)
    assert (state["official"], state["error"], state["cache_dir"]) == (False, None, str(cache))
    assert state["download"] == {"running": False, "bytes": 0, "total": 170_052_171, "error": None}
    assert not cache.exists()
    drawn = cifar10.load()
    assert cifar10.status()["fingerprint"] == drawn.fingerprint
    assert cifar10.status()["source"] == drawn.source


def test_status_of_official_data(binary: dict[str, bytes], place: Path) -> None:
    cifar_files.write_files(binary, place)
    state = cifar10.status()
    assert (state["dataset"], state["official"], state["train_images"]) == ("cifar10", True, 5 * cifar_files.IMAGES)
    assert state["fingerprint"] == cifar10.OFFICIAL_FINGERPRINT
    assert state["source"] == str(place / batch_files.BINARY_FOLDER)
    assert "CIFAR10_DIR" in state["reason"]


def test_status_tells_what_is_wrong_instead_of_raising(cache: Path, place: Path) -> None:
    state = cifar10.status()
    assert str(place) in state["error"]
    assert state["dataset"] is None
    assert state["download"]["running"] is False


@pytest.mark.parametrize("content", ["", "[]", '{"message": 3}', "{", "\udcff"])
def test_status_survives_a_damaged_error_file(cache: Path, content: str) -> None:
    cache.mkdir()
    (cache / f"{batch_files.BINARY_ARCHIVE}.error.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert cifar10.status()["download"]["error"] is None


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(binary: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive at the address of the official one."""
    archive = cifar_files.write_archive(binary, tmp_path / "server" / batch_files.BINARY_ARCHIVE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{server.server_address[1]}/{archive.name}")
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", archive.stat().st_size)
    yield archive
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_puts_cifar10_into_the_cache(served: Path, cache: Path) -> None:
    seen = []
    downloaded = cifar10.download(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (cifar10.ARCHIVE_BYTES, cifar10.ARCHIVE_BYTES)
    assert downloaded.official
    assert downloaded.source == str(cache / batch_files.BINARY_FOLDER)
    assert cifar10.load("auto") is downloaded
    assert not (cache / batch_files.BINARY_ARCHIVE).exists()
    assert "cache" in cifar10.status()["reason"]
    served.unlink()
    assert cifar10.download() is downloaded  # which needs no server


def test_download_replaces_a_damaged_copy(served: Path, cache: Path) -> None:
    cifar10.download()
    (cache / batch_files.BINARY_FOLDER / "test_batch.bin").write_bytes(b"damaged")
    with pytest.raises(DataError):
        cifar10.load()
    assert cifar10.download().official
    assert cifar10.load("cifar10").official


def test_failed_download_is_remembered_until_the_next(served: Path, cache: Path) -> None:
    hidden = served.with_name("hidden")
    served.rename(hidden)
    with pytest.raises(DataError, match="404"):
        cifar10.download()
    state = cifar10.status()
    assert "404" in state["download"]["error"]
    assert state["dataset"] == "generated"
    hidden.rename(served)
    cifar10.download()
    assert cifar10.status()["download"]["error"] is None


def test_download_cut_short_by_the_server_leaves_its_part(
    served: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", cifar10.ARCHIVE_BYTES + 1)
    with pytest.raises(DataError, match=f"of {cifar10.ARCHIVE_BYTES:,}"):
        cifar10.download()
    assert cifar10.status()["download"]["bytes"] == cifar10.ARCHIVE_BYTES - 1
    assert cifar10.status()["dataset"] == "generated"


def test_archive_left_by_a_killed_download_is_used(binary: dict[str, bytes], cache: Path) -> None:
    cifar_files.write_archive(binary, cache / batch_files.BINARY_ARCHIVE)
    assert cifar10.load("cifar10").official
    (cache / batch_files.BINARY_ARCHIVE).unlink()
    forget()
    assert cifar10.load("cifar10").official
