"""Experiments of the lessons: the conditions of each, their runs on this machine, and their outcomes.

results/<lesson>.json                   stored outcomes, part of the package
<runs>/<utc time>-learnscalingwrong/    a run on this machine; lessons share runs of equal conditions

A condition is a configuration; the first is the recommended one. Each uses at most 5,000 images and takes less than a
minute on two idle cores. All relevant knobs are set here, not by a preset, so the stored results stay valid.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np

from cifar_core import costs, jobs, runs
from cifar_core.config import TrainConfig
from cifar_core.data import augmentation, cifar10, synthetic
from cifar_core.errors import RunError
from cifar_core.evaluation import listing
from cifar_core.inference import model_file
from cifar_core.inference.activations import layer_names, with_layer_outputs
from cifar_core.network import architecture, litert
from cifar_core.runs import LIVE_STATES, Run, curves, records
from cifar_core.runs.curves import Curve, Curves

RIGHT = TrainConfig(
    train_images=5_000,
    augmentation=0.5,
    views=2,
    dropout=0.3,
    schedule="cosine",
    head_epochs=4,
    head_batch_size=64,
    fine_tune_epochs=4,
    fine_tune_learning_rate=5e-4,
)
_ONLY_HEAD: dict[str, Any] = {"head_epochs": 8, "fine_tune_epochs": 0, "fine_tune_blocks": 0}
_PLAIN: dict[str, Any] = {"augmentation": 0.0, "fine_tune_epochs": 3}
_THOUSAND: dict[str, Any] = {
    "train_images": 2_000,
    "validation_fraction": 0.5,
    "augmentation": 0.0,
    "head_epochs": 5,
    "fine_tune_epochs": 12,
    "early_stopping_patience": 100,
}
_ALL_AT_ONCE: dict[str, Any] = {
    "head_epochs": 0,
    "fine_tune_epochs": 3,
    "fine_tune_blocks": 17,
    "fine_tune_learning_rate": 1e-3,
    "batch_norm": "training",
}
_TAUGHT: dict[str, Any] = {"teacher": "bundled", "distillation": 0.9, "distillation_temperature": 4.0}

RESULTS = Path(__file__).resolve().parent / "results"
FIGURES = (
    "validation_accuracy",
    "test_accuracy",
    "test_images",
    "training_accuracy",
    "elapsed_seconds",
    "model_bytes",
    "parameters",
    "multiply_adds",
)
HISTOGRAM_BINS = 40
"""Number of equal bins of the network input, from -1 to 1."""
_LAYERS = architecture.BLOCK_COUNT + 2
_PIXEL_IMAGES, _MAP_IMAGES = 500, 64
_DRAWING_SEED, _DRAWING = 5, 8  # a horse in a field, from the side
_CURVES = ("accuracy", "loss", "validation_accuracy", "validation_loss")
_SAVED_CURVES = (*_CURVES, "cross_entropy", "validation_cross_entropy")  # missing in results before 28 November 2026
_DIGITS = 5
_PREFIX = "learn"


@dataclass(frozen=True)
class Condition:
    """A run of a lesson: `label` in charts, and configuration."""

    label: str
    config: TrainConfig


def _condition(label: str, **changes: Any) -> Condition:
    return Condition(label, replace(RIGHT, **changes))


CONDITIONS: Mapping[str, Mapping[str, Condition]] = {
    "scaling": {
        "right": _condition("[-1, 1], as on ImageNet"),
        "wrong": _condition("[0, 1]", scaling="zero_to_one"),
        "wild": _condition("[0, 1], 32 px, head only", scaling="zero_to_one", image_size=32, **_ONLY_HEAD),
    },
    "freezing": {
        "right": _condition("head first, then the top", image_size=64),
        "all": _condition("all at once, batch norm training", image_size=64, **_ALL_AT_ONCE),
        "never": _condition("never unfrozen", image_size=64, **_ONLY_HEAD),
    },
    "augmentation": {
        "right": _condition("strength 0.5"),
        "hard": _condition("strength 3", augmentation=3.0),
        "none": _condition("none", augmentation=0.0),
    },
    "width": {f"{alpha:g}": _condition(f"α {alpha:g}", alpha=alpha, **_PLAIN) for alpha in (0.35, 0.5, 0.75, 1.0)},
    "resolution": {
        str(size): _condition(f"{size} px", alpha=0.75, image_size=size, **_PLAIN) for size in (32, 64, 96, 128)
    },
    "dropout": {
        f"{dropout:g}": _condition(f"dropout {dropout:g}", dropout=dropout, **_THOUSAND) for dropout in (0.0, 0.3, 0.8)
    },
    "phases": {
        "both": _condition("head first, then fine-tuning"),
        "second": _condition("fine-tuning from the first step", head_epochs=0, fine_tune_epochs=8),
        "first": _condition("head only", **_ONLY_HEAD),
    },
    "rate": {
        "right": _condition("rate 0.001", **_ONLY_HEAD),
        "low": _condition("rate 0.00001", head_learning_rate=1e-5, **_ONLY_HEAD),
        "high": _condition("rate 0.1", head_learning_rate=0.1, **_ONLY_HEAD),
    },
    "noise": {
        str(seed): _condition(f"seed {seed}", train_images=1_000, seed=seed, **_ONLY_HEAD) for seed in (1, 2, 3, 4)
    },
    "teacher": {
        "alone": _condition("α 0.35 alone", alpha=0.35),
        "taught": _condition("α 0.35 with a teacher", alpha=0.35, **_TAUGHT),
    },
}


VARIED: Mapping[str, str] = {
    name: next(iter(first.config.differences(second.config)))
    for name, (first, second, *_) in ((name, [*conditions.values()]) for name, conditions in CONDITIONS.items())
}
"""The knob that each lesson varies."""


@dataclass(frozen=True)
class Provenance:
    """Origin of a result: command, date (ISO 8601, UTC), machine, versions, images, weights; a note."""

    command: str
    date: str
    processor: str
    cores: int
    python: str
    packages: dict[str, str]
    seed: int
    data: str
    weights: str
    note: str = ""

    @property
    def sentence(self) -> str:
        """The origin as one line of Markdown."""
        versions = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        day, data = self.date[:16].replace("T", " "), cifar10.shown_label(self.data)
        return (
            f"`{self.command}`, {day} UTC, seed {self.seed}, {self.cores} cores of {self.processor}, "
            f"Python {self.python}, {versions}. Images: {data}. Initial weights: {self.weights}."
        )


@dataclass(frozen=True)
class Internals:
    """Internals of a network.

    histogram: share of the training pixels in each of HISTOGRAM_BINS; sums to 1.

    norms: root mean square of the feature maps after the stem, the 17 blocks and the top convolution.

    last_map: the last block's map of a drawing, root mean square over the channels at each position (h rows of w).

    latency_ms: median milliseconds per image.
    """

    histogram: Annotated[list[float], msgspec.Meta(min_length=HISTOGRAM_BINS, max_length=HISTOGRAM_BINS)]
    norms: Annotated[list[float], msgspec.Meta(min_length=_LAYERS, max_length=_LAYERS)]
    last_map: list[list[float]]
    latency_ms: float


@dataclass(frozen=True)
class Outcome:
    """The outcome of a condition.

    `figures` has the keys FIGURES. Accuracies are 0..1; `training_accuracy` is from the last epoch.
    """

    config: TrainConfig
    curves: Curves
    figures: dict[str, float]
    internals: Internals
    made: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Return the saved form."""
        known = self.curves.curves
        return {
            "config": self.config.to_dict(),
            "curves": {name: _rounded(vars(known[name])) for name in _SAVED_CURVES if name in known},
            "boundary": self.curves.boundary,
            "planned": self.curves.planned,
            "figures": self.figures,
            "inside": _rounded(asdict(self.internals)),
            "made": asdict(self.made),
        }

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Return the outcome from its saved form. Raises RunError, or ConfigError for its configuration."""
        try:
            saved = msgspec.convert(content, _Saved)
            lines = {name: Curve(*map(np.array, (line["x"], line["y"]))) for name, line in saved.curves.items()}
            if missing := {*_CURVES, *FIGURES} - {*lines, *saved.figures}:
                raise KeyError(*missing)
        except (ValueError, KeyError) as error:
            raise RunError(f"These results of a lesson are damaged ({error}); run the lesson here.") from None
        config = TrainConfig.from_dict(saved.config)
        return cls(config, Curves(lines, saved.boundary, saved.planned), saved.figures, saved.inside, saved.made)


class _Saved(msgspec.Struct):
    """The saved form of an outcome."""

    config: dict[str, Any]
    curves: dict[str, dict[str, list[float]]]
    boundary: int | None
    planned: int
    figures: dict[str, float]
    inside: Internals
    made: Provenance


def outcome_of(lesson: str, run: Run) -> Outcome:
    """Return the outcome of the finished `run` of `lesson`; takes about a second.

    Raises RunError if the run is not finished or is damaged, DataError if its images are not on this machine.
    """
    config, result, rows = run.config, run.result, curves.sound_rows(run.metrics())
    last: dict[str, Any] = next((row for row in reversed(rows) if row["kind"] == "epoch"), {})
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    known = result | {"multiply_adds": cost.multiply_adds, "training_accuracy": last.get("accuracy")}
    figures: dict[str, Any] = {name: known.get(name) for name in FIGURES}
    if not all(map(records.is_number, figures.values())):
        raise RunError(f"Run {run.id} is {run.state} and has no figures; expected a finished run.")
    made = _provenance(run, config, f"python -m cifar_core learn {lesson}")
    return Outcome(config, curves.curves(rows), figures, measure(run), made)


def measure(run: Run) -> Internals:
    """Return the internals of the finished `run`; takes about a second.

    Raises RunError if its model or environment.json is missing or damaged, DataError if its images are not on this
    machine.
    """
    config = run.config
    environment = records.environment(run.path)
    name = environment.data.name if environment else config.dataset
    images, _ = cifar10.samples(_PIXEL_IMAGES, name if name in cifar10.LABELS else config.dataset)
    seen = augmentation.augment(images, np.arange(len(images)), config.augmentation, config.seed, 0)
    network = litert.Network(with_layer_outputs(model_file.read(run), config.alpha))
    maps = network.run(seen[:_MAP_IMAGES])
    layers = layer_names(config.alpha)
    last = network.run(drawing()[None])[layers[-2]][0]
    return Internals(
        histogram=histogram(seen, config.scaling),
        norms=[float(np.sqrt((maps[layer] ** 2).mean())) for layer in layers],
        last_map=np.sqrt((last**2).mean(axis=-1)).tolist(),
        latency_ms=model_file.load_latency(run) or model_file.measure_latency(run),
    )


def histogram(images: np.ndarray, scaling: str) -> list[float]:
    """Return the share of the scaled values of `images`, uint8, in each bin."""
    factor, offset = litert.SCALINGS[scaling]
    counts, _ = np.histogram(images * factor + offset, HISTOGRAM_BINS, (-1, 1))
    return (counts / counts.sum()).tolist()


def drawing() -> np.ndarray:
    """Return the drawing for the last map, uint8 (32, 32, 3)."""
    return synthetic.images(_DRAWING + 1, _DRAWING_SEED)[0][_DRAWING]


def stored(lesson: str) -> dict[str, Any]:
    """Return the saved results of `lesson` in the package; empty if there are none. Raises RunError."""
    return runs.load_json(RESULTS / f"{lesson}.json") or {}


def outcomes(content: Mapping[str, Any]) -> dict[str, Outcome]:
    """Return the outcomes in the saved results `content` of a lesson with training. Raises RunError."""
    saved = content.get("arms")
    if not isinstance(saved, dict):
        raise RunError("These results of a lesson are damaged (no arms); run the lesson here.")
    return {key: Outcome.from_dict(one) for key, one in saved.items()}


def latest_runs(lesson: str) -> dict[str, Run | None]:
    """Return the run of each condition of `lesson`: a live one, or the newest finished one, or the newest."""
    rows = [row for row in listing.rows() if row.run.id[19:].startswith(_PREFIX)]  # newest first
    rows.sort(key=lambda row: (row.state not in LIVE_STATES, row.state != "finished"))
    return {
        key: next((row.run for row in rows if row.config == condition.config), None)
        for key, condition in CONDITIONS[lesson].items()
    }


def start_runs(lesson: str, again: bool = False) -> dict[str, Run]:
    """Start the missing runs of `lesson`, or all if `again`; they queue. Return all runs.

    Conditions with a live run keep it. Raises RunError.
    """
    started = {}
    for key, run in latest_runs(lesson).items():
        state = run.state if run else ""
        if run is None or not (state in LIVE_STATES or (state == "finished" and not again)):
            run = jobs.start_run(CONDITIONS[lesson][key].config, f"{_PREFIX}{lesson}{key}")
        started[key] = run
    return started


def stop_runs(lesson: str) -> None:
    """Stop the live runs of `lesson`, queued ones first so that none of them starts meanwhile."""
    live = [run for run in latest_runs(lesson).values() if run and run.state in LIVE_STATES]
    for run in sorted(live, key=lambda run: run.id, reverse=True):
        jobs.stop_run(run)


def expected_seconds(lesson: str) -> float:
    """Return the expected seconds of the unfinished conditions, or of all if none is unfinished. Raises DataError."""
    sizes = cifar10.sizes()
    missing = [key for key, run in latest_runs(lesson).items() if run is None or run.state != "finished"]
    return sum(costs.estimate(CONDITIONS[lesson][key].config, *sizes).seconds for key in missing or CONDITIONS[lesson])


class _Machine(msgspec.Struct):
    processor: str = ""
    cores: int = 0
    python: str = ""
    packages: dict[str, str] = {}


def _provenance(run: Run, config: TrainConfig, command: str) -> Provenance:
    about = records.load(run.path / "environment.json", _Machine) or _Machine()
    updated, chosen = run.status.get("updated", 0), ("tensorflow", "keras", "ai-edge-litert")
    about.packages = {name: about.packages.get(name, "not installed") for name in chosen}
    return Provenance(
        command=command,
        date=datetime.fromtimestamp(updated if 0 <= updated < 1e10 else 0, UTC).isoformat(timespec="seconds"),
        **msgspec.structs.asdict(about),
        seed=config.seed,
        data=str(run.result.get("dataset")),
        weights=str(run.result.get("weights")),
    )


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.round(value, _DIGITS).tolist() for name, value in values.items()}
