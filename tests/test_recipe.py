"""The recipe of one page is the recipe of the product; tests/export/test_script.py trains it."""

import ast
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from cifar_core import recipe
from cifar_core.config import PRESETS, TrainConfig
from cifar_core.data import augmentation
from cifar_core.data.cifar10 import split
from cifar_core.export import script
from cifar_core.network import pretrained
from cifar_core.training import callbacks, fit, model

SMALL = TrainConfig(train_images=1_000, alpha=0.35, image_size=32, weights="random", dense_units=16, batch_size=128,
                    head_epochs=1, fine_tune_epochs=1)  # fmt: skip
RNG = np.random.default_rng(1)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """A function that gives the recipe the settings of a configuration."""

    def use(config: TrainConfig) -> TrainConfig:
        for name, value in script.settings(config).items():
            monkeypatch.setattr(recipe, name, value)
        return config

    return use


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of ten classes, in the form of keras.datasets.cifar10."""
    return RNG.integers(0, 256, (count, 32, 32, 3), np.uint8), (np.arange(count) % 10)[:, None]


def trained(network: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in network.trainable_weights]


def test_it_is_one_page_that_needs_nothing_of_ours() -> None:
    text = script.RECIPE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {ast.unparse(node).split()[1].split(".")[0] for node in imports} == {"keras", "numpy", "plotly", "PIL"}


def test_its_settings_are_those_of_the_preset_classic() -> None:
    own = {name: getattr(recipe, name) for name in script.names()}
    assert own == script.settings(PRESETS["classic"])


@pytest.mark.bundled
@pytest.mark.parametrize(("scaling", "image_size"), [("minus_one_to_one", 96), ("zero_to_one", 32)])
def test_its_network_is_that_of_the_product(use, scaling: str, image_size: int) -> None:
    config = use(replace(SMALL, scaling=scaling, image_size=image_size))
    keras.utils.set_random_seed(1)  # of the head: by chance it may say the same of all images
    product = model.build(config, pretrained.load("bundled", 0.35, image_size, 1).named)
    network, _ = recipe.build_model()
    assert network.count_params() == product.count_params()
    assert [weight.shape for weight in network.weights] == [weight.shape for weight in product.weights]
    product.get_layer("head_norm").set_weights([RNG.uniform(0.5, 2, 1280) for _ in range(4)])
    network.set_weights(product.get_weights())
    pixels = images(4)[0]
    ours, theirs = network.predict(pixels, verbose=0), product.predict(pixels.astype("float32"), verbose=0)
    assert np.ptp(ours, axis=0).max() > 0.01, "the answers do not differ from image to image"
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(("blocks", "batch_norm"), [(1, "inference"), (4, "adapt"), (17, "training")])
def test_both_phases_train_what_the_product_trains(use, blocks: int, batch_norm: str) -> None:
    config = use(replace(SMALL, fine_tune_blocks=blocks, batch_norm=batch_norm))
    product = model.build(config, pretrained.load("random", 0.35, 32, 1).named)
    network, backbone = recipe.build_model()
    model.freeze(product, config, "head")
    assert trained(network) == trained(product)
    model.freeze(product, config, "fine_tune")
    recipe.unfreeze(backbone)
    assert trained(network) == trained(product)
    momenta = [layer.momentum for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    expected = [product.get_layer(layer.name).momentum for layer in backbone.layers if hasattr(layer, "momentum")]
    assert momenta == expected


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_it_augments_as_the_product_does(use, strength: float) -> None:
    use(replace(SMALL, augmentation=strength))
    pixels, positions = images(20)[0], np.arange(20)
    ours = recipe.augment(pixels, augmentation._draws(3, 1)[:20])
    assert np.abs(ours - augmentation.augment(pixels, positions, strength, seed=3, view=1)).max() <= 0.5


def test_an_epoch_has_every_image_once_in_another_order(use) -> None:
    use(replace(SMALL, augmentation=0.0))
    pixels, labels = images(50)
    batches = recipe.Augmented(pixels, labels, 16)
    seen = []
    for _ in range(2):
        seen.append(np.concatenate([batches[i][0] for i in range(len(batches))]))
        batches.on_epoch_end()
    assert len(batches) == 4
    assert all(sorted(map(bytes, epoch)) == sorted(map(bytes, pixels)) for epoch in seen)
    assert not np.array_equal(*seen)


@pytest.mark.parametrize(("train_images", "fraction"), [(50_000, 0.2), (5_000, 0.2), (1_000, 0.35)])
def test_it_uses_the_images_that_the_product_uses(use, train_images: int, fraction: float) -> None:
    config = use(replace(SMALL, train_images=train_images, validation_fraction=fraction, seed=3))
    labels = np.repeat(np.arange(10), 5_000)
    expected = split(labels, config.train_images, config.validation_fraction, config.seed)
    for ours, theirs in zip(recipe.split(labels), expected, strict=True):
        assert np.array_equal(np.sort(ours), theirs)


@pytest.mark.parametrize(("schedule", "optimizer"), [("plateau", "adam"), ("cosine", "adamw")])
def test_it_compiles_as_the_product_does(use, schedule: str, optimizer: str) -> None:
    config = use(replace(SMALL, schedule=schedule, optimizer=optimizer, label_smoothing=0.1, fine_tune_epochs=8))
    given = SimpleNamespace()
    fake = SimpleNamespace(
        compile=lambda *arguments, **_: setattr(given, "compiled", arguments),
        fit=lambda *_, callbacks, **__: setattr(given, "callbacks", callbacks) or SimpleNamespace(history={}),
    )
    recipe.fit(fake, images(1_000), None, 8, 128, 2e-4, [])
    own, loss = given.compiled
    network = model.build(config, pretrained.load("random", 0.35, 32, 1).named)
    product = fit.compiled(network, config, callbacks.Phase("fine_tune", 8, 128, 2e-4), steps=8, is_stored=False)
    theirs = product.optimizer
    assert type(own) is type(theirs) and own.weight_decay == theirs.weight_decay
    for step in (0, 3, 6, 40, 63):
        rates = [o._learning_rate(step) if schedule == "cosine" else o.learning_rate for o in (own, theirs)]
        assert float(rates[0]) == pytest.approx(float(rates[1]))
    labels, said = np.eye(10, dtype="float32")[:3], RNG.dirichlet(np.ones(10), 3).astype("float32")
    assert float(loss(labels, said)) == pytest.approx(float(np.mean(product.loss(labels, said))))
    stop, *reduce = given.callbacks
    assert isinstance(stop, keras.callbacks.EarlyStopping) and stop.patience == config.early_stopping_patience
    assert [each.patience for each in reduce] == ([config.reduce_patience] if schedule == "plateau" else [])


@pytest.mark.parametrize(
    ("knobs", "phases"), [({}, [6, 10]), ({"fine_tune_epochs": 0}, [6]), ({"head_epochs": 0}, [10])]
)
def test_a_phase_without_epochs_is_left_out(
    use, tmp_path, monkeypatch, knobs: dict[str, int], phases: list[int]
) -> None:
    use(replace(SMALL, fine_tune_blocks=1, **knobs))
    trained_arrays, fitted = [], []

    def fit(network: keras.Model, *_: object) -> dict[str, list[float]]:
        trained_arrays.append(len(network.trainable_weights))
        fitted.append(network)
        return {"accuracy": [], "val_accuracy": []}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe, "fit", fit)
    monkeypatch.setattr(keras.models, "load_model", lambda path: fitted[-1])
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: (0.0, 0.5))
    assert recipe.main((images(1_000), images(20))) is fitted[-1]
    assert trained_arrays == phases
