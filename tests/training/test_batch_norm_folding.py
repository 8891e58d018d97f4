"""The trained part with its frozen batch norms folded away is the same function of the same variables."""

from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
import pytest

from cifar_core.config import TrainConfig
from cifar_core.network import architecture, pretrained
from cifar_core.network.pretrained import Named
from cifar_core.training import hardware, model


def compute_in(number: str) -> None:
    keras.config.set_floatx(number)
    keras.config.set_dtype_policy(number)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Numbers whose rounding is far below what a mistake would change."""
    compute_in("float64")
    yield
    compute_in("float32")


@pytest.fixture
def base() -> Named:
    """Random first weights with batch norms that have seen something, so that leaving one out would show."""
    rng, named = np.random.default_rng(1), dict(pretrained.load("random", 0.35, 32, 1).named)
    for name, value in named.items():
        if name.endswith(("gamma", "moving_variance")):
            named[name] = rng.uniform(0.5, 2, value.shape).astype(np.float32)
        if name.endswith(("beta", "moving_mean")):
            named[name] = rng.normal(0, 0.3, value.shape).astype(np.float32)
    return named


def folded(network: keras.Model, config: TrainConfig) -> keras.Model:
    """The trained part with folded batch norms and the network's own head."""
    last = model.first_trained_layer(config, "fine_tune")
    features = keras.Input(network.get_layer(last).output.shape[1:])
    pooled = model.FoldedBackbone(network, config.alpha, last)(features)
    return keras.Model(features, model.connect_head(network, pooled)[0])


@pytest.mark.parametrize(
    ("blocks", "image_size", "pieces"),
    [(4, 64, 1), pytest.param(16, 32, 3, marks=pytest.mark.slow), pytest.param(17, 64, 2, marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("doubles")
def test_it_says_and_learns_what_the_network_does(
    tiny_config: TrainConfig,
    base: Named,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
    image_size: int,
    pieces: int,
) -> None:
    monkeypatch.setattr(hardware, "pieces", lambda: pieces)
    config = replace(tiny_config, fine_tune_blocks=blocks, image_size=image_size, dropout=0.0)
    shape = architecture.cut_shape(config.alpha, image_size, blocks)
    features = np.random.default_rng(2).normal(0, 1, (16, *(shape or (32, 32, 3))))
    if shape is None:
        features = 127.5 + 60 * features  # pixels
    labels = np.eye(10)[np.arange(16) % 10]
    said, learnt, names = [], [], []
    for is_folded in (True, False):
        keras.utils.set_random_seed(1)
        network = model.build(config, base)
        model.freeze(network, config, "fine_tune")
        layer = model.first_trained_layer(config, "fine_tune")
        part = folded(network, config) if is_folded else keras.Model(network.get_layer(layer).output, network.output)
        names.append([variable.path for variable in part.trainable_variables])
        said.append(keras.ops.convert_to_numpy(part(features, training=False)))
        part.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", run_eagerly=True)
        part.train_on_batch(features, labels)
        learnt.append(model.named_weights(network))
    assert names[0] == names[1], "or a checkpoint would give the optimizer another variable's memory"
    assert said[0] == pytest.approx(said[1], abs=1e-12)
    for name, value in learnt[1].items():
        assert learnt[0][name] == pytest.approx(value, abs=1e-9), name
    last = "Conv_1/kernel"
    assert not np.array_equal(learnt[0][last], base[last])


def test_a_batch_may_be_smaller_than_its_pieces(
    tiny_config: TrainConfig, base: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch of an epoch may hold a single image."""
    monkeypatch.setattr(hardware, "pieces", lambda: 4)
    network = model.build(tiny_config, base)
    model.freeze(network, tiny_config, "fine_tune")
    part = folded(network, tiny_config)
    features = np.random.default_rng(3).normal(0, 1, (4, *part.input_shape[1:])).astype(np.float32)
    part.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    assert np.isfinite(part.fit(Fives(features), verbose=0, shuffle=False).history["loss"][0])
    alone = part.predict(features[:1], verbose=0)
    assert alone == pytest.approx(part.predict(features, verbose=0)[:1], abs=1e-5)


class Fives(keras.utils.PyDataset):
    """Five images in batches of four, as a training gives them."""

    def __init__(self, features: np.ndarray) -> None:
        super().__init__()
        self._features = features

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(5)[4 * index : 4 * index + 4]
        return self._features[rows % 4], np.eye(10, dtype=np.float32)[rows]
