"""Processors are shared out between the pieces of a batch where a training goes in pieces, and not elsewhere."""

import os
from dataclasses import replace

import pytest

from cifar_core import machine
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.training import processors

INTER, INTRA = "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    monkeypatch.setattr(machine, "processors", lambda: request.param)
    for name in (INTER, INTRA):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return request.param


@pytest.mark.parametrize(
    ("cores", "pieces", "threads"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 4, 2), (64, 4, 2)], indirect=["cores"]
)
@pytest.mark.usefixtures("cores")
def test_every_processor_has_something_to_do(pieces: int, threads: int) -> None:
    processors.share_out(PRESETS["standard"])
    assert processors.pieces() == pieces
    assert (os.environ[INTER], os.environ[INTRA]) == (str(pieces), str(threads))


@pytest.mark.parametrize("cores", [2, 8], indirect=True)
@pytest.mark.parametrize(
    "config",
    [
        PRESETS["best"],
        replace(PRESETS["standard"], batch_norm="adapt"),
        replace(PRESETS["standard"], fine_tune_blocks=17),
        replace(PRESETS["standard"], augmentation=1.0, views=0),
    ],
    ids=["best", "adapting norms", "the whole network", "each batch augmented afresh"],
)
def test_a_training_that_is_not_in_pieces_has_a_thread_for_each_processor(config: TrainConfig, cores: int) -> None:
    processors.share_out(config)
    assert (os.environ[INTER], os.environ[INTRA]) == (str(cores), str(cores))


@pytest.mark.parametrize("cores", [64], indirect=True)
@pytest.mark.parametrize("name", PRESETS)
def test_on_64_processors_tensorflow_gets_few_threads(name: str, cores: int) -> None:
    processors.share_out(PRESETS[name])
    assert int(os.environ[INTER]) + int(os.environ[INTRA]) <= 2 * machine.MOST_THREADS < cores


@pytest.mark.parametrize("cores", [2], indirect=True)
@pytest.mark.usefixtures("cores")
def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTRA, "7")
    processors.share_out(PRESETS["quick"])
    assert os.environ[INTRA] == "7"
