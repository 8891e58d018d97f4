"""Networks kept between a sweep's trials: to build MobileNetV2 takes longer than to train a head on stored features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.network.pretrained import Named
from cifar_core.training import model

_MOST_KEPT = 4


@dataclass(frozen=True)
class _Kept:
    network: keras.Model
    first: list[np.ndarray]
    """Every variable as it was built, the seed generator of dropout among them."""


class Networks:
    """Builds networks as `model.build` does after the seed is set, but takes one again that has the same layers.

    Such a network has its first weights back, so that its training is that of a new one, to the last bit.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], _Kept] = {}

    def build(self, config: TrainConfig, base: Named) -> keras.Model:
        """Return the network of `config` with the named weights `base` below a head as new."""
        key = _key(config)
        kept = self._kept.pop(key, None)
        if kept is None:
            network = model.build(config, base)
            kept = _Kept(network, [variable.numpy() for variable in network.variables])
        else:
            for variable, value in zip(kept.network.variables, kept.first, strict=True):
                variable.assign(value)
            kept.network.get_layer("head_dropout").rate = config.dropout
            kept.network.get_layer("head_dense").kernel_regularizer.l2 = config.l2
        self._kept[key] = kept  # the newest is the last
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept.network


def _key(config: TrainConfig) -> tuple[Any, ...]:
    """Return what decides layers and first weights. A dropout of 0 has no seed generator."""
    return (
        config.alpha,
        config.image_size,
        config.scaling,
        config.weights,
        config.batch_norm,
        config.dense_units,
        config.dropout > 0,
        config.seed,
    )
