"""CPU threads, GPU and memory of a training."""

import errno
import mmap
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from cifar_core import machine
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError

_MOST_PIECES = 4  # of a batch of 64 or 128; the overhead of smaller pieces exceeds the gain
_NEEDED_BYTES = 500_000_000  # TensorFlow alone needs as much
_OUT_OF_MEMORY = (
    "failed to map segment",  # the library loader, in several of its steps also with the next message
    "cannot allocate memory",
    "can't start new thread",
    "oom when allocating",  # TensorFlow
    "memoryerror: ",  # TensorFlow, if NumPy lacks memory for a batch
    "paging file is too small",  # Windows, loading a library
)
_NOT_MEMORY = "static tls block"  # "cannot allocate memory in static TLS block": freeing memory does not help


def has_gpu() -> bool:
    """Return whether Keras sees a GPU. Imports Keras only if a GPU driver is installed."""
    if machine.gpu_driver() is None:
        return False
    from cifar_core.training.keras_import import keras

    return bool(keras.distribution.list_devices("gpu"))


def pieces() -> int:
    """Return the number of pieces of a batch, each computed on its own CPU core.

    One operation on a small batch uses two cores for little more than half of the time, since they wait for each other
    at its end.
    """
    return min(machine.processors(), _MOST_PIECES)


def set_threads(config: TrainConfig) -> None:
    """Set TensorFlow's thread counts before its first operation, unless the environment sets them.

    If `config` fine-tunes in pieces, as many operations run in parallel as there are pieces. By default, TensorFlow
    starts two threads for each CPU core of the machine, even if the process may use fewer cores.
    """
    inter_op, intra_op = machine.threads(), machine.threads()
    if config.batch_norm == "inference":
        inter_op, intra_op = pieces(), machine.threads() // pieces()
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(inter_op))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(intra_op))


def has_memory() -> bool:
    """Return whether the system can allocate the minimum that a training needs."""
    try:
        mmap.mmap(-1, _NEEDED_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether `error` or one of its causes is a lack of memory; libraries word this differently."""
    while error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if any(sign in text for sign in _OUT_OF_MEMORY) and _NOT_MEMORY not in text:
            return True
        if isinstance(error, SystemError | RuntimeError) and not has_memory():  # "failed to create XNNPACK runtime"
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def memory_errors() -> Iterator[None]:
    """Convert a library's error into MemoryError if it is caused by a lack of memory; print its traceback."""
    try:
        yield
    except (CifarError, MemoryError):
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.print_exception(error)
        raise MemoryError from error


def leave(code: int) -> NoReturn:
    """Exit the process immediately with the exit code `code`.

    A normal exit may wait forever for a data pipeline with a stopped generator (TensorFlow 2.21).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
