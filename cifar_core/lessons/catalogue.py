"""The texts of the lessons: questions, options, explanations and sources. Measurements come from results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cifar_core.errors import ConfigError
from cifar_core.lessons import answers

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
HOWARD = ("Howard et al. 2017, MobileNets, arXiv:1704.04861", "https://arxiv.org/abs/1704.04861")
TOUVRON = (
    "Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv:1906.06423",
    "https://arxiv.org/abs/1906.06423",
)

FIGURES = ("accuracy", "loss", "histogram", "norms", "maps", "width", "layers")


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    `question` is shown before any result; `options` are its answers, of which `answer` returns the number of the right
    one and a sentence with the measurements. `figures` are of FIGURES. `see` explains the figures, `wild` names where
    the effect occurs in practice.
    """

    name: str
    number: str
    title: str
    text: str
    question: str
    options: tuple[str, ...]
    answer: Callable[[Any], tuple[int, str]]
    figures: tuple[str, ...]
    see: str
    wild: str
    sources: tuple[tuple[str, str], ...]


_ALL = (
    Lesson(
        "scaling",
        "1a",
        "Mistake: the wrong scale",
        "The ImageNet weights of MobileNetV2 expect pixels between **-1 and 1**. Dividing by 255 gives **0 to 1**, "
        "without a warning. You compare the right scale, the wrong one, and the wrong one at 32×32 with a frozen base.",
        "With the wrong scale alone, how far does the best validation accuracy fall?",
        ("less than 3 points", "3 to 10 points", "more than 10 points"),
        answers.scaling,
        ("accuracy", "loss", "histogram", "norms"),
        "The left half of the histogram is empty: images are pale, with half the contrast. The frozen base cannot "
        "adapt; fine-tuning repairs a part, so the mistake can go unnoticed.",
        "“Transfer learning gives me half of the tutorial's accuracy.” Often the images are also 32×32 and the "
        "base stays frozen. For 32×32 inputs Keras loads the weights for 224 px.",
        (KERAS_MOBILENET, KERAS_GUIDE, MOBILENET),
    ),
    Lesson(
        "freezing",
        "1b",
        "Mistake: freezing wrongly",
        "You compare two mistakes with the usual recipe, at 64 px. **All at once**: every layer trains from the first "
        "step at the head's rate, batch norm in training mode. **Never**: only the head trains. **Usual**: the head "
        "first, then the top of the base at a low rate, batch norm in inference mode.",
        "Every layer trains at once, with batch norm in training mode. What is the validation accuracy after the last "
        "epoch?",
        ("above 70%", "30 to 70%", "below 30%"),
        answers.freezing,
        ("accuracy", "loss", "norms"),
        "In training, batch norm uses the batch's statistics; in validation, moving averages. With Keras's momentum of "
        "0.999 these still describe ImageNet after the weights have changed, so validation fails."
        " The maps of the upper blocks grow too large.",
        "“Validation accuracy is stuck near 0.4 while training goes well.” Check for an early `trainable = True` and a "
        "base called without `training=False`. ",
        (KERAS_GUIDE, IOFFE, YOSINSKI),
    ),
    Lesson(
        "augmentation",
        "1c",
        "Mistake: augmenting too hard",
        "Strength 3 rotates training images by up to 45°, shifts them by a third of the width and darkens them by more "
        "than half. You compare strengths 0, 0.5 and 3.",
        "At strength 3, how does training accuracy in the last epoch compare with validation accuracy?",
        ("training is higher", "about the same, within 2 points", "validation is higher"),
        answers.augmentation,
        ("accuracy", "loss", "histogram"),
        "Validation images are not augmented, so they are easier. The peak at the upper end of the histogram is "
        "clipped brightness.",
        "“Validation accuracy is above training accuracy.” A small difference is normal with dropout and "
        "augmentation; a large one means that training images are too hard.",
        (CUBUK, KERAS_GUIDE),
    ),
    Lesson(
        "width",
        "2",
        "What α buys",
        "The width multiplier α scales the channels of every layer; weights and multiply-adds grow with about α². You "
        "compare four widths, each with its own ImageNet weights.",
        "From α 0.5 to α 1.0 the multiply-adds triple. By how much does validation accuracy rise?",
        ("less than 2 points", "2 to 5 points", "more than 5 points"),
        answers.width,
        ("width", "accuracy"),
        "The step from 0.35 to 0.5 helps. Above, the gain is within the noise of a thousand validation images. "
        "Run the lesson to measure latency on your processor.",
        "Choose α by a budget of milliseconds or megabytes, and take the widest network that fits.",
        (HOWARD, MOBILENET),
    ),
    Lesson(
        "resolution",
        "3",
        "Why 96 pixels",
        "CIFAR-10 images have 32×32 pixels; enlarging adds no information. You train the same network, α 0.75, at 32, "
        "64, 96 and 128 px.",
        "At 32 px, their own size, how far below 96 px does validation accuracy end?",
        ("less than 5 points", "5 to 20 points", "more than 20 points"),
        answers.resolution,
        ("maps", "accuracy", "width"),
        "The network halves its map five times: 32 px end in one cell, 96 px in 3×3. Its filters expect objects that "
        "fill 96 pixels or more. 128 px need weights for 128 px. Cost grows with the square of the side.",
        "“I used input_shape=(32, 32, 3), since CIFAR is 32×32”: a common cause of poor transfer.",
        (MOBILENET, TOUVRON, KERAS_MOBILENET),
    ),
    Lesson(
        "dropout",
        "4",
        "Dropout and overfitting",
        "With 1,000 training images, no augmentation and 17 epochs, the network can memorize its training set. Dropout "
        "sets a share of the head's inputs to 0 at each step: here 0, 0.3 and 0.8.",
        "Without dropout, how far is training accuracy above validation accuracy after the last epoch?",
        ("less than 5 points", "5 to 15 points", "more than 15 points"),
        answers.dropout,
        ("accuracy", "loss"),
        "Without dropout the network memorizes the training images, but validation does not fall, as most of the base "
        "is frozen. Dropout lowers training accuracy and leaves validation within the noise of a thousand images. "
        "Compare validation, not the gap.",
        "“99% in training, 80% in validation”: add images and augmentation first, then dropout and early stopping. "
        "Dropout helps more when you train from scratch.",
        (SRIVASTAVA,),
    ),
    Lesson(
        "phases",
        "5",
        "Two phases",
        "The usual recipe trains the head on a frozen base, then fine-tunes. You compare it with fine-tuning from the "
        "first step, below a random head, and with the head alone. Each has eight epochs.",
        "Without the first phase, the best validation accuracy ends…",
        ("higher", "about the same, within 2 points", "more than 2 points lower"),
        answers.phases,
        ("accuracy", "loss"),
        "The result is the same within noise. A random head sends large gradients "
        "into the base, but the rate warms up, batch norm keeps its statistics and only four blocks train; lesson 1b "
        "has no such guards. Epochs of the first phase cost a fraction of the others. Compare the second phase in the "
        "test column, on ten thousand images.",
        "“Fine-tuning made it worse”: look for a drop where the base is unfrozen, then lower the rate or warm it up.",
        (KUMAR, KERAS_GUIDE, YOSINSKI),
    ),
    Lesson(
        "layers",
        "6",
        "What the layers know",
        "You train only a linear classifier: a logistic regression on the features of each block, averaged over the "
        "map, from 4,000 images. Once with pretrained weights, once with random ones.",
        "After which layer does the linear classifier first get six of ten images right?",
        ("in the first six blocks", "in the middle, blocks 6 to 11", "in the last five, or after them"),
        answers.layers,
        ("layers",),
        "The curve falls first: 3,072 pixels become 8 to 16 averages. Then every block separates the classes better, "
        "most where the map is halved. With random weights the curve stays flat.",
        "Here the last layer has the best features, as ImageNet's classes resemble these ten. For a task that differs "
        "more, the curve falls earlier and more blocks need fine-tuning.",
        (ALAIN, YOSINSKI),
    ),
)

LESSONS: Mapping[str, Lesson] = {lesson.name: lesson for lesson in _ALL}


def lesson(name: str) -> Lesson:
    """Return the lesson called `name`. Raises ConfigError."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
