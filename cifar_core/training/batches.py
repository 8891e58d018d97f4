"""What `fit` is fed with: batches of a source, in an order made of seed and epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from cifar_core.network import architecture
from cifar_core.training.inputs import Source


class Batches(keras.utils.PyDataset):
    """Batches of a source with one-hot labels. `seed` None keeps the order; `begin` is to be called before an epoch."""

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
        """Return what Keras is to read these batches from: with TensorFlow a dataset of it, else they themselves.

        Keras would make such a dataset too, but with a thread that tunes it and is waited for, up to a second, at the
        end of an epoch (TensorFlow 2.21). TensorFlow keeps a generator for the life of the process, so this one refers
        to the batches weakly: hold them until `fit` is over.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        signature = tuple(tf.TensorSpec((None, *array.shape[1:]), tf.float32) for array in self[0])
        options = tf.data.Options()
        options.autotune.enabled = False
        batches = tf.data.Dataset.from_generator(_weakly(self), output_signature=signature)
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(2).with_options(options)


def _weakly(batches: Batches) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Return a generator function of `batches` that does not keep them alive; it ends when they are gone."""
    reference = weakref.ref(batches)

    def each() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        number = 0
        while (found := reference()) is not None and number < len(found):
            batch = found[number]
            del found
            yield batch
            number += 1

    return each
