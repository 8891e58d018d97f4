"""Processors, graphics card and memory, as a training uses them. Imported before Keras, which counts threads then."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from cifar_core import costs, machine
from cifar_core.config import TrainConfig
from cifar_core.errors import CifarError
from cifar_core.network import architecture

_MOST_PIECES = 4  # of a batch of 64 or 128: smaller ones cost more in operations than they gain
_NEEDED_BYTES = 500_000_000  # TensorFlow alone takes as much
_OUT_OF_MEMORY = (
    "failed to map segment",  # the loader of libraries, and many a step of it with the next
    "cannot allocate memory",
    "can't start new thread",
    "oom when allocating",  # TensorFlow
    "paging file is too small",  # Windows, of a library
)
_NOT_MEMORY = "static tls block"  # "cannot allocate memory in static TLS block": room that no program can make


def has_gpu() -> bool:
    """Return whether Keras sees a graphics card. Imports it only where the system has a card's driver."""
    if machine.gpu_driver() is None:
        return False
    import keras

    return bool(keras.distribution.list_devices("gpu"))


def pieces() -> int:
    """Return into how many pieces a batch is cut, each computed on a processor of its own.

    One operation on a small batch keeps two processors busy for little more than half of the time: they wait for each
    other at its end.
    """
    return min(machine.processors(), _MOST_PIECES)


def set_threads(config: TrainConfig) -> None:
    """Set TensorFlow's threads, unless the environment does.

    If `config` fine-tunes in pieces, as many operations run at once as pieces. TensorFlow itself would make two threads
    for each processor of the machine, whatever the process may use.
    """
    at_once, within = machine.threads(), machine.threads()
    cut = architecture.cut_block(config.fine_tune_blocks)
    if costs.is_stored(config) and config.batch_norm == "inference" and (cut is not None or not config.fine_tunes):
        at_once, within = pieces(), machine.threads() // pieces()
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(at_once))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(within))


def has_memory() -> bool:
    """Return whether the system would give the least that a training needs."""
    try:
        mmap.mmap(-1, _NEEDED_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether `error`, or one that led to it, comes from a lack of memory: each library words it differently."""
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
    """Raise MemoryError in place of any library's error that comes from a lack of memory; print its traceback."""
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
    """End the process at once with this exit code.

    The interpreter's own end may wait forever for a data pipeline whose generator it has stopped (TensorFlow 2.21).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
