"""Measure the out-of-distribution rule of the bundled model, on CIFAR-10 and on photographs of other things.

    python -m tests.out_of_distribution            print the rates; needs CIFAR-10 and the dev packages
    python -m tests.out_of_distribution --write    also set the threshold, and write the rates into the model card

The photographs are those that scikit-image and scikit-learn ship, without the cat and the horse: each as its central
square, as the app crops it, and as its four quarters. Small patches of faces (scikit-image's LFW subset) are counted
apart. A false alarm is a CIFAR-10 test image above the threshold, a miss another photograph below it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import msgspec
import numpy as np
import skimage
from PIL import Image
from sklearn.datasets import load_sample_images

from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, synthetic
from cifar_core.data.cifar10 import split
from cifar_core.export import bundle
from cifar_core.inference import calibration, pictures
from cifar_core.inference.classifier import BUNDLED, BUNDLED_ALPHA, Classifier, open_classifier
from cifar_core.network import pretrained
from cifar_core.runs import read_json, write_json

PHOTOS = (
    *("astronaut", "brick", "camera", "clock", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "microaneurysms", "moon", "page", "retina", "rocket", "text", "stereo_motorcycle"),
)
DRAWINGS = 200


def squares(photo: np.ndarray) -> list[np.ndarray]:
    """The network's input for a photo and for its four quarters, uint8 (32, 32, 3) each."""
    image = Image.fromarray(photo).convert("RGB")
    width, height = image.size
    halves = [(x, y, x + width // 2, y + height // 2) for x in (0, width // 2) for y in (0, height // 2)]
    return [pictures.prepare(part) for part in (image, *(image.crop(box) for box in halves))]


def photographs() -> np.ndarray:
    """Photographs of none of the ten classes: uint8 (n, 32, 32, 3)."""
    found = [getattr(skimage.data, name)() for name in PHOTOS]
    found = [photo[0] if isinstance(photo, tuple) else photo for photo in found] + load_sample_images().images
    return np.stack([square for photo in found for square in squares(photo)])


def faces() -> np.ndarray:
    """A hundred faces of 25x25 gray pixels, enlarged."""
    gray = (skimage.data.lfw_subset()[:100] * 255).astype(np.uint8)
    return np.stack([pictures.prepare(Image.fromarray(face).convert("RGB")) for face in gray])


def scores(model: Classifier, images: np.ndarray) -> np.ndarray:
    parts = [model.answer(images[start : start + 500]).scores for start in range(0, len(images), 500)]
    return np.concatenate(parts)


def measured(model: Classifier, config: TrainConfig) -> tuple[calibration.OutOfDistribution, dict[str, float]]:
    """Return the rule with its threshold from the validation images, and the rates of photographs."""
    dataset = cifar10.load("cifar10")
    _, rows = split(dataset.train_labels, config.train_images, config.validation_fraction, config.seed)
    validation, test = scores(model, dataset.train_images[rows]), scores(model, dataset.test_images)
    limit = calibration.threshold(validation)
    caught = {
        kind: float((scores(model, synthetic.other_images(kind, DRAWINGS)) > limit).mean())
        for kind in synthetic.OTHER_KINDS
    }
    others = {"photographs": photographs(), "faces": faces()}
    rates = {"false_alarms": float((test > limit).mean()), "test_images": len(test)}
    for name, images in others.items():
        answers = model.answer(images)
        missed = answers.scores <= limit
        sure = missed & (answers.probabilities.max(axis=1) > 0.9)
        rates |= {
            name: len(images),
            f"{name}_missed": float(missed.mean()),
            f"{name}_missed_above_90": float(sure.mean()),
        }
    rule = calibration.OutOfDistribution(
        limit, float((test <= limit).mean()), caught, DRAWINGS, calibration.LEVEL, float(validation.max())
    )
    return rule, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write threshold and rates into the bundled files")
    write = parser.parse_args().write
    model, folder = open_classifier(BUNDLED), pretrained.BUNDLED_FOLDER
    cards, key = read_json(folder / bundle.CARD), f"{BUNDLED_ALPHA:g}"
    rule, rates = measured(model, TrainConfig.from_dict(cards[key]["config"]))
    print(f"threshold {rule.threshold:.4f} ({rule.level:.0%} of the validation images), highest {rule.highest:.4f}")
    print(f"false alarms: {rates['false_alarms']:.2%} of {rates['test_images']:,} CIFAR-10 test images")
    for name in ("photographs", "faces"):
        print(
            f"missed: {rates[f'{name}_missed']:.1%} of {rates[name]} {name}; "
            f"{rates[f'{name}_missed_above_90']:.1%} with an answer above 90%"
        )
    print("drawings above the threshold:", ", ".join(f"{kind} {share:.1%}" for kind, share in rule.caught.items()))
    if write:
        known = calibration.load(folder / calibration.FILE)
        msgspec.structs.replace(known, out_of_distribution=rule).save(folder / calibration.FILE)
        cards[key]["calibration"]["unlike"] = asdict(rule)
        cards[key]["out_of_distribution"] = rates
        write_json(folder / bundle.CARD, cards)
        (folder / "MODEL_CARD.md").write_text(bundle.model_card(cards), encoding="utf-8")


if __name__ == "__main__":
    main()
