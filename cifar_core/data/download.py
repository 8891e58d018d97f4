"""Downloads one file over HTTP, with limits on time and size, resumption, and verification before it is used.

    fetch(url, target, size, md5)

During the download, `TARGET.part` grows and `TARGET.lock` is held; `part_bytes` and `is_running` check them from other
processes. The environment sets proxies and certificates: HTTPS_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_core import machine
from cifar_core.errors import CifarError, DataError, os_errors_as

if TYPE_CHECKING:
    from requests import Response

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0  # timeouts; the first for each address of the server
ANSWER_SECONDS = 30.0  # lifetime of a cached answer of a host
CHUNK_BYTES = 1 << 16
_ASK_SECONDS = 1.5

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total (None if unknown)."""
Check = Callable[[Path], object]
"""Reads a downloaded file; raises CifarError if it is damaged."""
_answers: dict[str, tuple[bool, float]] = {}  # url -> whether it answered, and the time of the request
_asking = threading.Lock()


class AlreadyRunning(DataError):  # noqa: N818 - a state rather than a fault
    """Raised if another process is downloading the same file."""


def fetch(
    url: str,
    target: Path,
    size: int,
    md5: str | None,
    progress: Progress = lambda done, total: None,
    magic: bytes = b"",
    check: Check = lambda part: None,
    folder_setting: str = "CIFAR_CACHE_DIR",
) -> Path:
    """Download `url` to `target`, verify it, and return `target`; an existing file is replaced after verification.

    `size` in bytes and `md5` in hexadecimal are the published values, and an interrupted download is resumed. Without
    `md5`, `size` is the maximum, and `check` must recognize a file that was cut off there. A file that does not begin
    with `magic`, such as the login page of a network, is rejected at its first bytes. `folder_setting` is the
    environment variable that sets the folder of `target`.
    Raises AlreadyRunning, or DataError for any other failure; a damaged part is deleted.
    """
    part, advice = _beside(target, ".part"), f"free disk space there, or set {folder_setting} to another folder"
    with os_errors_as(DataError, f"{target} cannot be written", advice):
        target.parent.mkdir(parents=True, exist_ok=True)
        words = "is already running; wait for it, or end that process first"
        busy = AlreadyRunning(f"A download of {target.name} {words}.")
        with machine.hold_lock(_beside(target, ".lock"), busy=busy):
            if md5 is None:  # two parts of different files would go unnoticed
                part.unlink(missing_ok=True)
            _receive(url, part, size, progress, magic, is_exact=md5 is not None)
            _verify(part, md5, url, check)
            machine.replace(part, target)
    return target


def answers(url: str) -> bool:
    """Return whether a server answers at `url`, through the same proxy as a download.

    The first call waits up to 1.5 s. Later calls return the last result; if it is more than 30 s old, it is updated in
    the background.
    """
    with _asking:
        if url not in _answers:
            _ask(url)
        answer, checked = _answers[url]
        if time.monotonic() - checked > ANSWER_SECONDS:
            _answers[url] = answer, time.monotonic()
            threading.Thread(target=_ask, args=(url,), daemon=True).start()
        return answer


def _ask(url: str) -> None:
    import requests  # takes 0.1 s, and only a download needs it

    try:
        requests.head(url, timeout=_ASK_SECONDS, verify=_certificates(), allow_redirects=False)
        answer = True
    except (requests.RequestException, OSError):
        answer = False
    _answers[url] = answer, time.monotonic()


def part_bytes(target: Path) -> int:
    """Return the size in bytes of an unfinished download of `target`, or 0 if there is none."""
    return machine.stamp(_beside(target, ".part"))[1]


def is_running(target: Path) -> bool:
    """Return whether a process is downloading `target`."""
    return machine.is_locked(_beside(target, ".lock"))


def md5_of(file: Path) -> str:
    """Return the MD5 sum of `file` in hexadecimal. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _receive(url: str, part: Path, size: int, progress: Progress, magic: bytes, is_exact: bool) -> None:
    """Append the missing bytes to `part`. Raises DataError for network failures, OSError for disk failures."""
    from urllib3.exceptions import HTTPError

    have = part.stat().st_size if part.exists() else 0
    if have == size:  # complete but not verified yet
        return
    response, done = _open(url, 0 if have > size else have)
    length, broken = response.headers.get("Content-Length", ""), ""
    total = size if is_exact else int(length) if length.isdecimal() else None
    with response, part.open("ab" if done else "wb") as file:
        progress(done, total)
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                if not done and not magic.startswith(chunk[: len(magic)]):
                    part.unlink()
                    raise _another_file(url, "it does not begin like the file")
                done += file.write(chunk[: size - done])
                file.flush()  # `part_bytes` reads the size of the file
                progress(done, total)
                if done == size:
                    return
        except HTTPError as error:
            broken = f" ({_reason(error)})"
    if broken or (total is not None and done < total):
        received = f"{done:,} bytes" if total is None else f"{done:,} of {total:,} bytes"
        goes_on = ": it continues from there." if is_exact else "."
        raise DataError(f"The download of {url} was interrupted{broken}: {received} received. Try again{goes_on}")


def _open(url: str, have: int) -> tuple[Response, int]:
    """Return the server's response and the byte at which it starts: `have`, or 0 if the server cannot resume."""
    import requests

    headers = {"User-Agent": "cifar-studio", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        timeouts = (CONNECT_SECONDS, READ_SECONDS)
        response = requests.get(url, headers=headers, timeout=timeouts, stream=True, verify=_certificates())
    except requests.exceptions.SSLError as error:
        raise DataError(
            f"{url} is not trusted: {_reason(error)}. If a company's proxy opens encrypted connections, set "
            "SSL_CERT_FILE to the file of its certificates (PEM), then try again."
        ) from error
    except (requests.RequestException, OSError) as error:
        raise DataError(
            f"{url} cannot be reached: {_reason(error)}. Expected an answer within {CONNECT_SECONDS:g} s. "
            "Check the connection and the proxy (HTTPS_PROXY), then try again."
        ) from error
    if not have and response.status_code == 200:
        return response, 0
    if have and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return response, have
    response.close()
    if have and response.status_code in (200, 206, 416):  # the server cannot resume, or its file is shorter
        return _open(url, 0)
    raise DataError(
        f"{url} cannot be downloaded: the server answered {response.status_code} {response.reason}, expected 200. "
        "Try again later, or fetch the file by other means."
    )


def _certificates() -> str | bool:
    """Return the file of trusted certificates from the environment or the system, or True for those of `requests`."""
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True  # `requests` reads these variables
    return ssl.get_default_verify_paths().cafile or True  # SSL_CERT_FILE, or the system's


def _verify(part: Path, md5: str | None, url: str, check: Check) -> None:
    """Check the MD5 sum of `part` and call `check`. Removes `part` and raises DataError if one of them fails."""
    received = md5 and md5_of(part)
    try:
        if received != md5:
            raise _another_file(url, f"MD5 {received}, expected {md5}")
        check(part)
    except CifarError as error:
        part.unlink(missing_ok=True)
        if isinstance(error, DataError):
            raise
        raise _another_file(url, str(error).removeprefix(f"{part} ").split(";")[0]) from None


def _another_file(url: str, reason: str) -> DataError:
    return DataError(
        f"What {url} sent is damaged or another file: {reason}. It was removed. A network that asks for a login, or a "
        "proxy, may have answered instead: open the address in a browser, then try again."
    )


def _reason(error: BaseException) -> str:
    """Return the system's reason for a failed connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
