import dataclasses
import re
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from cifar_core.config import TrainConfig
from cifar_core.network import architecture, pretrained
from cifar_core.network.pretrained import Named
from cifar_core.training import model

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
STATISTICS = ("moving_mean", "moving_variance")


@pytest.fixture
def tiny_config(tiny_config: TrainConfig) -> TrainConfig:
    """It fine-tunes four blocks, the usual number."""
    return dataclasses.replace(tiny_config, fine_tune_blocks=4)


@pytest.fixture
def base(tiny_config: TrainConfig) -> Named:
    return pretrained.load("random", tiny_config.alpha, tiny_config.image_size, 1).named


@pytest.fixture
def network(tiny_config: TrainConfig, base: Named) -> keras.Model:
    return model.build(tiny_config, base)


def blocks_of(named: Named, indices: range) -> set[str]:
    """The names of the weights of these blocks."""
    prefixes = tuple(block.name + "_" for block in architecture.blocks(0.35) if block.index in indices)
    return {name for name in named if name.startswith(prefixes)}


def changed_by_a_step(network: keras.Model, config: TrainConfig, phase: str) -> set[str]:
    """Train a step end to end as `phase` says; return the names of the weights that are others then."""
    model.freeze(network, config, phase)
    network.compile(keras.optimizers.Adam(1e-2), "categorical_crossentropy", run_eagerly=True)
    before = model.named_weights(network)
    network.train_on_batch(IMAGES, np.eye(10, dtype=np.float32)[:4])
    after = model.named_weights(network)
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_the_base_holds_the_given_weights_and_nothing_is_left_over(network: keras.Model, base: Named) -> None:
    named = model.named_weights(network)
    assert all(np.array_equal(named[name], base[name]) for name in base)
    assert {name.split("/")[0] for name in set(named) - set(base)} == {"head_norm", "head_dense", "head_output"}


def test_the_file_of_a_network_that_trained_as_a_whole_has_no_optimizer(
    network: keras.Model, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    changed_by_a_step(network, tiny_config, "fine_tune")
    model.save(network, tmp_path / "best.keras")
    with zipfile.ZipFile(tmp_path / "best.keras") as packed, packed.open("model.weights.h5") as content:
        assert "optimizer" not in h5py.File(content)


def test_size_is_what_the_page_says_before(network: keras.Model, tiny_config: TrainConfig) -> None:
    cost = architecture.cost(tiny_config.alpha, tiny_config.image_size, tiny_config.dense_units, 4)
    assert network.count_params() == cost.parameters
    assert re.search(r"head_dense \(Dense\) .* 20,496 ", model.summary(network))  # 1280 * 16 + 16


@pytest.mark.parametrize("scaling", ["minus_one_to_one", "zero_to_one"])
def test_it_is_the_network_of_keras_with_an_older_files_weights(tiny_config: TrainConfig, scaling: str) -> None:
    original = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, pooling="avg", weights=None)
    rng = np.random.default_rng(3)  # so that all statistics and scales are others
    named = pretrained.load("random", 0.35, 96, 3).named
    original.set_weights([array * rng.uniform(0.7, 1.4, array.shape) for array in named.values()])
    path = pretrained.imagenet_path(0.35, 96)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, original)
    named = pretrained.load("imagenet", 0.35, 96, 1).named
    own = model.build(dataclasses.replace(tiny_config, image_size=96, scaling=scaling), named)
    larger = keras.layers.Resizing(96, 96)(IMAGES)
    scaled = larger / 127.5 - 1 if scaling == "minus_one_to_one" else larger / 255
    expected = keras.ops.convert_to_numpy(original(scaled, training=False))
    pooled = keras.ops.convert_to_numpy(keras.Model(own.input, own.get_layer("pooled").output)(IMAGES, training=False))
    assert pooled == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_head_phase_changes_the_head_alone(network: keras.Model, tiny_config: TrainConfig) -> None:
    changed = changed_by_a_step(network, tiny_config, "head")
    assert {name.split("/")[0] for name in changed} == {"head_norm", "head_dense", "head_output"}


def test_fine_tuning_changes_the_blocks_above_the_cut_but_no_statistics(
    network: keras.Model, tiny_config: TrainConfig
) -> None:
    changed = changed_by_a_step(network, tiny_config, "fine_tune")
    named = model.named_weights(network)
    assert not changed & blocks_of(named, range(13))
    assert not {"Conv1/kernel", "bn_Conv1/gamma"} & changed
    kernels = {name for name in blocks_of(named, range(13, 17)) | {"Conv_1/kernel"} if name.endswith("/kernel")}
    assert kernels <= changed
    assert not [name for name in changed if "_BN/" in name or "_bn/" in name]  # inference mode


@pytest.mark.parametrize(("batch_norm", "momentum"), [("training", 0.999), ("adapt", 0.95)])
def test_batch_norm_adapts_where_it_was_asked_to(
    network: keras.Model, tiny_config: TrainConfig, batch_norm: str, momentum: float
) -> None:
    changed = changed_by_a_step(network, dataclasses.replace(tiny_config, batch_norm=batch_norm), "fine_tune")
    names = blocks_of(model.named_weights(network), range(13, 17))
    assert {name for name in names if name.endswith(STATISTICS)} <= changed
    assert network.get_layer("block_14_expand_BN").momentum == momentum
    assert network.get_layer("block_2_expand_BN").momentum == 0.999


@pytest.mark.parametrize(
    ("count", "first"), [(17, "Conv1/kernel"), (16, "block_1_expand/kernel"), (1, "block_16_expand/kernel")]
)
def test_the_number_of_blocks_decides_where_training_begins(
    network: keras.Model, tiny_config: TrainConfig, count: int, first: str
) -> None:
    model.freeze(network, dataclasses.replace(tiny_config, fine_tune_blocks=count), "fine_tune")
    assert f"{network.trainable_weights[0].path.split('/')[-2]}/kernel" == first


@pytest.mark.parametrize(("phase", "count"), [("head", 4), ("fine_tune", 1), ("fine_tune", 4), ("fine_tune", 15)])
def test_the_part_behind_the_cut_continues_the_part_before_it(
    network: keras.Model, tiny_config: TrainConfig, phase: str, count: int
) -> None:
    cut = model.first_trained_layer(dataclasses.replace(tiny_config, fine_tune_blocks=count), phase)
    features = keras.Model(network.input, network.get_layer(cut).output)(IMAGES, training=False)
    continued = keras.Model(network.get_layer(cut).output, network.output)(features, training=False)
    assert np.array_equal(*map(keras.ops.convert_to_numpy, (continued, network(IMAGES, training=False))))


def test_weight_changes_are_relative_to_the_first_weights_of_each_block(network: keras.Model) -> None:
    first = model.named_weights(network)
    assert model.weight_changes(network, first) == [0.0] * 17
    kernels = [name for name in blocks_of(first, [16]) if name.endswith("kernel")]
    assert len(kernels) == 3
    try:
        model.assign(network, {name: 1.1 * first[name] for name in kernels})
        assert model.weight_changes(network, first) == [0.0] * 16 + [pytest.approx(0.1, abs=1e-4)]
    finally:
        model.assign(network, first)
