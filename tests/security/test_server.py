"""The server as README's command starts it: who can reach it, and what it refuses."""

import http.client
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.bench_browser import running_app

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip

COOKIE = "_streamlit_xsrf="


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A running app: its port and its process."""
    with running_app() as app:
        yield app.port, app.process


def ask(port: int, method: str, path: str, **headers: str) -> int:
    """Return the status of the server's answer."""
    return answer(port, method, path, headers)[0]


def answer(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, b"" if response.status == 101 else response.read()
    finally:
        connection.close()


def test_it_listens_on_this_machine_alone(server) -> None:
    port, process = server
    everybody = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    places = {one.laddr.ip for each in everybody for one in each.net_connections() if one.status == psutil.CONN_LISTEN}
    assert places
    assert places <= {"127.0.0.1", "::1"}
    assert ask(port, "GET", "/_stcore/health") == 200


def test_a_file_sent_by_another_site_is_refused(server) -> None:
    """Such a site can make a browser send the cookie, but cannot read it to say the same in a header."""
    port, _ = server
    path = "/_stcore/upload_file/00000000-0000-0000-0000-000000000000/0"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as health:
        token = health.headers["Set-Cookie"].split(";")[0].removeprefix(COOKIE)
    other = {"Origin": "https://example.org", "Cookie": COOKIE + token}
    for method in ("PUT", "DELETE"):
        assert ask(port, method, path, **other) == 403
        assert ask(port, method, path) == 403
        assert ask(port, method, path, **{"Cookie": COOKIE + token, "X-Xsrftoken": token}) in (204, 400)  # let through
    assert ask(port, "POST", path, **other) == 405


def test_another_site_cannot_open_the_page_s_connection(server) -> None:
    port, _ = server
    assert ask(port, "GET", "/_stcore/stream", **UPGRADE, Origin=f"http://localhost:{port}") == 101
    assert ask(port, "GET", "/_stcore/stream", **UPGRADE, Origin="https://example.org") == 403


def test_a_foreign_name_that_leads_here_is_refused(server) -> None:
    """DNS rebinding: a site's own name resolves to this machine, so that Host and Origin agree."""
    port, _ = server
    for name in ("rebound.example.org", "localhost.example.org", "127.0.0.1.example.org"):
        own = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert ask(port, "GET", "/_stcore/stream", **UPGRADE, **own) == 403
    for name in ("localhost", "127.0.0.1", "[::1]"):
        own = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert ask(port, "GET", "/_stcore/stream", **UPGRADE, **own) == 101


@pytest.mark.parametrize(
    "path",
    [
        "/../README.md",
        "/%2e%2e/README.md",
        "/static/../../../app.py",
        "/media/..%2f..%2fapp.py",
        "/app/static/../app.py",
    ],
)
def test_files_are_not_served(server, path: str) -> None:
    _, body = answer(server[0], "GET", path, {})
    assert b"set_page_config" not in body
    assert b"CIFAR Studio\n\n" not in body


def test_settings_keep_it_local_and_quiet() -> None:
    assert SETTINGS["server"]["address"] == "localhost"
    assert SETTINGS["server"]["enableXsrfProtection"] is True
    assert SETTINGS["server"]["maxUploadSize"] == 200
    assert SETTINGS["client"]["showErrorDetails"] == "none"
    assert "enableCORS" not in SETTINGS["server"]


def test_a_bug_shows_neither_its_traceback_nor_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("words of a bug")

    monkeypatch.setattr(runs, "list_runs", bug)
    monkeypatch.setattr(runs, "stamped", bug)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert len(app.exception) == 1
    shown = app.exception[0].proto
    assert not shown.stack_trace
    assert "words of a bug" not in str(shown)
