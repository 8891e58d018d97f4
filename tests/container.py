"""Follow the Dockerfile on a file system, and try the result as a container would run it; needs root and Linux.

    python -m tests.container ROOT

ROOT is a base that takes the place of the image in FROM, such as that of
`debootstrap --include=python3-venv,ca-certificates trixie ROOT`. Its processes get a read-only root with a writable
/data, a user id that the system does not know, one processor, and 2.7 GB of memory by a control group
(version 1). CIFAR10_DIR and KERAS_HOME of this machine are handed in where they are set.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MEMORY_BYTES, PORT = 2_700_000_000, "8642"
_SHIELD = """
mount --bind {root} {root} && mount --bind {data} {root}/data
mount -t proc proc {root}/proc && mount --bind /dev {root}/dev && mount --rbind /sys {root}/sys
[ -z "$CIFAR10_DIR" ] || mount --bind "$CIFAR10_DIR" {root}/mnt
mount -o remount,ro,bind {root}
exec taskset -c 0 chroot {root} setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs --inh-caps=-all \
    env -i -C {folder} {variables} {command}
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their arguments, continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def arguments(text: str) -> list[str]:
    """Return the command of a CMD as words, in either of its forms."""
    return json.loads(text) if text.startswith("[") else ["sh", "-c", text]


class Image:
    """What the Dockerfile makes of the base in `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.health = root, "/", ["true"]
        self.variables = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

    def build(self) -> None:
        for word, rest in instructions((PROJECT / "Dockerfile").read_text()):
            started = time.monotonic()
            getattr(self, f"_{word.lower()}")(rest)
            print(f"{word} {rest[:90]}: {time.monotonic() - started:.1f} s", flush=True)

    def _from(self, image: str) -> None:  # a Debian has neither `python` nor a pip for it in /usr/local, as the image
        if not (self.root / "usr/local/bin/pip").exists():
            self._run("python3 -m venv --copies /usr/local && rm -rf /usr/local/lib64")

    def _workdir(self, folder: str) -> None:
        self.folder = folder
        (self.root / folder.strip("/")).mkdir(parents=True, exist_ok=True)

    def _env(self, rest: str) -> None:
        self.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            place = self.root / self.folder.strip("/") / target
            ignored = shutil.ignore_patterns("__pycache__", "secrets.toml")
            if (PROJECT / source).is_dir():
                shutil.copytree(PROJECT / source, place, dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copy(PROJECT / source, place)

    def _run(self, command: str) -> None:
        known = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "FIND" not in name}
        inside = ["chroot", self.root, "env", "-i", "-C", self.folder, *pairs(self.variables | known)]
        subprocess.run([*inside, "sh", "-ec", command], check=True)

    def _healthcheck(self, rest: str) -> None:
        self.health = arguments(rest.partition("CMD ")[2])

    def _cmd(self, rest: str) -> None:
        self.command = arguments(rest)

    def _user(self, user: str) -> None:
        assert user.split(":")[0] not in ("0", "root")

    def _volume(self, folder: str) -> None:
        assert (self.root / folder.strip("/")).stat().st_mode & 0o7777 == 0o1777


def pairs(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


class Container:
    """Processes in an `image`, under the limits."""

    def __init__(self, image: Image, data: Path, group: Path) -> None:
        self.image, self.data, self.group = image, data, group
        self.variables = image.variables | {"PORT": PORT}
        if os.environ.get("CIFAR10_DIR"):
            self.variables["CIFAR10_DIR"] = "/mnt"

    def start(self, *command: str, **options) -> subprocess.Popen[str]:
        script = _SHIELD.format(
            root=self.image.root, data=self.data, folder=self.image.folder,
            variables=shlex.join(pairs(self.variables)), command=shlex.join(command),
        )  # fmt: skip
        script = f"set -e; echo $$ > {self.group}/cgroup.procs\n{script}"
        shielded = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        return subprocess.Popen(shielded, text=True, start_new_session=True, **options)

    def run(self, *command: str) -> tuple[int, str]:
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.communicate()[0]
        return process.returncode, output


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group beside this process's own."""
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    group = Path("/sys/fs/cgroup/memory") / own.split(":", 2)[2].strip("/") / f"container-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        for process in (group / "cgroup.procs").read_text().split():
            os.kill(int(process), signal.SIGKILL)
        time.sleep(1)
        group.rmdir()


def main(root: Path) -> int:
    """Build, try, print; return the exit code."""
    image, data = Image(root.resolve()), root.resolve().with_name(f"{root.name}-data")
    image.build()
    size = subprocess.run(["du", "-smx", image.root], capture_output=True, text=True, check=True).stdout.split()[0]
    print(f"image: {size} MB")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    data.chmod(0o1777)
    if os.environ.get("KERAS_HOME"):
        shutil.copytree(os.environ["KERAS_HOME"], data / ".keras")
    with memory_group(MEMORY_BYTES) as group:
        container = Container(image, data, group)
        code, said = container.run("sh", "-c", "id -u; nproc; touch /app/x; touch /data/x && echo ok")
        print(f"inside: {' | '.join(said.split(chr(10)))}")
        good = "Read-only" in said and said.strip().endswith("ok")
        with (data.parent / "container.log").open("w") as log:
            server, started = container.start(*image.command, stdout=log, stderr=log), time.monotonic()
            while container.run(*image.health)[0] and server.poll() is None and time.monotonic() - started < 120:
                time.sleep(0.5)
            print(f"health check on port {PORT}: answers after {time.monotonic() - started:.1f} s")
            good &= container.run(*image.health)[0] == 0
            for command in ("doctor", "train --preset quick"):
                started = time.monotonic()
                code, said = container.run("python", "-m", "cifar_core", *command.split())
                print(f"== {command}: exit code {code}, {time.monotonic() - started:.0f} s\n{said.rstrip()}")
                good &= code == 0
            peak = int((group / "memory.max_usage_in_bytes").read_text())
            failures = (group / "memory.failcnt").read_text().strip()
            print(f"memory: {peak / 1e9:.2f} GB at most, files in it; limit met {failures} times")
            good &= server.poll() is None
            server.terminate()
    print("container: good" if good else "container: NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
