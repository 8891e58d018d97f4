"""Exports a finished run to one model file and compares its predictions with the run's.

    python -m cifar_core.training.export_worker RUN FORMAT

Imports Keras only for the Keras format.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from cifar_core import jobs, untrusted
from cifar_core.errors import RunError
from cifar_core.export import exports
from cifar_core.inference.model_file import Classify
from cifar_core.runs import Run

_WEIGHTS = "model.weights.h5"
_MOST_BYTES = 64 * 2**20


@jobs.program
def main(run_id: str, name: str) -> None:
    """Make the export `name` of the run `run_id`."""
    exports.make(Run(run_id), name, *((keras_file, opened_by_keras) if name == "keras" else ()))


def keras_file(run: Run) -> bytes:
    """Return `run` as a .keras file for Keras 3.4 and later.

    best.keras is untrusted: only its weights are loaded, into a network built from the run's configuration. Its own
    configuration is never deserialized. Raises RunError if the file is missing, damaged or of another network.
    """
    from cifar_core.network import pretrained
    from cifar_core.training import model

    path = run.path / "best.keras"
    base = pretrained.load("random", run.config.alpha, run.config.image_size, seed=1).named
    network = model.build(run.config, base)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as packed:
                info = packed.getinfo(_WEIGHTS)
                if not untrusted.is_ordinary(info) or info.file_size > _MOST_BYTES:
                    raise ValueError(f"{_WEIGHTS} is too large or packed by an unsupported method")
                packed.extract(info, folder)
            network.load_weights(Path(folder) / _WEIGHTS)
            model.save(network, Path(folder) / "model.keras")
            return (Path(folder) / "model.keras").read_bytes()
        except Exception as error:  # Keras and HDF5 can raise anything for a damaged or hostile file
            raise RunError(f"{path} cannot be read ({str(error)[:200]}). Train the run again.") from error


def opened_by_keras(file: Path) -> Classify:
    """Load the .keras file of `keras_file` and return a function from images to probabilities."""
    from cifar_core.training.keras_import import keras

    network = keras.models.load_model(file, compile=False, safe_mode=True)
    return lambda images: np.asarray(network.predict_on_batch(images.astype(np.float32)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
