"""The script and the notebook that a run is exported as: recipe.py with the run's settings."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cifar_core import runs
from cifar_core.config import KNOBS
from cifar_core.errors import RunError
from cifar_core.export import script
from cifar_core.export.script import RECIPE, notebook
from cifar_core.runs import Run

TINY_DATA = """
import numpy as np, keras
def load_data():
    rng = np.random.default_rng(1)
    return tuple((rng.integers(0, 256, (n, 32, 32, 3), np.uint8), (np.arange(n) % 10)[:, None]) for n in (1000, 20))
keras.datasets.cifar10.load_data = load_data
"""


def python(code: str, folder: Path) -> str:
    """What a new interpreter prints that runs `code` in `folder`, where the project is not."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def settings(text: str) -> tuple[str, dict[str, object]]:
    """The block of settings of a script, and what they are."""
    block = text.split("# %% Settings\n")[1].split("\n# %%")[0]
    values: dict[str, object] = {}
    exec(block, {}, values)
    return block, values


SAVED = """
(_, _), (images, labels) = load_data()
right = keras.models.load_model("model.keras").predict(images, verbose=0).argmax(axis=1) == labels[:, 0]
print("Saved:", 100 * right.mean())
"""


@pytest.mark.slow
def test_the_cells_of_the_notebook_train_both_phases_and_save_the_best_epoch(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(fine_tune_epochs=2, schedule="cosine", optimizer="adamw", label_smoothing=0.1)
    cells = json.loads(notebook(run))["cells"]
    (tmp_path / "cells.json").write_text(json.dumps(["".join(c["source"]) for c in cells if c["cell_type"] == "code"]))
    code = TINY_DATA + 'import json\nspace = {}\nfor cell in json.load(open("cells.json")): exec(cell, space)\n'
    printed = python(code + SAVED, tmp_path)
    accuracy, saved = re.findall(r"(?:Test accuracy|Saved): ([\d.]+)", printed)
    assert float(accuracy) == pytest.approx(float(saved), abs=0.1)
    assert printed.count("val_accuracy") == run.config.head_epochs + 2
    assert "val_accuracy" in (tmp_path / "curves.html").read_text(encoding="utf-8")


def test_the_notebook_is_one_that_jupyter_accepts_and_has_the_code_of_the_script(make_run: Callable[..., Run]) -> None:
    nbformat = pytest.importorskip("nbformat")
    run = make_run()
    found = nbformat.reads(notebook(run), as_version=4)
    nbformat.validate(found)
    *cells, last = [cell.source for cell in found.cells if cell.cell_type == "code"]
    assert len(cells) == 5 and last == "main()"
    _, *body, guard = ast.parse(script.script(run)).body  # without its docstring
    assert list(map(ast.unparse, body)) == [ast.unparse(part) for cell in cells for part in ast.parse(cell).body]
    assert ast.unparse(guard) == "if __name__ == '__main__':\n    main()"
    assert [cell.cell_type for cell in found.cells[::2]] == ["markdown"] * 6
    assert found.metadata["accelerator"] == "GPU"


def test_the_script_is_the_recipe_but_for_its_settings(make_run: Callable[..., Run]) -> None:
    recipe, text = RECIPE.read_text(encoding="utf-8"), script.script(make_run(dropout=0.3))
    assert text.replace(settings(text)[0], settings(recipe)[0]) == recipe != text


@pytest.mark.parametrize(
    "knobs",
    [
        {"dropout": 0.3, "l2": 0.0, "dense_units": 64, "seed": 7},
        {"scaling": "zero_to_one", "batch_norm": "training", "augmentation": 0.0, "fine_tune_blocks": 17},
        {"optimizer": "adamw", "schedule": "cosine", "label_smoothing": 0.1, "train_images": 5_000},
    ],
)
def test_every_knob_of_the_run_is_a_setting_of_the_script(make_run: Callable[..., Run], knobs: dict) -> None:
    run = make_run(**knobs)
    values = settings(script.script(run))[1]
    weights = values.pop("WEIGHTS")
    assert values == {name.upper(): getattr(run.config, name) for name in KNOBS if name.upper() in values}
    assert {name for name in KNOBS if name.upper() not in values} == {
        "dataset", "split", "views", "weights", "mixing", "ema", "teacher", "distillation", "distillation_temperature",
    }  # fmt: skip
    assert weights is None


@pytest.mark.parametrize(
    ("dataset", "kind", "views", "weights", "said"),
    [
        ("cifar10", "imagenet", 0, "imagenet", set()),
        ("cifar10", "imagenet", 2, "imagenet", {"augmented versions"}),
        ("cifar10", "bundled", 0, "imagenet", {"bundled"}),
        ("generated", "random", 0, None, {"synthetic"}),
    ],
)
def test_what_the_script_does_otherwise_is_said_above_its_settings(
    make_run: Callable[..., Run], dataset: str, kind: str, views: int, weights: str | None, said: set[str]
) -> None:
    run = make_run(weights="auto", views=views)
    origin = {"label": "", "fingerprint": ""}
    environment = {"data": {**origin, "name": dataset}, "weights": {**origin, "kind": kind}}
    runs.write_json(run.path / "environment.json", environment)
    block, values = settings(script.script(run))
    assert values["WEIGHTS"] == weights
    assert {words for words in ("augmented versions", "bundled", "synthetic") if words in block} == said
    assert run.id in block


@pytest.mark.parametrize(
    "knobs",
    [{"teacher": "bundled"}, {"mixing": 0.5, "views": 0, "augmentation": 1.0}, {"ema": "on"}, {"split": "grouped"}],
)
def test_what_the_script_leaves_out_is_said(make_run: Callable[..., Run], knobs: dict) -> None:
    left_out = "; this script does not"
    assert left_out in settings(script.script(make_run(**knobs)))[0]
    assert left_out not in settings(script.script(make_run()))[0]


def test_a_run_whose_environment_is_damaged_is_not_exported_as_another(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.path / "environment.json").write_text('{"weights": []}')
    with pytest.raises(RunError, match="environment"):
        script.script(run)


def test_the_accuracy_of_the_run_stands_above_its_settings(finished_run: Run) -> None:
    assert f"{finished_run.result['test_accuracy']:.1%}" in settings(script.script(finished_run))[0]
