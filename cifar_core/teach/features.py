"""Features of a project's pictures from the frozen backbone, kept on disk: a picture is computed once for each network.

Where a class has few pictures, changed copies of them (mirrored, shifted a little) are learned from, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
"""A class of fewer pictures gets this many changed copies of each."""
_STRENGTH = 0.5  # of the augmentation
_CHUNK = 64
_LIMIT_BYTES = 256 * 2**20
Report = Callable[[int, int], object]
"""Called with how many pictures are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """The frozen network. `label` says what its weights are, `kind` is imagenet, bundled or random."""

    kind: str
    label: str
    fingerprint: str
    named: pretrained.Named
    network: litert.Network

    def features(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """Return the features of each of BLOCKS, float32 (n, channels), of uint8 images (n, size, size, 3)."""
        outputs = self.network.run(images)
        return {block: outputs[f"block_{block}"] for block in BLOCKS}


def backbone(alpha: float, image_size: int) -> Backbone:
    """Return the backbone with the best weights that can be had here: ImageNet's, bundled or random ones."""
    return _opened(pretrained.expected_kind("auto", alpha, image_size), alpha, image_size)


@functools.lru_cache(maxsize=4)
def _opened(kind: str, alpha: float, image_size: int) -> Backbone:
    weights = pretrained.load("auto" if kind == "imagenet" else kind, alpha, image_size, seed=1)
    content = litert.build_photo(weights.named, alpha, image_size, BLOCKS)
    network = litert.Network(content, side=image_size)
    return Backbone(weights.kind, weights.label, weights.fingerprint, weights.named, network)


def prepared(picture: Image.Image, image_size: int) -> np.ndarray:
    """Return the square in the middle of a picture as the network's input: uint8 (size, size, 3)."""
    square = picture.crop(crop_box(picture.size, "centre"))
    return np.array(square.resize((image_size, image_size), Image.Resampling.BICUBIC), dtype=np.uint8)


def wanted(project: Project) -> list[str]:
    """Return what is learned from: the key of each picture, class by class, with ":1" and so on for its copies."""
    stages = []
    for label in project.classes:
        copies = COPIES if len(label.samples) < FEW else 0
        stages += [f"{s.key}:{view}" if view else s.key for s in label.samples for view in range(copies + 1)]
    return stages


def compute(name: str, project: Project, report: Report = lambda done, total: None) -> dict[int, np.ndarray]:
    """Return the features of all that is `wanted` by block, float32 (n, channels); what is new is computed and kept.

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
        with suppress(OSError):  # without room they are computed again
            halves = {f"block_{block}": values.astype(np.float16) for block, values in known.items()}
            machine.save_arrays(path, names=np.array(list(rows)), weights=np.array(base.fingerprint), **halves)
    order = [rows[one] for one in names]
    return {block: values[order] for block, values in known.items()}


def _stored(path: Path, base: Backbone) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    """Return stored features by block, and the row of each name; nothing if they are damaged or of other weights."""
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


def unit(features: np.ndarray) -> np.ndarray:
    """Return features, (n, f), scaled to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def copies_of(names: Sequence[str]) -> np.ndarray:
    """Return for each of `wanted` the position of its original among the originals, int (m,)."""
    return np.cumsum([":" not in one for one in names]) - 1
