"""Batches of a phase's inputs with labels and teacher probabilities, in an order that a resume repeats."""

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from cifar_core.data import augmentation
from cifar_core.network import architecture
from cifar_core.training.keras_import import keras


class Source(Protocol):
    """The inputs of a phase, epoch by epoch."""

    def begin(self, epoch: int) -> None:
        """Start `epoch` of the phase, counted from 0."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the inputs `rows` (int (n,)) of the current epoch, float32 (n, ...)."""


class Batches(keras.utils.PyDataset):
    """Batches of a source with their targets, shuffled by `seed` and epoch, or in fixed order if `seed` is None.

    A target is the one-hot label, followed by the probabilities `teacher(rows, inputs)`, float32 (b, 10), if there is a
    teacher. `mixing` is the share of (pixel) batches that are mixed. `before` is the number of epochs in earlier
    phases, which have other orders.
    """

    def __init__(
        self,
        source: Source,
        labels: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        teacher: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        mixing: float = 0.0,
        before: int = 0,
    ) -> None:
        super().__init__()
        self._source, self._batch_size, self._seed, self._before = source, batch_size, seed, before
        self._teacher, self._mixing = teacher, mixing
        self._one_hot = np.eye(architecture.CLASS_COUNT, dtype=np.float32)[labels]
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Start `epoch` of the phase, counted from 0."""
        self._source.begin(epoch)
        self._epoch = self._before + epoch
        rows = np.arange(len(self._one_hot))
        self._order = rows if self._seed is None else np.random.default_rng([self._seed, self._epoch]).permutation(rows)

    def __len__(self) -> int:
        """Return the number of batches in an epoch; the last one may be smaller."""
        return -(-len(self._one_hot) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs float32 (b, ...) and targets float32 (b, 10 or 20) of batch `index`."""
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs, targets = self._source.take(rows), self._one_hot[rows]
        if self._mixing:
            random = np.random.default_rng([self._seed or 0, self._epoch, index])
            if random.random() < self._mixing:
                inputs, targets = augmentation.mix(inputs, targets, random)
        if self._teacher:
            targets = np.concatenate([targets, self._teacher(rows, inputs)], axis=1)
        return inputs, targets

    def feed(self) -> Any:
        """Return the batches in the form to pass to `fit`: a `tf.data.Dataset` with TensorFlow, otherwise `self`.

        Keras would also make a dataset, but with an autotuning thread that delays the end of an epoch by up to a second
        (TensorFlow 2.21). TensorFlow keeps the function that makes a batch until the process ends, so it refers to
        `self` weakly: keep the batches until `fit` returns.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        batches: Any = weakref.proxy(self)
        shapes = [(None, *array.shape[1:]) for array in self[0]]

        def batch(index: Any) -> tuple[Any, ...]:
            arrays = tf.numpy_function(lambda number: batches[number], [index], [tf.float32] * len(shapes))
            return tuple(tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=True))

        options = tf.data.Options()
        options.autotune.enabled = False
        return tf.data.Dataset.range(len(self)).map(batch).prefetch(2).with_options(options)
