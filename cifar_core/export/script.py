"""A run as a plain Keras script, and as a notebook of the same cells: TensorFlow, and nothing of ours.

The text is made of the run's configuration; a choice that the run did not make leaves no line behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cifar_core import runs
from cifar_core.config import ALL_IMAGES, TrainConfig
from cifar_core.data import augmentation
from cifar_core.network import architecture
from cifar_core.network.litert import SCALINGS
from cifar_core.runs import Run


@dataclass(frozen=True)
class Cell:
    """Markdown text, then code."""

    text: str
    code: str


def script(run: Run) -> str:
    """Return the run as a Python script. Raises RunError if its configuration is damaged."""
    title, *cells = _cells(run)
    parts = [f'"""{title.text.removeprefix("# ")}"""\n\n{title.code}\n']
    for cell in cells:
        comment = "\n".join(f"# {line.removeprefix('## ')}".rstrip() for line in cell.text.splitlines())
        parts.append(f"{comment}\n{cell.code}\n")
    return "\n".join(parts)


def notebook(run: Run) -> str:
    """Return the run as a Jupyter notebook (nbformat 4.5), ready for Colab. Raises RunError as `script` does."""
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(_cells(run)):
        cells.append({"cell_type": "markdown", "id": f"text-{number}", "metadata": {}, "source": _lines(cell.text)})
        code = {"cell_type": "code", "id": f"code-{number}", "metadata": {}, "source": _lines(cell.code)}
        cells.append(code | {"execution_count": None, "outputs": []})
    metadata = {
        "accelerator": "GPU",
        "colab": {"provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _cells(run: Run) -> list[Cell]:
    config, environment = run.config, runs.read_json(run.path / "environment.json")
    kind = _object(environment.get("weights")).get("kind")
    start = "random" if kind == "random" or config.weights == "random" else "imagenet"
    cells = [_title(run, config, environment), _data(config), _network(config, start), _compile(config)]
    if config.head_epochs:
        cells.append(_head_phase(config))
    if config.fine_tunes:
        cells.append(_fine_tuning(config))
    return [*cells, _test()]


def _title(run: Run, config: TrainConfig, environment: dict[str, Any]) -> Cell:
    limit = augmentation.ranges(config.augmentation)
    text = f"""# MobileNetV2 on CIFAR-10 by transfer learning, in plain Keras.

Repeats the run {run.id} of CIFAR Studio on a GPU or a CPU.{_reached(run)}

Where it differs from the run, so that figures differ a little:

- The split into training and validation images is random, not the same share of every class.
- Other random numbers: first weights of the head, order of the images, dropout.
"""
    if config.augmentation:
        text += "- Keras's layers augment each batch afresh"
        text += f"; the run walked over {config.views} fixed versions of each image.\n" if config.views else ".\n"
        text += f"  They add at most {limit.brightness / 2:.0%} of white, where the run multiplied pixels by "
        text += f"{1 - limit.brightness:g} to {1 + limit.brightness:g}.\n"
    if _object(environment.get("data")).get("name") == "generated":
        text += "- The run learned from generated images; this reads the real CIFAR-10.\n"
    if _object(environment.get("weights")).get("kind") == "bundled":
        text += "- The run began with CIFAR Studio's bundled weights; this begins with ImageNet's.\n"
    code = f"""import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed({config.seed})"""
    return Cell(text, code)


def _reached(run: Run) -> str:
    accuracy = run.result.get("test_accuracy")
    return f" It reached {accuracy:.1%} on the test images." if isinstance(accuracy, float) else ""


def _data(config: TrainConfig) -> Cell:
    is_all = config.train_images == ALL_IMAGES
    used = "Of these" if is_all else f"The run used {config.train_images:,}, of these"
    text = f"""## The images

50,000 to learn from, and 10,000 for the test at the end, which nothing is chosen by. {used}
{config.validation_fraction:.0%} are held back to validate on. Labels become rows of ten numbers, all 0 but one."""
    code = f"""(images, labels), (test_images, test_labels) = keras.datasets.cifar10.load_data()
labels, test_labels = keras.utils.to_categorical(labels, 10), keras.utils.to_categorical(test_labels, 10)

order = np.random.permutation(len(images)){"" if is_all else f"[:{config.train_images}]"}
held_back = int(len(order) * {config.validation_fraction:g})
validation = images[order[:held_back]], labels[order[:held_back]]
training = images[order[held_back:]], labels[order[held_back:]]"""
    return Cell(text, code)


def _network(config: TrainConfig, start: str) -> Cell:
    text = """## The network

Enlarging and scaling are layers too, so that the finished model takes photographs of 32×32 pixels as they are.
Augmentation works during training only; it comes after enlarging, since turning blurs small images.
The base has seen a million photographs (ImageNet); the head is new."""
    if start == "random":
        text = text.replace("has seen a million photographs (ImageNet)", "starts from random numbers")
    factor, offset = SCALINGS[config.scaling]
    scale = f"1 / {1 / factor:g}" + (f", offset={offset:g}" if offset else "")
    penalty = f", kernel_regularizer=keras.regularizers.L2({config.l2:g})" if config.l2 else ""
    steps = [f"x = layers.Resizing({config.image_size}, {config.image_size})(x)"] if config.image_size != 32 else []
    steps += _augmentation(config)
    steps.append(f"x = layers.Rescaling({scale})(x)  # " + ("to [-1, 1]" if offset else "to [0, 1]"))
    steps[0] = steps[0].replace("(x)", "(pixels)")
    lines = [*_base(config, start), "", 'pixels = keras.Input((32, 32, 3), name="images")  # 0 to 255', *steps]
    lines += [
        f"x = base(x)  # (n, {architecture.top_channels(config.alpha)})",
        "x = layers.BatchNormalization()(x)",
        f"x = layers.Dropout({config.dropout:g})(x)",
        f'x = layers.Dense({config.dense_units}, "relu"{penalty})(x)',
        'model = keras.Model(pixels, layers.Dense(10, "softmax")(x))',
        "model.summary()",
    ]
    return Cell(text, "\n".join(lines))


def _base(config: TrainConfig, start: str) -> list[str]:
    """Return the lines that make the base; where Keras has no ImageNet weights for its size, those of another."""
    size, file_size = config.image_size, 224 if config.alpha > 1 else max(config.image_size, 96)
    wanted = '"imagenet"' if start == "imagenet" and size == file_size else "None"
    lines = [
        "base = keras.applications.MobileNetV2(",
        f"    input_shape=({size}, {size}, 3), alpha={config.alpha:g}, include_top=False, weights={wanted}, "
        'pooling="avg"',
        ")",
    ]
    if start == "imagenet" and size != file_size:
        lines += [
            f"# Keras has no ImageNet weights of this width for {size} px, so those for {file_size} px serve.",
            "teacher = keras.applications.MobileNetV2(",
            f"    input_shape=({file_size}, {file_size}, 3), alpha={config.alpha:g}, include_top=False, "
            'weights="imagenet", pooling="avg"',
            ")",
            "base.set_weights(teacher.get_weights())",
        ]
    return [line.replace("alpha=1,", "alpha=1.0,") for line in lines]


def _augmentation(config: TrainConfig) -> list[str]:
    limit = augmentation.ranges(config.augmentation)
    if not limit.flip:
        return []
    edge = 'fill_mode="reflect"'
    return [
        'x = layers.RandomFlip("horizontal")(x)',
        f"x = layers.RandomRotation({limit.rotation_degrees:g} / 360, {edge})(x)  # ±{limit.rotation_degrees:g}°",
        f"x = layers.RandomTranslation({limit.shift:g}, {limit.shift:g}, {edge})(x)",
        f"x = layers.RandomZoom({limit.zoom:g}, {edge})(x)",
        f"x = layers.RandomBrightness({limit.brightness / 2:g}, value_range=(0, 255))(x)",
    ]


def _compile(config: TrainConfig) -> Cell:
    text = f"""## How it is trained

A phase ends early when {config.early_stopping_patience} epochs bring nothing better on the validation images. The best
epoch of both phases is kept in a file."""
    smoothing, patience = config.label_smoothing, f"patience={config.early_stopping_patience}"
    loss = (
        f"keras.losses.CategoricalCrossentropy(label_smoothing={smoothing:g})"
        if smoothing
        else '"categorical_crossentropy"'
    )
    lines = [
        "best = keras.callbacks.ModelCheckpoint(",
        '    "best.weights.h5", "val_accuracy", mode="max", save_best_only=True, save_weights_only=True',
        ")",
        "",
        "",
        "def train(epochs, batch_size, learning_rate):",
        *(f"    {line}" for line in _learning_rate(config)),
        f'    model.compile({_optimizer(config)}, {loss}, metrics=["accuracy"])',
        "    watch = [",
        "        best,",
        f'        keras.callbacks.EarlyStopping("val_accuracy", mode="max", {patience}),',
    ]
    if config.schedule == "plateau":
        pace = f"factor={config.reduce_factor:g}, patience={config.reduce_patience}"
        lines.append(f'        keras.callbacks.ReduceLROnPlateau("val_accuracy", mode="max", {pace}),')
    fit = "*training, batch_size=batch_size, epochs=epochs, validation_data=validation, callbacks=watch"
    lines += [
        "    ]",
        f"    model.fit({fit})",
        "    model.load_weights(best.filepath)",
    ]
    return Cell(text, "\n".join(lines))


def _learning_rate(config: TrainConfig) -> list[str]:
    if config.schedule == "plateau":
        return []
    return [
        "steps = epochs * -(-len(training[0]) // batch_size)",
        "warm_up = max(1, steps // 10)  # a tenth of the steps",
        "learning_rate = keras.optimizers.schedules.CosineDecay(",
        "    0.0, max(1, steps - warm_up), warmup_target=learning_rate, warmup_steps=warm_up",
        ")",
    ]


def _optimizer(config: TrainConfig) -> str:
    if config.optimizer == "adamw":
        return "keras.optimizers.AdamW(learning_rate, weight_decay=0.004)"
    return "keras.optimizers.Adam(learning_rate)"


def _head_phase(config: TrainConfig) -> Cell:
    text = """## Phase 1: the head

The base is frozen: what it knows cannot be spoilt by the head's first, wild steps."""
    code = f"train({config.head_epochs}, {config.head_batch_size}, {config.head_learning_rate:g})"
    return Cell(text, "base.trainable = False\n" + code)


def _fine_tuning(config: TrainConfig) -> Cell:
    blocks = config.fine_tune_blocks
    what = "the whole base" if blocks == architecture.BLOCK_COUNT else f"the top {blocks} blocks of the base"
    norms = {
        "inference": "Batch normalisation stays as it is: few images would only spoil what it has counted.",
        "adapt": "Batch normalisation counts anew, faster than in Keras's MobileNetV2 (0.999).",
        "training": "Batch normalisation counts anew at its usual pace, too slow for a short training: a mistake.",
    }
    text = f"""## Phase 2: fine-tuning

Now {what} may change too, in small steps.
{norms[config.batch_norm]}"""
    cut = architecture.cut_block(blocks)
    lines = ["base.trainable = True"]
    if cut is not None:
        last = architecture.blocks(config.alpha)[cut].output_layer
        lines += [
            f'last_frozen = base.layers.index(base.get_layer("{last}"))',
            "for layer in base.layers[: last_frozen + 1]:",
            "    layer.trainable = False",
        ]
    rest = "base.layers" if cut is None else "base.layers[last_frozen + 1 :]"
    if config.batch_norm != "training":
        lines += [f"for layer in {rest}:", "    if isinstance(layer, layers.BatchNormalization):"]
        change = "trainable = False" if config.batch_norm == "inference" else "momentum = 0.95"
        lines.append(f"        layer.{change}")
    lines.append(f"train({config.fine_tune_epochs}, {config.batch_size}, {config.fine_tune_learning_rate:g})")
    return Cell(text, "\n".join(lines))


def _test() -> Cell:
    text = """## The test

Once, at the end. The file holds enlarging and scaling too."""
    code = """loss, accuracy = model.evaluate(test_images, test_labels)
print(f"Test accuracy: {accuracy:.1%}")
model.save("model.keras")"""
    return Cell(text, code)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
