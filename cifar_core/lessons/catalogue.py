"""The lessons: what each asks, what it shows, what there is to see, and whose work it rests on.

No figure stands in these texts: every number on screen comes from results that were really produced.
"""

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

    `question` is guessed at before anything is shown, `options` are its answers; `answer` finds the right one (its
    number) and the sentence that says what was measured, in what the runs gave. `figures` are of FIGURES.
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
        "ImageNet's weights of MobileNetV2 were trained on pixels between **-1 and 1**. Dividing by 255, as countless "
        "scripts do, gives values between **0 and 1**. Nothing crashes, nothing warns. One run does it right, one "
        "divides by 255, and one does what is often found: divides by 255, leaves the images at 32×32 and never "
        "unfreezes.",
        "How far below the right way does the best validation accuracy end if only the scale is wrong?",
        ("less than 3 points", "3 to 10 points", "more than 10 points"),
        answers.scaling,
        ("accuracy", "loss", "histogram", "norms"),
        "The histogram gives the cause away: the left half of the range stays empty, so the network sees every picture "
        "pale and with half its contrast. Compare the curves before the dashed boundary: with the base frozen nothing "
        "can adapt. Fine-tuning then repairs a part, which is why the mistake can stay hidden.",
        "“Transfer learning gives me half of what the tutorial gets”: the loss falls, the accuracy creeps and stops. A "
        "wrong scale alone costs less than its fame; with images left at 32×32 and a base that is never unfrozen it "
        "adds up. Many who report “stuck near 0.4” also have other weights: for inputs of 32×32 Keras silently takes "
        "those of 224 px.",
        (KERAS_MOBILENET, KERAS_GUIDE, MOBILENET),
    ),
    Lesson(
        "freezing",
        "1b",
        "Mistake: freezing wrongly",
        "Two ways to get freezing wrong. **All at once**: the whole network is unfrozen from the first step, at the "
        "head's learning rate, with batch norm in training mode. **Never**: only the head learns, for ever. Beside "
        "them the right way: the head first, then the top of the base at a low rate, batch norm kept in inference "
        "mode. All three at 64 px, since training the whole network takes long.",
        "Everything is unfrozen at once, with batch norm in training mode. Where is validation accuracy after the last "
        "epoch?",
        ("above 70 %", "30 to 70 %", "below 30 %"),
        answers.freezing,
        ("accuracy", "loss", "norms"),
        "Look at the gap. In training, batch norm uses the statistics of the batch; in validation the moving averages, "
        "which at Keras's momentum of 0.999 still remember ImageNet while the weights have long moved on. So the "
        "network is good in training and lost in validation. The maps of its upper blocks, measured as in validation, "
        "are larger than those of the right way: the averages divide by a spread that is no longer true.",
        "“My validation accuracy is stuck near 0.4 and its loss grows, though training goes well; are my labels "
        "shuffled?” No: `trainable = True` came too early, and the base was called without `training=False`. The other "
        "mistake looks harmless: a flat line that more epochs do not lift.",
        (KERAS_GUIDE, IOFFE, YOSINSKI),
    ),
    Lesson(
        "augmentation",
        "1c",
        "Mistake: augmenting too hard",
        "Rotation, shift, zoom and brightness make many images of one. At strength 3 a picture may be turned by 45°, "
        "shifted by a third of its width and darkened by more than half; on 32×32 pixels little is left of it. One run "
        "at strength 0.5, one at 3, one without any.",
        "At strength 3, how does training accuracy in the last epoch compare with validation accuracy?",
        ("training is higher", "about the same, within 2 points", "validation is higher"),
        answers.augmentation,
        ("accuracy", "loss", "histogram"),
        "Validation images are never augmented, so they are easier than what the network trains on. In the histogram "
        "hard augmentation piles values up at the upper end, where brightness is clipped: what was there is gone.",
        "“Validation accuracy is above training accuracy, is that a bug?” A little is normal with dropout and "
        "augmentation. Much means that the network spends its epochs on pictures that nobody will ever show it.",
        (CUBUK, KERAS_GUIDE),
    ),
    Lesson(
        "width",
        "2",
        "What α buys",
        "The width multiplier α scales the channels of every layer. Weights and multiply-adds grow with about α². The "
        "same recipe at four widths, each from its own ImageNet weights.",
        "From α 0.5 to α 1.0 the network takes about three times the multiply-adds. By how much does validation "
        "accuracy rise?",
        ("less than 2 points", "2 to 5 points", "more than 5 points"),
        answers.width,
        ("width", "accuracy"),
        "From 0.35 to 0.5 there is something to be had; above, the gain is far smaller than the price, and within "
        "what a thousand validation images can tell: learned from 4,000 images, ten classes do not fill a wider "
        "network. On ImageNet's thousand classes width pays more. How multiply-adds turn into milliseconds is a "
        "matter of the processor and of what else it does: run it here for your own.",
        "Papers choose α by a budget: so many milliseconds, so many megabytes, and then the widest network that fits.",
        (HOWARD, MOBILENET),
    ),
    Lesson(
        "resolution",
        "3",
        "Why 96 pixels",
        "CIFAR-10's images have 32×32 pixels, and enlarging them adds nothing that was not there. The same network, "
        "α 0.75, gets them at 32, 64, 96 and 128 px.",
        "At 32 px, their own size, how far below 96 px does validation accuracy end?",
        ("less than 5 points", "5 to 20 points", "more than 20 points"),
        answers.resolution,
        ("maps", "accuracy", "width"),
        "The network halves its map five times: 32 px end in a single cell, 96 px in 3×3. And its filters were learned "
        "on objects that fill 96 pixels or more: on 32 an ear is smaller than any ear that they know. Beyond the "
        "size that the weights were trained at, the ears get too large: whether 128 px bring more depends on having "
        "the weights for 128 px. Cost grows with the square of the side either way.",
        "“I used input_shape=(32, 32, 3), since CIFAR is 32×32”: a common reason for poor transfer to CIFAR.",
        (MOBILENET, TOUVRON, KERAS_MOBILENET),
    ),
    Lesson(
        "dropout",
        "4",
        "Dropout and overfitting",
        "A training set of 1,000 images, no augmentation, and 17 epochs: the network can learn them by heart. Dropout "
        "silences a share of the head's inputs at each step. Here 0, 0.3 and 0.8 of them.",
        "Without dropout, how far is training accuracy above validation accuracy after the last epoch?",
        ("less than 5 points", "5 to 15 points", "more than 15 points"),
        answers.dropout,
        ("accuracy", "loss"),
        "Without dropout the network soon knows every training image by heart, and yet validation does not fall: most "
        "of the base is frozen, and the learning rate goes to nothing. Dropout narrows the gap from above. Training "
        "accuracy sinks, being measured with units silenced, while validation ends alike, within what a thousand "
        "images can tell. A small gap is not a better network; look at validation alone.",
        "“99 % in training, 80 % in validation”: more images and more augmentation help first, then dropout "
        "and an earlier stop. Srivastava et al. trained whole networks from nothing, where dropout gave much more.",
        (SRIVASTAVA,),
    ),
    Lesson(
        "phases",
        "5",
        "Two phases",
        "The usual recipe trains the new head on a frozen base first, and fine-tunes after that. What if fine-tuning "
        "starts at once, below a head of random numbers? And what if it never comes? Eight epochs each.",
        "Without the first phase, the best validation accuracy ends…",
        ("higher", "about the same, within 2 points", "more than 2 points lower"),
        answers.phases,
        ("accuracy", "loss"),
        "Here the end is the same without the first phase, within what a thousand validation images can tell. What "
        "spoils a base are the large, empty gradients of a random head; but the rate warms up, batch norm keeps its "
        "statistics and only the top four blocks move, so little is spoiled and eight epochs mend it. Take these "
        "guards away, as in lesson 1b, and it is not mended. What the first phase always buys is time: an epoch of "
        "the head costs a fraction of one of fine-tuning. The second phase shows most in the test column, where ten "
        "thousand images tell.",
        "“Fine-tuning made it worse”: look for a drop of the curve at the moment of unfreezing, then lower the "
        "rate, or warm it up.",
        (KUMAR, KERAS_GUIDE, YOSINSKI),
    ),
    Lesson(
        "layers",
        "6",
        "What the layers know",
        "Nothing is trained here but a linear classifier: on the features behind each block, averaged over the map, a "
        "logistic regression learns the ten classes from 4,000 images. Once with the first weights of a training, once "
        "with random numbers in the same network.",
        "Behind which layer does the linear classifier first get six of ten images right?",
        ("in the first six blocks", "in the middle, blocks 6 to 11", "in the last five, or behind them"),
        answers.layers,
        ("layers",),
        "The pixels have 3,072 numbers and an order in space; the first blocks, averaged, have 8 to 16 numbers and "
        "none, so the curve first falls. From there each block makes the classes easier to tell apart, most of all "
        "where the map is halved and the channels grow. With random numbers it stays flat: depth alone knows nothing.",
        "Which layer to take features from? Here the last one, because ImageNet's classes are close to these ten. The "
        "farther a task is from ImageNet, the earlier the curve turns down, and the more of the top must be "
        "fine-tuned.",
        (ALAIN, YOSINSKI),
    ),
)

LESSONS: Mapping[str, Lesson] = {lesson.name: lesson for lesson in _ALL}


def lesson(name: str) -> Lesson:
    """Return the lesson called `name`. Raises ConfigError."""
    if name not in LESSONS:
        raise ConfigError(f"Lesson: received {name[:60]!r}, expected one of {', '.join(LESSONS)}.")
    return LESSONS[name]
