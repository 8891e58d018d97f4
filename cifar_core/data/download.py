"""One file over HTTP: limited in time and size, resumed where it broke off, verified before it replaces anything.

    fetch(url, target, size, md5)

While it runs, `TARGET.part` grows and `TARGET.lock` is held; other processes see both with `part_bytes` and
`is_running`. Proxies and certificates are those of the environment: HTTPS_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from cifar_core import locks, machine
from cifar_core.errors import CifarError, DataError

if TYPE_CHECKING:
    from requests import Response

READ_SECONDS = 30.0
"""A server that sends nothing for so long has broken off."""
CHUNK_BYTES = 1 << 16

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and in all (None while unknown)."""
Check = Callable[[Path], object]
"""Reads a downloaded file; raises CifarError if it is damaged."""


class AlreadyRunning(DataError):  # noqa: N818 - a state rather than a fault
    """Another process is downloading the same file."""


def fetch(
    url: str,
    target: Path,
    size: int | None,
    md5: str | None,
    progress: Progress | None = None,
    connect_timeout: float = 5.0,
    max_bytes: int = 1 << 28,
    magic: bytes = b"",
    check: Check | None = None,
    folder_setting: str = "CIFAR_CACHE_DIR",
) -> Path:
    """Download `url` to `target`, replacing it once the new file is verified, and return `target`.

    `size` in bytes and `md5` in hexadecimal are the published ones. At most `size` bytes are taken (`max_bytes`
    where `size` is None). With an `md5` an earlier attempt is continued; without one every attempt begins anew.
    What does not begin with `magic`, such as the login page of a network, is refused at its first bytes. `check` has
    the last word. `connect_timeout` in seconds holds for each address of the server, `READ_SECONDS` for each later
    wait. `folder_setting` is the environment variable that moves the folder of `target`.
    Raises AlreadyRunning, or DataError for every other failure; a part that is damaged is deleted.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locks.hold(_lock(target)):
            part = _part(target)
            if md5 is None or not _begins_with(part, magic):  # two halves of different files would not be noticed
                part.unlink(missing_ok=True)
            _receive(url, part, size, max_bytes, progress or (lambda done, total: None), connect_timeout, magic)
            _verify(part, md5, url, check)
            machine.replace(part, target)
    except Timeout as error:
        raise AlreadyRunning(
            f"A download of {target.name} is already under way. Wait for it, or end that process first."
        ) from error
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}. Expected a writable folder with room for it. "
            f"Make room, or set {folder_setting} to another folder, then try again."
        ) from error
    return target


def answers(url: str, seconds: float) -> bool:
    """Return whether anything answers at `url` within `seconds`, by the proxy that a download would take."""
    import requests  # a tenth of a second, which only a download needs

    try:
        requests.head(url, timeout=seconds, verify=_certificates(), allow_redirects=False)
    except (requests.RequestException, OSError):
        return False
    return True


def part_bytes(target: Path) -> int:
    """Return how many bytes of an unfinished download of `target` are on the disk; 0 if there is none."""
    try:
        return _part(target).stat().st_size
    except OSError:
        return 0


def is_running(target: Path) -> bool:
    """Return whether any living process is downloading `target`."""
    return locks.is_held(_lock(target))


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _lock(target: Path) -> Path:
    return target.with_name(target.name + ".lock")


def _begins_with(file: Path, magic: bytes) -> bool:
    """Return whether `file` begins as expected; a missing or shorter one may still."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(magic))
    except FileNotFoundError:
        return True
    return start == magic[: len(start)]


def _receive(
    url: str, part: Path, size: int | None, max_bytes: int, progress: Progress, connect_timeout: float, magic: bytes
) -> None:
    """Append to `part` what is missing. Raises DataError for the network's failures, OSError for the disk's."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:  # broke off between the last byte and the verification, which comes next
        return
    response, done = _open(url, 0 if size is not None and have > size else have, connect_timeout)
    with response, part.open("ab" if done else "wb") as file:
        length = response.headers.get("Content-Length", "")
        total = size if size is not None else done + int(length) if length.isdecimal() else None
        if total is not None and size is None and total > max_bytes:
            raise _too_large(url, total, max_bytes)
        progress(done, total)
        limit = size if size is not None else max_bytes + 1
        while done < limit and (chunk := _read(response, min(CHUNK_BYTES, limit - done), url, done)):
            if done < len(magic) and chunk[: len(magic) - done] != magic[done : done + len(chunk)]:
                part.unlink()
                raise _another_file(url, "it begins otherwise than the file does")
            file.write(chunk)
            file.flush()  # the part file's size is the progress that others see
            done += len(chunk)
            progress(done, total)
    if total is not None and done < total:
        raise DataError(
            f"The download of {url} broke off: {done:,} of {total:,} bytes received. "
            + ("Try again." if size is None else "Try again: it goes on where it stopped.")
        )
    if size is None and done > max_bytes:
        part.unlink()
        raise _too_large(url, done, max_bytes)


def _too_large(url: str, received: int, max_bytes: int) -> DataError:
    return DataError(
        f"{url} is not the expected file: {received:,} bytes or more, expected {max_bytes:,} at most. "
        "Check the address and any proxy between, or fetch the file by other means."
    )


def _another_file(url: str, what: str) -> DataError:
    return DataError(
        f"What {url} sent is damaged or another file: {what}. It was removed. A network that asks for a login, or a "
        "proxy, may have answered instead: open the address in a browser, then try again."
    )


def _open(url: str, have: int, connect_timeout: float) -> tuple[Response, int]:
    """Return the server's answer and the byte it starts at: `have`, or 0 where it cannot continue there."""
    import requests

    headers = {"User-Agent": "cifar-studio", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        timeouts = (connect_timeout, READ_SECONDS)
        response = requests.get(url, headers=headers, timeout=timeouts, stream=True, verify=_certificates())
    except requests.exceptions.SSLError as error:
        raise DataError(
            f"{url} is not trusted: {_words(error)}. If a company's proxy opens encrypted connections, set "
            "SSL_CERT_FILE to the file of its certificates (PEM), then try again."
        ) from error
    except (requests.RequestException, OSError) as error:
        raise DataError(
            f"{url} cannot be reached: {_words(error)}. Expected an answer within {connect_timeout:g} s. "
            "Check the connection and the proxy (HTTPS_PROXY), then try again."
        ) from error
    if response.status_code == 416 and have:  # the server's file is shorter than the part
        response.close()
        return _open(url, 0, connect_timeout)
    if response.status_code not in (200, 206):
        response.close()
        raise DataError(
            f"{url} cannot be downloaded: the server answered {response.status_code} {response.reason}, expected 200. "
            "Try again later, or fetch the file by other means."
        )
    if not have or response.status_code != 206:
        return response, 0
    if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return response, have
    response.close()
    return _open(url, 0, connect_timeout)


def _certificates() -> str | bool:
    """Return the file of the trusted certificates: the environment's, the system's, else those of `requests`."""
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True  # which `requests` then reads
    return ssl.get_default_verify_paths().cafile or True  # SSL_CERT_FILE, or the system's


def _read(response: Response, count: int, url: str, done: int) -> bytes:
    """Return up to `count` bytes as soon as there are any, none at the end or where the server hangs up."""
    from urllib3.exceptions import HTTPError, IncompleteRead

    try:
        return response.raw.read1(count, decode_content=False)
    except (HTTPError, OSError) as error:
        if isinstance(error.args[-1], IncompleteRead):
            return b""
        raise DataError(
            f"The download of {url} broke off after {done:,} bytes: {_words(error)}. "
            "Check the connection and try again: it goes on where it stopped if it can."
        ) from error


def _words(error: BaseException) -> str:
    """Return the reason that the system gave for a failed connection."""
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


def _verify(part: Path, md5: str | None, url: str, check: Check | None) -> None:
    """Raise DataError, and remove `part`, unless its MD5 sum is `md5` and `check` reads it."""
    try:
        if md5 is not None and (received := md5_of(part)) != md5:
            raise _another_file(url, f"MD5 {received}, expected {md5}")
        if check is not None:
            try:
                check(part)
            except CifarError as error:
                raise _another_file(url, str(error).removeprefix(f"{part} ").split(";")[0]) from None
    except DataError:
        part.unlink(missing_ok=True)
        raise


def md5_of(file: Path) -> str:
    """Return the MD5 sum of `file` in hexadecimal. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
