"""The errors that a user can fix.

Every message says what is wrong, what was received, what was expected and what to do next, in one sentence or two.
Pages and the command line show these and only these; any other exception is a bug and is seen.
"""


class CifarError(Exception):
    """Base of all errors that are shown to the user as they are."""


class ConfigError(CifarError):
    """A value of the configuration is not usable; `field` names the knob beside which a page shows the message."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class DataError(CifarError):
    """CIFAR-10 cannot be found, read, trusted or downloaded."""


class WeightsError(CifarError):
    """Pretrained weights are not available, or are damaged."""


class RunError(CifarError):
    """A run does not exist, is damaged, or its state does not allow what was asked."""


class TrainingError(CifarError):
    """A training cannot go on: its loss is no longer a number."""


class ImageError(CifarError):
    """A picture cannot be read or is too large."""


class StoreError(CifarError):
    """The feature cache has no room or is damaged."""


class SweepError(CifarError):
    """A sweep does not exist, has an invalid name or range, or its storage cannot be reached."""


class ProjectError(CifarError):
    """A project of own classes does not exist, is damaged or full, or has too little to learn from."""
