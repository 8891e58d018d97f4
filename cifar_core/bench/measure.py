"""Runs this app and the plain recipe, one after the other, on the same images, size, width and first weights.

Everything happens in a temporary folder with an empty store, through the doors that a person uses: workers started
by `launch`, the command line, the app in Chromium. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cifar_core import costs, machine, runs
from cifar_core.bench import browser, trials
from cifar_core.config import TrainConfig, preset
from cifar_core.data import cifar10
from cifar_core.errors import CifarError, RunError
from cifar_core.features import cache
from cifar_core.inference.classifier import open_classifier
from cifar_core.jobs import launch
from cifar_core.network import architecture, litert, pretrained
from cifar_core.runs import LIVE_STATES, Run

Say = Callable[[str], None]
_ROOT = Path(__file__).resolve().parent.parent.parent
_POLL_SECONDS = 0.2
_TRIAL_LIMIT_SECONDS = 900
_TRUNK_IMAGES = 2_000
_SINGLE_ANSWERS = 50
_STARTS = 3
_MATRIX_SIDE = 2_048
_BEST_CUT = {"train_images": 10_000, "fine_tune_epochs": 1}  # whole it takes the better part of an hour


def run(quick: bool, plain_seconds: int, say: Say) -> dict[str, Any]:
    """Measure everything and return it, ready for JSON; `quick` takes 5,000 images, no `standard` and no trials.

    The plain recipe is given `plain_seconds` at most, of which `quick` takes a sixth.
    Raises CifarError where a training fails. Seconds throughout; `say` hears what is being done.
    """
    twin = preset("classic", views=2, head_epochs=3, fine_tune_epochs=3, train_images=5_000 if quick else 50_000)
    with _empty_home(), tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"quick": quick, "machine": conditions(), "data": cifar10.status()["label"]}
        say("the preset quick, from an empty store")
        found["quick_run"], run = _preset("quick")
        say("trunk and single pictures")
        found["inference"] = _inference(run)
        say("predict in a new process")
        found["starts"] = _starts(run, Path(folder))
        say("the pages in Chromium")
        found["browser"] = browser.measure(run)
        if not quick:
            cache.clear()
            found["best"] = _recorded_best()
            say("the preset standard, from an empty store")
            found["standard_run"], _ = _preset("standard")
            say("the preset best, cut short, for its estimate")
            found["best_cut_run"], _ = _preset("best", **_BEST_CUT)
        cache.clear()
        say("the plain recipe's configuration, from the store")
        found["twin_run"], _ = _train(twin, "twin")
        limit = plain_seconds // 6 if quick else plain_seconds
        say(f"the plain recipe, {limit / 60:g} minutes at most")
        found["plain"] = _plain(twin, limit)
        if not quick:
            try:
                found["trials"] = _trials(say)
            except CifarError as error:  # the rest took half an hour
                say(str(error))
    return found


def conditions() -> dict[str, Any]:
    """Return what the figures were measured on and with, and when."""
    about = machine.describe(("tensorflow", "keras", "ai-edge-litert", "numpy", "streamlit"))
    return {
        "date": time.strftime("%Y-%m-%d"),
        **{name: about[name] for name in ("processor", "cores", "python", "packages")},
        "memory_gib": round(about["memory_bytes"] / 2**30),
        "load_before": round(os.getloadavg()[0], 2),
    }


@contextmanager
def _empty_home() -> Iterator[None]:
    """Work in empty folders for runs and store, with the images that are on the machine."""
    source = cifar10.status()["source"] if cifar10.status()["official"] else None
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CIFAR_RUNS_DIR": f"{folder}/runs", "CIFAR_CACHE_DIR": f"{folder}/cache"}
        if source:
            os.environ["CIFAR10_DIR"] = source
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _recorded_best() -> dict[str, Any] | None:
    """Return what the run behind the network in the box reached: `best` is not trained anew here."""
    known = runs.read_json(pretrained.BUNDLED / "card.json").get("0.5")
    return {"test_accuracy": known["test"]["accuracy"], "seconds": known["seconds"]} if known else None


def _preset(name: str, **changes: Any) -> tuple[dict[str, Any], Run]:
    """Train a preset, perhaps changed, whose shape is timed before, and return also what was estimated."""
    config = preset(name, **changes)
    launch.measure(config, wait=True)
    estimate = costs.estimate(config, *cifar10.sizes(config.dataset))
    found, run = _train(config, name)
    return found | {"estimated_seconds": estimate.seconds, "estimate_measured": estimate.measured}, run


def _train(config: TrainConfig, name: str) -> tuple[dict[str, Any], Run]:
    """Train as the button does, and return the times since its press."""
    pressed = time.time()
    run = launch.start(config, name)
    while run.state in LIVE_STATES:
        time.sleep(_POLL_SECONDS)
    if run.state != "finished":
        raise RunError(f"The benchmark's run {name} is {run.state}, expected finished; see {run.path / 'worker.log'}.")
    before = run.status["started"] - pressed
    rows = run.metrics()
    epochs = [row for row in rows if row["kind"] == "epoch"]
    points = [row for row in rows if row["kind"] in ("step", "epoch")]
    phases = {
        phase: [row["epoch_seconds"] for row in epochs if row["phase"] == phase] for phase in ("head", "fine_tune")
    }
    return {
        "seconds": before + run.result["elapsed_seconds"],
        "first_point_seconds": before + points[0]["elapsed_seconds"],
        "validation_accuracy": run.result["validation_accuracy"],
        "test_accuracy": run.result["test_accuracy"],
        "epoch_seconds": phases,
        "reached": {str(goal): _reached(epochs, goal, before) for goal in (0.85, 0.90)},
    }, run


def _reached(epochs: list[dict[str, Any]], goal: float, before: float) -> float | None:
    for row in epochs:
        if row["validation_accuracy"] >= goal:
            return before + row["elapsed_seconds"]
    return None


def _trials(say: Say) -> dict[str, dict[str, float]]:
    """Return the trials a minute of each kind, ours and trained anew by the plain recipe."""
    found = {}
    for kind, config in trials.configurations().items():
        say(f"trials a minute, {kind.replace('_', ' ')}")
        ours = trials.measure(kind)
        epochs = {"head": config.head_epochs, "fine_tune": config.fine_tune_epochs if config.fine_tunes else 0}
        plain = [line for line in _plain_lines(config, _TRIAL_LIMIT_SECONDS, epochs) if line["what"] == "epoch"]
        found[kind] = {"ours": ours, "plain": 60 / plain[-1]["elapsed"]}
    return found


def _plain_lines(config: TrainConfig, limit_seconds: int, epochs: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """Run the plain recipe in a process of its own, as a script would; return what it tells."""
    plan = {"config": config.to_dict(), "limit_seconds": limit_seconds} | ({"epochs": epochs} if epochs else {})
    answer = _python(["-m", "cifar_core.training.plain", json.dumps(plan)])
    return [json.loads(line) for line in answer.splitlines() if line.startswith("{")]


def _plain(config: TrainConfig, limit_seconds: int) -> dict[str, Any]:
    """Return the times of the plain recipe."""
    lines = _plain_lines(config, limit_seconds)
    epochs = [line for line in lines if line["what"] == "epoch"]
    predict = next(line for line in lines if line["what"] == "predict")
    return {
        "limit_seconds": limit_seconds,
        "epoch_seconds": {
            phase: [line["seconds"] for line in epochs if line["phase"] == phase] for phase in ("head", "fine_tune")
        },
        "reached": {
            str(goal): next((line["elapsed"] for line in epochs if line["validation_accuracy"] >= goal), None)
            for goal in (0.85, 0.90)
        },
        "best_validation_accuracy": max((line["validation_accuracy"] for line in epochs), default=None),
        "trunk_images_per_second": predict["trunk_images_per_second"],
        "single_seconds": predict["single_seconds"],
    }


def _inference(run: Run) -> dict[str, Any]:
    """Time the trunk on many images, one picture at a time, and what the processor can at most."""
    config = run.config
    images, _ = cifar10.samples(_TRUNK_IMAGES)
    named = pretrained.load(config.weights, config.alpha, config.image_size, config.seed).named
    network = litert.Network(litert.build(named, config.alpha, config.image_size, config.scaling, ("pooled",)))
    network.run(images[:512])
    rate = len(images) / statistics.median(_times(lambda: network.run(images), 5))
    classifier = open_classifier(run.id)
    classifier.answer(images[:1])
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    matrix = np.ones((_MATRIX_SIDE, _MATRIX_SIDE), np.float32)
    peak = 2 * _MATRIX_SIDE**3 / min(_times(lambda: matrix @ matrix, 8))
    return {
        "trunk_images_per_second": rate,
        "single_seconds": statistics.median(_times(lambda: classifier.answer(images[:1]), _SINGLE_ANSWERS)),
        "operations_per_second": 2 * cost.multiply_adds * rate,
        "peak_operations_per_second": peak,
    }


def _starts(run: Run, folder: Path) -> dict[str, Any]:
    """Time `predict` in a new process, and TensorFlow's own start beside it."""
    picture = folder / "picture.png"
    Image.fromarray(cifar10.samples(1, "generated")[0][0]).save(picture)
    predict = ["-m", "cifar_core", "predict", str(picture), "--run", run.id, "--json"]
    return {
        "predict_seconds": statistics.median(_times(lambda: _python(predict), _STARTS)),
        "tensorflow_seconds": statistics.median(_times(lambda: _python(["-c", "import tensorflow"]), _STARTS)),
    }


def _python(arguments: list[str]) -> str:
    """Return what a new interpreter prints. Raises RunError if it fails."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RunError(f"python {' '.join(arguments)[:60]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _times(work: Callable[[], object], count: int) -> list[float]:
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken
