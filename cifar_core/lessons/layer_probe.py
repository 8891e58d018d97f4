"""Linear probes after all blocks of the network (Alain & Bengio 2016, arXiv:1610.01644), as a background job.

The network is not trained. A logistic regression (scikit-learn) learns the ten classes from the pixels, and from the
output of each block averaged over its map, for the initial weights of a training and for random weights.

<cache>/lessons/layers.json    the result on this machine
"""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
import numpy as np

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import split
from cifar_core.errors import RunError
from cifar_core.inference.activations import layer_names, with_layer_outputs
from cifar_core.jobs import Job
from cifar_core.lessons.experiments import RIGHT, Provenance
from cifar_core.network import litert, pretrained
from cifar_core.runs import load_json, write_json

LESSON = "layers"
PIXELS = "pixels"
_CHUNK = 250
_INVERSE_PENALTY = 0.01  # C of all logistic regressions; not tuned
_MOST_STEPS, _TOLERANCE = 500, 1e-3


@dataclass(frozen=True)
class Probed:
    """A network: its `weights`, and for each layer the validation accuracy, 0..1, and the number of features."""

    weights: str
    layers: list[str]
    accuracies: list[float]
    features: list[int]


@dataclass(frozen=True)
class Layers:
    """The results for initial and random weights."""

    networks: list[Probed]
    training_images: int
    validation_images: int
    seconds: float
    made: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Return the saved form."""
        return {"lesson": LESSON, **asdict(self)}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Return the results from their saved form. Raises RunError if `content` is invalid."""
        try:
            saved = msgspec.convert(content, cls)
        except ValueError as error:
            raise RunError(f"These results of a lesson are damaged ({error}); run the lesson here.") from None
        sizes = {len(values) for one in saved.networks for values in (one.layers, one.accuracies, one.features)}
        if len(saved.networks) != 2 or sizes != {len(layer_names(RIGHT.alpha)) + 1}:
            raise RunError("These results of a lesson are of another version; run the lesson here.")
        return saved


def probe(progress: machine.Progress, config: TrainConfig = RIGHT) -> Layers:
    """Probe all layers of both networks; takes less than a minute with 5,000 images.

    `config` defines images, split, width and size. Raises DataError, WeightsError, and any exception of `progress`.
    """
    start = time.monotonic()
    dataset = cifar10.load(config.dataset)
    train, validation = split(dataset.train_labels, config.train_images, config.validation_fraction, config.seed)
    rows = np.concatenate([train, validation])
    images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    names = [PIXELS, *layer_names(config.alpha)]
    kinds = (config.weights, "random")
    networks: list[Probed] = []
    for kind in kinds:
        first = pretrained.load(kind, config.alpha, config.image_size, config.seed)
        known = _features(config, first, images)
        accuracies: list[float] = []
        for name in names:
            progress(len(networks) * len(names) + len(accuracies), len(kinds) * len(names))
            accuracies.append(_accuracy(known[name], labels, len(train)))
        networks.append(Probed(first.label, names, accuracies, [known[name].shape[1] for name in names]))
    progress(len(kinds) * len(names), len(kinds) * len(names))
    conditions = machine.describe(("scikit-learn", "ai-edge-litert", "numpy"))
    made = Provenance(
        command=f"python -m cifar_core learn {LESSON}",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        **{key: conditions[key] for key in ("processor", "cores", "python", "packages")},
        seed=config.seed,
        data=dataset.label,
        weights=networks[0].weights,
    )
    return Layers(networks, len(train), len(validation), round(time.monotonic() - start, 2), made)


def job() -> Job:
    """Return the job that probes the layers."""
    command = ("cifar_core", "learn", LESSON, "--json")
    folder = cifar10.cache_dir() / "lessons"
    return Job(folder, LESSON, command, "The probe", "free disk space there, or set CIFAR_CACHE_DIR")


def result() -> Layers | None:
    """Return the result on this machine, or None. Raises RunError."""
    saved = load_json(job().file(".json"))
    return Layers.from_dict(saved) if saved else None


def run_job(progress: machine.Progress) -> Layers:
    """Run the probe, store and return its result; `progress(done, total)` is called for each layer.

    Raises RunError if another process runs it or the folder is not writable, the errors of `probe`, and Stopped.
    """
    task, start = job(), time.monotonic()

    def report(done: int, total: int) -> None:
        task.check_stop()
        left = (time.monotonic() - start) / done * (total - done) if done else None
        task.write("working", done=done, total=total, seconds_left=left)
        progress(done, total)

    with task.working():
        layers = probe(report)
        write_json(task.file(".json"), layers.to_dict())
    return layers


def _features(config: TrainConfig, first: pretrained.Weights, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pixels and all layer outputs averaged over their maps: layer -> float32 (n, channels)."""
    content = litert.build(first.named, config.alpha, config.image_size, config.scaling, ("pooled",))
    network = litert.Network(with_layer_outputs(content, config.alpha))
    chunks = (network.run(images[begin : begin + _CHUNK]) for begin in range(0, len(images), _CHUNK))  # limits memory
    means = [{name: maps[name].mean(axis=(1, 2)) for name in layer_names(config.alpha)} for maps in chunks]
    pixels = images.reshape(len(images), -1).astype(np.float32)
    return {PIXELS: pixels, **{name: np.concatenate([part[name] for part in means]) for name in means[0]}}


def _accuracy(features: np.ndarray, labels: np.ndarray, training: int) -> float:
    """Fit a linear classifier to the first `training` images and return its accuracy on the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    classifier = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MOST_STEPS, tol=_TOLERANCE)
    probe = make_pipeline(StandardScaler(), classifier)
    with threadpool_limits(1):  # several threads are slower for such small steps
        probe.fit(features[:training], labels[:training])
        return float(probe.score(features[training:], labels[training:]))
