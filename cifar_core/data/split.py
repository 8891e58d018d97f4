"""The stratified split into training and validation images."""

import numpy as np

from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import ConfigError


def split(
    labels: np.ndarray, train_images: int, validation_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training and validation images in `labels`: int64, sorted, disjoint, stratified by class.

    `train_images` images are used (all if there are fewer); of these, the share `validation_fraction`, 0 to 1, is for
    validation. Class shares are exact to within one image. With the same seed, a smaller set is a subset of a larger
    one. Raises ConfigError if a class would have no training or no validation image.
    """
    counts = np.bincount(labels, minlength=len(CLASSES))
    used = _shares(counts, min(train_images / len(labels), 1))
    held_out = _shares(used, validation_fraction)
    if used.min() < 2 or held_out.min() < 1 or (used - held_out).min() < 1:
        raise ConfigError(
            f"train_images = {train_images:,} of {len(labels):,} with validation_fraction = {validation_fraction:g} "
            "leaves a class without an image for training or validation, expected one of each at least. "
            "Use more images, or a share further from 0 and 1.",
            field="train_images" if used.min() < 2 else "validation_fraction",
        )
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    validation = [order[:end] for order, end in zip(shuffled, held_out, strict=True)]
    training = [order[start:end] for order, start, end in zip(shuffled, held_out, used, strict=True)]
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(validation))


def _shares(counts: np.ndarray, share: float) -> np.ndarray:
    """Return `share` of each of `counts`, rounded up or down to integers so that their sum fits best."""
    exact = counts * share
    whole = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - whole.sum()
    largest = np.argsort(whole - exact, kind="stable")[:missing]
    whole[largest] += 1
    return whole
