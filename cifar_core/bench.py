"""The benchmark: times this app and recipe.py, one after the other, with the same images, settings and initial weights.

It uses temporary folders and runs the same programs as a user: workers, the command line, the app in Chromium. The
table is in docs/benchmarks.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from cifar_core import bench_browser, costs, jobs, machine
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.data import cifar10, feature_cache
from cifar_core.errors import RunError
from cifar_core.inference import activations, model_file
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.pictures import Picture
from cifar_core.network import litert, pretrained
from cifar_core.runs import LIVE_STATES, Run
from cifar_core.runs.curves import PHASE_NAMES, PROBE
from cifar_core.teach import project as projects
from cifar_core.teach.model import open_model

Say = Callable[[str], None]
_POLL_SECONDS = 0.2
_MANY_IMAGES = 2_000
_STARTS = 3
_TAUGHT = 100  # pictures per class, five classes
GOAL = 0.85  # validation accuracy

BEGIN, END = "<!-- begin: python -m cifar_core bench -->", "<!-- end -->"
Found = Mapping[str, Any]
Value = float | str | None


def run(quick: bool, limit_seconds: int, say: Say) -> dict[str, Any]:
    """Run all measurements and return them, ready for JSON; `quick` uses 5,000 images and omits the preset `standard`.

    recipe.py runs at most `limit_seconds`, a sixth of it if `quick`. `say` is called with the current step. All times
    are in seconds. Raises CifarError if a training fails.
    """
    settings = replace(
        PRESETS["classic"], views=2, head_epochs=3, fine_tune_epochs=3, train_images=5_000 if quick else 50_000
    )
    with tempfile.TemporaryDirectory() as folder:
        _use_empty_folders(folder)
        figures: dict[str, Any] = {"quick": quick, "machine": conditions(), "data": cifar10.status()["label"]}
        say("the preset quick, from an empty cache")
        figures["quick_run"], run = _preset("quick")
        say("single pictures and many")
        figures["inference"] = _inference(run)
        say("own classes, and the blocks of a picture")
        figures["teach"], figures["inside_seconds"] = _teach(), _inside(run)
        say("predict in a new process")
        figures["starts"] = _starts(run, Path(folder))
        say("the pages in Chromium")
        figures["browser"] = bench_browser.measure(run)
        if not quick:
            feature_cache.clear()
            say("the preset standard, from an empty cache")
            figures["standard_run"], _ = _preset("standard")
        feature_cache.clear()
        say("the settings of recipe.py, from an empty cache")
        figures["twin_run"], _ = _train(settings, "twin")
        figures["limit_seconds"] = limit = limit_seconds // 6 if quick else limit_seconds
        say(f"recipe.py with the same settings, {limit / 60:g} minutes at most")
        figures["recipe"] = _recipe(settings, limit)
        say("phase 1 of recipe.py in batches of 64, as in tutorials")
        tutorial = replace(settings, head_batch_size=64, head_epochs=2, fine_tune_epochs=0)
        figures["recipe_batch_64"] = _recipe(tutorial, limit)
    return figures


def conditions() -> dict[str, Any]:
    """Return the date, hardware, load and package versions of the measurement."""
    about = machine.describe(("tensorflow", "keras", "ai-edge-litert", "numpy", "streamlit"))
    return {
        "date": time.strftime("%Y-%m-%d"),
        **{name: about[name] for name in ("processor", "cores", "python", "packages")},
        "memory_gib": round(about["memory_bytes"] / 2**30),
        "load_before": round(psutil.getloadavg()[0], 2),  # also on Windows
    }


def _use_empty_folders(folder: str) -> None:
    """Let this process use empty folders for runs and cache in `folder`, with the images that are on the machine."""
    status = cifar10.status()
    os.environ |= {"CIFAR_RUNS_DIR": f"{folder}/runs", "CIFAR_CACHE_DIR": f"{folder}/cache"}
    if status["official"]:
        os.environ["CIFAR10_DIR"] = status["source"]


def _preset(name: str) -> tuple[dict[str, Any], Run]:
    """Time the steps of a preset, train it, and return its times, including the estimate."""
    config = PRESETS[name]
    costs.measure(config, wait=True)
    estimate = costs.estimate(config, *cifar10.sizes(config.dataset))
    figures, run = _train(config, name)
    return figures | {"estimated_seconds": estimate.seconds}, run


def _train(config: TrainConfig, name: str) -> tuple[dict[str, Any], Run]:
    """Train as *Start training* does, and return the times since the start."""
    pressed = time.time()
    run = jobs.start_run(config, name)
    while run.state in LIVE_STATES:
        time.sleep(_POLL_SECONDS)
    if run.state != "finished":
        raise RunError(f"The benchmark's run {name} is {run.state}, expected finished; see {run.path / 'worker.log'}.")
    before = run.status["started"] - pressed
    rows = run.metrics()
    epochs = [row for row in rows if row["kind"] == "epoch"]
    points = [row for row in rows if row["kind"] in ("step", "epoch")]
    probe = next(row for row in rows if row["kind"] == PROBE)
    return {
        "seconds": before + run.result["elapsed_seconds"],
        "first_point_seconds": before + points[0]["elapsed_seconds"],
        "probe_seconds": before + probe["elapsed_seconds"],
        "probe_accuracy": probe["validation_accuracy"],
        "validation_accuracy": run.result["validation_accuracy"],
        "test_accuracy": run.result["test_accuracy"],
        **_epoch_times(epochs, before),
    }, run


def _epoch_times(epochs: list[dict[str, Any]], before: float = 0.0) -> dict[str, Any]:
    """Return the seconds of each epoch by phase, and the time to GOAL or None, `before` included."""
    good = (before + row["elapsed_seconds"] for row in epochs if row["validation_accuracy"] >= GOAL)
    times = {phase: [row["epoch_seconds"] for row in epochs if row["phase"] == phase] for phase in PHASE_NAMES}
    return {"epoch_seconds": times, "goal_seconds": next(good, None)}


def _recipe(config: TrainConfig, limit_seconds: int) -> dict[str, Any]:
    """Run recipe.py in a separate process and return its times."""
    plan = {"config": config.to_dict(), "limit_seconds": limit_seconds}
    printed = _python(["-m", "cifar_core.training.recipe_timing", json.dumps(plan)]).splitlines()
    *epochs, predictions = [json.loads(line) for line in printed if line.startswith('{"what"')]
    return {
        **_epoch_times(epochs),
        "validation_accuracy": max(row["validation_accuracy"] for row in epochs),
        "images_per_second": predictions["images_per_second"],
        "single_seconds": predictions["single_seconds"],
    }


def _inference(run: Run) -> dict[str, Any]:
    """Time the frozen backbone on many images and the classifier on single pictures."""
    config = run.config
    images, _ = cifar10.samples(_MANY_IMAGES)
    named = pretrained.load(config.weights, config.alpha, config.image_size, config.seed).named
    network = litert.Network(litert.build(named, config.alpha, config.image_size, config.scaling, ("pooled",)))
    network.run(images[:512])
    return {
        "images_per_second": len(images) / _median_seconds(lambda: network.run(images), 5),
        "single_seconds": model_file.latency_ms(open_classifier(run.id).answer, images) / 1000,
    }


def _teach() -> dict[str, float]:
    """Time a project of 500 pictures: the features, then the fit with cross-validation."""
    images, labels = cifar10.samples(15 * _TAUGHT)
    projects.create("bench")
    for label in range(5):
        chosen = images[labels == label][:_TAUGHT]
        projects.add("bench", [("abcde"[label], Picture("", Image.fromarray(image))) for image in chosen])
    figures = open_model("bench").figures()
    return {name: figures[name] for name in ("feature_seconds", "fit_seconds")}


def _inside(run: Run) -> float:
    """Time the outputs of all blocks for one picture."""
    classifier, (images, _) = open_classifier(run.id), cifar10.samples(1)
    known = activations.top_images(classifier)
    return model_file.latency_ms(lambda image: activations.views(classifier, image[0], known), images) / 1000


def _starts(run: Run, folder: Path) -> dict[str, Any]:
    """Time `predict` in a new process, and the import of TensorFlow for comparison."""
    picture = folder / "picture.png"
    Image.fromarray(cifar10.samples(1, "generated")[0][0]).save(picture)
    predict = ["-m", "cifar_core", "predict", str(picture), "--run", run.id, "--json"]
    return {
        "predict_seconds": _median_seconds(lambda: _python(predict), _STARTS),
        "tensorflow_seconds": _median_seconds(lambda: _python(["-c", "import tensorflow"]), _STARTS),
    }


def _python(arguments: list[str]) -> str:
    """Return the output of a new Python process. Raises RunError if it fails."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(machine.app_dir())}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RunError(f"python {' '.join(arguments)[:60]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _median_seconds(work: Callable[[], object], count: int) -> float:
    return statistics.median(timeit.repeat(work, number=1, repeat=count))


def row(name: str, ours: Value, recipe: Value = None, tutorial: Value = None, unit: str = "s") -> list[str]:
    """Return the cells of one table row: name, app, recipe.py with the same settings, recipe.py with batch size 64.

    `unit` is "s", "images/s" or "" (an accuracy). None means not measured. A value of recipe.py is followed by the
    speedup of the app: "12 s (6.5×)".
    """

    def ratio(other: Value) -> str:
        if not isinstance(ours, float) or not isinstance(other, float):
            return ""
        speedup = ours / other if unit == "images/s" else other / ours
        return f" ({speedup:.1f}×)" if speedup < 10 else f" ({speedup:.0f}×)"

    text = "not measured" if ours is None else _text(ours, unit)
    return [name, text, *(_text(value, unit) + ratio(value) for value in (recipe, tutorial))]


def _text(value: Value, unit: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if unit == "s":
        return f"{value * 1000:.2g} ms" if value < 0.01 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return f"{value:,.0f} images/s" if unit == "images/s" else f"{value:.1%}"


def rows(figures: Found) -> list[list[str]]:
    """Return the rows of the table, see `row`."""
    twin, recipe, tutorial = figures["twin_run"], figures["recipe"], figures["recipe_batch_64"]
    starts, pages, inference = figures["starts"], figures["browser"], figures["inference"]
    predict = "`predict` in a new process; right: `import tensorflow`"
    lines = [
        row("one epoch of phase 1, features cached", *_last_epochs("head", twin, recipe, tutorial)),
        row("one epoch of phase 2, top 4 blocks", *_last_epochs("fine_tune", twin, recipe)),
        row("time to 85% validation accuracy", *(run["goal_seconds"] or "not reached" for run in (twin, recipe))),
        row("frozen backbone", inference["images_per_second"], recipe["images_per_second"], unit="images/s"),
        row("one picture classified, warm", inference["single_seconds"], recipe["single_seconds"]),
        row("the 17 blocks of one picture, *Inside*", figures["inside_seconds"]),
        row("*Teach*: features of 500 pictures", figures["teach"]["feature_seconds"]),
        row("*Teach*: fit and cross-validation", figures["teach"]["fit_seconds"]),
        row(predict, starts["predict_seconds"], starts["tensorflow_seconds"]),
        row("first page drawn", pages.get("first_page_seconds")),
        row("the same, new server and new browser", pages.get("cold_page_seconds")),
        row("one interaction on *Train*", pages.get("interaction_seconds")),
        row("from a metric written to its point on screen", pages.get("metric_seconds")),
        row("one picture in the exported HTML page", pages.get("html_page_seconds")),
    ]
    for name in ("quick", "standard"):
        if run := figures.get(f"{name}_run"):
            lines += [
                row(f"`{name}`: linear probe of the frozen features", run["probe_seconds"]),
                row(f"`{name}`: its validation accuracy", run["probe_accuracy"], unit=""),
                row(f"`{name}`: first point of the curve", run["first_point_seconds"]),
                row(f"`{name}`: the whole run", run["seconds"]),
                row(f"`{name}`: the same, estimated before", run["estimated_seconds"]),
                row(f"`{name}`: test accuracy", run["test_accuracy"], unit=""),
            ]
    return lines


def table(figures: Found) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = [["figure", "CIFAR Studio", "recipe.py, same settings", "recipe.py, batches of 64"], ["---"] * 4]
    return [f"| {' | '.join(line)} |" for line in [*cells, *rows(figures)]]


def section(figures: Found) -> str:
    """Return conditions and table as Markdown between BEGIN and END."""
    machine = figures["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    about = (
        f"{figures['data']}, {'5,000' if figures['quick'] else '50,000'} images, α 0.5 at 96 px, seed 1, on "
        f"{machine['cores']} cores of {machine['processor']} ({machine['memory_gib']} GiB, load "
        f"{machine['load_before']} before); Python {machine['python']}, {packages}; {machine['date']}. "
        f"recipe.py had at most {figures['limit_seconds'] / 60:g} min."
    )
    return "\n".join([BEGIN, about, "", *table(figures), END])


def write_section(file: Path, figures: Found) -> None:
    """Replace the section between BEGIN and END in `file`."""
    before, rest = file.read_text(encoding="utf-8").split(BEGIN, 1)
    file.write_text(before + section(figures) + rest.split(END, 1)[1], encoding="utf-8")


def _last_epochs(phase: str, *runs: Found) -> list[Any]:
    """Return the seconds of each run's last epoch of `phase`, after compilation and with cached features."""
    return [next(reversed(run["epoch_seconds"][phase]), None) for run in runs]
