from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.preprocessing import StandardScaler

from cifar_core.config import TrainConfig
from cifar_core.runs import create, curves
from cifar_core.training import linear_probe
from cifar_core.training.inputs import Inputs
from cifar_core.training.linear_probe import PENALTY, accuracy, ridge
from cifar_core.training.run_writer import RunWriter


def features_and_labels(count: int, telling: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell the label by a shift of `telling`, float16 (n, 30), and labels of ten classes."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 10, count)
    features = np.abs(random.normal(2, 1, (count, 30)))
    features[np.arange(count), labels] += 3 * telling
    return features.astype(np.float16), labels


def fitted(features: np.ndarray, labels: np.ndarray, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    return ridge((features[i : i + chunk], labels[i : i + chunk]) for i in range(0, len(labels), chunk))


def test_it_is_the_ridge_of_scikit_learn_on_standardized_square_roots():
    features, labels = features_and_labels(400)
    scaler = StandardScaler().fit(np.sqrt(features.astype(float)))
    rows = scaler.transform(np.sqrt(features.astype(float)))
    reference = Reference(alpha=PENALTY).fit(rows, np.eye(10)[labels])
    kernel, bias = fitted(features, labels, 400)
    ours = np.sqrt(features.astype(float)) @ kernel + bias
    assert np.abs(ours - reference.predict(rows)).max() < 1e-4


def test_grown_in_chunks_it_equals_the_whole():
    features, labels = features_and_labels(500)
    whole, grown = fitted(features, labels, 500), fitted(features, labels, 64)
    assert all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(whole, grown, strict=True))


def test_it_knows_what_features_tell_and_nothing_of_random_labels():
    features, labels = features_and_labels(4_000)
    train, held_out = (features[:2_000], labels[:2_000]), (features[2_000:], labels[2_000:])
    assert accuracy(*fitted(*train, 512), *held_out) > 0.8
    shuffled = np.random.default_rng(1).permutation(labels)
    by_chance = accuracy(*fitted(train[0], shuffled[:2_000], 512), held_out[0], shuffled[2_000:])
    assert 0.06 < by_chance < 0.14


def test_a_feature_that_is_always_the_same_does_no_harm():
    features, labels = features_and_labels(300)
    with_constant = np.column_stack([features, np.zeros(300, np.float16)])
    accuracies = [accuracy(*fitted(rows, labels, 300), rows, labels) for rows in (features, with_constant)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize("changes", [{"views": 0}, {"head_epochs": 0}])
def test_without_pooled_features_there_is_none(tiny_config: TrainConfig, small_data: Path, changes: dict) -> None:
    """tests/training/test_resume.py shows it in runs, whole and resumed, with and without pooled features."""
    writer = RunWriter(create(replace(tiny_config, **changes)))
    inputs = Inputs(writer.run.config, writer.progress)
    inputs.prepare()
    assert linear_probe.measure(inputs, writer) == {}
    assert curves.linear_probe(writer.rows) is None
