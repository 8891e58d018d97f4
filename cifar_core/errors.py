"""Errors that a user can fix.

Each message states the problem, the received and the expected value, and the next step, in one or two sentences. Pages
and the command line show only these errors as messages; any other exception is a bug and is not hidden.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class CifarError(Exception):
    """Base class of all errors with a message for the user."""


class ConfigError(CifarError):
    """A value of the configuration is invalid; `field` is the name of its knob, where a page shows the message."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class DataError(CifarError):
    """CIFAR-10 cannot be found, read, trusted or downloaded."""


class WeightsError(CifarError):
    """Pretrained weights are not available, or are damaged."""


class RunError(CifarError):
    """A run does not exist, is damaged, or is in a state that does not allow the operation."""


class TrainingError(CifarError):
    """A training cannot continue, for example because its loss is not finite."""


class ImageError(CifarError):
    """A picture cannot be read or is too large."""


class StoreError(CifarError):
    """The feature cache has no room or is damaged."""


class SweepError(CifarError):
    """A sweep does not exist, has an invalid name or range, or its storage cannot be reached."""


class ProjectError(CifarError):
    """A project of own classes does not exist, is damaged or full, or has too few pictures."""


@contextmanager
def os_errors_as(
    kind: type[CifarError], what: str, advice: str = "free disk space, or make its folder writable"
) -> Iterator[None]:
    """Convert an OSError inside to `kind`, whose message is `what`, the reason and `advice`."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}; {advice}.") from None


def sentence(error: BaseException) -> str:
    """Return the message of an error that a user can fix; for another exception, a bug, what it is and what to do."""
    if isinstance(error, CifarError | OSError):
        return str(error)
    return f"Unexpected error ({type(error).__name__}: {str(error)[:500]}); try again. The log shows where it occurred."
