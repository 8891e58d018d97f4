"""The network's initial weights: ImageNet files of Keras, the bundled models, or random initialization.

Weights are named arrays: `"<Keras layer>/<variable>"` -> float32; the variable is kernel, bias, gamma, beta,
moving_mean or moving_variance. ImageNet files are those of Keras Applications, in Keras's cache folder.
"""

import filecmp
import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_core import machine
from cifar_core.data import download
from cifar_core.data.download import AlreadyRunning
from cifar_core.errors import DataError, WeightsError
from cifar_core.network import architecture

URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAX_BYTES = 64_000_000
_POLL_SECONDS = 0.2
BUNDLED_FOLDER = Path(__file__).resolve().parent.parent / "bundled"
"""Folder of the models that ship with the app (see export/bundle.py)."""

_BATCH_NORM_VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")

Named = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Weights:
    """Named weights of the backbone; `kind` is "imagenet", "bundled" or "random", `label` the text on screen."""

    kind: str
    label: str
    named: Named
    fingerprint: str


def load(choice: str, alpha: float, image_size: int, seed: int) -> Weights:
    """Return the backbone's weights for `choice` ("auto", "imagenet", "bundled", "random"); download if needed.

    "auto" uses ImageNet, or else bundled, or else random. Raises WeightsError if another choice is not available.
    """
    if choice == "auto":
        try:
            return _imagenet(alpha, image_size)
        except WeightsError:
            choice = "bundled" if bundled_path(alpha).exists() else "random"
    if choice == "imagenet":
        return _imagenet(alpha, image_size)
    return _bundled(alpha) if choice == "bundled" else _random(alpha, seed)


def unavailable_reason(choice: str, alpha: float, image_size: int) -> str | None:
    """Return why `choice` is not available on this machine, or None if it is. Does not download."""
    if choice == "imagenet" and not (_is_weights_file(imagenet_path(alpha, image_size)) or download.answers(URL)):
        return "its ImageNet weights are not on this machine and cannot be downloaded now"
    if choice == "bundled" and not bundled_path(alpha).exists():
        return f"no bundled model of width {alpha:g} ships with this app"
    return None


def expected_kind(choice: str, alpha: float, image_size: int) -> str:
    """Return the kind that `load` would return for `choice` now: "imagenet", "bundled" or "random"."""
    kinds = (kind for kind in ("imagenet", "bundled") if unavailable_reason(kind, alpha, image_size) is None)
    return next(kinds, "random") if choice == "auto" else choice


def imagenet_path(alpha: float, image_size: int) -> Path:
    """Return the path where Keras stores the ImageNet file for this width and input size (it may not exist)."""
    folder = Path(os.environ.get("KERAS_HOME") or machine.home() / ".keras")
    return folder / "models" / _file_name(alpha, _file_size(alpha, image_size))


def bundled_path(alpha: float) -> Path:
    """Return the path of the bundled weights of width `alpha` (it may not exist)."""
    return BUNDLED_FOLDER / f"mobilenet_v2_{alpha:g}.npz"


def fingerprint(named: Named) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 hash of names and values."""
    digest = hashlib.sha256()
    for name in sorted(named):
        digest.update(name.encode() + np.ascontiguousarray(named[name], np.float32).tobytes())
    return digest.hexdigest()[:16]


def read_keras_h5(path: Path, alpha: float) -> dict[str, np.ndarray]:
    """Return the named weights in the Keras Applications file `path`.

    Raises WeightsError if the file is damaged or its arrays are not those of MobileNetV2 of width `alpha`.
    """
    try:
        import h5py  # slow to import, and needed only here

        with h5py.File(path) as file:
            arrays = [
                np.asarray(file[layer][weight], np.float32)
                for layer in file.attrs["layer_names"]
                for weight in file[layer].attrs["weight_names"]
            ]
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged ({type(error).__name__}); delete it, it is downloaded again.") from None
    # Older files have other layer names, so weights are matched by order, as in Keras.
    expected = base_shapes(alpha)
    if [array.shape for array in arrays] != list(expected.values()):
        raise WeightsError(
            f"{path} does not contain MobileNetV2 of width {alpha:g}; delete it, it is downloaded again."
        )
    return dict(zip(expected, arrays, strict=True))


def base_shapes(alpha: float) -> dict[str, tuple[int, ...]]:
    """Return the arrays of the backbone: name -> shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for one in architecture.convolutions(alpha, image_size=96):
        shapes[f"{one.name}/kernel"] = one.kernel
        norm = architecture.batch_norm_name(one.name)
        shapes |= {f"{norm}/{variable}": (one.channels,) for variable in _BATCH_NORM_VARIABLES}
    return shapes


def _file_size(alpha: float, image_size: int) -> int:
    """Return the input size of the file for `image_size`. Keras has no file below 96 px; above α 1, only 224 px."""
    return 224 if alpha > 1 else max(image_size, 96)


def _file_name(alpha: float, size: int) -> str:
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{size}_no_top.h5"


def _imagenet(alpha: float, image_size: int) -> Weights:
    """Return the ImageNet weights; download if needed, or wait while another process downloads them."""
    path = imagenet_path(alpha, image_size)
    try:
        named = read_keras_h5(path, alpha)
    except WeightsError as missing_or_damaged:
        try:
            _download_or_wait(path, alpha)
        except DataError as error:
            if path.exists():
                raise missing_or_damaged from None
            raise WeightsError(
                f"ImageNet weights of width {alpha:g} are not at {path} and could not be downloaded: {error} "
                "Or choose weights 'bundled' or 'random'."
            ) from None
        named = read_keras_h5(path, alpha)
    size = _file_size(alpha, image_size)
    label = f"ImageNet (Keras, α {alpha:g}, {size} px)"
    for other in (96, 224):
        copy = path.with_name(_file_name(alpha, other))
        if other != size and copy.exists() and filecmp.cmp(path, copy, shallow=False):
            label += f", from a file identical to that for {other} px"  # one of them is a copy
            break
    return Weights("imagenet", label, named, fingerprint(named))


def _download_or_wait(path: Path, alpha: float) -> None:
    """Download the ImageNet file to `path`, or wait until another process has replaced it. Raises DataError."""
    before = machine.stamp(path)
    while True:
        try:
            download.fetch(
                URL + path.name,
                path,
                size=_MAX_BYTES,
                md5=None,
                magic=_HDF5,
                check=lambda part: read_keras_h5(part, alpha),
                folder_setting="KERAS_HOME",
            )
            return
        except AlreadyRunning:
            time.sleep(_POLL_SECONDS)
        if machine.stamp(path) != before:
            return


def _is_weights_file(path: Path) -> bool:
    """Return whether `path` has the signature of an HDF5 file."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5
    return False


def _bundled(alpha: float) -> Weights:
    path = bundled_path(alpha)
    if not path.exists():
        raise WeightsError(f"No bundled model of width {alpha:g} ships with this app; choose weights 'random'.")
    with np.load(path, allow_pickle=False) as file:
        base = base_shapes(alpha)
        named = {name: file[name].astype(np.float32) for name in base}
    return Weights("bundled", "bundled model (has seen CIFAR-10)", named, fingerprint(named))


def _random(alpha: float, seed: int) -> Weights:
    """Return kernels with He initialization (He et al. 2015), which preserves scale, and neutral batch norms.

    Keras's default (Glorot) relies on batch norm to preserve scale; with batch norm in inference mode, as in a frozen
    backbone, the features would shrink to 1e-11.
    """
    rng = np.random.default_rng([seed, 0xC1FA])
    named = {}
    for name, shape in base_shapes(alpha).items():
        if name.endswith("/kernel"):
            gain = 1.0 if "_project/" in name else 2.0  # a ReLU follows all but the projections
            spread = np.sqrt(gain / (shape[0] * shape[1] * (1 if "_depthwise/" in name else shape[2])))
            named[name] = rng.normal(0, spread, shape).astype(np.float32)
        else:
            named[name] = np.full(shape, name.endswith(("/gamma", "/moving_variance")), np.float32)
    return Weights("random", f"random numbers (seed {seed})", named, fingerprint(named))
