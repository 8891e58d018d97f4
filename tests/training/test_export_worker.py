"""A .keras file is untrusted input: only its weights are read."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.errors import RunError
from cifar_core.network import pretrained
from cifar_core.runs import Run
from cifar_core.training import export_worker, model


@pytest.fixture(scope="module")
def saved(tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Keras file of an untrained network."""
    base = pretrained.load("random", tiny_config.alpha, tiny_config.image_size, 1).named
    path = tmp_path_factory.mktemp("saved") / "best.keras"
    model.save(model.build(tiny_config, base), path)
    return path


@pytest.fixture
def file(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, for this test alone."""
    return Path(shutil.copy(saved, tmp_path))


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


@pytest.fixture
def run(file: Path, tiny_config: TrainConfig) -> Run:
    """A run that has only a configuration and best.keras."""
    made = runs.create(tiny_config, "run")
    (made.path / "best.keras").write_bytes(file.read_bytes())
    return made


def repack(run: Run, **changes: bytes) -> None:
    """Replace members of the run's best.keras, named with "__" for "."."""
    path = run.path / "best.keras"
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in (members | {name.replace("__", "."): value for name, value in changes.items()}).items():
            packed.writestr(name, content)


def test_an_export_has_the_weights_of_the_run(run: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "export.keras").write_bytes(export_worker.keras_file(run))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    before, after = (export_worker.opened_by_keras(path)(images) for path in (file, tmp_path / "export.keras"))
    assert after == pytest.approx(before, abs=1e-6)


def test_the_configuration_in_a_keras_file_is_never_read(run: Run) -> None:
    expected = export_worker.keras_file(run)
    owned = {"module": "os", "class_name": "system", "config": {"command": "touch owned"}, "registered_name": "x"}
    repack(run, config__json=json.dumps(owned).encode(), metadata__json=b"[")
    with (
        zipfile.ZipFile(io.BytesIO(expected)) as one,
        zipfile.ZipFile(io.BytesIO(export_worker.keras_file(run))) as two,
    ):
        assert one.read("config.json") == two.read("config.json")


@pytest.mark.parametrize("content", [b"", b"no HDF5", bytes(10**6)])
def test_damaged_weights_are_refused(run: Run, content: bytes) -> None:
    repack(run, model__weights__h5=content)
    with pytest.raises(RunError, match=r"best\.keras cannot be read"):
        export_worker.keras_file(run)


def test_weights_stored_in_another_file_are_not_read(run: Run, tmp_path: Path) -> None:
    """HDF5 can name any file of the machine as the place of an array, and an export would hold its content."""
    (tmp_path / "secret").write_bytes(bytes(10_000_000))
    with zipfile.ZipFile(run.path / "best.keras") as packed:
        content = io.BytesIO(packed.read("model.weights.h5"))
    with h5py.File(content, "a") as arrays:
        found: list[str] = []
        arrays.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        shape = arrays[found[0]].shape
        del arrays[found[0]]
        outside = [(str(tmp_path / "secret"), 0, 4 * int(np.prod(shape)))]
        arrays.create_dataset(found[0], shape=shape, dtype="f4", external=outside)
    repack(run, model__weights__h5=content.getvalue())
    with pytest.raises(RunError, match=r"best\.keras cannot be read"):
        export_worker.keras_file(run)
