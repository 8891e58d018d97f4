"""The lessons: questions, options, explanations and sources."""

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

HINTON = (
    "Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531",
    "https://arxiv.org/abs/1503.02531",
)
BEYER = (
    "Beyer et al. 2022, Knowledge distillation: A good teacher is patient and consistent, arXiv:2106.05237",
    "https://arxiv.org/abs/2106.05237",
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
    answer: Callable[[Any], tuple[int, str]]
    figures: tuple[str, ...]
    see: str
    sources: tuple[tuple[str, str], ...]
    rules: tuple[str, ...]

    @property
    def number(self) -> str:
        """The position among the lessons, from "1"."""
        return str(1 + list(LESSONS).index(self.name))


_ALL = (
    Lesson(
        INSIDE,
        "What happens inside the network?",
        "How does it see?",
        "A photo passes through 17 blocks. Feature maps get smaller and the number of channels grows. One position "
        "of a map sees a part of the picture, its receptive field.",
        "In which block does one position first see the whole width?",
        ("blocks 1 to 5", "blocks 6 to 11", "block 12 or later"),
        answers.inside,
        (),
        "Early blocks have large maps that respond to edges and colors; late blocks have small maps that respond to "
        "parts of objects. Choose a block, then a channel, and compare the training images that activate it most.",
        (ARAUJO, ZEILER, MOBILENET),
        (),
    ),
    Lesson(
        "scaling",
        "Is the pixel scale right?",
        "Half the tutorial's accuracy?",
        "ImageNet weights expect pixels in [-1, 1]. Dividing by 255 gives [0, 1], without a warning.",
        "With the wrong scale, how far does validation accuracy fall?",
        ("below 3 points", "3 to 10 points", "above 10 points"),
        answers.scaling,
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
        answers.freezing,
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
        answers.augmentation,
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
        answers.width,
        ("width", "accuracy"),
        "Most of the gain is reached at α 0.5; after that, each point costs more time. *Is it worth the time?* on "
        "Explore compares your runs and tests whether a gain is significant.",
        (HOWARD, MOBILENET),
        (),
    ),
    Lesson(
        "resolution",
        "Why enlarge to 96 pixels?",
        "Poor transfer at 32×32?",
        "CIFAR-10 images are 32×32; enlarging adds no information. The network halves its map five times.",
        "How much lower is the accuracy at 32 px than at 96 px?",
        ("below 5 points", "5 to 20 points", "above 20 points"),
        answers.resolution,
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
        answers.dropout,
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
        answers.phases,
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
        answers.layers,
        ("layers",),
        "Pretrained features improve block by block. The more your images differ from ImageNet, the more blocks need "
        "fine-tuning.",
        (ALAIN, YOSINSKI),
        (),
    ),
    Lesson(
        "rate",
        "Which learning rate?",
        "Loss flat, or not a number?",
        "The learning rate sets the size of each step. Here the head trains at the usual rate, at a hundredth of it "
        "and at a hundred times it.",
        "Which costs more accuracy in eight epochs?",
        ("the low rate", "neither, within 2 points", "the high rate"),
        answers.rate,
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
        answers.noise,
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
        answers.teacher,
        ("accuracy", "loss"),
        "Eight epochs are few: Beyer et al. train for hundreds, and the gain grows with them. Each augmented image "
        "requires one teacher prediction.",
        (HINTON, BEYER),
        (),
    ),
)

LESSONS: Mapping[str, Lesson] = {lesson.name: lesson for lesson in _ALL}


def lesson(name: str) -> Lesson:
    """Return lesson `name`. Raises ConfigError if it does not exist."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
