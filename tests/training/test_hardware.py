"""Threads of TensorFlow, and out-of-memory errors of any library as one."""

import errno
import os
from dataclasses import replace

import pytest

from cifar_core import machine
from cifar_core.config import PRESETS
from cifar_core.errors import DataError
from cifar_core.training import hardware

SAID = (  # by workers under limits of 1 to 2,000 MB of address space
    OSError("ai_edge_litert/libLiteRt.so: failed to map segment from shared object"),
    ImportError("libpywrap_litert_common.so: failed to map segment from shared object"),
    ImportError("libtensorflow_cc.so.2: cannot create shared object descriptor: Cannot allocate memory"),
    RuntimeError("can't start new thread"),
    OSError(errno.ENOMEM, "what another system says"),
    ImportError(
        "DLL load failed while importing _pywrap: The paging file is too small for this operation to complete."
    ),
    RuntimeError("OOM when allocating tensor with shape[128,96,48,48] and type float"),
    RuntimeError("Error in user-defined function passed to MapDataset:1: MemoryError: Unable to allocate 7.11 MiB"),
)
OTHER = (
    ImportError("libfoo.so: cannot open shared object file: No such file or directory"),
    ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
    OSError(errno.ENOSPC, "No space left on device"),
    ZeroDivisionError("a bug"),
)


def raised_after(first: Exception) -> Exception:
    """What a library raises that met `first` and says so in its own words."""
    try:
        try:
            raise first
        except type(first):
            raise ImportError("Keras needs a backend")  # noqa: B904 - libraries seldom say what led to it
    except ImportError as error:
        return error


@pytest.mark.parametrize("error", SAID, ids=str)
def test_every_word_for_want_of_memory_becomes_one_error_and_its_cause_is_in_the_log(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in (error, raised_after(error)):
        with pytest.raises(MemoryError), hardware.memory_errors():
            raise told
        assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("error", [*OTHER, DataError("Too little memory: can't start new thread")], ids=str)
def test_any_other_error_and_every_sentence_of_ours_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, hardware.memory_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_a_library_that_is_missing_or_a_full_disk_is_no_want_of_memory(error: Exception) -> None:
    assert not hardware.is_out_of_memory(error)
    assert not hardware.is_out_of_memory(raised_after(error))


@pytest.mark.parametrize(
    "error",
    [SystemError("error return without exception set"), RuntimeError("failed to create XNNPACK runtimeNode number 66")],
    ids=str,
)
def test_an_error_of_no_kind_is_for_want_of_memory_only_where_there_is_none(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hardware.has_memory()
    assert not hardware.is_out_of_memory(error)
    monkeypatch.setattr(hardware, "_NEEDED_BYTES", 1 << 60)
    assert not hardware.has_memory()
    assert hardware.is_out_of_memory(error)
    assert not hardware.is_out_of_memory(ZeroDivisionError("a bug"))


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
    hardware.set_threads(PRESETS["standard"])
    assert hardware.pieces() == pieces
    assert (os.environ[INTER], os.environ[INTRA]) == (str(pieces), str(threads))


@pytest.mark.parametrize("cores", [2, 8], indirect=True)
def test_a_training_that_adapts_norms_has_a_thread_for_each_processor(cores: int) -> None:
    hardware.set_threads(replace(PRESETS["standard"], batch_norm="adapt"))
    assert (os.environ[INTER], os.environ[INTRA]) == (str(cores), str(cores))


@pytest.mark.parametrize("cores", [64], indirect=True)
@pytest.mark.parametrize("name", PRESETS)
def test_on_64_processors_tensorflow_gets_few_threads(name: str, cores: int) -> None:
    hardware.set_threads(PRESETS[name])
    assert int(os.environ[INTER]) + int(os.environ[INTRA]) <= 2 * machine.MOST_THREADS < cores


@pytest.mark.parametrize("cores", [2], indirect=True)
@pytest.mark.usefixtures("cores")
def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTRA, "7")
    hardware.set_threads(PRESETS["quick"])
    assert os.environ[INTRA] == "7"
