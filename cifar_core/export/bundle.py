"""The bundled models: files of finished runs that the package contains, and their model card.

cifar_core/bundled/mobilenet_v2_<width>.npz      weights of the backbone, kernels in float16, for training
cifar_core/bundled/mobilenet_v2_0.5.keras .tflite, calibration.json, neighbours.npz    the bundled classifier
cifar_core/bundled/card.json, MODEL_CARD.md      metrics and recipe of each run; the second is generated from the first
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from cifar_core import untrusted
from cifar_core.config import KNOBS, PRESETS, TrainConfig, nearest_preset
from cifar_core.data.cifar10 import CLASSES, shown_label
from cifar_core.errors import RunError
from cifar_core.evaluation import predictions
from cifar_core.inference import calibration, neighbors
from cifar_core.inference.classifier import BUNDLED_ALPHA
from cifar_core.network import pretrained
from cifar_core.network.architecture import BLOCK_COUNT
from cifar_core.runs import Run, load_json, records, write_json

CARD = "card.json"
_CONFUSIONS = 6


def bundle(run: Run, folder: Path = pretrained.BUNDLED_FOLDER) -> list[Path]:
    """Write the files of the finished `run` into `folder`, replacing those of its width; return their paths.

    Raises RunError if the run is not finished, its files are damaged, or part of its backbone was not trained here:
    ImageNet weights are not redistributed.
    """
    evaluation, config = predictions.load(run), run.config
    if config.fine_tune_blocks < BLOCK_COUNT or not config.fine_tunes:
        trained = f"Run {run.id} trained {config.fine_tune_blocks} of {BLOCK_COUNT} blocks, expected all"
        raise RunError(f"{trained}, as ImageNet's weights do not ship; train with --fine-tune-blocks {BLOCK_COUNT}.")
    folder.mkdir(exist_ok=True)
    stem = f"mobilenet_v2_{config.alpha:g}"
    written = [_write_backbone(run, folder / f"{stem}.npz")]
    if config.alpha == BUNDLED_ALPHA:
        copies = {"best.keras": f"{stem}.keras", "model.tflite": f"{stem}.tflite"}
        copies |= {name: name for name in (calibration.FILE, neighbors.FILE)}
        written += [shutil.copyfile(run.path / name, folder / target) for name, target in copies.items()]
    cards, alpha = load_json(folder / CARD) or {}, f"{config.alpha:g}"
    new = card(run, evaluation.validation, evaluation.test)
    if (new["weights"] or {}).get("kind") == "bundled" and (replaced := cards.get(alpha)):
        keys = ("run", "date", "command", "seconds", "weights", "test")
        new["before"] = [*replaced.get("before", []), {key: replaced[key] for key in keys}]
    cards[alpha] = new
    cards = {alpha: cards[alpha] for alpha in sorted(cards, key=float)}
    write_json(folder / CARD, cards)
    text = folder / "MODEL_CARD.md"
    text.write_text(model_card(cards), encoding="utf-8")
    return [*written, folder / CARD, text]


def card(run: Run, validation: predictions.Predictions, test: predictions.Predictions) -> dict[str, Any]:
    """Return the facts of a run for JSON: recipe, command, machine, metrics with 95% intervals, confusions.

    Raises RunError if one of its files is damaged.
    """
    config, environment, result = run.config, load_json(run.path / "environment.json") or {}, run.result
    counts = predictions.confusion_counts(test)
    wrong = counts * (1 - np.eye(len(CLASSES), dtype=int))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    fitted = calibration.load(run.path / calibration.FILE)
    probabilities = calibration.scaled(test.probabilities, fitted.temperature) if fitted else test.probabilities
    records.environment(run.path)
    return {
        "run": run.id,
        "date": run.id[:8],
        "command": command(run),
        "config": config.to_dict(),
        "environment": {key: environment.get(key) for key in ("python", "packages", "processor", "cores", "backend")},
        "data": environment.get("data"),
        "weights": environment.get("weights"),
        "seconds": result.get("elapsed_seconds"),
        "parameters": result.get("parameters"),
        "validation": _share(int(validation.is_correct.sum()), len(validation.labels)),
        "test": _share(int(test.is_correct.sum()), len(test.labels)) | {"loss": test.loss},
        "classes": {
            name: _share(int(counts[label, label]), int(counts[label].sum())) for label, name in enumerate(CLASSES)
        },
        "confusions": [
            {"is": CLASSES[cell // 10], "said": CLASSES[cell % 10], "images": int(wrong.flat[cell])} for cell in worst
        ],
        "calibration": load_json(run.path / calibration.FILE) or {},
        "calibration_error": vars(calibration.calibration_error(probabilities, test.labels)),
    }


def _share(correct: int, images: int) -> dict[str, Any]:
    accuracy = correct / images if images else None
    return {"accuracy": accuracy, "interval": predictions.wilson(correct, images), "images": images}


def command(run: Run) -> str:
    """Return the command that reproduces the run."""
    config = run.config
    name = nearest_preset(config)
    flags = "".join(f" {KNOBS[knob].flag} {value}" for knob, (value, _) in config.differences(PRESETS[name]).items())
    return f"python -m cifar_core train --preset {name}{flags}"


def model_card(cards: dict[str, Any]) -> str:
    """Return the model card of all widths as Markdown."""
    template = Template(Path(__file__).with_name("model_card.md").read_text("utf-8"))
    widths = "\n".join(_width_row(alpha, figures) for alpha, figures in cards.items())
    whole = cards.get(f"{BUNDLED_ALPHA:g}")
    return template.substitute(widths=widths, classifier=_classifier_words(whole) if whole else "")


def _write_backbone(run: Run, path: Path) -> Path:
    """Write the weights of the backbone. Float16 is accurate enough for kernels; variances would underflow."""
    try:
        file = untrusted.load_arrays(run.path / "checkpoint.npz")
        best = {name: file[f"best/{name}"] for name in pretrained.base_shapes(run.config.alpha)}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"Run {run.id} has no usable checkpoint.npz ({type(error).__name__}); train it again.") from None
    arrays: dict[str, Any] = {
        name: value.astype(np.float16 if name.endswith("/kernel") else np.float32) for name, value in best.items()
    }
    np.savez_compressed(path, **arrays)
    return path


def _width_row(alpha: str, figures: dict[str, Any]) -> str:
    low, high = figures["test"]["interval"]
    environment = figures["environment"]
    when = f"{figures['date'][:4]}-{figures['date'][4:6]}-{figures['date'][6:]}"
    stages = [*figures.get("before", []), figures]
    commands = ", then, from there, ".join(f"`{stage['command']}`" for stage in stages)
    minutes = " + ".join(f"{stage['seconds'] / 60:.0f}" for stage in stages)
    return (
        f"| {alpha} | {figures['parameters']:,} | {figures['validation']['accuracy']:.1%} | "
        f"{figures['test']['accuracy']:.1%} ({low:.1%} to {high:.1%}) | {minutes} min, "
        f"{environment['processor']}, {environment['cores']} cores, {when} | {commands} |"
    )


def _photographs(rates: dict[str, Any] | None) -> str:
    """Return the rates measured by tests/out_of_distribution.py, or "" if not measured."""
    if not rates:
        return " It was not measured on photographs of other things, which are often below it."
    counts = " and ".join(
        f"{rates[f'{name}_missed']:.0%} of {rates[name]} {words} ({rates[f'{name}_missed_above_90']:.0%} with a "
        "prediction above 90%)"
        for name, words in (("photographs", "squares of photographs of other things"), ("faces", "small gray faces"))
    )
    return (
        f" It misses {counts}; the photographs are those of scikit-image and scikit-learn, measured by `python -m "
        "tests.out_of_distribution`. So a prediction without a note may still be about something else."
    )


def facts(figures: dict[str, Any]) -> dict[str, str]:
    """Return the text of a `card` by topic, without topics that a run of an older version did not record."""
    config, known = TrainConfig.from_dict(figures["config"]), figures["calibration"]
    worst = ", ".join(f"{row['is']} predicted as {row['said']} ({row['images']})" for row in figures["confusions"])
    label = shown_label((figures["data"] or {}).get("label", config.dataset))
    texts = {
        "Data": f"{label}: {config.train_images:,} training images, of "
        f"which {figures['validation']['images']:,} were held back to choose the best epoch"
        + (", none of them a near-duplicate of the rest" if config.split == "grouped" else "")
        + f"; {figures['test']['images']:,} test images, read once at the end. Images of 32×32 pixels of ten classes; "
        "in CIFAR-10 (Krizhevsky 2009) a few labels are known to be wrong.",
        "Before": " ".join(
            f"`{stage['command']}`, from {stage['weights']['label']}, reached a test accuracy of "
            f"{stage['test']['accuracy']:.1%}; the recipe below continued from it."
            for stage in figures.get("before", [])
        ),
        "Recipe": _recipe(config),
        "Software": ", ".join(_versions(figures["environment"]))
        + f"; initial weights: {(figures['weights'] or {}).get('label', config.weights)}.",
    }
    if known:
        error = figures["calibration_error"]
        texts["Calibration"] = (
            f"Temperature {known['temperature']:.3f}, fitted on validation images; root mean square calibration error "
            f"on test images {error['value']:.1%} (95% interval {error['low']:.1%} to {error['high']:.1%})."
        )
    if rates := known.get("unlike"):
        caught = ", ".join(f"{kind} {share:.0%}" for kind, share in rates["caught"].items())
        texts["Out-of-distribution"] = (
            f"{1 - rates['kept']:.1%} of the test images are above the threshold (false alarms); of "
            f"{rates['pictures']} drawings of each kind: {caught}.{_photographs(figures.get('out_of_distribution'))}"
        )
    texts["Weaknesses"] = (
        f"Most frequent mistakes among the test images: {worst}. It knows ten classes and 32×32 pixels: text, people, "
        "close-ups and scenes with several things are not what it was trained for. Do not use it for decisions that "
        "matter."
    )
    return {topic: text for topic, text in texts.items() if text}


def _recipe(config: TrainConfig) -> str:
    head, tuning = (KNOBS[name].format(getattr(config, name)) for name in ("head_epochs", "fine_tune_epochs"))
    phases = [f"the head for {head} on the frozen backbone"] if config.head_epochs else []
    rate, batch = config.head_learning_rate, config.head_batch_size
    if config.fine_tunes:
        blocks = config.fine_tune_blocks
        part = "the whole network" if blocks == BLOCK_COUNT else f"the top {blocks} of {BLOCK_COUNT} blocks"
        phases.append(f"{part} for {tuning}")
        rate, batch = config.fine_tune_learning_rate, config.batch_size
    versions = f"in {config.views} versions of each image" if config.views else "new in every batch"
    text = (
        f"{', then '.join(phases)} at {config.image_size} px: {config.optimizer}, rate {rate:g} ({config.schedule}), "
        f"batches of {batch}, label smoothing {config.label_smoothing:g}, dropout {config.dropout:g}, augmentation "
        f"{config.augmentation:g}{f', {versions}' if config.augmentation else ''}, batch norm: {config.batch_norm}"
        f"{''.join(_extras(config))}. Seed {config.seed}."
    )
    return text[0].upper() + text[1:]


def _extras(config: TrainConfig) -> Iterator[str]:
    if config.mixing and not config.views:
        yield f", Mixup and CutMix {config.mixing:g}"
    if config.ema == "on":
        yield ", averaged weights"
    if config.distils:
        yield f", teacher {config.teacher} with weight {config.distillation:g}"


def _versions(environment: dict[str, Any]) -> list[str]:
    packages = environment["packages"] if isinstance(environment["packages"], dict) else {}
    named = [f"{name} {packages[name]}" for name in ("tensorflow", "keras", "numpy") if name in packages]
    return [f"Python {environment['python']}", *named]


def _classifier_words(figures: dict[str, Any]) -> str:
    lines = ["## Width 0.5, the classifier", ""]
    lines += [f"- **{topic}.** {text}" for topic, text in facts(figures).items()]
    lines += ["", "| class | test accuracy | 95% interval | images |", "| --- | --- | --- | --- |"]
    for name, row in figures["classes"].items():
        low, high = row["interval"]
        lines.append(f"| {name} | {row['accuracy']:.1%} | {low:.1%} to {high:.1%} | {row['images']} |")
    return "\n".join(lines)
