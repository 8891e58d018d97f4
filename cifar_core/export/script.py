"""Export a run as a Keras script or a notebook: recipe.py with the settings of the run."""

import json
import re
from pathlib import Path
from typing import Any

from cifar_core.config import TrainConfig
from cifar_core.runs import Run, records

RECIPE = Path(__file__).resolve().parent.parent / "recipe.py"
_CELL, _HEADING = "# %% ", "# %% Settings\n"
_ASSIGNMENT = re.compile(r"^([A-Z0-9_]+(?:, [A-Z0-9_]+)*) = .*?(?=  #|$)", re.MULTILINE)
_CALL = 'if __name__ == "__main__":\n    main()'


def script(run: Run) -> str:
    """Return the run as a Python script. Raises RunError if its config.json or environment.json is damaged."""
    config, environment = run.config, records.environment(run.path)
    dataset, weights = (environment.data.name, environment.weights.kind) if environment else ("", "")
    values = settings(config, weights == "random")
    notes = "".join(f"# {note}\n" for note in _notes(run, config, dataset, weights))
    recipe = _ASSIGNMENT.sub(lambda match: _assigned(match, values), RECIPE.read_text(encoding="utf-8"))
    return recipe.replace(_HEADING, _HEADING + notes)


def notebook(run: Run) -> str:
    """Return the run as a Jupyter notebook (nbformat 4.5), ready for Colab. Raises the errors of `script`."""
    title, *sections = script(run).split(_CELL)
    docstring, imports = title.removeprefix('"""').split('"""', 1)
    texts = ["# " + docstring, imports]
    for section in sections:
        heading, code = section.split("\n", 1)
        texts += ["## " + heading, code.replace(_CALL, "").rstrip()]
    texts += ["## Run it", "main()"]
    cells = [_cell(number, text.strip()) for number, text in enumerate(texts)]
    metadata = {
        "accelerator": "GPU",
        "colab": {"provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def settings(config: TrainConfig, starts_random: bool = False) -> dict[str, Any]:
    """Return the settings of recipe.py for `config`, by name. `starts_random`: without pretrained weights."""
    weights = None if starts_random or config.weights == "random" else "imagenet"
    known = {name.upper(): value for name, value in config.to_dict().items()} | {"WEIGHTS": weights}
    return {name: known[name] for name in names()}


def names() -> list[str]:
    """Return the names of the settings of recipe.py."""
    assignments = _ASSIGNMENT.finditer(RECIPE.read_text(encoding="utf-8"))
    return [name for match in assignments for name in match[1].split(", ")]


def _cell(number: int, text: str) -> dict[str, Any]:
    """Return a notebook cell; even numbers are Markdown, odd ones code."""
    cell = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if number % 2 == 0:
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", **cell, "execution_count": None, "outputs": []}


def _assigned(match: re.Match[str], values: dict[str, Any]) -> str:
    """Return a line of settings with new values; names and comments are kept."""
    written = (
        json.dumps(value) if isinstance(value, str) else repr(value) for value in map(values.get, match[1].split(", "))
    )
    return f"{match[1]} = {', '.join(written)}"


def _notes(run: Run, config: TrainConfig, dataset: str, weights: str) -> list[str]:
    """Return sentences on the run, and on the differences of this script."""
    accuracy = run.result.get("test_accuracy")
    reached = f", which reached {accuracy:.1%} on the test images" if isinstance(accuracy, float) else ""
    notes = [
        f"The settings of run {run.id} of CIFAR Studio{reached}.",
        "The random numbers of dropout, of the head's initial weights and of augmentation are others.",
    ]
    if config.augmentation and config.views:
        notes.append(f"The run used {config.views} augmented versions of each image; here each epoch makes new ones.")
    for used, words in (
        (config.distils, "learned from a teacher, too"),
        (config.mixing and not config.views, "mixed images in pairs"),
        (config.ema == "on", "averaged its weights"),
        (config.split == "grouped", "kept near-duplicates on one side of the split"),
    ):
        if used:
            notes.append(f"The run {words}; this script does not.")
    if dataset == "generated":
        notes.append("The run used synthetic images; this script loads CIFAR-10.")
    if weights == "bundled":
        notes.append("The run began with CIFAR Studio's bundled weights; this script begins with those of ImageNet.")
    return notes
