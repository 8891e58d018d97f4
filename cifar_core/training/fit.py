"""The two-phase training of recipe.py for a run, on cached features if possible.

    head        the backbone is frozen; the head learns from pooled features
    fine_tune   the top of the backbone is unfrozen; it and the head learn from the features at the cut

If features are cached (see `inputs`), only the layers after the cut are computed. Building MobileNetV2 and tracing a
training step take longer than training a head on cached features, and TensorFlow does not free all memory of a graph.
So the trials of a sweep that have the same shapes share the compiled model of a phase. Variables hold the settings
that differ.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.evaluation import data_map
from cifar_core.network import architecture
from cifar_core.network.pretrained import Named
from cifar_core.training import callbacks, finish, model
from cifar_core.training.batches import Batches
from cifar_core.training.callbacks import MONITOR, Phase
from cifar_core.training.inputs import Inputs
from cifar_core.training.keras_import import keras
from cifar_core.training.run_writer import Checkpoint, Progress, RunWriter, ShouldPrune, restore

_MOST_NETWORKS = 4
_WEIGHT_DECAY = 0.004  # Keras's default for AdamW
_LEAST = 1e-7  # lower bound of a probability before its logarithm
_WARM_UP = 0.1  # share of a cosine schedule's steps
_IN_VARIABLES = ("l2", "label_smoothing", "distillation", "distillation_temperature")
"""Settings that are variables of a compiled model, so that it works for each value; also dropout, if there is any."""
_Choices = tuple[str, str, str, bool, int]
_STEPS_AT_ONCE = 8  # in one call of TensorFlow: Python then takes 1 to 2 ms less for a step of 9 ms
_SHORT_STEP = 4e9  # multiply-adds, 40 ms on two AMD EPYC cores; rows and *Stop* wait for the end of a call
_TRIAL_PAUSE_SECONDS = 20.0
"""Time between checkpoints of a trial: most take less, and a checkpoint costs as much as an epoch."""

VALIDATION_BATCH = 256


def phases(config: TrainConfig) -> list[Phase]:
    """Return the phases of `config`, in order."""
    settings = {
        "head": (config.head_batch_size, config.head_learning_rate),
        "fine_tune": (config.batch_size, config.fine_tune_learning_rate),
    }
    return [Phase(name, epochs, *settings[name]) for name, epochs in config.epochs.items() if epochs]


def compiled(network: keras.Model, config: TrainConfig, phase: Phase, steps: int, is_stored: bool) -> keras.Model:
    """Freeze layers for `phase` and return the part of `network` to compute, compiled with a reset optimizer.

    `steps` is the number of steps per epoch, for the schedule. If `is_stored`, the inputs are cached features, float32
    (n, ...), otherwise pixels. A compiled part with the same network and layers is reused.
    """
    model.freeze(network, config, phase.name)
    at_once = _steps_at_once(config, phase, steps) if is_stored else 1
    choices = config.optimizer, config.schedule, config.ema, config.distils, at_once
    last = model.first_trained_layer(config, phase.name)
    is_folded = phase.name == "head" or config.batch_norm == "inference"
    part = _compiled_part(network, last, is_stored, is_folded, config.alpha, choices)
    part.reset(config, phase, steps)
    return part.model


@functools.lru_cache(maxsize=2 * _MOST_NETWORKS)
def _compiled_part(
    network: keras.Model, last: str, is_stored: bool, is_folded: bool, alpha: float, choices: _Choices
) -> _Compiled:
    """Compile the layers after the frozen layer `last`, or all layers if the inputs are pixels."""
    first = last if is_stored else "images"
    given = network.get_layer(first).output
    features = keras.Input(given.shape[1:])
    pooled: Any = features
    if first != "pooled" and is_folded:
        pooled = model.FoldedBackbone(network, alpha, first)(features)
    elif first != "pooled":
        pooled = keras.Model(given, network.get_layer("pooled").output)(features)
    output, rates = model.connect_head(network, pooled)
    return _Compiled(network, keras.Model(features, output, name=f"after_{first}"), choices, rates)


def _steps_at_once(config: TrainConfig, phase: Phase, steps: int) -> int:
    """Return the number of steps in one call of TensorFlow: several if they are short and an epoch has many.

    An epoch has at least 16 calls: *Train* shows the pinned pictures after the first sixteenth.
    """
    cost = architecture.cost(config.alpha, config.image_size, config.dense_units, config.fine_tune_blocks)
    trained = cost.multiply_adds - cost.frozen_multiply_adds
    is_short = phase.name == "head" or 3 * phase.batch_size * trained < _SHORT_STEP  # forward and backward
    is_one_of_many = steps >= 16 * _STEPS_AT_ONCE
    return _STEPS_AT_ONCE if is_short and is_one_of_many and keras.backend.backend() == "tensorflow" else 1


class _Compiled:
    """A compiled model with its settings in variables, and the initial values of its optimizer's variables.

    `choices` are the optimizer, the schedule, the averaging, whether there is a teacher, and the number of steps in one
    call. Each needs a graph of its own: TensorFlow would trace targets with and without the teacher's columns as one
    shape (n, None).
    """

    def __init__(
        self, network: keras.Model, trained: keras.Model, choices: _Choices, rates: Mapping[str, keras.Variable]
    ) -> None:
        optimizer, self._schedule, ema, _, at_once = choices
        self.model = trained
        self._knobs = {name: keras.Variable(1.0, trainable=False) for name in _IN_VARIABLES} | dict(rates)
        self._peak, self._falling, self._warm_up, self._momentum = (
            keras.Variable(1.0, trainable=False) for _ in range(4)
        )
        penalty = keras.regularizers.L2(0.0)
        penalty.l2 = self._knobs["l2"]
        network.get_layer("head_dense").kernel.regularizer = penalty
        rate: Any = 1e-3
        if self._schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, self._falling, warmup_target=self._peak, warmup_steps=self._warm_up
            )
        measures = keras.metrics.categorical_accuracy, keras.losses.categorical_crossentropy
        trained.compile(
            optimizer=self._optimizer(optimizer, rate, ema == "on"),
            loss=self._loss,
            metrics=[
                keras.metrics.MeanMetricWrapper(_of_labels(measure), name=name)
                for name, measure in zip(("accuracy", "cross_entropy"), measures, strict=True)
            ],
            steps_per_execution=at_once,
            jit_compile=keras.backend.backend() == "jax",  # XLA is many times slower on a CPU with TensorFlow
        )
        # variables created in the first step would make Keras trace it twice, which takes longer than many steps
        trained.optimizer.build(trained.trainable_variables)
        nothing = np.zeros((1, architecture.CLASS_COUNT), np.float32)
        trained.compute_metrics(None, nothing, nothing)
        trained.reset_metrics()
        self._first = [variable.numpy() for variable in trained.optimizer.variables]

    def _optimizer(self, name: str, rate: Any, averages: bool) -> keras.optimizers.Optimizer:
        if name == "adam":
            made: Any = keras.optimizers.Adam(rate, use_ema=averages)
        else:
            made = keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY, use_ema=averages)
            made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        made.ema_momentum = self._momentum
        return made

    def _loss(self, targets: Any, probabilities: Any) -> Any:
        """Return the cross-entropy with smoothed labels, (n,), mixed with the teacher's if `targets` contains it.

        Distillation as in Hinton et al. 2015 (arXiv:1503.02531): the temperature softens both distributions, and its
        square compensates for the smaller gradients.
        """
        labels = targets[:, : architecture.CLASS_COUNT]
        smoothing, temperature, weight = (
            self._knobs[name] for name in ("label_smoothing", "distillation_temperature", "distillation")
        )
        smoothed = labels * (1 - smoothing) + smoothing / architecture.CLASS_COUNT
        loss = keras.losses.categorical_crossentropy(smoothed, probabilities)
        if targets.shape[1] == architecture.CLASS_COUNT:
            return loss
        teacher, student = (
            keras.ops.softmax(keras.ops.log(keras.ops.maximum(outputs, _LEAST)) / temperature)
            for outputs in (targets[:, architecture.CLASS_COUNT :], probabilities)
        )
        soft = keras.losses.categorical_crossentropy(teacher, student) * temperature**2
        return (1 - weight) * loss + weight * soft

    def reset(self, config: TrainConfig, phase: Phase, steps: int) -> None:
        """Apply the settings of `config` and reset the optimizer to its initial state."""
        optimizer = self.model.optimizer
        restore(optimizer.variables, self._first)
        for name, variable in self._knobs.items():
            variable.assign(getattr(config, name))
        self._momentum.assign(1 - 1 / steps)
        if self._schedule == "cosine":
            warm_up = max(1, int(_WARM_UP * phase.epochs * steps))
            self._peak.assign(phase.learning_rate)
            self._warm_up.assign(warm_up)
            self._falling.assign(max(1, phase.epochs * steps - warm_up))  # with few images there may be one step
        else:
            optimizer.learning_rate = phase.learning_rate


def _of_labels(measure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return `measure` computed on the label columns of the targets, without the teacher's columns."""
    return lambda targets, probabilities: measure(targets[:, : architecture.CLASS_COUNT], probabilities)


class Pruned(Exception):  # noqa: N818 - not an error
    """Raised if the pruner of a sweep ends a trial early."""


class NetworkCache:
    """Builds networks with `build`, called after the seed is set, but reuses one with the same layers.

    A reused network gets back its initial weights, including the dropout seed generator. Its training is bit-identical
    to the training of a new network.
    """

    def __init__(self, build: Callable[[TrainConfig, Named], keras.Model] = model.build) -> None:
        self._build = build
        self._networks: dict[tuple[Any, ...], tuple[keras.Model, list[np.ndarray]]] = {}

    def build(self, config: TrainConfig, base: Named) -> keras.Model:
        """Return the network of `config` with the backbone weights `base` and a new head."""
        backbone = (config.alpha, config.image_size, config.scaling, config.batch_norm)
        key = (*backbone, config.dense_units, config.dropout > 0, config.seed)
        network, first = self._networks.pop(key, (None, []))
        if network is None:
            network = self._build(config, base)
            first = [variable.numpy() for variable in network.variables]
        else:
            restore(network.variables, first)
            model.assign(network, base)  # best weights available may have become others since
            network.get_layer("head_dropout").rate = config.dropout
            network.get_layer("head_dense").kernel_regularizer.l2 = config.l2
        self._networks[key] = network, first  # ordered by last use
        while len(self._networks) > _MOST_NETWORKS:
            del self._networks[next(iter(self._networks))]
        return network


_trial_networks = NetworkCache()


def train(
    inputs: Inputs, saved: Checkpoint | None, writer: RunWriter, should_prune: ShouldPrune | None = None
) -> dict[str, Any]:
    """Train from the checkpoint `saved`, or from the start if None; save, evaluate, and return the run's metrics.

    `should_prune` makes it a trial of a sweep, which saves less. Raises Stopped; the checkpoint then contains the last
    full epoch.
    """
    config, build = inputs.config, _trial_networks.build if should_prune else model.build
    keras.utils.set_random_seed(config.seed)
    network = build(config, inputs.weights.named)
    best = saved.best if saved else model.named_weights(network)
    progress = saved.progress if saved else Progress("")
    if saved:
        restore(network.variables, saved.model)
    finish.write_descriptions(inputs, network, writer)
    plan = phases(config)
    done = [phase.name for phase in plan].index(progress.phase) + progress.phase_done if progress.phase else 0
    for phase in plan[done:]:
        resumed = saved if saved and phase.name == saved.progress.phase else None
        progress = _PhaseTraining(inputs, network, best, writer, should_prune, phase).train(progress, resumed)
        if progress.pruned:
            break
    model.assign(network, best)
    return (finish.finish_trial if should_prune else finish.finish)(inputs, network, progress, writer)


@dataclass(frozen=True)
class _PhaseTraining:
    """Trains one phase. `best` holds the best weights so far and is updated in place."""

    inputs: Inputs
    network: keras.Model
    best: dict[str, np.ndarray]
    writer: RunWriter
    should_prune: ShouldPrune | None
    phase: Phase

    def train(self, progress: Progress, resumed: Checkpoint | None) -> Progress:
        """Train from the checkpoint `resumed` if it is not None, and return the progress."""
        phase = self.phase
        self.writer.update_status("running", stage=phase.name)
        training, validation = self._batches()
        is_stored = self.inputs.stored_layer(phase.name) is not None
        trained = compiled(self.network, self.inputs.config, phase, len(training), is_stored)
        if resumed:
            restore(trained.optimizer.variables, resumed.optimizer)
        else:
            if progress.phase_done and not self.should_prune:
                finish.save_head_checkpoint(self.writer.run)
            model.assign(self.network, self.best)  # a phase starts from the best weights so far
            progress = progress.at_start_of(phase.name)
        try:
            trained.fit(
                training.feed(),
                validation_data=validation.feed(),
                epochs=phase.epochs,
                initial_epoch=progress.epoch,
                callbacks=self._callbacks(training, progress),
                shuffle=False,  # a resumed run could not repeat the order of Keras
                verbose=0,
            )
        except Pruned:
            progress.pruned = True
        return progress

    def _batches(self) -> tuple[Batches, Batches]:
        inputs, phase, config = self.inputs, self.phase, self.inputs.config
        training, validation = inputs.sources(phase.name)
        mixing = config.mixing if inputs.stored_layer(phase.name) is None else 0.0
        teacher = training.teacher_answers if inputs.teacher else None
        labels, before = inputs.dataset.train_labels, config.epochs_before(phase.name)
        return (
            Batches(training, labels[inputs.train_rows], phase.batch_size, config.seed, teacher, mixing, before),
            Batches(validation, labels[inputs.validation_rows], VALIDATION_BATCH),
        )

    def _callbacks(self, training: Batches, progress: Progress) -> list[keras.callbacks.Callback]:
        config, phase, writer, kinds = self.inputs.config, self.phase, self.writer, keras.callbacks
        watched: dict[str, keras.callbacks.Callback] = {
            "early_stopping": kinds.EarlyStopping(MONITOR, mode="max", patience=config.early_stopping_patience)
        }
        if config.schedule == "plateau":
            watched["reduce"] = kinds.ReduceLROnPlateau(
                MONITOR, mode="max", factor=config.reduce_factor, patience=config.reduce_patience
            )
        pause = _TRIAL_PAUSE_SECONDS if self.should_prune else 0.0
        changes = functools.partial(model.weight_changes, self.network, self.inputs.weights.named)
        save_answers, prune = (kinds.LambdaCallback(on_epoch_end=end) for end in (self._save_answers, self._prune))
        return [
            kinds.LambdaCallback(on_epoch_begin=lambda epoch, _: training.begin(epoch)),
            *([callbacks.AveragedWeightsCallback(progress.epoch > 0)] if config.ema == "on" else []),
            *watched.values(),
            callbacks.MetricsCallback(writer, phase, len(self.inputs.train_rows), changes),
            callbacks.StopCallback(writer),
            callbacks.ProbeCallback(writer, config, self.network, phase.name, len(training)),
            *([] if self.should_prune else [save_answers]),
            callbacks.CheckpointCallback(writer, self.network, progress, self.best, watched, pause),
            *([prune] if self.should_prune else []),  # after the checkpoint: the epoch is saved
        ]

    def _save_answers(self, *_: object) -> None:
        """Write the validation probabilities of the epoch; its row in the metrics is written."""
        probabilities = finish.validation_probabilities(self.inputs, self.network, self.phase.name)
        data_map.write_epoch(self.writer.run.path, self.writer.epochs - 1, probabilities)

    def _prune(self, _: int, logs: dict[str, Any]) -> None:
        if self.should_prune and self.should_prune(self.writer.epochs, callbacks.clipped(logs[MONITOR])):
            raise Pruned
