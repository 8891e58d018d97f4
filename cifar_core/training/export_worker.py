"""Makes one model file of a finished run, and tries it.

    python -m cifar_core.training.export_worker RUN_DIR FORMAT

Keras is imported for its own format only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from cifar_core.errors import CifarError, RunError
from cifar_core.export import exports, trial
from cifar_core.network import network_check
from cifar_core.runs import Run


def main(folder: str, name: str) -> int:
    """Make the export `name` of the run in `folder`; return the process's exit code."""
    path = Path(folder).resolve()
    os.environ["CIFAR_RUNS_DIR"] = str(path.parent)
    run = Run(path.name)
    try:
        if name == "keras":
            exports.make(run, name, keras_file, opened_by_keras)
        else:
            exports.make(run, name)
    except CifarError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def keras_file(run: Run) -> bytes:
    """Return the .keras file of `run` for Keras 3.4 and later. It may be untrusted: nothing in it is executed."""
    from cifar_core.training import model

    path = run.path / "best.keras"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"Run {run.id} has no best.keras ({error.strerror}); train it anew.") from None
    network_check.check_keras_file(content)
    try:
        return model.portable(content)
    except Exception as error:  # a damaged or hostile file can make Keras raise anything
        raise RunError(f"{path} cannot be rewritten ({str(error)[:200]}); train the run anew.") from error


def opened_by_keras(file: Path) -> trial.Answers:
    """Return the Keras file as a function from images to probabilities."""
    import keras

    try:
        network = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise RunError(f"{file} cannot be loaded by Keras ({str(error)[:200]}); train the run anew.") from error
    return lambda images: np.asarray(network.predict_on_batch(images.astype(np.float32)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
