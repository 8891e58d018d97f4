"""A configuration and a run directory -> the two-phase training of recipe.py, from cached features where possible.

    head        the backbone is frozen; the head learns from pooled features
    fine_tune   the top of the backbone is unfrozen; it and the head learn from the features at the cut

Where the features are cached (see `inputs`), only the part of the network behind the cut is computed. To build
MobileNetV2 and to trace a training step take longer than to train a head on cached features, and TensorFlow does not
give back all memory of a graph. So the compiled model of a phase is reused for a sweep's trials of one shape, and what
differs between them is held in variables.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.pretrained import Named
from cifar_core.training import finish, model
from cifar_core.training.callbacks import (
    MONITOR,
    CheckpointCallback,
    MetricsCallback,
    NonFiniteLossCallback,
    ProbeCallback,
    Pruned,
    PruningCallback,
    StopCallback,
)
from cifar_core.training.inputs import Inputs, Source
from cifar_core.training.run_writer import Checkpoint, Progress, RunWriter

_MOST_NETWORKS = 4
_WEIGHT_DECAY = 0.004  # Keras's default for AdamW
_WARM_UP = 0.1  # share of a cosine schedule's steps

VALIDATION_BATCH = 256


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
        part = _compiled_part(network, last, cut, config.alpha, drops, config.optimizer, config.schedule)
    else:
        part = _Compiled(network, network, config.optimizer, config.schedule)
    part.reset(config, phase, steps)
    return part.model


@functools.lru_cache(maxsize=2 * _MOST_NETWORKS)
def _compiled_part(
    network: keras.Model, last: str, cut: int | None, alpha: float, drops: bool, optimizer: str, schedule: str
) -> _Compiled:
    """Return what follows the frozen layer `last`; batch norms behind block number `cut` are folded, if it is given."""
    frozen = network.get_layer(last).output
    features = keras.Input(frozen.shape[1:])
    pooled: Any = features
    if cut is not None:
        pooled = model.backbone_top(network, alpha, cut)(features)
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

    A reused network gets its initial weights back, the seed generator of dropout among them, so that its training
    equals that of a new one to the last bit.
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


class Batches(keras.utils.PyDataset):
    """Batches of a source with one-hot labels, in an order made of `seed` and epoch; without a seed always the same."""

    def __init__(self, source: Source, labels: np.ndarray, batch_size: int, seed: int | None = None) -> None:
        super().__init__()
        self._source, self._batch_size, self._seed = source, batch_size, seed
        self._one_hot = np.eye(architecture.CLASS_COUNT, dtype=np.float32)[labels]
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Go to `epoch`, counted from 0."""
        self._source.begin(epoch)
        rows = np.arange(len(self._one_hot))
        self._order = rows if self._seed is None else np.random.default_rng([self._seed, epoch]).permutation(rows)

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the last one perhaps smaller."""
        return -(-len(self._one_hot) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs float32 (b, ...) and labels float32 (b, 10) of batch `index`."""
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._source.take(rows), self._one_hot[rows]

    def feed(self) -> Any:
        """Return what `fit` reads these batches from: with TensorFlow a dataset of it, else they themselves.

        Keras would make such a dataset too, but with a thread that tunes it and is waited for, up to a second, at the
        end of an epoch (TensorFlow 2.21). TensorFlow holds a generator for the life of the process, so this one refers
        to the batches weakly: hold them until `fit` is over.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        reference = weakref.ref(self)

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for index in range(count):
                if (batches := reference()) is None:
                    return
                batch = batches[index]
                del batches
                yield batch

        count = len(self)
        signature = tuple(tf.TensorSpec((None, *array.shape[1:]), tf.float32) for array in self[0])
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2).with_options(options)


Finish = Callable[[Inputs, keras.Model, Progress, RunWriter], dict[str, Any]]
"""What is done when the best weights are known; returns the run's figures."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a run is trained: the defaults are those of a single run; a trial of a sweep may be pruned and saves less.

    `build` makes the network after the seed is set.
    `should_prune(epoch, validation accuracy)` may end it after an epoch (counted from 1 over both phases). With
    `saves_head` the checkpoint of the end of phase 1 is saved before phase 2 replaces it.
    """

    build: Callable[[TrainConfig, Named], keras.Model] = model.build
    finish: Finish = finish.finish
    should_prune: Callable[[int, float], bool] = lambda *_: False
    checkpoint_pause_seconds: float = 0.0
    saves_head: bool = True


def train(
    inputs: Inputs, saved: Checkpoint | None, writer: RunWriter, options: TrainingOptions | None = None
) -> dict[str, Any]:
    """Train what is left to train since `saved`, then evaluate and save; return the figures of the run.

    Raises Stopped; the checkpoint then holds the last full epoch.
    """
    options, config = options or TrainingOptions(), inputs.config
    keras.utils.set_random_seed(config.seed)
    network = options.build(config, inputs.weights.named)
    best = saved.best if saved else model.named_weights(network)
    progress = saved.progress if saved else Progress("")
    if saved:
        saved.restore_network(network)
    finish.write_descriptions(inputs, network, writer)
    for phase in _phases_left(config, progress):
        resumed = saved if saved and phase.name == saved.progress.phase else None
        progress = _PhaseTraining(inputs, network, best, writer, options).train(phase, progress, resumed)
        if progress.pruned:
            break
    model.assign(network, best)
    return options.finish(inputs, network, progress, writer)


def _phases_left(config: TrainConfig, progress: Progress) -> list[Phase]:
    plan = phases(config)
    names = [phase.name for phase in plan]
    return plan[names.index(progress.phase) + progress.phase_done :] if progress.phase else plan


@dataclass(frozen=True)
class _PhaseTraining:
    """What one phase needs; `best` are the best weights so far, updated in place."""

    inputs: Inputs
    network: keras.Model
    best: dict[str, np.ndarray]
    writer: RunWriter
    options: TrainingOptions

    def train(self, phase: Phase, progress: Progress, resumed: Checkpoint | None) -> Progress:
        """Run `phase` to its end, from `resumed` if that is a checkpoint of this phase; return the progress."""
        self.writer.update_status("running", stage=phase.name)
        training, validation = self._batches(phase)
        is_stored = self.inputs.stored_layer(phase.name) is not None
        trained = compiled(self.network, self.inputs.config, phase, len(training), is_stored)
        if resumed:
            resumed.restore_optimizer(trained.optimizer)
        else:
            if progress.phase_done and self.options.saves_head:
                finish.save_head_checkpoint(self.writer.run)
            model.assign(self.network, self.best)  # a phase begins with the best of the one before
            progress = progress.at_start_of(phase.name)
        try:
            trained.fit(
                training.feed(),
                validation_data=validation.feed(),
                epochs=phase.epochs,
                initial_epoch=progress.epoch,
                callbacks=self._callbacks(phase, training, progress),
                shuffle=False,  # Keras would shuffle in an order that a resume cannot repeat
                verbose=0,
            )
        except Pruned:
            progress.pruned = True
        return progress

    def _batches(self, phase: Phase) -> tuple[Batches, Batches]:
        labels = self.inputs.dataset.train_labels
        training, validation = self.inputs.sources(phase.name)
        return (
            Batches(training, labels[self.inputs.train_rows], phase.batch_size, self.inputs.config.seed),
            Batches(validation, labels[self.inputs.validation_rows], VALIDATION_BATCH),
        )

    def _callbacks(self, phase: Phase, training: Batches, progress: Progress) -> list[keras.callbacks.Callback]:
        config = self.inputs.config
        watched: dict[str, keras.callbacks.Callback] = {
            "early_stopping": keras.callbacks.EarlyStopping(
                MONITOR, mode="max", patience=config.early_stopping_patience
            )
        }
        if config.schedule == "plateau":
            watched["reduce"] = keras.callbacks.ReduceLROnPlateau(
                MONITOR, mode="max", factor=config.reduce_factor, patience=config.reduce_patience
            )
        pause = self.options.checkpoint_pause_seconds
        epochs_before = sum(row["kind"] == "epoch" and row["phase"] != phase.name for row in self.writer.rows)
        return [
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: training.begin(epoch)),
            NonFiniteLossCallback(phase.name),
            *watched.values(),
            MetricsCallback(self.writer, phase.name, phase.epochs, len(self.inputs.train_rows), phase.batch_size),
            StopCallback(self.writer),
            ProbeCallback(self.writer, config, self.network, phase.name, len(training)),
            CheckpointCallback(self.writer, self.network, progress, self.best, watched, pause),
            PruningCallback(self.options.should_prune, epochs_before),
        ]
