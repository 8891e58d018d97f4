"""Read the LiteRT file of a run as untrusted input, and measure its latency on this machine.

LiteRT runs in the process of the page, and a crafted file can crash it. A file is used only if all its bytes except the
weights equal the file that this program writes for the run's configuration. Archives do not contain latency.json,
because it describes the machine, not the model.
"""

import functools
import time
import timeit
from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cifar_core import machine, runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError, os_errors_as
from cifar_core.network import architecture, litert, pretrained
from cifar_core.runs import Run, records

FILE = "model.tflite"
MOST_BYTES = 64 * 2**20
LATENCY_FILE = "latency.json"
_TIMED = 30  # single images, after the same number for warm-up
Classify = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, 32, 32, 3) -> probabilities float32 (n, 10)."""


def read(run: Run) -> bytes:
    """Return the model file of `run`. Raises RunError if it is missing or does not match the configuration."""
    path = run.path / FILE
    missing = f"Run {run.id} has no model"
    with os_errors_as(RunError, missing, "only finished runs have one: train it again"), path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or not is_own(content, run.config):
        raise RunError(f"{path} is not a usable LiteRT model of this run; copy the run again, or train it again.")
    return content


def is_own(content: bytes, config: TrainConfig) -> bool:
    """Return whether a LiteRT file equals the one that this program writes for `config`, except for the weights."""
    length, weights, rest = _layout(config.alpha, config.image_size, config.scaling, config.dense_units)
    return len(content) == length and _without(content, weights) == rest


def answers_with_probabilities(content: bytes) -> bool:
    """Return whether a file that passed `is_own` outputs probabilities with sum 1; NaN weights do not."""
    answers = opened(content)(np.zeros((1, *litert.IMAGE_SHAPE), np.uint8))
    return bool(abs(answers.sum() - 1) < 1e-3)


def opened(content: bytes) -> Classify:
    """Return a LiteRT file as a function from images to probabilities. Raises RunError if it is damaged."""
    network = litert.Network(content)
    return lambda images: network.run(images)["probabilities"]


@functools.lru_cache(maxsize=64)
def _layout(alpha: float, size: int, scaling: str, units: int) -> tuple[int, list[slice], bytes]:
    """Return length, weight slices and the other bytes of the file for these settings; a few tens of kB."""
    channels = architecture.top_channels(alpha)
    named = dict(pretrained.load("random", alpha, size, seed=1).named)
    named |= {f"head_norm/{name}": np.ones(channels) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    for layer, shape in (("head_dense", (channels, units)), ("head_output", (units, architecture.CLASS_COUNT))):
        named |= {f"{layer}/kernel": np.ones(shape), f"{layer}/bias": np.ones(shape[1])}
    content = litert.build(named, alpha, size, scaling, ("pooled", "probabilities"))
    weights = _weight_slices(np.frombuffer(bytearray(content), np.uint8))
    return len(content), weights, _without(content, weights)


def _without(content: bytes, weights: list[slice]) -> bytes:
    """Return the bytes of a file outside the slices of its weights."""
    kept = np.ones(len(content), bool)
    for place in weights:
        kept[place] = False
    return np.frombuffer(content, np.uint8)[kept].tobytes()


def _weight_slices(content: np.ndarray) -> list[slice]:
    """Return the slices that hold weights in a file, uint8 (n,)."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    floats = [one for one in tensors if one.Type() == schema.TensorType.FLOAT32]
    weights = [one.Buffer() for one in floats if not one.Name().startswith(b"scaling/")]  # fixed by the configuration
    buffers = [model.Buffers(number).DataAsNumpy() for number in weights if model.Buffers(number).DataLength()]
    starts = [data.ctypes.data - content.ctypes.data for data in buffers]
    return [slice(start, start + data.nbytes) for start, data in zip(starts, buffers, strict=True)]


def load_latency(run: Run) -> float | None:
    """Return the stored milliseconds per image, or None if not measured."""
    return records.amount(runs.read_json(run.path / LATENCY_FILE).get("latency_ms"), 1e6) or None


def measure_latency(run: Run) -> float:
    """Measure and store the median milliseconds of model.tflite per image on `machine.threads()` threads.

    Takes less than a second for most models. Raises RunError if the run has no model or its folder is not writable.
    """
    pictures = np.random.default_rng(0).integers(0, 256, (_TIMED, *litert.IMAGE_SHAPE), np.uint8)
    latency = latency_ms(opened(read(run)), pictures)
    machines = {"cores": machine.processors(), "threads": machine.threads()}
    saved = {"latency_ms": latency, "measured": time.time(), **machines, "batch": 1}
    with os_errors_as(RunError, f"The latency of run {run.id} cannot be stored"):
        runs.write_json(run.path / LATENCY_FILE, saved)
    return latency


def latency_ms(classify: Callable[[np.ndarray], object], images: np.ndarray) -> float:
    """Return the median milliseconds of `classify` for single images of `images`, uint8 (n, 32, 32, 3)."""
    singles = (images[number % len(images)][None] for number in range(2 * _TIMED))
    seconds = [timeit.timeit(functools.partial(classify, image), number=1) for image in singles]
    return float(np.median(seconds[_TIMED:])) * 1000
