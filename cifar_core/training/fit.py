"""A configuration and a run directory -> the two-phase training of recipe.py, from cached features where possible.

    head        the base frozen; the head learns from pooled features
    fine_tune   the top of the base unfrozen; it and the head learn from the features at the cut

Where the store serves (see `inputs`), only the part of the network behind the cut is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.pretrained import Named
from cifar_core.runs import Run
from cifar_core.training import bn_folding, finish, model
from cifar_core.training.batches import Batches
from cifar_core.training.callbacks import (
    MONITOR,
    EpochStart,
    Judge,
    Keeper,
    NanWatch,
    Prober,
    Pruned,
    Recorder,
    StopWatch,
)
from cifar_core.training.checkpoint import Checkpoint, Progress
from cifar_core.training.inputs import Inputs
from cifar_core.training.metrics_log import Journal

VALIDATION_BATCH = 256
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
    """Return the phases that `config` asks for, in order."""
    plan = []
    if config.head_epochs:
        plan.append(Phase("head", config.head_epochs, config.head_batch_size, config.head_learning_rate))
    if config.fine_tunes:
        rate = config.fine_tune_learning_rate
        plan.append(Phase("fine_tune", config.fine_tune_epochs, config.batch_size, rate))
    return plan


Finish = Callable[[Run, Inputs, keras.Model, Progress, Journal], dict[str, Any]]
"""What is done when the best weights are known; returns the run's figures."""


@dataclass(frozen=True)
class Manner:
    """How a run is trained: by default as one of its own; a trial of a sweep ends sooner and keeps less.

    `build` makes the network after the seed is set.
    `is_hopeless(epoch, validation accuracy)` may end it after an epoch (counted from 1 over both phases). With
    `keeps_head` the checkpoint of the end of phase 1 stays beside that of phase 2.
    """

    build: Callable[[TrainConfig, Named], keras.Model] = model.build
    finish: Finish = finish.finish
    is_hopeless: Callable[[int, float], bool] = lambda *_: False
    checkpoint_pause_seconds: float = 0.0
    keeps_head: bool = True


def train(
    run: Run, inputs: Inputs, saved: Checkpoint | None, journal: Journal, manner: Manner | None = None
) -> dict[str, Any]:
    """Train what is left to train since `saved`, then evaluate and save; return the figures of the run.

    Raises Stopped when asked to stop; the checkpoint then holds the last full epoch.
    """
    manner = manner or Manner()
    config = inputs.config
    keras.utils.set_random_seed(config.seed)
    network = manner.build(config, inputs.weights.named)
    best = saved.best if saved else model.named_weights(network)
    progress = saved.progress if saved else Progress("")
    if saved:
        saved.restore_network(network)
    finish.write_descriptions(run, inputs, network)
    for phase in _phases_left(config, progress):
        resumed = saved if saved and phase.name == saved.progress.phase else None
        progress = _PhaseTraining(run, inputs, network, best, journal, manner).train(phase, progress, resumed)
        if progress.pruned:
            break
    model.assign(network, best)
    return manner.finish(run, inputs, network, progress, journal)


def _phases_left(config: TrainConfig, progress: Progress) -> list[Phase]:
    plan = phases(config)
    names = [phase.name for phase in plan]
    return plan[names.index(progress.phase) + progress.phase_done :] if progress.phase else plan


def compiled(network: keras.Model, config: TrainConfig, phase: Phase, steps: int, is_stored: bool) -> keras.Model:
    """Return the part of `network` that is computed in `phase`, its layers frozen as they should be, ready to fit.

    `steps` an epoch decide the schedule; `is_stored` is whether the inputs are features of the store.
    """
    model.freeze(network, config, phase.name)
    trained = _part(network, config, phase) if is_stored else network
    trained.compile(
        optimizer=_optimizer(config, phase, steps),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",  # XLA is many times slower on a CPU with TensorFlow
    )
    model.make_variables(trained)
    return trained


def _part(network: keras.Model, config: TrainConfig, phase: Phase) -> keras.Model:
    cut = architecture.cut_block(config.fine_tune_blocks)
    if phase.name == "fine_tune" and config.batch_norm == "inference" and cut is not None:
        return bn_folding.part_after(network, config, cut)
    return model.part_after(network, model.first_trained_layer(config, phase.name))


def _optimizer(config: TrainConfig, phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = phase.learning_rate
    if config.schedule == "cosine":
        warm_up = max(1, int(_WARM_UP * phase.epochs * steps))
        falling = max(1, phase.epochs * steps - warm_up)  # one step in all is possible: few images, a large batch
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, falling, warmup_target=phase.learning_rate, warmup_steps=warm_up
        )
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY)
    return keras.optimizers.Adam(rate)


class _PhaseTraining:
    """What one phase needs; `best` are the best weights so far, updated in place."""

    def __init__(
        self,
        run: Run,
        inputs: Inputs,
        network: keras.Model,
        best: dict[str, Any],
        journal: Journal,
        manner: Manner,
    ) -> None:
        self.run, self.inputs, self.config = run, inputs, inputs.config
        self.network, self.best, self.journal, self.manner = network, best, journal, manner

    def train(self, phase: Phase, progress: Progress, resumed: Checkpoint | None) -> Progress:
        """Run `phase` to its end, from `resumed` if that is a checkpoint of this phase; return the progress."""
        self.journal.say("running", stage=phase.name)
        training, validation = self._batches(phase)
        is_stored = self.inputs.stored_layer(phase.name) is not None
        trained = compiled(self.network, self.config, phase, len(training), is_stored)
        if resumed:
            resumed.restore_optimizer(trained.optimizer)
        else:
            if progress.phase_done and self.manner.keeps_head:
                finish.keep_head(self.run)
            model.assign(self.network, self.best)  # a phase begins with the best of the one before
            progress = progress.at_start_of(phase.name)
        try:
            trained.fit(
                training.feed(),
                validation_data=validation.feed(),
                epochs=phase.epochs,
                initial_epoch=progress.epoch,
                callbacks=self._callbacks(phase, training, progress),
                shuffle=False,  # Keras would shuffle the batches by numbers that a resume does not bring back
                verbose=0,
            )
        except Pruned:
            progress.pruned = True
        return progress

    def _batches(self, phase: Phase) -> tuple[Batches, Batches]:
        labels = self.inputs.dataset.train_labels
        training, validation = self.inputs.sources(phase.name)
        return (
            Batches(training, labels[self.inputs.train_rows], phase.batch_size, self.config.seed),
            Batches(validation, labels[self.inputs.validation_rows], VALIDATION_BATCH),
        )

    def _callbacks(self, phase: Phase, training: Batches, progress: Progress) -> list[keras.callbacks.Callback]:
        config = self.config
        watched: dict[str, keras.callbacks.Callback] = {
            "early_stopping": keras.callbacks.EarlyStopping(
                MONITOR, mode="max", patience=config.early_stopping_patience
            )
        }
        if config.schedule == "plateau":
            watched["reduce"] = keras.callbacks.ReduceLROnPlateau(
                MONITOR, mode="max", factor=config.reduce_factor, patience=config.reduce_patience
            )
        path, pause = self.run.path / "checkpoint.npz", self.manner.checkpoint_pause_seconds
        epochs_before = sum(row["kind"] == "epoch" and row["phase"] != phase.name for row in self.journal.rows)
        return [
            EpochStart(training.begin),
            NanWatch(phase.name),
            *watched.values(),
            Recorder(self.journal, phase.name, phase.epochs, len(self.inputs.train_rows), phase.batch_size),
            StopWatch(self.journal),
            Prober(self.journal, config, self.network, phase.name, len(training)),
            Keeper(path, self.journal, self.network, progress, self.best, watched, pause),
            Judge(self.manner.is_hopeless, epochs_before),
        ]
