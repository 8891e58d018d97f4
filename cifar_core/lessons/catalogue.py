"""The lessons: questions, options, explanations and sources."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cifar_core.errors import ConfigError
from cifar_core.evaluation.story import points
from cifar_core.inference.classifier import bundled_figures
from cifar_core.inference.pictures import SIDE
from cifar_core.lessons.experiments import Outcome
from cifar_core.lessons.layer_probe import PIXELS, Layers
from cifar_core.network.architecture import BLOCK_COUNT

Conditions = Mapping[str, Outcome]
"""Outcomes by key of the condition."""
Answer = tuple[int, str]
_NOISE = 0.02  # noise of the accuracy on 1,000 validation images
_ENOUGH = 0.6


def _arxiv(reference: str, number: str) -> tuple[str, str]:
    return f"{reference}, arXiv:{number}", f"https://arxiv.org/abs/{number}"


MOBILENET = _arxiv("Sandler et al. 2018, MobileNetV2", "1801.04381")
KERAS_GUIDE = ("Keras, Transfer learning & fine-tuning", "https://keras.io/guides/transfer_learning/")
KERAS_MOBILENET = ("Keras, MobileNetV2: inputs are scaled to [-1, 1]", "https://keras.io/api/applications/mobilenet/")
YOSINSKI = _arxiv("Yosinski et al. 2014, How transferable are features in deep neural networks?", "1411.1792")
ALAIN = _arxiv("Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes", "1610.01644")
SRIVASTAVA = (
    "Srivastava et al. 2014, Dropout, Journal of Machine Learning Research 15",
    "https://jmlr.org/papers/v15/srivastava14a.html",
)
IOFFE = _arxiv("Ioffe & Szegedy 2015, Batch Normalization", "1502.03167")
KUMAR = _arxiv(
    "Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", "2202.10054"
)
CUBUK = _arxiv("Cubuk et al. 2019, RandAugment", "1909.13719")
KINGMA = _arxiv("Kingma & Ba 2015, Adam", "1412.6980")
SMITH = _arxiv("Smith 2017, Cyclical Learning Rates", "1506.01186")
BOUTHILLIER = _arxiv("Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks", "2103.03098")
HOWARD = _arxiv("Howard et al. 2017, MobileNets", "1704.04861")
TOUVRON = _arxiv("Touvron et al. 2019, Fixing the train-test resolution discrepancy", "1906.06423")
HINTON = _arxiv("Hinton et al. 2015, Distilling the Knowledge in a Neural Network", "1503.02531")
BEYER = _arxiv("Beyer et al. 2022, Knowledge distillation: A good teacher is patient and consistent", "2106.05237")
ARAUJO = (
    "Araujo et al. 2019, Computing Receptive Fields of Convolutional Neural Networks, Distill",
    "https://distill.pub/2019/computing-receptive-fields/",
)
ZEILER = _arxiv("Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks", "1311.2901")

FIGURES = ("accuracy", "loss", "histogram", "norms", "maps", "width", "layers")
INSIDE = "inside"
"""The lesson without training: it opens the bundled network."""


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    `symptom` is what the user observes. `question` is shown before the results; `options` are its answers. `answer`
    returns the number of the correct option and a sentence with the measurements. `figures` are keys of FIGURES,
    the most important first; `see` explains them. `rules` are the diagnosis rules that the lesson explains.
    """

    name: str
    title: str
    symptom: str
    text: str
    question: str
    options: tuple[str, ...]
    answer: Callable[[Any], Answer]
    figures: tuple[str, ...]
    see: str
    sources: tuple[tuple[str, str], ...]
    rules: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """The position among the lessons, from "1"."""
        return str(1 + list(LESSONS).index(self.name))


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
    last = _last(conditions["all"], "validation_accuracy")
    return 2 - bisect((0.30, 0.70), last), (
        f"Validation ends at {last:.1%}, training at {conditions['all'].figures['training_accuracy']:.1%}. The usual "
        f"order reaches {_best(conditions['right']):.1%}, the head alone {_best(conditions['never']):.1%}."
    )


def answer_augmentation(conditions: Conditions) -> Answer:
    """Training against validation accuracy at strength 3."""
    hard = conditions["hard"]
    training, validation = hard.figures["training_accuracy"], _last(hard, "validation_accuracy")
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
        key: one.figures["training_accuracy"] - _last(one, "validation_accuracy")
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
    network = layers.networks[0]
    enough = [
        number
        for number, (name, accuracy) in enumerate(zip(network.layers, network.accuracies, strict=True))
        if accuracy >= _ENOUGH and name != PIXELS
    ]
    block = enough[0] - 2 if enough else len(network.layers)
    first = f"first reaches 60% after block {block + 1}" if 0 <= block < BLOCK_COUNT else "reaches 60% in no block"
    return bisect((6, 12), block), (
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


def _last(outcome: Outcome, name: str) -> float:
    return float(outcome.curves.curves[name].y[-1])


_LESSONS = (
    Lesson(
        INSIDE,
        "What happens inside the network?",
        "How does it see?",
        "A photo passes through 17 blocks. Feature maps get smaller and the number of channels grows. One position "
        "of a map sees a part of the picture, its receptive field.",
        "In which block does one position first see the whole width?",
        ("blocks 1 to 5", "blocks 6 to 11", "block 12 or later"),
        answer_inside,
        (),
        "Early blocks have large maps that respond to edges and colors; late blocks have small maps that respond to "
        "parts of objects. Choose a block, then a channel, and compare the training images that activate it most.",
        (ARAUJO, ZEILER, MOBILENET),
    ),
    Lesson(
        "scaling",
        "Is the pixel scale right?",
        "Half the tutorial's accuracy?",
        "ImageNet weights expect pixels in [-1, 1]. Dividing by 255 gives [0, 1], without a warning.",
        "With the wrong scale, how far does validation accuracy fall?",
        ("below 3 points", "3 to 10 points", "above 10 points"),
        answer_scaling,
        ("accuracy", "histogram", "loss", "norms"),
        "Half of the histogram is empty: images look pale. Fine-tuning recovers part of the accuracy, so the mistake "
        "is easy to miss.",
        (KERAS_MOBILENET, KERAS_GUIDE, MOBILENET),
        ("wrong_pixel_range",),
    ),
    Lesson(
        "freezing",
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
        "Can augmentation be too strong?",
        "Validation above training?",
        "Strength 3 rotates, shifts and darkens training images. Validation images are not augmented.",
        "At strength 3, which accuracy is higher at the end?",
        ("training", "neither, within 2 points", "validation"),
        answer_augmentation,
        ("accuracy", "histogram", "loss"),
        "Training images are harder than validation images. A small gap is normal; a large gap means that the "
        "augmentation is too strong.",
        (CUBUK, KERAS_GUIDE),
        ("augmented_too_hard", "validation_above_training"),
    ),
    Lesson(
        "width",
        "How much does a wider network help?",
        "Too slow, or too large?",
        "Width α scales the channels of every layer; multiply-adds grow with about α².",
        "α 1.0 costs three times α 0.5. How much accuracy does it add?",
        ("below 2 points", "2 to 5 points", "above 5 points"),
        answer_width,
        ("width", "accuracy"),
        "Most of the gain is reached at α 0.5; after that, each point costs more time. *Is it worth the time?* on "
        "Explore compares your runs and tests whether a gain is significant.",
        (HOWARD, MOBILENET),
    ),
    Lesson(
        "resolution",
        "Why enlarge to 96 pixels?",
        "Poor transfer at 32×32?",
        "CIFAR-10 images are 32×32; enlarging adds no information. The network halves its map five times.",
        "How much lower is the accuracy at 32 px than at 96 px?",
        ("below 5 points", "5 to 20 points", "above 20 points"),
        answer_resolution,
        ("maps", "accuracy", "width"),
        "At 32 px the last map is 1×1, at 96 px 3×3. Cost grows with the square of the side.",
        (MOBILENET, TOUVRON, KERAS_MOBILENET),
        ("small_input",),
    ),
    Lesson(
        "dropout",
        "Does dropout cure overfitting?",
        "Validation falls while training rises?",
        "1,000 images, no augmentation, 17 epochs: the network can memorize them. Dropout sets inputs of the head to "
        "0.",
        "Without dropout, how far is training accuracy above validation accuracy?",
        ("below 5 points", "5 to 15 points", "above 15 points"),
        answer_dropout,
        ("accuracy", "loss"),
        "Dropout narrows the gap, but validation accuracy stays the same. Try more images and augmentation first.",
        (SRIVASTAVA,),
        ("overfitting",),
    ),
    Lesson(
        "phases",
        "Why two phases?",
        "Fine-tuning made it worse?",
        "The head trains on a frozen backbone, then both train. Compare fine-tuning from the first step, and the head "
        "alone.",
        "Without the first phase, validation accuracy is…",
        ("higher", "the same, within 2 points", "lower"),
        answer_phases,
        ("accuracy", "loss"),
        "It is the same here, because the learning rate warms up and only four blocks train. But the first phase costs "
        "far less.",
        (KUMAR, KERAS_GUIDE, YOSINSKI),
        ("fell_at_the_boundary", "fine_tuning_gave_nothing"),
    ),
    Lesson(
        "layers",
        "How useful are each layer's features?",
        "How many blocks to fine-tune?",
        "A linear classifier predicts the classes from each block's features, pretrained or random.",
        "Where does its accuracy first reach 60%?",
        ("blocks 1 to 6", "blocks 7 to 12", "block 13 or later"),
        answer_layers,
        ("layers",),
        "Pretrained features improve block by block. The more your images differ from ImageNet, the more blocks need "
        "fine-tuning.",
        (ALAIN, YOSINSKI),
    ),
    Lesson(
        "rate",
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
        "Is the difference real?",
        "Same settings, different accuracy?",
        "Four runs differ only in the random seed, which sets the head's initial weights and the split. Each holds out "
        "200 images for validation.",
        "How far apart are the best and the worst validation accuracy?",
        ("below 2 points", "2 to 5 points", "above 5 points"),
        answer_noise,
        ("accuracy", "loss"),
        "Hold out more images before you choose between close settings, and compare intervals instead of points.",
        (BOUTHILLIER,),
        ("small_validation_set", "test_surprise", "impatient"),
    ),
    Lesson(
        "teacher",
        "Can a small network learn from a large one?",
        "Small network, low accuracy?",
        "A label says *cat*. A teacher says 80% cat, 15% dog, and so shows which classes look alike. Here the "
        "bundled model, trained on 45,000 images, teaches a network of α 0.35 on 4,000.",
        "How much test accuracy does the teacher add?",
        ("below 2 points", "2 to 5 points", "above 5 points"),
        answer_teacher,
        ("accuracy", "loss"),
        "Eight epochs are few: Beyer et al. train for hundreds, and the gain grows with them. Each augmented image "
        "requires one teacher prediction.",
        (HINTON, BEYER),
    ),
)

LESSONS: Mapping[str, Lesson] = {lesson.name: lesson for lesson in _LESSONS}


def lesson(name: str) -> Lesson:
    """Return lesson `name`. Raises ConfigError if it does not exist."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
