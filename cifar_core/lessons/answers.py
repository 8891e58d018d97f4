"""What each lesson's runs say to its question: the number of the right option, and what was measured, in words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from cifar_core.lessons.layers import PIXELS, Layers
from cifar_core.lessons.outcome import Outcome

Arms = Mapping[str, Outcome]
"""Outcomes by the key of their arm."""
Answer = tuple[int, str]
_ALIKE = 0.02  # a thousand validation images cannot tell less
_SIX_OF_TEN = 0.6


def scaling(arms: Arms) -> Answer:
    """By how much the wrong scale alone lowers the best validation accuracy."""
    lost = _best(arms["right"]) - _best(arms["wrong"])
    return _option(lost, (0.03, 0.10)), (
        f"With [-1, 1] the best validation accuracy is {_share(_best(arms['right']))}, with [0, 1] "
        f"{_share(_best(arms['wrong']))}: {_points(lost)}. After the head's phase alone they stood at "
        f"{_share(_head(arms['right']))} and {_share(_head(arms['wrong']))}. The run as found in the wild ends at "
        f"{_share(_best(arms['wild']))}."
    )


def freezing(arms: Arms) -> Answer:
    """Where validation stands when everything was unfrozen at once."""
    last = _last(arms["all"], "validation_accuracy")
    return 2 - _option(last, (0.30, 0.70)), (
        f"After the last epoch validation accuracy is {_share(last)} while training accuracy is "
        f"{_share(arms['all'].figures['training_accuracy'])}. The right way reaches {_share(_best(arms['right']))}, "
        f"never unfreezing {_share(_best(arms['never']))}."
    )


def augmentation(arms: Arms) -> Answer:
    """How training compares with validation at strength 3."""
    training, validation = arms["hard"].figures["training_accuracy"], _last(arms["hard"], "validation_accuracy")
    return _option(validation - training, (-_ALIKE, _ALIKE)), (
        f"In the last epoch training accuracy is {_share(training)}, validation accuracy {_share(validation)}. The "
        f"best validation accuracy is {_share(_best(arms['hard']))} at strength 3, {_share(_best(arms['right']))} "
        f"at 0.5 and {_share(_best(arms['none']))} without augmentation."
    )


def width(arms: Arms) -> Answer:
    """What twice the width brings."""
    gained = _best(arms["1"]) - _best(arms["0.5"])
    adds = arms["1"].figures["multiply_adds"] / arms["0.5"].figures["multiply_adds"]
    times = arms["1"].inside.latency_ms / arms["0.5"].inside.latency_ms
    return _option(gained, (0.02, 0.05)), (
        f"From {_share(_best(arms['0.5']))} to {_share(_best(arms['1']))}: {_points(gained)}, for {adds:.1f} times the "
        f"multiply-adds and {times:.1f} times the time for an image."
    )


def resolution(arms: Arms) -> Answer:
    """What 32 px cost against 96."""
    lost = _best(arms["96"]) - _best(arms["32"])
    ranked = ", ".join(f"{size} px {_share(_best(arms[size]))}" for size in ("32", "64", "96", "128"))
    return _option(lost, (0.05, 0.20)), f"{ranked}. At 32 px that is {_points(lost)} below 96 px."


def dropout(arms: Arms) -> Answer:
    """How far training is above validation without dropout."""
    gaps = {
        key: arm.figures["training_accuracy"] - _last(arm, "validation_accuracy")
        for key, arm in sorted(arms.items(), key=lambda item: float(item[0]))
    }
    words = ", ".join(f"{_points(gap)} with dropout {key}" for key, gap in gaps.items())
    best = ", ".join(f"{_share(_best(arms[key]))}" for key in gaps)
    return _option(gaps["0"], (0.05, 0.15)), f"The gap is {words}. Best validation accuracies, in this order: {best}."


def phases(arms: Arms) -> Answer:
    """What the first phase is worth."""
    lost = _best(arms["both"]) - _best(arms["second"])
    return (0 if lost < -_ALIKE else 1 if lost <= _ALIKE else 2), (
        f"Two phases {_share(_best(arms['both']))}, fine-tuning from the first step {_share(_best(arms['second']))}, "
        f"head only {_share(_best(arms['first']))}."
    )


def layers(found: Layers) -> Answer:
    """Where six of ten images are right."""
    network = found.networks[0]
    behind = [
        number
        for number, (name, accuracy) in enumerate(zip(network.layers, network.accuracies, strict=True))
        if accuracy >= _SIX_OF_TEN and name != PIXELS
    ]
    block = behind[0] - 2 if behind else len(network.layers)
    first = f"first behind {network.layers[behind[0]]}" if behind else "behind no layer"
    return _option(block, (6, 12)), (
        f"Six of ten images are right {first}. Pixels give {_share(network.accuracies[0])}, the last layer "
        f"{_share(network.accuracies[-1])}, with random numbers {_share(found.networks[1].accuracies[-1])}."
    )


def _option(value: float, limits: Sequence[float]) -> int:
    """Return which of the ranges between `limits` holds `value`."""
    return bisect_right(limits, value)


def _best(outcome: Outcome) -> float:
    return outcome.figures["validation_accuracy"]


def _last(outcome: Outcome, name: str) -> float:
    return float(outcome.curves.curves[name].y[-1])


def _head(outcome: Outcome) -> float:
    """Return validation accuracy at the end of the first phase."""
    curve = outcome.curves.curves["validation_accuracy"]
    return float(curve.y[(outcome.curves.boundary or len(curve.y)) - 1])


def _share(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _points(value: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return f"{100 * value:.1f} points"
