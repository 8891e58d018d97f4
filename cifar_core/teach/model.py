"""The model of a project: predictions with the nearest pictures, and exported files.

model = open_model("cups")
model.answer(photo)                 # a PIL image -> Answer
model.export("html")                # bytes
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cifar_core import machine
from cifar_core.errors import ConfigError
from cifar_core.export import exports, webpage
from cifar_core.inference import explain
from cifar_core.inference.neighbors import unit
from cifar_core.network import litert, litert_format
from cifar_core.network.litert import LAST_LAYER
from cifar_core.teach import features as feature_files
from cifar_core.teach import fit as fits
from cifar_core.teach import project as projects
from cifar_core.teach.features import Backbone
from cifar_core.teach.fit import Fit
from cifar_core.teach.project import Project, Sample

NEAREST = 4
_STRIDE = 4  # stride of the covering patch, in 32nds of the picture's side


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
    fit: Fit
    feature_seconds: float
    fit_seconds: float

    def answer(self, picture: Image.Image, count: int = NEAREST) -> Answer:
        """Return the prediction for a picture, RGB, with the `count` nearest of the user's pictures, at least 1."""
        pixels = feature_files.prepared(picture, self.project.image_size)
        features = self.backbone.features(pixels[None])
        places, distances = self.fit.nearest(unit(features[LAST_LAYER]), count)
        samples = [(label.name, sample) for label in self.project.classes for sample in label.samples]
        nearest = [(*samples[place], float(far)) for place, far in zip(places[0], distances[0], strict=True)]
        probabilities = self.fit.probabilities(features[self.project.block])[0]
        is_none = self.backbone.kind != "random" and nearest[0][2] > self.fit.threshold
        return Answer(probabilities, nearest, is_none)

    def evidence(self, picture: Image.Image) -> Image.Image:
        """Return the square of a picture, overlaid with the evidence for its class (occlusion)."""
        pixels = feature_files.prepared(picture, self.project.image_size)

        def probabilities(images: np.ndarray) -> np.ndarray:
            return self.fit.probabilities(self.backbone.features(images)[self.project.block])

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
        low, high = self.fit.interval
        return {
            "id": f"{projects.PREFIX}{self.name}",
            "classes": {label.name: len(label.samples) for label in self.project.classes},
            "accuracy": self.fit.accuracy,
            "interval": [low, high],
            "confusion": self.fit.confusion.tolist(),
            "warnings": list(self.fit.warnings),
            "alpha": self.project.alpha,
            "image_size": self.project.image_size,
            "block": self.project.block,
            "strength": self.project.strength,
            "weights": self.backbone.label,
            "feature_seconds": self.feature_seconds,
            "fit_seconds": self.fit_seconds,
        }

    def _page(self) -> bytes:
        low, high = self.fit.interval
        chosen, names = self.project, self.project.names
        layer = "the last layer" if chosen.block == LAST_LAYER else f"block {chosen.block}"
        card = {
            "Project": self.name,
            "Accuracy": f"{self.fit.accuracy:.1%} by cross-validation (95% interval {low:.1%} to {high:.1%})",
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
    fits.check(labels)
    start = time.perf_counter()
    backbone = feature_files.backbone(project.alpha, project.image_size)
    features = feature_files.compute(name, project, report)
    middle = time.perf_counter()
    wanted = feature_files.wanted(project)
    fitted = fits.fit(
        features[project.block],
        feature_files.copies_of(wanted),
        unit(features[LAST_LAYER][[":" not in one for one in wanted]]),
        labels,
        bursts,
        project.names,
        project.strength,
        is_pretrained=backbone.kind != "random",
    )
    return Model(name, project, backbone, fitted, middle - start, time.perf_counter() - middle)
