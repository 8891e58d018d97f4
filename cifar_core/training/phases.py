"""The two phases of a training and the compiled model of each, reused for a sweep's trials of one shape.

To build MobileNetV2 and to trace a training step take longer than to train a head on cached features, and TensorFlow
does not give back all memory of a graph. What differs between trials of one shape is therefore held in variables.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.pretrained import Named
from cifar_core.training import batch_norm_folding, model

_MOST_NETWORKS = 4
_WEIGHT_DECAY = 0.004  # Keras's default for AdamW
_WARM_UP = 0.1  # share of a cosine schedule's steps


@dataclass(frozen=True)
class Phase:
    """One of the two phases of a configuration."""

    name: str
    epochs: int
    batch_size: int
    learning_rate: float


def phases(config: TrainConfig) -> list[Phase]:
    """Return the phases of `config`, in order."""
    plan = []
    if config.head_epochs:
        plan.append(Phase("head", config.head_epochs, config.head_batch_size, config.head_learning_rate))
    if config.fine_tunes:
        rate = config.fine_tune_learning_rate
        plan.append(Phase("fine_tune", config.fine_tune_epochs, config.batch_size, rate))
    return plan


def compiled(network: keras.Model, config: TrainConfig, phase: Phase, steps: int, is_stored: bool) -> keras.Model:
    """Return the part of `network` that `phase` computes, its frozen layers set, with a new optimizer, ready to fit.

    `steps` an epoch decide the schedule. With `is_stored` its inputs are cached features, float32 (n, ...), and the
    compiled part of an earlier call with the same network and layers is reused.
    """
    model.freeze(network, config, phase.name)
    if is_stored:
        last = model.first_trained_layer(config, phase.name)
        is_folded = phase.name == "fine_tune" and config.batch_norm == "inference"
        cut = architecture.cut_block(config.fine_tune_blocks) if is_folded else None
        drops = config.dropout > 0
        found = _compiled_part(network, last, cut, config.alpha, drops, config.optimizer, config.schedule)
    else:
        found = _Compiled(network, network, config.optimizer, config.schedule)
    found.reset(config, phase, steps)
    return found.model


@functools.lru_cache(maxsize=2 * _MOST_NETWORKS)
def _compiled_part(
    network: keras.Model, last: str, cut: int | None, alpha: float, drops: bool, optimizer: str, schedule: str
) -> _Compiled:
    """Return what follows the frozen layer `last`; batch norms behind block number `cut` are folded, if it is given."""
    frozen = network.get_layer(last).output
    features = keras.Input(frozen.shape[1:])
    pooled: Any = features
    if cut is not None:
        pooled = batch_norm_folding.backbone_top(network, alpha, cut)(features)
    elif last != "pooled":
        pooled = keras.Model(frozen, network.get_layer("pooled").output)(features)
    output, rate = model.connect_head(network, pooled, drops)
    return _Compiled(network, keras.Model(features, output, name=f"after_{last}"), optimizer, schedule, rate)


class _Compiled:
    """A compiled model whose settings are variables of its graph, and what its optimizer's variables held at first."""

    def __init__(
        self,
        network: keras.Model,
        trained: keras.Model,
        optimizer: str,
        schedule: str,
        dropout: keras.Variable | None = None,
    ) -> None:
        self.model, self._dropout = trained, dropout
        self._l2, self._smoothing, self._peak, self._falling, self._warm_up = (
            keras.Variable(value, trainable=False) for value in (0.0, 0.0, 1.0, 1.0, 1.0)
        )
        penalty = keras.regularizers.L2(0.0)
        penalty.l2 = self._l2
        network.get_layer("head_dense").kernel.regularizer = penalty
        rate: Any = 1e-3
        if schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, self._falling, warmup_target=self._peak, warmup_steps=self._warm_up
            )
        trained.compile(
            optimizer=keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY)
            if optimizer == "adamw"
            else keras.optimizers.Adam(rate),
            loss=self._loss,
            metrics=["accuracy", keras.metrics.CategoricalCrossentropy(name="cross_entropy")],
            jit_compile=keras.backend.backend() == "jax",  # XLA is many times slower on a CPU with TensorFlow
        )
        # variables made in the first step would have it traced twice, which takes longer than many steps
        trained.optimizer.build(trained.trainable_variables)
        nothing = np.zeros((1, architecture.CLASS_COUNT), np.float32)
        trained.compute_metrics(None, nothing, nothing)
        trained.reset_metrics()
        self._schedule = schedule
        self._first = [variable.numpy() for variable in trained.optimizer.variables]

    def _loss(self, one_hot: Any, probabilities: Any) -> Any:
        """Return the cross-entropy with smoothed labels, (n,)."""
        smoothed = one_hot * (1 - self._smoothing) + self._smoothing / architecture.CLASS_COUNT
        return keras.losses.categorical_crossentropy(smoothed, probabilities)

    def reset(self, config: TrainConfig, phase: Phase, steps: int) -> None:
        """Apply the settings of `config`, and reset the optimizer to its state before the first step."""
        optimizer = self.model.optimizer
        for variable, value in zip(optimizer.variables, self._first, strict=True):
            variable.assign(value)
        self._l2.assign(config.l2)
        self._smoothing.assign(config.label_smoothing)
        if self._dropout is not None:
            self._dropout.assign(config.dropout)
        if self._schedule == "cosine":
            warm_up = max(1, int(_WARM_UP * phase.epochs * steps))
            self._peak.assign(phase.learning_rate)
            self._warm_up.assign(warm_up)
            self._falling.assign(max(1, phase.epochs * steps - warm_up))  # few images may be one step in all
        else:
            optimizer.learning_rate = phase.learning_rate


class NetworkCache:
    """Builds networks as `model.build` does after the seed is set, but reuses one with the same layers.

    A reused network gets its first weights back, the seed generator of dropout among them, so that its training equals
    that of a new one to the last bit.
    """

    def __init__(self) -> None:
        self._networks: dict[tuple[Any, ...], tuple[keras.Model, list[np.ndarray]]] = {}

    def build(self, config: TrainConfig, base: Named) -> keras.Model:
        """Return the network of `config` with the named weights `base` below a new head."""
        backbone = (config.alpha, config.image_size, config.scaling, config.weights, config.batch_norm)
        key = (*backbone, config.dense_units, config.dropout > 0, config.seed)
        network, first = self._networks.pop(key, (None, []))
        if network is None:
            network = model.build(config, base)
            first = [variable.numpy() for variable in network.variables]
        else:
            for variable, value in zip(network.variables, first, strict=True):
                variable.assign(value)
            network.get_layer("head_dropout").rate = config.dropout
            network.get_layer("head_dense").kernel_regularizer.l2 = config.l2
        self._networks[key] = network, first  # the newest is the last
        while len(self._networks) > _MOST_NETWORKS:
            del self._networks[next(iter(self._networks))]
        return network
