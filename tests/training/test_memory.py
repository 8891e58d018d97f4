import errno

import pytest

from cifar_core.errors import DataError
from cifar_core.training import memory

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
        with pytest.raises(MemoryError), memory.told_as_such():
            raise told
        assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("error", [*OTHER, DataError("Too little memory: can't start new thread")], ids=str)
def test_any_other_error_and_every_sentence_of_ours_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, memory.told_as_such():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_a_library_that_is_missing_or_a_full_disk_is_no_want_of_memory(error: Exception) -> None:
    assert not memory.is_lacking(error)
    assert not memory.is_lacking(raised_after(error))


@pytest.mark.parametrize(
    "error",
    [SystemError("error return without exception set"), RuntimeError("failed to create XNNPACK runtimeNode number 66")],
    ids=str,
)
def test_an_error_of_no_kind_is_for_want_of_memory_only_where_there_is_none(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory.has_room()
    assert not memory.is_lacking(error)
    monkeypatch.setattr(memory, "_NEEDED_BYTES", 1 << 60)
    assert not memory.has_room()
    assert memory.is_lacking(error)
    assert not memory.is_lacking(ZeroDivisionError("a bug"))
