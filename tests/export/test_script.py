"""The script and the notebook that a run is exported as, run as a stranger would: in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_core.export.script import notebook, script

ROOT = Path(__file__).resolve().parents[2]
TINY_DATA = """
import numpy as np, keras
rng = np.random.default_rng(1)
def load_data():
    return tuple((rng.integers(0, 256, (n, 32, 32, 3), np.uint8), (np.arange(n) % 10)[:, None]) for n in (60, 20))
keras.datasets.cifar10.load_data = load_data
"""
COMPARISON = """
from conftest import named_weights
from cifar_core.data import cifar10
from cifar_core.runs import Run
from cifar_core.training import model as product
config = Run(RUN).config
network = product.build(config, named_weights(config))
plain = SCRIPT["model"]
assert [w.shape for w in plain.weights] == [w.shape for w in network.weights]
assert plain.count_params() == network.count_params()
assert plain.input_shape == network.input_shape and plain.output_shape == network.output_shape
plain.set_weights(network.get_weights())
images = cifar10.samples(8, "generated", test=True)[0].astype("float32")
ours, theirs = network.predict(images, verbose=0), plain.predict(images, verbose=0)
assert np.ptp(ours, axis=0).max() > 0.01, "the answers do not differ from image to image"
assert np.abs(ours - theirs).max() < 1e-4, np.abs(ours - theirs).max()
product.freeze(network, config, "fine_tune")
trained = lambda model: [tuple(w.shape) for w in model.trainable_weights]
assert trained(plain) == trained(network)
"""


def python(code: str, folder: Path, *paths: Path) -> str:
    """What a new interpreter prints that runs `code` in `folder`."""
    preface = f"import sys; sys.path[:0] = {list(map(str, paths))!r}\n"
    done = subprocess.run([sys.executable, "-c", preface + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_script_trains_on_tiny_data_and_makes_the_model_of_the_product(make_run, tmp_path) -> None:
    run = make_run(image_size=64, batch_size=16, fine_tune_blocks=3, dropout=0.3)
    (tmp_path / "script.py").write_text(script(run), encoding="utf-8")
    code = TINY_DATA + f'import runpy; SCRIPT = runpy.run_path("script.py"); RUN = {run.id!r}\n' + COMPARISON
    printed = python(code, tmp_path, ROOT, Path(__file__).parent)
    assert "Test accuracy:" in printed
    assert (tmp_path / "model.keras").exists()


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_one_after_the_other(make_run, tmp_path) -> None:
    run = make_run(batch_size=16, schedule="cosine", optimizer="adamw", label_smoothing=0.1, batch_norm="adapt")
    cells = json.loads(notebook(run))["cells"]
    (tmp_path / "cells.json").write_text(json.dumps(["".join(c["source"]) for c in cells if c["cell_type"] == "code"]))
    code = TINY_DATA + 'import json\nspace = {}\nfor cell in json.load(open("cells.json")): exec(cell, space)\n'
    assert "Test accuracy:" in python(code, tmp_path)


def test_the_notebook_is_one_that_jupyter_accepts_and_has_the_code_of_the_script(make_run) -> None:
    nbformat = pytest.importorskip("nbformat")
    run = make_run()
    found = nbformat.reads(notebook(run), as_version=4)
    nbformat.validate(found)
    plain = script(run)
    assert all(cell.source in plain for cell in found.cells if cell.cell_type == "code")
    assert found.metadata["accelerator"] == "GPU"


@pytest.mark.parametrize(
    ("knobs", "expected", "absent"),
    [
        ({"weights": "imagenet", "image_size": 64}, ["base.set_weights(teacher.get_weights())", "(96, 96, 3)"], []),
        ({"weights": "imagenet", "image_size": 96}, ['weights="imagenet"'], ["teacher"]),
        ({"weights": "imagenet", "image_size": 96, "alpha": 1.4}, ["(224, 224, 3)", "teacher"], []),
        ({"augmentation": 0.0}, [], ["Random", "afresh"]),
        ({"scaling": "zero_to_one"}, ["layers.Rescaling(1 / 255)"], ["offset"]),
        ({"fine_tune_blocks": 17, "batch_norm": "training"}, ["the whole base"], ["last_frozen", "isinstance"]),
        ({"fine_tune_epochs": 0}, [], ["Phase 2"]),
        ({"l2": 0.0, "schedule": "cosine"}, ["CosineDecay"], ["L2", "Plateau"]),
    ],
)
def test_each_choice_of_the_run_is_in_the_script_and_no_other(make_run, knobs, expected, absent) -> None:
    text = script(make_run(**knobs))
    compile(text, "script.py", "exec")
    assert all(line in text for line in expected), text
    assert not [line for line in absent if line in text], text


def test_the_script_uses_tensorflow_and_nothing_of_ours(make_run) -> None:
    imports = [line for line in script(make_run()).splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import numpy as np", "import keras", "from keras import layers"]
