"""The glossary: a definition of each term in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping

TERMS: Mapping[str, str] = {
    "accuracy": "The share of images whose class the network predicts correctly.",
    "augmentation": "Random changes to training images, such as shifts and rotations, so that no two epochs are alike.",
    "backbone": "The pretrained part of the network, which turns an image into features.",
    "baseline": "The run or model that others are compared with.",
    "batch normalization": "A layer that scales its inputs to mean 0 and variance 1, in training by the statistics of "
    "each batch, in evaluation by moving averages.",
    "calibration": "How well probabilities match reality: of all predictions with 80%, 80% are correct.",
    "channel": "One of the maps that a layer computes from an image; each responds to one kind of pattern.",
    "confusion matrix": "A table that counts, for each true class, how often each class was predicted.",
    "cross-entropy": "The loss that training minimizes; it is low if the true class has a high probability.",
    "dropout": "A share of units is set to zero at random in each training step, so that none becomes indispensable.",
    "early stopping": "Training ends when validation has not improved for some epochs.",
    "epoch": "One pass over all training images.",
    "expected calibration error": "The mean difference between the probability of predictions and the share "
    "that is correct; 0 is perfect.",
    "feature cache": "The outputs of the frozen backbone, computed once and stored, so that epochs take seconds.",
    "fine-tuning": "The second phase: the top blocks of the backbone train too, at a low learning rate.",
    "head": "The new layers on top of the backbone, which turn features into class probabilities.",
    "L2": "A penalty on large weights, added to the loss.",
    "label smoothing": "Training toward a probability slightly below 1 for the true class, to reduce overconfidence.",
    "learning rate": "The size of the steps in which training changes the weights.",
    "linear probe": "A linear classifier on frozen features; its accuracy measures how well they separate the classes.",
    "LiteRT": "The successor of TensorFlow Lite: a small, fast runtime for models on phones and computers.",
    "logits": "The network's ten outputs before softmax turns them into probabilities.",
    "McNemar's test": "Whether one of two models is better, or whether chance explains it: it compares the images that "
    "only one of them predicts correctly.",
    "nats": "The unit of the loss with natural logarithms: 0 is certain and correct, 2.3 is guessing among ten "
    "classes.",
    "ONNX": "A file format for models that most frameworks and browsers can run.",
    "out-of-distribution": "An image that differs from all training images; its prediction is unreliable.",
    "overfitting": "The network learns details of the training images that do not hold for new images.",
    "pruning": "Ending a trial early because it is worse than the others at the same epoch.",
    "temperature": "A number that the logits are divided by: above 1 it lowers high probabilities; the prediction "
    "stays the same.",
    "test": "Images that are used once, at the end, to measure accuracy on new images.",
    "validation": "Images that are held back from training; settings and epochs are chosen by them.",
    "width α": "A factor on the number of channels in every layer; cost grows with about its square.",
    "σ": "Standard deviation, the usual distance from the mean: only one value in forty is more than 2 σ above it.",
}


def explain(text: str) -> str | None:
    """Return the terms in `text` with their definitions as Markdown, or None if it contains no term.

    Longer terms are matched first: "McNemar's test" does not match "test".
    """
    found = set()
    for term in sorted(TERMS, key=len, reverse=True):
        text, count = re.subn(rf"\b{re.escape(term)}s?\b", " ", text, flags=re.IGNORECASE)
        if count:
            found.add(term)
    return "\n\n".join(f"**{term}**: {TERMS[term]}" for term in TERMS if term in found) or None
