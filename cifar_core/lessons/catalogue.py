"""The lessons: the texts of lessons.toml, and the correct option of each question from measured results."""

import tomllib
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar_core.errors import ConfigError
from cifar_core.evaluation.phase_summary import points
from cifar_core.inference.classifier import bundled_figures
from cifar_core.inference.pictures import SIDE
from cifar_core.lessons.experiments import Outcome
from cifar_core.lessons.layer_probe import Layers
from cifar_core.network.architecture import BLOCK_COUNT

Conditions = Mapping[str, Outcome]
"""Outcomes by key of the condition."""
Answer = tuple[int, str]
_NOISE = 0.02  # noise of the accuracy on 1,000 validation images
_ENOUGH = 0.6


FIGURES = ("accuracy", "loss", "histogram", "norms", "maps", "width", "layers")
INSIDE = "inside"
"""The lesson without training: it opens the bundled network."""


@dataclass(frozen=True)
class Lesson:
    """A lesson; lessons.toml explains its texts.

    `figures` are keys of FIGURES, `sources` are titles and URLs. `answer` returns the number of the correct option and
    a sentence with the measurements.
    """

    name: str
    title: str
    symptom: str
    text: str
    question: str
    options: Sequence[str]
    figures: Sequence[str]
    see: str
    sources: Sequence[tuple[str, str]]
    answer: Callable[[Any], Answer]
    rules: Sequence[str] = ()

    @property
    def number(self) -> str:
        """The position among the lessons, from "1"."""
        return str(1 + list(LESSONS).index(self.name))

    @property
    def picture(self) -> str:
        """A small SVG for both themes, which does not reveal the result, with a text alternative as `aria-label`."""
        return (Path(__file__).parent / "pictures" / f"{self.name}.svg").read_text("utf-8")


def answer_inside(fields: Sequence[float]) -> Answer:
    """First block with a receptive field as wide as the picture; `fields` come from `receptive_fields`."""
    shares = [field / SIDE for field in fields]
    first = next(block for block, share in enumerate(shares, 1) if share >= 1)
    return bisect((6, 12), first), (
        f"It sees {shares[0]:.0%} of the width in block 1, {shares[4]:.0%} in block 5, and all of it from block "
        f"{first} on."
    )


def answer_scaling(conditions: Conditions) -> Answer:
    """Decrease of the best validation accuracy caused by wrong scaling."""
    lost = _best(conditions["right"]) - _best(conditions["wrong"])
    return bisect((0.03, 0.10), lost), (
        f"{_best(conditions['right']):.1%} with [-1, 1], {_best(conditions['wrong']):.1%} with [0, 1]: "
        f"{points(lost)}. With [0, 1], 32 px and a frozen backbone: {_best(conditions['wild']):.1%}."
    )


def answer_freezing(conditions: Conditions) -> Answer:
    """Last validation accuracy if all layers are trained from the start."""
    last = _last(conditions["all"])
    return 2 - bisect((0.30, 0.70), last), (
        f"Validation ends at {last:.1%}, training at {conditions['all'].figures['training_accuracy']:.1%}. The usual "
        f"order reaches {_best(conditions['right']):.1%}, the head alone {_best(conditions['never']):.1%}."
    )


def answer_augmentation(conditions: Conditions) -> Answer:
    """Training against validation accuracy at strength 3."""
    hard = conditions["hard"]
    training, validation = hard.figures["training_accuracy"], _last(hard)
    return bisect((-_NOISE, _NOISE), validation - training), (
        f"Training {training:.1%}, validation {validation:.1%}. At its best, validation is {_best(hard):.1%} at "
        f"strength 3, {_best(conditions['right']):.1%} at 0.5, {_best(conditions['none']):.1%} at 0."
    )


def answer_width(conditions: Conditions) -> Answer:
    """Gain by doubling the width."""
    half, full = conditions["0.5"], conditions["1"]
    gained = _best(full) - _best(half)
    on_test = full.figures["test_accuracy"] - half.figures["test_accuracy"]
    adds = full.figures["multiply_adds"] / half.figures["multiply_adds"]
    times = full.internals.latency_ms / half.internals.latency_ms
    return bisect((0.02, 0.05), gained), (
        f"Validation accuracy goes from {_best(half):.1%} to {_best(full):.1%}, {points(gained)}; test accuracy "
        f"changes by {points(on_test)}. This takes {adds:.1f} times the multiply-adds and {times:.1f} times the "
        "latency."
    )


def answer_resolution(conditions: Conditions) -> Answer:
    """Decrease from 96 px to 32 px."""
    lost = _best(conditions["96"]) - _best(conditions["32"])
    ranked = ", ".join(f"{size} px {_best(conditions[size]):.1%}" for size in ("32", "64", "96", "128"))
    return bisect((0.05, 0.20), lost), f"{ranked}. 32 px is {points(lost)} below 96 px."


def answer_dropout(conditions: Conditions) -> Answer:
    """Gap between training and validation accuracy without dropout."""
    gaps = {
        key: one.figures["training_accuracy"] - _last(one)
        for key, one in sorted(conditions.items(), key=lambda item: float(item[0]))
    }
    text = ", ".join(f"{points(gap)} with dropout {key}" for key, gap in gaps.items())
    best = ", ".join(f"{_best(conditions[key]):.1%}" for key in gaps)
    return bisect((0.05, 0.15), gaps["0"]), f"The gap is {text}. Best validation accuracy, in this order: {best}."


def answer_phases(conditions: Conditions) -> Answer:
    """Gain by the first phase."""
    lost = _best(conditions["both"]) - _best(conditions["second"])
    return bisect((-_NOISE, _NOISE), lost), (
        f"Two phases {_best(conditions['both']):.1%}, fine-tuning alone {_best(conditions['second']):.1%}, head alone "
        f"{_best(conditions['first']):.1%}."
    )


def answer_layers(layers: Layers) -> Answer:
    """First layer with a linear probe accuracy of at least 60%."""
    network = layers.networks[0]  # pixels, stem, block 1 to 17, top
    reached = (block for block, accuracy in enumerate(network.accuracies[1:]) if accuracy >= _ENOUGH)
    block = next(reached, BLOCK_COUNT + 1)
    first = f"first reaches 60% after block {block}" if 1 <= block <= BLOCK_COUNT else "reaches 60% in no block"
    return bisect((6, 12), block - 1), (
        f"Accuracy {first}. Pixels give {network.accuracies[0]:.1%}, the last layer "
        f"{network.accuracies[-1]:.1%}, random weights {layers.networks[1].accuracies[-1]:.1%}."
    )


def answer_rate(conditions: Conditions) -> Answer:
    """Decrease at 100 times the rate, compared with 1/100 of it."""
    right, low, high = (_best(conditions[key]) for key in ("right", "low", "high"))
    return bisect((-_NOISE, _NOISE), low - high), (
        f"At the usual rate {right:.1%}, at a hundredth {low:.1%}, at a hundred times {high:.1%}."
    )


def answer_noise(conditions: Conditions) -> Answer:
    """Range of the best validation accuracy over the seeds."""
    validation = sorted(map(_best, conditions.values()))
    test = sorted(one.figures["test_accuracy"] for one in conditions.values())
    apart = validation[-1] - validation[0]
    return bisect((0.02, 0.05), apart), (
        f"Validation accuracy is between {validation[0]:.1%} and {validation[-1]:.1%}, {points(apart)} apart; test "
        f"accuracy between {test[0]:.1%} and {test[-1]:.1%}, {points(test[-1] - test[0])} apart."
    )


def answer_teacher(conditions: Conditions) -> Answer:
    """Gain in test accuracy by a teacher."""
    alone, taught = (conditions[key].figures["test_accuracy"] for key in ("alone", "taught"))
    return bisect((0.02, 0.05), taught - alone), (
        f"Test accuracy goes from {alone:.1%} to {taught:.1%}, {points(taught - alone)}. The teacher has "
        f"{bundled_figures()['test']['accuracy']:.1%} test accuracy."
    )


def _best(outcome: Outcome) -> float:
    return outcome.figures["validation_accuracy"]


def _last(outcome: Outcome) -> float:
    return float(outcome.curves.curves["validation_accuracy"].y[-1])


def _read() -> dict[str, Lesson]:
    found = tomllib.loads(Path(__file__).with_name("lessons.toml").read_text("utf-8"))
    lessons = {}
    for name, texts in found["lessons"].items():
        texts["sources"] = [found["sources"][key] for key in texts["sources"]]
        lessons[name] = Lesson(name, **texts, answer=globals()[f"answer_{name}"])
    return lessons


LESSONS: Mapping[str, Lesson] = _read()


def lesson(name: str) -> Lesson:
    """Return lesson `name`. Raises ConfigError if it does not exist."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
