"""The model of a project: predictions with the nearest pictures, and exported files.

model = open_model("cups")
model.answer(photo)                 # a PIL image -> Answer
model.export("html")                # bytes

It is fitted to features of the project's pictures from the frozen backbone, cached on disk for each network. Classes
with few pictures are augmented with changed copies (mirrored, slightly shifted).
"""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cifar_core import machine, untrusted
from cifar_core.data import augmentation
from cifar_core.errors import ConfigError, ProjectError
from cifar_core.evaluation.predictions import confusion_counts
from cifar_core.export import exports, webpage
from cifar_core.inference import explain
from cifar_core.inference.neighbors import unit
from cifar_core.inference.pictures import prepare
from cifar_core.network import litert, litert_format, pretrained
from cifar_core.teach import fit as fits
from cifar_core.teach import project as projects
from cifar_core.teach.project import BLOCKS, SETTINGS, Project, Sample

FEW, COPIES = 10, 4
"""A class with fewer than FEW pictures gets COPIES changed copies of each."""
NEAREST = 4
_LAST = f"block_{litert.LAST_LAYER}"
_STRENGTH = 0.5  # strength of the augmentation
_CHUNK = 64
_LIMIT_BYTES = 256 * 2**20
_STRIDE = 4  # stride of the covering patch, in 32nds of the picture's side


@dataclass(frozen=True, eq=False)
class Backbone(pretrained.Weights):
    """The frozen network with its weights."""

    network: litert.Network

    def features(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the features of each layer in BLOCKS, "block_3" and so on, of images, uint8 (n, size, size, 3).

        They are float32 (n, channels).
        """
        return self.network.run(images)


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction.

    probabilities: float (k,). nearest: (class, sample, distance 0..1.41) of the user's pictures. is_none: whether
    the picture is unlike all of them.
    """

    probabilities: np.ndarray
    nearest: Sequence[tuple[str, Sample, float]]
    is_none: bool


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted project, and the seconds for features and fit."""

    name: str
    project: Project
    backbone: Backbone
    fit: fits.Fit
    feature_seconds: float
    fit_seconds: float

    def answer(self, picture: Image.Image, count: int = NEAREST) -> Answer:
        """Return the prediction for a picture, RGB, with the `count` nearest of the user's pictures, at least 1."""
        pixels = prepare(picture, side=self.project.image_size)
        features = self.backbone.features(pixels[None])
        places, distances = self.fit.nearest(unit(features[_LAST]), count)
        samples = [(label.name, sample) for label in self.project.classes for sample in label.samples]
        nearest = [(*samples[place], float(far)) for place, far in zip(places[0], distances[0], strict=True)]
        probabilities = self.fit.probabilities(features[f"block_{self.project.block}"])[0]
        is_none = self.backbone.kind != "random" and nearest[0][2] > self.fit.threshold
        return Answer(probabilities, nearest, is_none)

    def evidence(self, picture: Image.Image) -> Image.Image:
        """Return the square of a picture, overlaid with the evidence for its class (occlusion)."""
        pixels = prepare(picture, side=self.project.image_size)

        def probabilities(images: np.ndarray) -> np.ndarray:
            return self.fit.probabilities(self.backbone.features(images)[f"block_{self.project.block}"])

        best = int(probabilities(pixels[None])[0].argmax())
        return explain.overlay(Image.fromarray(pixels), explain.saliency(probabilities, pixels, _STRIDE)[best])

    def litert(self) -> bytes:
        """Return the model as a LiteRT file: uint8 (n, size, size, 3) to "probabilities", float32 (n, k)."""
        chosen, head = self.project, (self.fit.kernel, self.fit.bias)
        content = litert.build_photo(self.backbone.named, chosen.alpha, chosen.image_size, (chosen.block,), head)
        return litert_format.probabilities_only(content)

    def export(self, format_name: str) -> bytes:
        """Return the project as a file. Raises ConfigError for an unknown format (project.SUFFIXES)."""
        if format_name not in projects.SUFFIXES:
            formats = ", ".join(projects.SUFFIXES)
            raise ConfigError(f"Format: received {format_name[:60]!r}, expected one of {formats}.")
        if format_name == "zip":
            return projects.pack(self.name)
        return self._page() if format_name == "html" else exports.converted(self.litert(), format_name)

    def figures(self) -> dict[str, Any]:
        """Return the metrics of the model, ready for JSON."""
        return {
            "id": f"{projects.PREFIX}{self.name}",
            "classes": {label.name: len(label.samples) for label in self.project.classes},
            "accuracy": self.fit.held_out.accuracy,
            "interval": list(self.fit.held_out.interval),
            "confusion": confusion_counts(self.fit.held_out).tolist(),
            "warnings": list(self.fit.warnings),
            **{name: getattr(self.project, name) for name in SETTINGS},
            "weights": self.backbone.label,
            "feature_seconds": self.feature_seconds,
            "fit_seconds": self.fit_seconds,
        }

    def _page(self) -> bytes:
        held_out, (low, high) = self.fit.held_out, self.fit.held_out.interval
        chosen, names = self.project, self.project.names
        layer = "the last layer" if chosen.block == litert.LAST_LAYER else f"block {chosen.block}"
        card = {
            "Project": self.name,
            "Accuracy": f"{held_out.accuracy:.1%} by cross-validation (95% interval {low:.1%} to {high:.1%})",
            "Pictures": ", ".join(f"{label.name} {len(label.samples)}" for label in chosen.classes),
            "Network": f"MobileNetV2, width {chosen.alpha:g}, {chosen.image_size} px, {self.backbone.label}",
            "Recipe": "A linear head, fitted in closed form (ridge regression of strength "
            f"{chosen.strength:g}) to the features of {layer}; the network itself is frozen.",
            "Warnings": " ".join(self.fit.warnings) or "none",
            "Classes": f"{', '.join(names)}; it predicts one of them for every picture. Do not use it for decisions "
            "that matter.",
        }
        return webpage.assembled(self.litert(), self.name, names, chosen.image_size, card)


def open_model(name: str, report: machine.Progress = lambda done, total: None) -> Model:
    """Compute, fit and return the model of a project.

    `report` is called with the number of new pictures done and the total. Raises ProjectError if the project does
    not exist, a picture is missing, or fewer than two classes have pictures; raises WeightsError.
    """
    project = projects.load(name)
    samples = [(number, sample.burst) for number, label in enumerate(project.classes) for sample in label.samples]
    labels, bursts = np.array(samples, int).reshape(-1, 2).T
    if len(np.unique(labels)) < 2:
        raise ProjectError("Two classes need pictures before anything can be learned.")
    start = time.perf_counter()
    shape, inputs = (project.alpha, project.image_size), _wanted(project)
    base = _backbone(pretrained.expected_kind("auto", *shape), *shape)
    features = _computed(name, project, base, inputs, report)
    middle = time.perf_counter()
    is_original = np.array([":" not in one for one in inputs])
    originals, units = np.cumsum(is_original) - 1, unit(features[_LAST][is_original])
    of_head, is_pretrained = features[f"block_{project.block}"], base.kind != "random"
    fitted = fits.fit(of_head, originals, units, labels, bursts, project.names, project.strength, is_pretrained)
    return Model(name, project, base, fitted, middle - start, time.perf_counter() - middle)


@functools.lru_cache(maxsize=4)
def _backbone(kind: str, alpha: float, image_size: int) -> Backbone:
    weights = pretrained.load("auto" if kind == "imagenet" else kind, alpha, image_size, seed=1)
    network = litert.Network(litert.build_photo(weights.named, alpha, image_size, BLOCKS))
    return Backbone(**vars(weights), network=network)


def _wanted(project: Project) -> list[str]:
    """Return the keys of all training inputs, class by class: each picture, and copies with ":1" and so on."""
    stages = []
    for label in project.classes:
        copies = COPIES if len(label.samples) < FEW else 0
        stages += [f"{s.key}:{view}" if view else s.key for s in label.samples for view in range(copies + 1)]
    return stages


def _computed(
    name: str, project: Project, base: Backbone, inputs: list[str], report: machine.Progress
) -> dict[str, np.ndarray]:
    """Return the features of `inputs`, from `_wanted`, by block, float32 (n, channels); compute and store new ones.

    Raises ProjectError if pictures are missing or damaged.
    """
    path = projects.folder(name) / f"features-{project.alpha:g}-{project.image_size}.npz"
    known, rows = _stored(path, base)
    missing = [one for one in dict.fromkeys(inputs) if one not in rows]
    for start in range(0, len(missing), _CHUNK):
        report(start, len(missing))
        part = missing[start : start + _CHUNK]
        with ThreadPoolExecutor(machine.threads()) as pool:
            images = list(pool.map(lambda one: _image(name, one, project.image_size), part))
        for block, values in base.features(np.stack(images)).items():
            known[block] = np.concatenate([known[block], values]) if block in known else values
    rows |= {one: len(rows) + number for number, one in enumerate(missing)}
    if missing:
        with suppress(OSError):  # on a full disk they are computed again
            halves = {block: values.astype(np.float16) for block, values in known.items()}
            machine.save_arrays(path, names=np.array(list(rows)), weights=np.array(base.fingerprint), **halves)
    order = [rows[one] for one in inputs]
    return {block: values[order] for block, values in known.items()}


def _stored(path: Path, base: Backbone) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return stored features by block and the row of each key; empty if damaged or from other weights."""
    shapes = base.network.output_shapes
    with suppress(OSError, ValueError, KeyError, TypeError):
        arrays = untrusted.load_arrays(path, _LIMIT_BYTES)
        rows = {str(one): row for row, one in enumerate(arrays["names"])}
        known = {block: arrays[block].astype(np.float32) for block in shapes}
        fits = all(v.shape == (len(rows), *shapes[block]) and np.isfinite(v).all() for block, v in known.items())
        if fits and str(arrays["weights"]) == base.fingerprint:
            return known, rows
    return {}, {}


def _image(name: str, one: str, image_size: int) -> np.ndarray:
    key, _, view = one.partition(":")
    pixels = prepare(projects.image(name, key), side=image_size)
    if not view:
        return pixels
    place = np.array([int(key[:4], 16)])
    return augmentation.augment(pixels[None], place, _STRENGTH, seed=1, view=int(view))[0]
