"""CPU cores, memory, folders, lock files and package versions of this machine."""

import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from cifar_core.errors import CifarError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


Progress = Callable[[int, int], object]
"""Called with the number of parts done and the total."""
MOST_THREADS = 8
"""More threads gain nothing on 32 px images, and in feature extraction each needs memory for an interpreter."""
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # Nvidia, AMD, and both under WSL
_PROC, _CGROUP = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_REPLACE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)


def app_dir() -> Path:
    """Return the folder of `app.py` and this package, independent of the working directory."""
    return Path(__file__).resolve().parents[1]


def home() -> Path:
    """Return the user's home folder, or a folder of this user in the system's temporary folder if there is none."""
    with suppress(RuntimeError):  # no HOME and an unknown user ID
        return Path.home()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"home-{user}"


def expanded(folder: str | Path) -> Path:
    """Return `folder` as an absolute path, with a leading `~` replaced by `home()`."""
    first, *rest = Path(folder).parts or (".",)
    return (home().joinpath(*rest) if first == "~" else Path(folder)).absolute()


def processors() -> int:
    """Return the number of CPU cores for this process, at least 1, limited by affinity and cgroup quota."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS, Windows
        allowed = os.cpu_count() or 1
    quotas = [quota for folder in _cgroups("cpu") if (quota := _processor_quota(folder)) is not None]
    return max(1, int(min([allowed, *quotas])))


def threads() -> int:
    """Return the number of threads for one computation: one per CPU core, at most MOST_THREADS."""
    return min(processors(), MOST_THREADS)


def memory_bytes() -> int:
    """Return the memory for this process in bytes: the machine's, or the cgroup limit if that is less."""
    limits = [
        int(text)
        for folder in _cgroups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := read_text(folder / name)).isdecimal()
    ]
    return min([psutil.virtual_memory().total, *limits])


def gpu_driver() -> str | None:
    """Return the device file of a GPU driver, or None if there is none."""
    return next((driver for driver in _GPU_DRIVERS if Path(driver).exists()), None)


def replace(source: Path, target: Path) -> None:
    """Move the file or folder `source` to `target`, replacing an existing file.

    Retries for 1 s if permission is denied: on Windows another program may briefly have `target` open. Raises OSError.
    """
    for seconds in _REPLACE_SECONDS:
        with suppress(PermissionError):
            os.replace(source, target)  # noqa: PTH105 - tests replace it
            return
        time.sleep(seconds)
    os.replace(source, target)  # noqa: PTH105


def stamp(path: str | Path) -> tuple[int, int, int]:
    """Return modification time (ns), size and inode number of a file or folder, or zeros if it does not exist."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - thousands of them
    except OSError:
        return 0, 0, 0
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


@contextmanager
def replacing(path: Path, one_writer: bool = False) -> Iterator[Path]:
    """Yield a temporary path; move the file written there to `path`, or delete it after an exception.

    A reader of `path` sees the old or the new file, never a part. Several threads and processes may write at once.
    With `one_writer` they may not: the name is then fixed, so that killed processes leave one large file at most.
    """
    temporary = path.with_name(f".{path.name}" if one_writer else f".{path.name}.{threading.get_native_id()}")
    try:
        yield temporary
        replace(temporary, path)
    finally:
        with suppress(OSError):  # such as a disk that has become read-only, which is the error to report
            temporary.unlink()


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz file to `path` atomically. Raises OSError."""
    import numpy as np  # most importers of this module do not need it

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def describe(packages: Iterable[str]) -> dict[str, Any]:
    """Return versions of Python and `packages`, system, processor, cores and memory in bytes, ready for JSON."""
    return {
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in packages},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": processors(),
        "memory_bytes": memory_bytes(),
    }


@contextmanager
def extra(feature: str, packages: str) -> Iterator[None]:
    """Convert an ImportError inside into a CifarError with the command to install `packages` with pip."""
    try:
        yield
    except ImportError as error:
        command = f"pip install {packages}"
        raise CifarError(f"{feature} needs {error.name or 'a package'}, which is not installed: '{command}'.") from None


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the cgroup folders of this process, for cgroup versions 1 and 2; none outside Linux."""
    for line in read_text(_PROC).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controller if controllers else _CGROUP
        parts = [part for part in Path(path).parts if part not in ("/", "..")]
        yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _processor_quota(folder: Path) -> float | None:
    """Return the number of CPU cores that one cgroup allows, or None if unlimited."""
    quota, period = [*read_text(folder / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def read_text(file: Path) -> str:
    """Return the text of a file without spaces at its ends, or "" if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def package_version(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    from importlib.metadata import PackageNotFoundError, version  # takes 10 ms, which most commands do not need

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = read_text(Path("/proc/cpuinfo")).splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor()


def hold_lock(path: Path, seconds: float = 1.0, busy: CifarError | None = None) -> AbstractContextManager[object]:
    """Acquire the lock file `path` and return its context; the system releases it even if the process is killed.

    Raises `busy`, or without it filelock.Timeout, an OSError, if another process holds the lock for `seconds`;
    `is_locked` holds it for a few microseconds.
    """
    try:
        return FileLock(path).acquire(timeout=seconds, poll_interval=0.005)
    except Timeout as error:
        raise (busy or error) from None


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock file `path`."""
    if not path.exists():
        return False
    try:
        if fcntl is None:
            with FileLock(path, timeout=0):
                return False
        # a shared lock, so that concurrent checks do not report each other
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except OSError:  # such as Timeout
        return path.exists()  # it may have been deleted meanwhile
