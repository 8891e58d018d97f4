"""Features of a project's pictures from the frozen backbone, cached on disk for each network.

Classes with few pictures are augmented with changed copies (mirrored, slightly shifted).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_core import machine, untrusted
from cifar_core.data import augmentation
from cifar_core.errors import CifarError, ProjectError
from cifar_core.inference.pictures import crop_box
from cifar_core.network import litert, pretrained
from cifar_core.teach import project as projects
from cifar_core.teach.project import BLOCKS, Project

FEW, COPIES = 10, 4
"""A class with fewer than FEW pictures gets COPIES changed copies of each."""
_STRENGTH = 0.5  # strength of the augmentation
_CHUNK = 64
_LIMIT_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Backbone:
    """The frozen network. `kind` is imagenet, bundled or random; `label` describes the weights."""

    kind: str
    label: str
    fingerprint: str
    named: pretrained.Named
    network: litert.Network

    def features(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """Return the features of each layer in BLOCKS, float32 (n, channels), of images, uint8 (n, size, size, 3)."""
        outputs = self.network.run(images)
        return {block: outputs[f"block_{block}"] for block in BLOCKS}


def backbone(alpha: float, image_size: int) -> Backbone:
    """Return the backbone with the best available weights: ImageNet, bundled or random."""
    return _opened(pretrained.expected_kind("auto", alpha, image_size), alpha, image_size)


@functools.lru_cache(maxsize=4)
def _opened(kind: str, alpha: float, image_size: int) -> Backbone:
    weights = pretrained.load("auto" if kind == "imagenet" else kind, alpha, image_size, seed=1)
    content = litert.build_photo(weights.named, alpha, image_size, BLOCKS)
    network = litert.Network(content, side=image_size)
    return Backbone(weights.kind, weights.label, weights.fingerprint, weights.named, network)


def prepared(picture: Image.Image, image_size: int) -> np.ndarray:
    """Return the central square of a picture as network input: uint8 (size, size, 3)."""
    square = picture.crop(crop_box(picture.size, "centre"))
    return np.array(square.resize((image_size, image_size), Image.Resampling.BICUBIC), dtype=np.uint8)


def wanted(project: Project) -> list[str]:
    """Return the keys of all training inputs, class by class: each picture, and copies with ":1" and so on."""
    stages = []
    for label in project.classes:
        copies = COPIES if len(label.samples) < FEW else 0
        stages += [f"{s.key}:{view}" if view else s.key for s in label.samples for view in range(copies + 1)]
    return stages


def compute(name: str, project: Project, report: machine.Progress = lambda done, total: None) -> dict[int, np.ndarray]:
    """Return the features of all `wanted` inputs by block, float32 (n, channels); compute and store new ones.

    Raises ProjectError if pictures are missing or damaged.
    """
    base, names = backbone(project.alpha, project.image_size), wanted(project)
    path = projects.folder(name) / f"features-{project.alpha:g}-{project.image_size}.npz"
    known, rows = _stored(path, base)
    missing = [one for one in dict.fromkeys(names) if one not in rows]
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
            halves = {f"block_{block}": values.astype(np.float16) for block, values in known.items()}
            machine.save_arrays(path, names=np.array(list(rows)), weights=np.array(base.fingerprint), **halves)
    order = [rows[one] for one in names]
    return {block: values[order] for block, values in known.items()}


def _stored(path: Path, base: Backbone) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    """Return stored features by block and the row of each key; empty if damaged or from other weights."""
    try:
        arrays = untrusted.load_arrays(path, _LIMIT_BYTES)
        names = [str(one) for one in arrays["names"]]
        blocks = {block: arrays[f"block_{block}"].astype(np.float32) for block in BLOCKS}
        shapes = base.network.output_shapes
        sound = all(blocks[b].shape == (len(names), *shapes[f"block_{b}"]) for b in BLOCKS)
        if sound and str(arrays["weights"]) == base.fingerprint and all(np.isfinite(v).all() for v in blocks.values()):
            return blocks, {one: row for row, one in enumerate(names)}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}, {}


def _image(name: str, one: str, image_size: int) -> np.ndarray:
    key, _, view = one.partition(":")
    try:
        pixels = prepared(projects.image(name, key), image_size)
    except ProjectError:
        raise
    except CifarError as error:
        raise ProjectError(f"A picture of project {name} is damaged: {error}") from None
    if not view:
        return pixels
    place = np.array([int(key[:4], 16)])
    return augmentation.augment(pixels[None], place, _STRENGTH, seed=1, view=int(view))[0]


def copies_of(names: Sequence[str]) -> np.ndarray:
    """Return for each key in `wanted` the position of its original among the originals, int (m,)."""
    return np.cumsum([":" not in one for one in names]) - 1
