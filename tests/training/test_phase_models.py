from dataclasses import replace

import keras
import numpy as np
import pytest

from cifar_core.config import TrainConfig
from cifar_core.network import pretrained
from cifar_core.network.pretrained import Named
from cifar_core.training import fit, model
from cifar_core.training.callbacks import Phase
from cifar_core.training.fit import NetworkCache

INPUTS = np.random.default_rng(0).normal(size=(8, 1280)).astype(np.float32)


@pytest.fixture
def base(tiny_config: TrainConfig) -> Named:
    return pretrained.load("random", tiny_config.alpha, tiny_config.image_size, tiny_config.seed).named


def built(networks: NetworkCache, config: TrainConfig, base: Named) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    return networks.build(config, base)


def spoil(network: keras.Model) -> None:
    for variable in network.variables:
        variable.assign(variable.numpy() + 1)
    model.freeze(network, TrainConfig(), "head")


def test_a_network_taken_again_is_as_new_and_has_the_new_dropout_and_penalty(
    tiny_config: TrainConfig, base: Named
) -> None:
    networks = NetworkCache()
    first = built(networks, tiny_config, base)
    told = model.summary(first)
    spoil(first)
    changed = replace(tiny_config, dropout=0.3, l2=1e-2, label_smoothing=0.1, head_learning_rate=1e-2)
    again, new = built(networks, changed, base), built(NetworkCache(), changed, base)
    assert again is first
    assert model.summary(again) == told  # whatever was frozen in between
    for one, other in zip(again.variables, new.variables, strict=True):
        assert np.array_equal(one.numpy(), other.numpy()), one.name
    heads = [keras.Model(network.get_layer("pooled").output, network.output) for network in (again, new)]
    said = [keras.ops.convert_to_numpy(head(INPUTS, training=True)) for head in heads]
    assert np.array_equal(*said)
    assert [float(sum(network.losses)) for network in (again, new)] == pytest.approx([float(sum(new.losses))] * 2)
    assert [layer.get_config() for layer in again.layers[-3:]] == [layer.get_config() for layer in new.layers[-3:]]


def test_a_network_taken_again_has_the_weights_of_this_trial(tiny_config: TrainConfig, base: Named) -> None:
    """With "auto", ImageNet weights may be downloaded between two trials."""
    config, networks = replace(tiny_config, weights="auto"), NetworkCache()
    first = built(networks, config, base)
    others = pretrained.load("random", config.alpha, config.image_size, seed=9).named
    again = built(networks, config, others)
    assert again is first
    found = model.named_weights(again)
    assert all(np.array_equal(found[name], value) for name, value in others.items())


@pytest.mark.parametrize("change", [{"dense_units": 32}, {"seed": 5}, {"dropout": 0.0}, {"batch_norm": "adapt"}])
def test_other_layers_or_first_weights_are_another_network(
    change: dict[str, float | str], tiny_config: TrainConfig, base: Named
) -> None:
    networks = NetworkCache()
    first = built(networks, tiny_config, base)
    assert built(networks, replace(tiny_config, **change), base) is not first
    assert built(networks, tiny_config, base) is first


def test_the_network_not_used_for_longest_is_forgotten(
    tiny_config: TrainConfig, base: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_MOST_NETWORKS", 1)
    networks = NetworkCache()
    first = built(networks, tiny_config, base)
    built(networks, replace(tiny_config, dense_units=32), base)
    assert built(networks, tiny_config, base) is not first


def test_a_network_taken_again_learns_with_and_without_a_teacher(tiny_config: TrainConfig, base: Named) -> None:
    network = built(NetworkCache(), tiny_config, base)
    phase = Phase("head", epochs=1, batch_size=8, learning_rate=1e-3)
    labels = np.eye(10, dtype=np.float32)[:8]
    for teacher in ("bundled", "", "bundled"):
        part = fit.compiled(network, replace(tiny_config, teacher=teacher, distillation=0.5), phase, 1, True)
        targets = np.hstack([labels, labels]) if teacher else labels
        assert np.isfinite(part.train_on_batch(INPUTS, targets)[0])


def test_a_cosine_of_a_single_step_is_possible(tiny_config: TrainConfig, base: Named) -> None:
    config = replace(tiny_config, schedule="cosine")
    phase = Phase("head", epochs=1, batch_size=512, learning_rate=1e-3)
    trained = fit.compiled(built(NetworkCache(), config, base), config, phase, steps=1, is_stored=True)
    assert 0 <= float(trained.optimizer.learning_rate) <= 1e-3
