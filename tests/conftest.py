import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow

import cifar_core  # noqa: F401 - before NumPy

# isort: split
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from postgresql import running_server
from real_browser import opened_tab, running_chromium
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import app_test

from cifar_core import bench_browser, jobs, machine, runs
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data import cifar10, synthetic
from cifar_core.inference import model_file
from cifar_core.network import pretrained
from cifar_core.runs import Run
from cifar_core.search import studies, sweep_workers

_DRAWN = 1_000

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


ALLOWED_SKIPS = ("no small disk can be mounted here", "no environment of this runtime")
"""Reasons for which CI, which has everything else, may skip a test."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail the session where a test is skipped for a reason that is not in ALLOWED_SKIPS."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return
    reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)}
    unknown = sorted(reason for reason in reasons if not any(allowed in reason for allowed in ALLOWED_SKIPS))
    if unknown:
        print("\nUnexpected skips:", *unknown, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


UNIT_FOLDERS = {"charts", "data", "evaluation", "lessons", "network", "runs", "search", "teach"}
"""Folders whose tests are marked `unit`, those marked slow left out."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m unit`, leave other files out before they import TensorFlow."""
    if config.option.markexpr != "unit" or collection_path.suffix != ".py":
        return None
    return collection_path.parent.name not in UNIT_FOLDERS or None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> Iterator[None]:
    """Mark as `unit` the quick tests of UNIT_FOLDERS, and let each test process begin with its share of the slow ones.

    `--dist worksteal` gives each process a stretch of the list. Slow tests of one file share a browser and a server.
    """
    for item in items:
        if item.path.parent.name in UNIT_FOLDERS and item.get_closest_marker("slow") is None:
            item.add_marker("unit")
    yield
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    slow: dict[Path, list[pytest.Item]] = {}
    rest = [item for item in items if not item.get_closest_marker("slow")]
    for item in items:
        if item.get_closest_marker("slow"):
            slow.setdefault(item.path, []).append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(count)]
    for tests in sorted(slow.values(), key=len, reverse=True):
        min(shares, key=len).extend(tests)
    items.clear()
    for number, share in enumerate(shares):
        left = sum(map(len, shares[number:])) + len(rest)
        quick = max(0, left // (count - number) - len(share))
        items += [*share, *rest[:quick]]
        del rest[:quick]
    items += rest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes `-n auto` starts: one more than processors, since some tests wait, none of `unit`."""
    return machine.processors() + (config.option.markexpr != "unit")


@pytest.fixture(autouse=True)
def own_folders(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, cache and Keras's files of its own for every test; CIFAR-10 and bundled networks only where it asks.

    The threads that a worker in this process sets, and the storage of a command, are taken back: later tests would
    inherit them.
    """
    for name in ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "CIFAR_SWEEP_STORAGE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    set_folders(monkeypatch, tmp_path)
    monkeypatch.delenv("CIFAR_STORE_GB", raising=False)
    if request.node.get_closest_marker("bundled") is None:
        monkeypatch.setattr(pretrained, "BUNDLED_FOLDER", tmp_path / "bundled")
    if request.node.get_closest_marker("real_images") is None:
        monkeypatch.delenv("CIFAR10_DIR", raising=False)


def set_folders(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let runs, cache and Keras's files be in `folder`."""
    for name, place in (("CIFAR_RUNS_DIR", "runs"), ("CIFAR_CACHE_DIR", "cache"), ("KERAS_HOME", "keras")):
        patch.setenv(name, str(folder / place))


@pytest.fixture(autouse=True, scope="session")
def one_server_for_all_pages() -> Iterator[None]:
    """Let AppTest compile scripts and look for components once, as a server does, not for every page.

    Streamlit would also clear Keras's session behind every page, a third of a second: the app never imports Keras.
    """
    scripts = app_test.ScriptCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script_runner, "_clean_problem_modules", lambda: None, raising=False)
        patch.setattr(app_test, "ScriptCache", lambda: scripts)
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Take back what a worker in this process does to its signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """The smallest training that has both phases, two views and random weights."""
    return TrainConfig(
        dataset="generated",
        train_images=1_000,
        alpha=0.35,
        image_size=32,
        weights="random",
        dense_units=16,
        views=2,
        head_epochs=2,
        head_batch_size=64,
        fine_tune_epochs=2,
        fine_tune_blocks=1,
    )


@pytest.fixture(scope="session")
def other_knobs() -> TrainConfig:
    """A configuration of which no knob is as in the preset that *Train* begins with."""
    config = TrainConfig(
        dataset="generated",
        train_images=3_000,
        validation_fraction=0.25,
        split="grouped",
        alpha=1.3,
        image_size=32,
        weights="random",
        dropout=0.15,
        dense_units=48,
        l2=3e-5,
        augmentation=1.25,
        views=3,
        head_epochs=7,
        head_batch_size=32,
        head_learning_rate=0.0123,
        fine_tune_epochs=9,
        fine_tune_learning_rate=7e-5,
        fine_tune_blocks=3,
        batch_norm="adapt",
        schedule="plateau",
        early_stopping_patience=8,
        reduce_patience=4,
        reduce_factor=0.3,
        batch_size=128,
        optimizer="adamw",
        label_smoothing=0.15,
        mixing=0.4,
        ema="on",
        teacher="20261128-231257880-standard",
        distillation=0.7,
        distillation_temperature=3.0,
        seed=77,
        scaling="zero_to_one",
    )
    assert [name for name in KNOBS if getattr(config, name) == getattr(PRESETS["quick"], name)] == []
    return config


@pytest.fixture
def run(tiny_config: TrainConfig) -> runs.Run:
    """A new run that nobody has started."""
    return runs.create(tiny_config)


@pytest.fixture
def run_dir(run: runs.Run) -> Path:
    """The folder of `run`."""
    return run.path


@pytest.fixture(scope="session")
def drawn_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated images as the cache holds it, in the usual numbers: a thousand, repeated.

    Drawing all of them would take a quarter of a minute.
    """
    images, labels = synthetic.images(_DRAWN, seed=1)
    arrays = []
    for count in (synthetic.TRAIN_IMAGES, synthetic.TEST_IMAGES):
        rows = np.arange(count) % _DRAWN
        arrays += [images[rows], labels[rows]]
    folder = tmp_path_factory.mktemp("drawn")
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
    train_images, train_labels, test_images, test_labels = arrays
    (folder / "fingerprint").write_text(cifar10._fingerprint((train_images, train_labels, test_images, test_labels)))
    return folder


@pytest.fixture
def small_data(drawn_images: Path, own_folders: None) -> Path:
    """The test's own cache with the generated images in it, for this process and for workers."""
    return link_images(drawn_images, cifar10.cache_dir())


def link_images(images: Path, cache: Path) -> Path:
    """Put the generated `images` into a new cache; return their folder there."""
    return Path(shutil.copytree(images, cache / f"generated-{synthetic.VERSION}", copy_function=os.link))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser with a camera, one for a file of tests."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A tab of 1440×1000 pixels whose scripts make no error."""
    with opened_tab(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(drawn_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bench_browser.Server]:
    """The app as the README starts it, one for a file of tests; its runs and searches end with it."""
    folder = tmp_path_factory.mktemp("app")
    link_images(drawn_images, folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        set_folders(patch, folder)
        patch.delenv("CIFAR10_DIR", raising=False)
        with bench_browser.running_app(folder / "terminal.log") as server:
            yield server
        for run in runs.list_runs():
            jobs.stop_run(run)
        for name in studies.names():
            sweep_workers.stop(name)


@pytest.fixture
def app(
    served: bench_browser.Server, own_folders: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bench_browser.Server]:
    """The app, whose folders are the test's, too; the file's other tests may have left runs in them."""
    assert served.log
    set_folders(monkeypatch, served.log.parent)
    yield served
    for run in runs.list_runs():
        jobs.stop_run(run)
        log = run.path / "worker.log"
        if log.exists() and "Traceback" in (said := log.read_text(encoding="utf-8")):
            print(f"{run.id}:\n{said}")  # shown if the test failed


@pytest.fixture(scope="session")
def short_config(tiny_config: TrainConfig) -> TrainConfig:
    """A training with all stages: two phases of three epochs, two views, and a rate that is reduced."""
    return replace(tiny_config, head_epochs=3, fine_tune_epochs=3, reduce_patience=1)


@pytest.fixture(scope="session")
def undisturbed_run(short_config: TrainConfig, drawn_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training of `short_config` that nobody disturbed; the test processes share one."""
    session = tmp_path_factory.getbasetemp()
    place = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "undisturbed"
    with FileLock(f"{place}.lock"):
        if not (place / "ended").exists():
            train_undisturbed(place, short_config, drawn_images)
            (place / "ended").touch()
    return next((place / "runs").glob("*-run"))


def train_undisturbed(place: Path, config: TrainConfig, drawn_images: Path) -> None:
    """Train `config` in runs and cache of its own."""
    shutil.rmtree(place, ignore_errors=True)
    link_images(drawn_images, place / "cache")
    with pytest.MonkeyPatch.context() as patch:
        set_folders(patch, place)
        run = jobs.start_run(config)
        assert jobs.wait_until(lambda: run.state not in runs.LIVE_STATES, 300)
        assert run.state == "finished", run.status


@pytest.fixture(scope="session")
def networks() -> Any:
    """The networks that trainings in this process share, as the trials of a search do."""
    from cifar_core.training.fit import NetworkCache

    return NetworkCache()


@pytest.fixture
def shared_networks(networks: Any, own_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in this process take a network with random weights again: building and tracing one takes half the time.

    tests/training/test_phase_models.py holds that such a network is as new; trainings in processes of their own
    (tests/faults) always build one.
    """
    from cifar_core.training import fit, model

    def built(config: TrainConfig, base: Any) -> Any:
        return (networks if config.weights == "random" else model).build(config, base)

    monkeypatch.setattr(fit, "model", SimpleNamespace(**{**vars(model), "build": built}))
    monkeypatch.setattr(fit, "_trial_networks", networks)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL database for this test process."""
    with running_server(tmp_path_factory.mktemp("postgresql")) as server:
        yield server.url


@pytest.fixture
def recorded_run(own_folders: None) -> Run:
    """The finished run of tests/recorded, as a folder."""
    recorded = Path(__file__).resolve().parent / "recorded"
    run = Run("20261128-231257880-standard")
    shutil.copytree(recorded / "run", run.path)
    with zipfile.ZipFile(recorded / "archive.zip") as packed:
        for name in set(packed.namelist()) - {"run.json", "figures.html"}:  # what only an archive has
            packed.extract(name, run.path)
    return run


@pytest.fixture
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small network stand in for that of any configuration; tests/security holds which files are accepted."""
    monkeypatch.setattr(model_file, "is_own", lambda content, config: True)
