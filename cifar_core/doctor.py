"""Checks of this machine: `python -m cifar_core doctor`, and *This machine* on the page Learn."""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path
from platform import python_version
from typing import NamedTuple

from packaging.requirements import Requirement

from cifar_core import costs, machine, runs
from cifar_core.config import PRESETS
from cifar_core.data import cifar10, download, feature_cache
from cifar_core.errors import CifarError
from cifar_core.network import pretrained
from cifar_core.search import studies

PYTHON = ">=3.11,<3.14"
SECRETS = machine.app_dir() / ".streamlit" / "secrets.toml"
_LOGIN_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_Found = tuple[str, ...]  # the fields of a Check after `name`


class Check(NamedTuple):
    """The result of one check. `state` is "ok", "warning" (the app works with limits) or "error" (must be fixed)."""

    name: str
    state: str
    value: str
    advice: str = ""


def checks() -> list[Check]:
    """Run all checks and return their results in a fixed order. Waits some seconds for hosts that do not answer."""
    return [_check(look.__name__.strip("_"), look) for look in (*_THIS_MACHINE, *_ITS_SURROUNDINGS)]


def _check(name: str, look: Callable[[], _Found]) -> Check:
    try:
        return Check(name, *look())
    except CifarError as error:
        return Check(name, "error", str(error))


def _versions() -> _Found:
    file = machine.app_dir() / "requirements.txt"  # missing if the app is installed as a package
    lines = file.read_text(encoding="utf-8").split() if file.exists() else requires("cifar-studio") or []
    wanted = [Requirement(line) for line in (f"Python{PYTHON}", *lines) if "extra ==" not in line]
    have = {one.name: python_version() if one.name == "Python" else machine.package_version(one.name) for one in wanted}
    wrong = [one for one in wanted if not one.specifier.contains(have[one.name], prereleases=True)]
    if not wrong:
        return "ok", f"Python {have['Python']}, {len(lines)} packages, supported versions"
    value = "; ".join(f"{one.name} {have[one.name]}, expected {one.specifier}" for one in wrong)
    return "error", value, "Run 'pip install -r requirements.txt' with Python 3.11 to 3.13."


def _processors() -> _Found:
    available, advice = machine.processors(), "Pages are slow during a training run; provide two processors."
    return "ok" if available > 1 else "warning", f"{available} of {os.cpu_count()}", advice * (available == 1)


def _memory() -> _Found:
    value = f"{_gb(machine.memory_bytes())}; preset quick needs {_gb(costs.QUICK_MEMORY_BYTES)}"
    return "error" if costs.memory_shortage() else "ok", value, costs.memory_shortage()


def _runs() -> _Found:
    runs.check_disk()
    return _disk(runs.runs_dir(), runs.budget_bytes(), "CIFAR_RUNS_GB")


def _cache() -> _Found:
    return _disk(feature_cache.store_dir(), feature_cache.budget_bytes(), "CIFAR_STORE_GB")


def _disk(folder: Path, limit: float, variable: str) -> _Found:
    place = runs.existing(folder)
    free, taken = shutil.disk_usage(place).free, runs.size_bytes(folder)
    value = f"{folder}: {_gb(free)} free; {_gb(taken)} used, {_gb(limit)} at most ({variable})"
    advice = "Features are not stored, and training runs take longer: free disk space, or set CIFAR_CACHE_DIR."
    return ("ok", value) if free >= runs.reserve_bytes(place) else ("warning", value, advice)


def _permissions() -> _Found:
    for variable, folder in (("CIFAR_RUNS_DIR", runs.runs_dir()), ("CIFAR_CACHE_DIR", cifar10.cache_dir())):
        try:
            tempfile.TemporaryFile(dir=folder if folder.exists() else runs.existing(folder)).close()
        except OSError as error:
            return "error", f"{folder}: {error.strerror}", f"Make it writable, or set {variable} to another folder."
    return "ok", "the folders of runs and cache can be written"


def _images() -> _Found:
    status = cifar10.status()
    if status["error"]:
        return "error", status["error"]
    if status["dataset"] == "cifar10":
        return "ok", f"CIFAR-10 in {status['source']}"
    return "warning", "synthetic, not CIFAR-10", "Run 'python -m cifar_core data download', or set CIFAR10_DIR."


def _weights() -> _Found:
    shape = PRESETS["quick"].alpha, PRESETS["quick"].image_size
    path, reason = pretrained.imagenet_path(*shape), pretrained.unavailable_reason("imagenet", *shape)
    if reason is None:
        return "ok", f"ImageNet, {path}" if path.exists() else "ImageNet, downloaded by the first training run"
    value = f"no ImageNet; training runs start from {pretrained.expected_kind('auto', *shape)} weights"
    return "warning", value, f"Connect to the internet, or put {path.name} into {path.parent} (KERAS_HOME)."


def _gpu() -> _Found:
    if (driver := machine.gpu_driver()) is None:
        return "ok", "none; training runs use the processors"
    if (cudnn := machine.package_version("nvidia-cudnn-cu12")) != "not installed":
        return "ok", f"{driver}, cuDNN {cudnn}"
    return "warning", f"{driver} without CUDA packages", 'On Linux run pip install "tensorflow[and-cuda]".'


def _network() -> _Found:
    silent = [url.split("/")[2] for url in (cifar10.URL, pretrained.URL) if not download.answers(url)]
    if not silent:
        return "ok", "the hosts of CIFAR-10 and of ImageNet weights answer"
    advice = "Only downloads need it. Set HTTPS_PROXY for a proxy, SSL_CERT_FILE for a company's certificates."
    return "warning", f"no answer from {' and '.join(silent)}", advice


def _database() -> _Found:
    if not studies.storage_url():
        return "ok", "none; searches are files, and this machine trains alone"
    return "ok", f"PostgreSQL, with {len(studies.names())} searches"


def _login() -> _Found:
    if not SECRETS.exists():
        return "ok", "off; anyone who can reach the app can start and delete runs"
    try:
        auth = dict(tomllib.loads(SECRETS.read_text(encoding="utf-8")).get("auth", {}))
    except (OSError, ValueError, TypeError):
        auth = {}
    if missing := [key for key in _LOGIN_KEYS if not auth.get(key)]:
        return "error", f"{SECRETS.name} lacks {', '.join(missing)}", "Write them under [auth]; see docs/hosting.md."
    if machine.package_version("authlib") == "not installed":
        return "error", "it needs Authlib", 'Run pip install "streamlit[auth]".'
    return "ok", f"by {auth['server_metadata_url']}"


def _gb(count: float) -> str:
    return f"{count / 1e9:,.1f} GB".replace(".0 GB", " GB")


_THIS_MACHINE = (_versions, _processors, _memory, _runs, _cache, _permissions)
_ITS_SURROUNDINGS = (_images, _weights, _gpu, _network, _database, _login)
