import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from cifar_core.data import download
from cifar_core.errors import DataError, WeightsError

CONTENT = bytes(range(256)) * 1000
SIZE, MD5 = len(CONTENT), hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path, with the faults that a test sets."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True  # honour the Range header
        self.range_lie = 0  # added to where the answer to a Range really starts
        self.announced: int | None = None  # Content-Length, if not the truth
        self.lengthless = False  # end by closing, without a Content-Length
        self.cut = SIZE * 2  # close after so many bytes
        self.hang = threading.Event()  # set: answer as usual
        self.hang.set()
        self.status = 200
        self.asked: list[str | None] = []  # Range headers seen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients hang up on purpose


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        start += server.range_lie if wanted else 0
        body = server.content[start:]
        self.send_response(206 if wanted and server.ranges else server.status)
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if not server.lengthless:
            self.send_header("Content-Length", str(server.announced or len(body)))
        self.end_headers()
        half = min(len(body), server.cut) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        server.hang.wait(10)
        self.wfile.write(body[half : server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.hang.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file"


def part(target: Path) -> Path:
    return target.with_name("file.part")


def leave_part(target: Path, content: bytes) -> None:
    target.parent.mkdir()
    part(target).write_bytes(content)


def test_file_arrives_whole_with_progress(server: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    assert download.fetch(server.url, target, SIZE, MD5, lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == CONTENT
    assert seen[0] == (0, SIZE)
    assert seen[-1] == (SIZE, SIZE)
    assert seen == sorted(seen)
    assert not part(target).exists()
    assert not download.is_running(target)


def test_download_that_breaks_off_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    server.cut = 100_000
    with pytest.raises(DataError, match=r"100,000 of 256,000.*Try again"):
        download.fetch(server.url, target, SIZE, MD5)
    assert not target.exists()
    assert download.part_bytes(target) == 100_000
    server.cut = SIZE
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]
    assert download.part_bytes(target) == 0


@pytest.mark.parametrize("fault", [{"ranges": False}, {"range_lie": 7}])
def test_server_that_cannot_continue_starts_anew(server: Server, target: Path, fault: dict) -> None:
    leave_part(target, CONTENT[:1000])
    for name, value in fault.items():
        setattr(server, name, value)
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT


def test_part_longer_than_the_servers_file_starts_anew(server: Server, target: Path) -> None:
    leave_part(target, b"x" * 200_000)
    server.content = CONTENT[:150_000]  # answers 416
    with pytest.raises(DataError, match="150,000 of 256,000"):
        download.fetch(server.url, target, SIZE, MD5)
    assert server.asked == ["bytes=200000-", None]


def test_part_longer_than_the_file_starts_anew(server: Server, target: Path) -> None:
    leave_part(target, CONTENT + b"more")
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None]


def test_complete_part_needs_no_server(target: Path) -> None:
    leave_part(target, CONTENT)
    download.fetch("http://127.0.0.1:1/nobody", target, SIZE, MD5)
    assert target.read_bytes() == CONTENT


def test_wrong_checksum_removes_the_part(server: Server, target: Path) -> None:
    leave_part(target, b"wrong")
    with pytest.raises(DataError, match=rf"MD5 [0-9a-f]{{32}}, expected {MD5}.*removed"):
        download.fetch(server.url, target, SIZE, MD5)
    assert not target.exists()
    assert not part(target).exists()
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("lengthless", [False, True])
def test_server_that_sends_more_is_cut_off(server: Server, target: Path, lengthless: bool) -> None:
    server.content, server.cut, server.lengthless = CONTENT * 50, SIZE * 50, lengthless
    seen = []
    download.fetch(server.url, target, SIZE, MD5, lambda done, _: seen.append(done))
    assert max(seen) == SIZE
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("announced", [SIZE // 2, SIZE * 2])
def test_server_that_lies_about_the_length_is_no_success(server: Server, target: Path, announced: int) -> None:
    server.announced, server.cut = announced, SIZE // 2
    with pytest.raises(DataError, match="128,000 of 256,000"):
        download.fetch(server.url, target, SIZE, MD5)
    assert not target.exists()


def test_unknown_size_ends_at_the_announced_length(server: Server, target: Path) -> None:
    download.fetch(server.url, target, 2 * SIZE, None)
    assert target.read_bytes() == CONTENT
    server.announced = SIZE + 1
    with pytest.raises(DataError, match="256,000 of 256,001"):
        download.fetch(server.url, target, 2 * SIZE, None)
    server.announced = None
    download.fetch(server.url, target, 2 * SIZE, None)  # without a checksum nothing is continued
    assert server.asked == [None, None, None]


@pytest.mark.parametrize("lengthless", [False, True])
def test_unknown_size_is_bounded(server: Server, target: Path, lengthless: bool) -> None:
    seen: list[bytes] = []
    server.lengthless = lengthless
    download.fetch(server.url, target, 1000, None, check=lambda part: seen.append(part.read_bytes()))
    assert seen == [CONTENT[:1000]]


def test_a_login_page_is_not_the_file_s_beginning(server: Server, target: Path) -> None:
    """A network that asks for a login answers with a page of its own, status 200."""
    page = b"<html><body>Log in to this network first.</body></html>"
    server.content = page
    with pytest.raises(DataError, match="login"):
        download.fetch(server.url, target, SIZE, MD5, magic=CONTENT[:8])
    assert download.part_bytes(target) == 0
    server.content = CONTENT
    download.fetch(server.url, target, SIZE, MD5, magic=CONTENT[:8])
    assert target.read_bytes() == CONTENT


def test_what_the_check_refuses_replaces_nothing(server: Server, target: Path) -> None:
    def check(part: Path) -> None:
        assert part.read_bytes() == CONTENT
        raise WeightsError(f"{part} is damaged; delete it.")

    target.parent.mkdir()
    target.write_text("the one before")
    with pytest.raises(DataError, match="is damaged"):
        download.fetch(server.url, target, 2 * SIZE, None, check=check)
    assert target.read_text() == "the one before"
    assert not part(target).exists()


def test_a_download_takes_the_proxy(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", server.url)
    download.fetch("http://nowhere.invalid/file", target, SIZE, MD5)
    assert target.read_bytes() == CONTENT


def test_a_certificate_that_is_not_trusted_names_the_setting(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(DataError, match="SSL_CERT_FILE"):
        download.fetch("https://localhost/", target, SIZE, MD5)


def test_certificates_are_those_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    own = tmp_path / "company.pem"
    own.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    assert download._certificates() == str(own)


@pytest.mark.parametrize("status", [404, 503])
def test_refusal_is_named(server: Server, target: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=f" {status} .*expected 200"):
        download.fetch(server.url, target, SIZE, MD5)


def test_nobody_at_the_address(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"cannot be reached.*refused"):
        download.fetch(f"http://127.0.0.1:{port}/", target, SIZE, MD5)


def test_connecting_has_a_time_limit(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())  # fills the queue, so that the next one is not answered
        with pytest.raises(DataError, match=r"no answer in time.*0\.2 s"):
            download.fetch(f"http://127.0.0.1:{full.getsockname()[1]}/", target, SIZE, MD5)


def test_silence_in_mid_file_has_a_time_limit(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "READ_SECONDS", 0.2)
    server.hang.clear()
    with pytest.raises(DataError, match=r"was interrupted.*no answer in time"):
        download.fetch(server.url, target, SIZE, MD5)
    assert not download.is_running(target)


def test_garbage_instead_of_http_is_one_clear_error(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DataError, match="cannot be reached"):
            download.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", target, SIZE, MD5)
        thread.join()


@contextlib.contextmanager
def other_process(server: Server, target: Path) -> Iterator[subprocess.Popen]:
    """Have another process download half of the file, and then wait for the server."""
    server.hang.clear()
    code = (
        "import sys; from pathlib import Path; from cifar_core.data.download import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
    )
    command = [sys.executable, "-c", code, server.url, str(target), str(SIZE), MD5]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 20
        while not download.part_bytes(target) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert download.is_running(target)
        yield process


def test_second_process_is_refused_while_the_first_downloads(server: Server, target: Path) -> None:
    with other_process(server, target) as first:
        with pytest.raises(download.AlreadyRunning):
            download.fetch(server.url, target, SIZE, MD5)
        server.hang.set()
        assert first.wait(20) == 0
    assert not download.is_running(target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None]


def test_killed_download_is_not_running_and_goes_on(server: Server, target: Path) -> None:
    with other_process(server, target) as first:
        first.kill()
    assert not download.is_running(target)
    kept = download.part_bytes(target)
    server.hang.set()
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={kept}-"]


def test_full_disk_is_named_and_what_fits_is_kept(server: Server, target: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits stand in for a full disk")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written: File too large.*free disk space"):
            download.fetch(server.url, target, SIZE, MD5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not target.exists()
    download.fetch(server.url, target, SIZE, MD5)
    assert target.read_bytes() == CONTENT


def test_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="CIFAR_CACHE_DIR"):
        download.fetch(server.url, tmp_path / "file" / "target", SIZE, MD5)
