"""One file over HTTP: bounded in time and size, resumed where it broke off, checked before it is believed.

    fetch(url, target, size, md5)

While it runs, `TARGET.part` grows and `TARGET.lock` is held; other processes see both with `part_bytes` and
`is_running`. The target itself appears complete and verified, or not at all.
"""

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

from filelock import FileLock, Timeout

from cifar_core import machine
from cifar_core.errors import DataError

READ_SECONDS = 30.0
"""A server that sends nothing for so long has broken off."""
LOCK_SECONDS = 1.0  # above zero, as `is_running` holds the lock for an instant
CHUNK_BYTES = 1 << 16

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and in all (None while unknown)."""


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
) -> Path:
    """Download `url` to `target`, replacing it, and return `target`.

    `size` in bytes and `md5` in hexadecimal are the published ones. At most `size` bytes are taken (`max_bytes`
    where `size` is None), whatever the server announces. With an `md5`, an earlier attempt is continued and the
    sum is verified before the target appears; without one every attempt begins anew, and verifying is the caller's.
    `connect_timeout` in seconds holds for each address of the server, `READ_SECONDS` for each later wait.
    Raises AlreadyRunning, or DataError for every other failure; what came stays in the part file unless it is wrong.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock(target)).acquire(timeout=LOCK_SECONDS):
            part = _part(target)
            if md5 is None:  # two halves of different files would not be noticed
                part.unlink(missing_ok=True)
            _receive(url, part, size, max_bytes, progress or (lambda done, total: None), connect_timeout)
            if md5 is not None:
                _verify(part, md5, url)
            machine.replace(part, target)
    except Timeout as error:
        raise AlreadyRunning(
            f"A download of {target.name} is already under way. Wait for it, or end that process first."
        ) from error
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}. Expected a writable folder with room for it. "
            "Make room, or set CIFAR_CACHE_DIR to another folder, then try again."
        ) from error
    return target


def part_bytes(target: Path) -> int:
    """Return how many bytes of an unfinished download of `target` are on the disk; 0 if there is none."""
    try:
        return _part(target).stat().st_size
    except OSError:
        return 0


def is_running(target: Path) -> bool:
    """Return whether any living process is downloading `target`."""
    if not _lock(target).exists():
        return False
    try:
        with FileLock(_lock(target)).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder nobody can write to: nobody downloads into it
        return False


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _lock(target: Path) -> Path:
    return target.with_name(target.name + ".lock")


def _receive(
    url: str, part: Path, size: int | None, max_bytes: int, progress: Progress, connect_timeout: float
) -> None:
    """Append to `part` what is missing. Raises DataError for the network's failures, OSError for the disk's."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:  # broke off between the last byte and the verification, which comes next
        return
    response, done = _open(url, 0 if size is not None and have > size else have, connect_timeout)
    with response, part.open("ab" if done else "wb") as file:
        announced = response.length
        total = size if size is not None else None if announced is None else done + announced
        if total is not None and size is None and total > max_bytes:
            raise _too_large(url, total, max_bytes)
        progress(done, total)
        limit = size if size is not None else max_bytes + 1
        while done < limit and (chunk := _read(response, min(CHUNK_BYTES, limit - done), url, done)):
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


def _open(url: str, have: int, connect_timeout: float) -> tuple[HTTPResponse, int]:
    """Return the server's answer and the byte it starts at: `have`, or 0 where it cannot continue there."""
    headers = {"User-Agent": "cifar-studio", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=connect_timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the server's file is shorter than the part
            return _open(url, 0, connect_timeout)
        raise DataError(
            f"{url} cannot be downloaded: the server answered {error.code} {error.reason}, expected 200. "
            "Try again later, or fetch the file by other means."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(
            f"{url} cannot be reached: {_words(reason)}. Expected an answer within {connect_timeout:g} s. "
            "Check the connection and any proxy, then try again."
        ) from error
    if not have or response.status != 206:
        return response, 0
    if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return response, have
    response.close()
    return _open(url, 0, connect_timeout)


def _read(response: HTTPResponse, count: int, url: str, done: int) -> bytes:
    """Return up to `count` bytes, none at the end."""
    try:
        return response.read(count)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"The download of {url} broke off after {done:,} bytes: {_words(error)}. "
            "Check the connection and try again: it goes on where it stopped if it can."
        ) from error


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _verify(part: Path, md5: str, url: str) -> None:
    """Raise DataError, and remove `part`, unless its MD5 sum is `md5`."""
    with part.open("rb") as file:
        received = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if received != md5:
        part.unlink()
        raise DataError(
            f"What {url} sent is damaged or another file: MD5 {received}, expected {md5}. It was removed. "
            "Try again; if it happens twice, fetch the file by other means."
        )


class _Connection(http.client.HTTPConnection):
    """Has one time limit for connecting and another for reading; urllib knows only one for both."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Handler, _SecureHandler)  # and the system's proxies
