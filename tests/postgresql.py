"""A real PostgreSQL, Debian's package, that a test starts and stops."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@dataclass
class Server:
    """A server whose data is in `place`; `url` is that of its one database."""

    place: Path
    port: int
    user: dict = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"postgresql://cifar:secret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        addresses = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={self.place} -c fsync=off"
        self._call("pg_ctl", "-l", str(self.place / "log"), "-w", "-o", f"-p {self.port} {addresses}", "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def initialize(self) -> None:
        self._call("initdb", "-U", "cifar", "-A", "trust", "--no-sync")

    def _call(self, program: str, *arguments: str) -> None:
        command = [PROGRAMS[-1] / program, "-D", str(self.place / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user)


@contextmanager
def running_server(place: Path) -> Iterator[Server]:
    """A started server; skips the test where PostgreSQL is not installed."""
    if not PROGRAMS or not (PROGRAMS[-1] / "initdb").exists():
        pytest.skip("Debian's package postgresql is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(place, port)
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user postgres")
        server.place = Path("/tmp") / f"cifar-postgresql-{os.getpid()}-{port}"  # pytest's folders are closed to others
        server.place.mkdir(mode=0o700)
        os.chown(server.place, owner.pw_uid, owner.pw_gid)
        server.user = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": str(server.place)}
    try:
        server.initialize()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(server.place, ignore_errors=True)
