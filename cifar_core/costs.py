"""Estimates time, disk and memory of a configuration from earlier runs, and predicts the end of a live run.

    <cache>/costs.json       seconds per image, by stage and shape; the last five measurements of each

Finished runs (`record_run`) and measurements (`record`) add to it. `estimate` takes the fastest, as other work on the
machine only ever adds time. For a shape without measurements, it scales rough values of a two-core machine by the
multiply-adds and sets `measured` to False.
"""

import itertools
import json
import math
import statistics
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import psutil

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.jobs import Job
from cifar_core.network import architecture
from cifar_core.runs import records, write_json

QUICK_MEMORY_BYTES = 1_700_000_000
"""Peak memory of the worker of preset quick; two AMD EPYC cores, TensorFlow 2.21, 2026-11-29."""
_MEASUREMENTS = 5  # per stage and shape
_Measurement = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]
_INDEXED_IMAGES = 10_000  # training images in a run's index, as in inference/neighbors.py
_EVALUATED = ("neighbours", "validation", "phase 1", "test")  # stages of a run that classify images
_ROUGH_START_SECONDS = 9.0
# Seconds per million multiply-adds of one image: a forward pass in LiteRT, one in Keras from augmented pixels, and a
# training step; and the fixed part of a step per image. Two AMD EPYC cores, TensorFlow 2.21, 2026-11-30.
_ROUGH_FORWARD, _ROUGH_PIXELS, _ROUGH_STEP = 0.8e-5, 3e-5, 1.6e-5
_ROUGH_STEP_FIXED = 6e-5

PARTS = ("features", "start", "head", "fine_tune", "evaluate")
"""The parts of a run in order; "start" is the rest of TensorFlow's import after the features."""
_PART_OF = {"prepare": "features", "import": "start", "export": "evaluate"}
_BEFORE = ("features", "start")
_TRUSTED = 4  # the measured speed of a phase has full weight after 1/4 of the phase
_SETTLED = 0.25  # share of an epoch after which its speed counts
_WARM = 30.0  # seconds after which the speed of a phase's first epoch counts: Keras compiles at the first step
_AGAIN = 0.25  # an overdue part is expected to take this share of the time already spent in addition
_MOST_DONE = 0.99
_FASTEST = 1.0  # minimum factor on the expected seconds: other parts may be as slow as this one, but not faster
_LEAST_DELAY, _DELAY = 5.0, 0.15  # seconds and share of the remaining time; a longer delay is reported as late


@dataclass(frozen=True)
class Estimate:
    """Estimated seconds of a run without early stopping, in total and by stage.

    `measured`: whether each stage of this shape was timed on this machine. `store_bytes` is the disk size of the
    features, `memory_bytes` the peak memory of the worker, or None if never measured.
    """

    seconds: float
    stages: dict[str, float]
    measured: bool
    store_bytes: int
    memory_bytes: int | None


def estimate(config: TrainConfig, available_images: int, test_images: int) -> Estimate:
    """Return the estimate for `config` if `available_images` training images are available.

    `test_images` is 0 for a trial of a sweep, which also has no index of training images.
    """
    images = min(config.train_images, available_images)
    validation = round(images * config.validation_fraction)
    training = images - validation
    known = _load()
    features = cached_images(config, training, validation)
    work = {
        "features": features,
        "start": 1,
        "head": config.head_epochs * training,
        "fine_tune": config.fine_tune_epochs * training if config.fine_tunes else 0,
        "evaluate": validation + test_images,
    }
    if test_images:  # both phases classify the validation images
        work["evaluate"] += min(training, _INDEXED_IMAGES) + validation * (config.head_epochs > 0 and config.fine_tunes)
    rates = {stage: known.get(_key(stage, config)) for stage, amount in work.items() if amount}
    stages = {
        stage: work[stage] * (min(times) if times else _first_guess(stage, config)) for stage, times in rates.items()
    }
    memory = known.get(_key("memory", config))
    return Estimate(
        sum(stages.values()),
        stages,
        all(rates.values()),
        store_bytes(config, features),
        round(statistics.median(memory)) if memory else None,
    )


def memory_shortage(guess: Estimate | None = None) -> str:
    """Return a message if this process and a run need more memory than is available, otherwise "".

    If `guess` contains no measurement, a run is assumed to take as much as preset quick: most of it is TensorFlow.
    """
    needed, available = (guess and guess.memory_bytes) or QUICK_MEMORY_BYTES, machine.memory_bytes()
    taken = psutil.Process().memory_info().rss
    if available >= needed + taken:
        return ""
    return (
        f"A training run needs about {needed / 1e9:.1f} GB of memory in addition to the {taken / 1e9:.1f} GB of this "
        f"program, and {available / 1e9:.1f} GB is available: the run may be stopped. Provide more memory, or choose a "
        "smaller batch size, input size or width."
    )


def record_run(config: TrainConfig, rows: Iterable[dict[str, Any]], seconds: float, memory_bytes: float) -> None:
    """Record the measurements of a finished run of `config`: metrics `rows`, total `seconds`, peak `memory_bytes`."""
    record(config, _measurements(list(rows), seconds) | {"memory": memory_bytes})


def is_known(stage: str, config: TrainConfig) -> bool:
    """Return whether `stage` of this shape was timed on this machine."""
    return bool(_load().get(_key(stage, config)))


def measuring(config: TrainConfig | None = None) -> Job:
    """Return the job that times a few batches of the shape of `config`; all shapes share one job."""
    command = ("cifar_core.training.timing", json.dumps(config.to_dict() if config else {}))
    advice = "free disk space there, or set CIFAR_CACHE_DIR"
    return Job(cifar10.cache_dir(), "measuring", command, "The measurement", advice)


def measure(config: TrainConfig, wait: bool = False) -> None:
    """Time a few batches of the shape of `config` in a separate process, for `estimate`.

    Does nothing if a measurement is already running. If `wait`, returns after the measurement. Raises RunError if the
    process has failed by then.
    """
    job = measuring(config)
    process = job.start()
    if process is not None and wait:
        process.wait()
    if process is not None and process.poll():
        raise RunError(f"The measurement failed: {job.read().get('error')} More is in {job.file('.log')}.")


def record(config: TrainConfig, measured: Mapping[str, float]) -> None:
    """Record measurements of the shape of `config`.

    `measured`: stage ("features", "head", "fine_tune", "evaluate") -> seconds per image, "start" -> seconds, "memory"
    -> bytes. Does nothing if the cache cannot be written.
    """
    path = cifar10.cache_dir() / "costs.json"
    with suppress(OSError), machine.hold_lock(path.with_suffix(".lock"), 5):
        known = _load()
        for stage, value in measured.items():
            key = _key(stage, config)
            known[key] = [*known.get(key, []), value][-_MEASUREMENTS:]
        write_json(path, known)


def peak_memory_bytes() -> int:
    """Return the peak memory of this process in bytes; on Windows the current memory."""
    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().rss)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cached_images(config: TrainConfig, training: int, validation: int) -> int:
    """Return the number of images to cache; each view of an image counts."""
    return config.views_used * training + validation if config.stored_layers else 0


def store_bytes(config: TrainConfig, images: int) -> int:
    """Return the size in bytes of the features of `images` images in the cache."""
    shapes = layer_shapes(config)
    return 2 * images * sum(math.prod(shapes[layer]) for layer in config.stored_layers.values())


def layer_shapes(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Return the feature shape of one image for each layer that can be stored."""
    cut = architecture.cut_shape(config.alpha, config.image_size, config.fine_tune_blocks)
    return {"pooled": (architecture.top_channels(config.alpha),), **({"cut": cut} if cut else {})}


def _measurements(rows: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Return stage -> seconds per image (seconds for "start"). The time of an epoch includes validation."""
    rates: dict[str, float] = {}
    images, feature_seconds = _progress(rows, "features")
    if images > 500:
        rates["features"] = feature_seconds / images
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    for phase in ("head", "fine_tune"):
        times = [row["epoch_seconds"] / row["images"] for row in epochs if row["phase"] == phase]
        if times:
            rates[phase] = statistics.median(times[1:] or times)  # the first includes compilation
    images, test_seconds = _progress(rows, "test")
    if images:
        rates["evaluate"] = test_seconds / images
    if epochs:
        evaluated = {row["stage"]: row["total"] for row in rows if row.get("stage") in _EVALUATED}
        work = sum(row["epoch_seconds"] for row in epochs) + feature_seconds
        work += rates.get("evaluate", 0) * sum(evaluated.values())
        if seconds > work:
            rates["start"] = seconds - work
    return rates


def _progress(rows: list[dict[str, Any]], stage: str) -> tuple[int, float]:
    """Return the number of images processed in `stage` and the seconds they took."""
    stage_rows = [row for row in rows if row.get("kind") == "progress" and row["stage"] == stage]
    done = [(a, b) for a, b in itertools.pairwise(stage_rows) if b["done"] > a["done"]]
    images = sum(b["done"] - a["done"] for a, b in done)
    return images, sum(b["elapsed_seconds"] - a["elapsed_seconds"] for a, b in done)


def _key(stage: str, config: TrainConfig) -> str:
    blocks = config.fine_tune_blocks if config.fine_tunes else 0
    backbone: list[Any] = [config.alpha, config.image_size]
    inputs = [bool(config.stored_layers), *(["teacher"] if config.distils else [])]
    trained = [*backbone, blocks, config.batch_size, *inputs]
    shapes: dict[str, list[Any]] = {
        "start": [],
        "features": [*backbone, blocks],
        "head": [*backbone, config.head_batch_size, *inputs],
        "fine_tune": trained,
        "evaluate": backbone,
        "memory": trained,
    }
    return " ".join(map(str, [stage, *shapes[stage]]))


def _first_guess(stage: str, config: TrainConfig) -> float:
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    everything, frozen = cost.multiply_adds / 1e6, cost.frozen_multiply_adds / 1e6
    trained = (everything - frozen) * 3 * _ROUGH_STEP + _ROUGH_STEP_FIXED  # forward, and twice as much backward
    below = 0.0 if config.stored_layers else _ROUGH_PIXELS
    return {
        "start": _ROUGH_START_SECONDS,
        "features": everything * _ROUGH_FORWARD,
        "head": _ROUGH_STEP_FIXED + below * everything,
        "fine_tune": trained + below * frozen,
        "evaluate": everything * _ROUGH_FORWARD,
    }[stage]


def _load() -> dict[str, list[float]]:
    with suppress(RunError):
        return records.load(cifar10.cache_dir() / "costs.json", dict[str, list[_Measurement]]) or {}
    return {}


@dataclass(frozen=True)
class Outlook:
    """The completed share of each part and of the total time.

    `late` is the part in which the predicted end was last delayed, or None if it is no later than before the delays.
    """

    shares: Mapping[str, float]
    done: float
    seconds_left: float
    late: str | None


class Forecast:
    """The prediction for one run, shared by all sessions that watch it; thread-safe."""

    def __init__(self, expected: Mapping[str, float], epochs: Mapping[str, int]) -> None:
        """`expected`: part -> seconds; missing parts do not occur. `epochs`: phase -> planned epochs."""
        self._expected = {part: max(expected[part], 0.1) for part in PARTS if part in expected}
        self._epochs = epochs
        self._lock = threading.Lock()
        self._pace = 1.0  # actual / expected seconds of the training
        self._end: float | None = None
        self._promised = 0.0  # the end before it grew
        self._done = 0.0
        self._late: str | None = None

    def outlook(self, now: float, status: Mapping[str, Any], last: Mapping[str, Any] | None) -> Outlook:
        """Return the outlook of a running run at the time `now`; `last` is its last valid metrics row."""
        stage = str(status.get("stage"))
        part = _PART_OF.get(stage, stage)
        spent = _since(status.get("began"), now)
        share, left = self._progress(part, now, status, last or {})
        place = PARTS.index("start" if part in _BEFORE else part) if part in PARTS else 0
        left += self._pace * sum(seconds for other, seconds in self._expected.items() if PARTS.index(other) > place)
        shares = {other: float(PARTS.index(other) < PARTS.index(part)) for other in self._expected if part in PARTS}
        with self._lock:
            left = max(self._predicted_end(now, now + left, part) - now, 0.0)
            self._done = max(self._done, min(spent / max(spent + left, 1.0), _MOST_DONE))
            return Outlook(shares | {part: share}, self._done, left, self._late)

    def _progress(
        self, part: str, now: float, status: Mapping[str, Any], last: Mapping[str, Any]
    ) -> tuple[float, float]:
        """Return the completed share of `part` and its remaining seconds.

        Features are computed while TensorFlow starts, so these two parts count as one.
        """
        parts, since = (_BEFORE, "began") if part in _BEFORE else ((part,), "updated")
        expected = sum(self._expected.get(other, 0.0) for other in parts) or 0.1
        whole, spent = self._pace * expected, _since(status.get(since), now)
        share, left = min(spent / whole, 0.95), max(whole - spent, _AGAIN * spent)
        if part == "features" and last.get("stage") == part and last.get("total"):
            return min(last["done"] / last["total"], 1.0), max(left, last.get("seconds_left") or 0.0)
        if last.get("phase") != part:
            return share, left
        within = last["step"] / last["steps"] if last["kind"] == "step" else 1.0
        share = min((last["epoch"] - 1 + within) / max(self._epochs.get(part, 0), last["epoch"]), 1.0)
        trust, reported = min(share * _TRUSTED, 1.0), last.get("seconds_left")
        guess = whole * (1 - share)
        if reported is None or within < _SETTLED or (last["epoch"] == 1 and spent < _WARM):
            return share, guess
        if trust == 1 and share < 1:
            self._pace = max(reported / (expected * (1 - share)), _FASTEST)
        return share, trust * reported + (1 - trust) * guess

    def _predicted_end(self, now: float, end: float, part: str) -> float:
        """Return the predicted end time; `end` is the current estimate. Ignores short delays until that time."""
        if self._end is None or end <= self._end:
            self._end = end
        elif now > self._end or end - self._end > max(_LEAST_DELAY, _DELAY * (self._end - now)):
            if self._late is None:
                self._promised = self._end
            self._end, self._late = end, part
        if end <= self._promised:
            self._late = None
        return self._end


def _since(moment: object, now: float) -> float:
    """Return the seconds since `moment`, a time in a status file; 0 if it is not valid."""
    return now - moment if isinstance(moment, int | float) and 0 <= moment <= now else 0.0
