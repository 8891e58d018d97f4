"""A Keras file may be a stranger's: what it asks for beyond its own weights is refused."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.network import pretrained
from cifar_core.training import export_worker, model


@pytest.fixture
def file(tiny_config: TrainConfig, tmp_path: Path) -> Path:
    """The Keras file of an untrained network."""
    base = pretrained.load("random", tiny_config.alpha, tiny_config.image_size, 1).named
    model.save(model.build(tiny_config, base), tmp_path / "best.keras")
    return tmp_path / "best.keras"


def test_a_file_of_ours_answers(file: Path) -> None:
    said = export_worker.opened_by_keras(file)(np.zeros((2, 32, 32, 3), np.uint8))
    assert said.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_a_keras_file_has_no_setting_that_an_older_keras_does_not_know(file: Path) -> None:
    config = zipfile.ZipFile(file).read("config.json").decode()
    newer = ("input_axes", "output_axes", "quantization_config", "antialias", "renorm", "ragged", "optional")
    assert [name for name in newer if f'"{name}"' in config] == []
    assert '"momentum": 0.999' in config  # what is not a default stays


@pytest.mark.bundled
def test_the_bundled_keras_file_is_one_that_an_older_keras_reads() -> None:
    content = pretrained.bundled_path(0.5).with_suffix(".keras").read_bytes()
    assert model.portable(content) == content


def test_weights_that_lie_in_another_file_are_not_read(file: Path, tmp_path: Path) -> None:
    """HDF5 can name any file of the machine as the place of an array; what it holds would go out with an export."""
    (tmp_path / "secret").write_bytes(bytes(10_000_000))
    with zipfile.ZipFile(file) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "a") as arrays:
        found: list[str] = []
        arrays.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        shape = arrays[found[0]].shape
        del arrays[found[0]]
        outside = [(str(tmp_path / "secret"), 0, 4 * int(np.prod(shape)))]
        arrays.create_dataset(found[0], shape=shape, dtype="f4", external=outside)
    with zipfile.ZipFile(file, "w") as packed:
        for name, member in (members | {"model.weights.h5": content.getvalue()}).items():
            packed.writestr(name, member)
    with pytest.raises(RunError, match=r"cannot be loaded by Keras"):
        export_worker.opened_by_keras(file)
