"""How a training from the store shares out the processors: a batch in pieces, each computed on a processor of its own.

One operation on a small batch keeps two processors busy for little more than half of the time: they wait for each
other at its end. Imported before Keras, whose threads are counted when it starts.
"""

from __future__ import annotations

import os

from cifar_core import costs, machine
from cifar_core.config import TrainConfig
from cifar_core.network import architecture

_MOST_PIECES = 4  # of a batch of 64 or 128: smaller ones would cost more in operations than they gain


def pieces() -> int:
    """Return into how many pieces a batch is cut."""
    return min(machine.processors(), _MOST_PIECES)


def share_out(config: TrainConfig) -> None:
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
