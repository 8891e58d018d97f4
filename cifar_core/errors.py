"""The errors that are a person's to mend.

    CifarError
      ConfigError    a knob's value, a preset or a configuration file
      DataError      CIFAR-10: its place, its download, its files
      WeightsError   pretrained weights that cannot be had
      RunError       a run that does not exist, is in the wrong state or is damaged
      TrainingError  a training that broke down
      ImageError     a picture that cannot be used
      StoreError     the store of frozen features: no room, damaged
      SweepError     a sweep: its name, its ranges, its storage

Every message says what is wrong, what was received, what was expected and what to do next, in one
sentence or two. Pages and the command line show these and only these; anything else is a bug and is seen.
"""


class CifarError(Exception):
    """Base of all errors that are shown to a person as they are."""


class ConfigError(CifarError):
    """A value of the configuration is not usable.

    `field` names the knob, so that a page can show the message beside its slider.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class DataError(CifarError):
    """CIFAR-10 cannot be found, read, trusted or downloaded."""


class WeightsError(CifarError):
    """The pretrained weights asked for cannot be had, or are damaged."""


class RunError(CifarError):
    """A run does not exist, is damaged, or its state does not allow what was asked."""


class TrainingError(CifarError):
    """A training cannot go on: its loss is no longer a number."""


class ImageError(CifarError):
    """A picture cannot be read or is too large."""


class StoreError(CifarError):
    """The store of frozen features has no room or is damaged."""


class SweepError(CifarError):
    """A sweep does not exist, cannot be as asked, or its storage cannot be reached."""
