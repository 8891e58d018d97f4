"""The lessons: questions, options, explanations and sources; and from what was measured, which option is right."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cifar_core.errors import ConfigError
from cifar_core.inference.pictures import SIDE
from cifar_core.lessons.experiments import Outcome
from cifar_core.lessons.layer_probe import PIXELS, Layers

Conditions = Mapping[str, Outcome]
"""Outcomes by the key of their condition."""
Answer = tuple[int, str]
_NOISE = 0.02  # of the accuracy on a thousand validation images
_SIX_OF_TEN = 0.6

MOBILENET = ("Sandler et al. 2018, MobileNetV2, arXiv:1801.04381", "https://arxiv.org/abs/1801.04381")
KERAS_GUIDE = ("Keras, Transfer learning & fine-tuning", "https://keras.io/guides/transfer_learning/")
KERAS_MOBILENET = ("Keras, MobileNetV2: inputs are scaled to [-1, 1]", "https://keras.io/api/applications/mobilenet/")
YOSINSKI = (
    "Yosinski et al. 2014, How transferable are features in deep neural networks?, arXiv:1411.1792",
    "https://arxiv.org/abs/1411.1792",
)
ALAIN = (
    "Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes, arXiv:1610.01644",
    "https://arxiv.org/abs/1610.01644",
)
SRIVASTAVA = (
    "Srivastava et al. 2014, Dropout, Journal of Machine Learning Research 15",
    "https://jmlr.org/papers/v15/srivastava14a.html",
)
IOFFE = ("Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167", "https://arxiv.org/abs/1502.03167")
KUMAR = (
    "Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, "
    "arXiv:2202.10054",
    "https://arxiv.org/abs/2202.10054",
)
CUBUK = ("Cubuk et al. 2019, RandAugment, arXiv:1909.13719", "https://arxiv.org/abs/1909.13719")
KINGMA = ("Kingma & Ba 2015, Adam, arXiv:1412.6980", "https://arxiv.org/abs/1412.6980")
SMITH = ("Smith 2017, Cyclical Learning Rates, arXiv:1506.01186", "https://arxiv.org/abs/1506.01186")
BOUTHILLIER = (
    "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, arXiv:2103.03098",
    "https://arxiv.org/abs/2103.03098",
)
HOWARD = ("Howard et al. 2017, MobileNets, arXiv:1704.04861", "https://arxiv.org/abs/1704.04861")
TOUVRON = (
    "Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv:1906.06423",
    "https://arxiv.org/abs/1906.06423",
)

ARAUJO = (
    "Araujo et al. 2019, Computing Receptive Fields of Convolutional Neural Networks, Distill",
    "https://distill.pub/2019/computing-receptive-fields/",
)
ZEILER = (
    "Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
    "https://arxiv.org/abs/1311.2901",
)

FIGURES = ("accuracy", "loss", "histogram", "norms", "maps", "width", "layers")
INSIDE = "inside"
"""The lesson that trains nothing: it opens the bundled network."""


def answer_inside(fields: Sequence[float]) -> Answer:
    """First block of which one position sees the whole width of the picture; `fields` as of `receptive_fields`."""
    shares = [field / SIDE for field in fields]
    first = next(block for block, share in enumerate(shares, 1) if share >= 1)
    return _option(first, (6, 12)), (
        f"It sees {shares[0]:.0%} of the width in block 1, {shares[4]:.0%} in block 5, and all of it from block "
        f"{first} on."
    )


def answer_scaling(conditions: Conditions) -> Answer:
    """Loss of best validation accuracy by the scale alone."""
    lost = _best(conditions["right"]) - _best(conditions["wrong"])
    return _option(lost, (0.03, 0.10)), (
        f"{_best(conditions['right']):.1%} with [-1, 1], {_best(conditions['wrong']):.1%} with [0, 1]: "
        f"{_points(lost)}. With 32 px and a frozen backbone, too: {_best(conditions['wild']):.1%}."
    )


def answer_freezing(conditions: Conditions) -> Answer:
    """Last validation accuracy when every layer trains at once."""
    last = _last(conditions["all"], "validation_accuracy")
    return 2 - _option(last, (0.30, 0.70)), (
        f"Validation ends at {last:.1%}, training at {conditions['all'].figures['training_accuracy']:.1%}. The usual "
        f"order reaches {_best(conditions['right']):.1%}, the head alone {_best(conditions['never']):.1%}."
    )


def answer_augmentation(conditions: Conditions) -> Answer:
    """Training against validation accuracy at strength 3."""
    hard = conditions["hard"]
    training, validation = hard.figures["training_accuracy"], _last(hard, "validation_accuracy")
    return _option(validation - training, (-_NOISE, _NOISE)), (
        f"Training {training:.1%}, validation {validation:.1%}. At its best, validation is {_best(hard):.1%} at "
        f"strength 3, {_best(conditions['right']):.1%} at 0.5, {_best(conditions['none']):.1%} at 0."
    )


def answer_width(conditions: Conditions) -> Answer:
    """Gain of twice the width."""
    half, full = conditions["0.5"], conditions["1"]
    gained = _best(full) - _best(half)
    on_test = full.figures["test_accuracy"] - half.figures["test_accuracy"]
    adds = full.figures["multiply_adds"] / half.figures["multiply_adds"]
    times = full.internals.latency_ms / half.internals.latency_ms
    return _option(gained, (0.02, 0.05)), (
        f"From {_best(half):.1%} to {_best(full):.1%} on validation, {_points(gained)}, and {_points(on_test)} on the "
        f"test images, for {adds:.1f} times the multiply-adds and {times:.1f} times the latency."
    )


def answer_resolution(conditions: Conditions) -> Answer:
    """Loss at 32 px against 96 px."""
    lost = _best(conditions["96"]) - _best(conditions["32"])
    ranked = ", ".join(f"{size} px {_best(conditions[size]):.1%}" for size in ("32", "64", "96", "128"))
    return _option(lost, (0.05, 0.20)), f"{ranked}. 32 px is {_points(lost)} below 96 px."


def answer_dropout(conditions: Conditions) -> Answer:
    """Gap between training and validation accuracy without dropout."""
    gaps = {
        key: one.figures["training_accuracy"] - _last(one, "validation_accuracy")
        for key, one in sorted(conditions.items(), key=lambda item: float(item[0]))
    }
    text = ", ".join(f"{_points(gap)} with dropout {key}" for key, gap in gaps.items())
    best = ", ".join(f"{_best(conditions[key]):.1%}" for key in gaps)
    return _option(gaps["0"], (0.05, 0.15)), f"The gap is {text}. Best validation accuracy, in this order: {best}."


def answer_phases(conditions: Conditions) -> Answer:
    """Gain of the first phase."""
    lost = _best(conditions["both"]) - _best(conditions["second"])
    return (0 if lost < -_NOISE else 1 if lost <= _NOISE else 2), (
        f"Two phases {_best(conditions['both']):.1%}, fine-tuning alone {_best(conditions['second']):.1%}, head alone "
        f"{_best(conditions['first']):.1%}."
    )


def answer_layers(layers: Layers) -> Answer:
    """First layer after which a linear classifier gets six of ten images right."""
    network = layers.networks[0]
    enough = [
        number
        for number, (name, accuracy) in enumerate(zip(network.layers, network.accuracies, strict=True))
        if accuracy >= _SIX_OF_TEN and name != PIXELS
    ]
    block = enough[0] - 2 if enough else len(network.layers)
    first = f"first after {network.layers[enough[0]]}" if enough else "after no layer"
    return _option(block, (6, 12)), (
        f"Six of ten images are right {first}. Pixels give {network.accuracies[0]:.1%}, the last layer "
        f"{network.accuracies[-1]:.1%}, random weights {layers.networks[1].accuracies[-1]:.1%}."
    )


def answer_rate(conditions: Conditions) -> Answer:
    """Loss at a hundred times the rate, against that at a hundredth."""
    right, low, high = (_best(conditions[key]) for key in ("right", "low", "high"))
    return _option(low - high, (-_NOISE, _NOISE)), (
        f"At the usual rate {right:.1%}, at a hundredth {low:.1%}, at a hundred times {high:.1%}."
    )


def answer_noise(conditions: Conditions) -> Answer:
    """Range of the best validation accuracy between seeds."""
    validation = sorted(map(_best, conditions.values()))
    test = sorted(one.figures["test_accuracy"] for one in conditions.values())
    apart = validation[-1] - validation[0]
    return _option(apart, (0.02, 0.05)), (
        f"Validation accuracy is between {validation[0]:.1%} and {validation[-1]:.1%}, {_points(apart)} apart; test "
        f"accuracy between {test[0]:.1%} and {test[-1]:.1%}, {_points(test[-1] - test[0])} apart."
    )


def _option(value: float, limits: Sequence[float]) -> int:
    """Return which of the ranges between `limits` holds `value`."""
    return bisect_right(limits, value)


def _best(outcome: Outcome) -> float:
    return outcome.figures["validation_accuracy"]


def _last(outcome: Outcome, name: str) -> float:
    return float(outcome.curves.curves[name].y[-1])


def _points(value: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return f"{100 * value:.1f} points"


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    `symptom` is what one sees before one knows the cause. `question` is shown before any result; `options` are its
    answers, of which `answer` returns the number of the right one and a sentence with the measurements. `figures` are
    of FIGURES, the most important first. `see` explains them. `rules` are the rules of the diagnosis that it explains.
    """

    name: str
    number: str
    title: str
    symptom: str
    text: str
    question: str
    options: tuple[str, ...]
    answer: Callable[[Any], tuple[int, str]]
    figures: tuple[str, ...]
    see: str
    sources: tuple[tuple[str, str], ...]
    rules: tuple[str, ...]


_ALL = (
    Lesson(
        INSIDE,
        "1",
        "How much of the picture does a block see?",
        "What happens inside?",
        "A photo passes 17 blocks. Maps become smaller and channels more. One position of a map sees a part "
        "of the picture, its receptive field.",
        "In which block does one position first see the whole width?",
        ("blocks 1 to 5", "blocks 6 to 11", "block 12 or later"),
        answer_inside,
        (),
        "Early blocks have large maps that respond to edges and colors, late blocks small maps that respond to parts "
        "of objects. Choose a block, then a channel, and compare the training images that excite it.",
        (ARAUJO, ZEILER, MOBILENET),
        (),
    ),
    Lesson(
        "scaling",
        "2",
        "Is the pixel scale right?",
        "Half the tutorial's accuracy?",
        "ImageNet weights expect pixels in [-1, 1]. Dividing by 255 gives [0, 1], without a warning.",
        "With the wrong scale, how far does validation accuracy fall?",
        ("below 3 points", "3 to 10 points", "above 10 points"),
        answer_scaling,
        ("accuracy", "histogram", "loss", "norms"),
        "Half of the histogram is empty: images look pale. Fine-tuning repairs a part, so the mistake stays hidden.",
        (KERAS_MOBILENET, KERAS_GUIDE, MOBILENET),
        ("wrong_pixel_range",),
    ),
    Lesson(
        "freezing",
        "3",
        "What if all layers train at once?",
        "Stuck near 0.4?",
        "Usually the head trains first, then the top of the backbone. Here all layers train from the first step, batch "
        "normalization too.",
        "What is the validation accuracy at the end?",
        ("above 70%", "30 to 70%", "below 30%"),
        answer_freezing,
        ("accuracy", "norms", "loss"),
        "Validation uses moving averages, which still describe ImageNet. Keep batch normalization in inference mode.",
        (KERAS_GUIDE, IOFFE, YOSINSKI),
        ("stale_statistics", "never_unfrozen"),
    ),
    Lesson(
        "augmentation",
        "4",
        "Can augmentation be too strong?",
        "Validation above training?",
        "Strength 3 rotates, shifts and darkens training images. Validation images are not augmented.",
        "At strength 3, which accuracy is higher at the end?",
        ("training", "neither, within 2 points", "validation"),
        answer_augmentation,
        ("accuracy", "histogram", "loss"),
        "Training images are harder than validation images. A small gap is normal; a large one means too much.",
        (CUBUK, KERAS_GUIDE),
        ("augmented_too_hard", "validation_above_training"),
    ),
    Lesson(
        "width",
        "5",
        "What does a wider network buy?",
        "Too slow, or too large?",
        "Width α scales the channels of every layer; multiply-adds grow with about α².",
        "α 1.0 costs three times α 0.5. How much accuracy does it add?",
        ("below 2 points", "2 to 5 points", "above 5 points"),
        answer_width,
        ("width", "accuracy"),
        "Most of the gain is reached at α 0.5; after that, each point costs more time. *Is it worth the time?* on "
        "Explore weighs the runs you have and tests whether a gain is more than chance.",
        (HOWARD, MOBILENET),
        (),
    ),
    Lesson(
        "resolution",
        "6",
        "Why enlarge to 96 pixels?",
        "Poor transfer at 32×32?",
        "CIFAR-10 images are 32×32; enlarging adds no information. The network halves its map five times.",
        "How far below 96 px is 32 px?",
        ("below 5 points", "5 to 20 points", "above 20 points"),
        answer_resolution,
        ("maps", "accuracy", "width"),
        "32 px end in one cell, 96 px in 3×3. Cost grows with the square of the side.",
        (MOBILENET, TOUVRON, KERAS_MOBILENET),
        ("small_input",),
    ),
    Lesson(
        "dropout",
        "7",
        "Does dropout cure overfitting?",
        "Validation falls while training rises?",
        "1,000 images, no augmentation, 17 epochs: the network can memorize them. Dropout sets inputs of the head to "
        "0.",
        "Without dropout, how far is training above validation?",
        ("below 5 points", "5 to 15 points", "above 15 points"),
        answer_dropout,
        ("accuracy", "loss"),
        "Dropout narrows the gap, but validation stays the same. More images and augmentation help first.",
        (SRIVASTAVA,),
        ("overfitting",),
    ),
    Lesson(
        "phases",
        "8",
        "Why two phases?",
        "Fine-tuning made it worse?",
        "The head trains on a frozen backbone, then both train. Compare fine-tuning from the first step, and the head "
        "alone.",
        "Without the first phase, validation accuracy is…",
        ("higher", "the same, within 2 points", "lower"),
        answer_phases,
        ("accuracy", "loss"),
        "It is the same here: the rate warms up, and only four blocks train. But the first phase costs far less.",
        (KUMAR, KERAS_GUIDE, YOSINSKI),
        ("fell_at_the_boundary", "fine_tuning_gave_nothing"),
    ),
    Lesson(
        "layers",
        "9",
        "What do the layers know?",
        "How many blocks to fine-tune?",
        "A linear classifier predicts the classes from each block's features, pretrained or random.",
        "Where does it first get six of ten images right?",
        ("blocks 0 to 5", "blocks 6 to 11", "block 12 or later"),
        answer_layers,
        ("layers",),
        "Pretrained features improve block by block. The more your images differ from ImageNet, the more blocks need "
        "fine-tuning.",
        (ALAIN, YOSINSKI),
        (),
    ),
    Lesson(
        "rate",
        "10",
        "Which learning rate?",
        "Loss flat, or not a number?",
        "The learning rate sets the size of each step. Here the head trains at the usual rate, at a hundredth of it "
        "and at a hundred times it.",
        "Which costs more accuracy in eight epochs?",
        ("the low rate", "neither, within 2 points", "the high rate"),
        answer_rate,
        ("accuracy", "loss"),
        "The low rate needs many more epochs. The high rate overshoots: after the first epoch the network guesses.",
        (KINGMA, SMITH),
        ("not_a_number", "nothing_learned", "still_rising"),
    ),
    Lesson(
        "noise",
        "11",
        "Is the difference real?",
        "Same settings, other accuracy?",
        "Four runs differ in the seed alone: other initial weights, another split. Each holds out 200 images for "
        "validation.",
        "How far apart are the best and the worst validation accuracy?",
        ("below 2 points", "2 to 5 points", "above 5 points"),
        answer_noise,
        ("accuracy", "loss"),
        "Hold out more images before you choose between close settings, and compare intervals instead of points.",
        (BOUTHILLIER,),
        ("small_validation_set", "test_surprise", "impatient"),
    ),
)

LESSONS: Mapping[str, Lesson] = {lesson.name: lesson for lesson in _ALL}


def lesson(name: str) -> Lesson:
    """Return the lesson called `name`. Raises ConfigError."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
