import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from cifar_core import costs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10, feature_cache
from cifar_core.data.cifar10 import split
from cifar_core.data.feature_cache import Entry
from cifar_core.jobs import Stopped
from cifar_core.network import pretrained
from cifar_core.runs import create
from cifar_core.training import model
from cifar_core.training.batches import Batches
from cifar_core.training.fit import _PhaseTraining, compiled, phases
from cifar_core.training.inputs import CHUNK, CachedOutputs, Inputs, View, backbone_outputs, views
from cifar_core.training.run_writer import RunWriter

Change = Callable[..., TrainConfig]


@pytest.fixture
def tiny_config(tiny_config: TrainConfig) -> TrainConfig:
    """It fine-tunes four blocks, the usual number."""
    return dataclasses.replace(tiny_config, fine_tune_blocks=4)


@pytest.fixture
def change(tiny_config: TrainConfig, small_data: Any) -> Change:
    return lambda **changes: dataclasses.replace(tiny_config, **changes)


def extractor(config: TrainConfig) -> CachedOutputs:
    loaded = pretrained.load(config.weights, config.alpha, config.image_size, 1)
    return backbone_outputs(config, cifar10.load("generated"), loaded)


def entries(config: TrainConfig, view: View) -> dict[str, Entry]:
    return extractor(config).entries(view)


def inputs(config: TrainConfig) -> Inputs:
    return Inputs(config, RunWriter(create(config)).progress)


# ---- what the entries depend on


def test_entries_as_they_are_know_no_seed_no_split_and_no_strength(change: Change) -> None:
    first = entries(change(), View())
    for other in (
        {"seed": 7},
        {"validation_fraction": 0.4, "train_images": 2_000},
        {"augmentation": 2.0, "views": 9},
        {"dropout": 0.1, "dense_units": 64, "head_epochs": 9, "batch_size": 16, "batch_norm": "adapt"},
    ):
        assert entries(change(**other), View()) == first


def test_pooled_features_know_no_cut(change: Change) -> None:
    one, other = (entries(change(fine_tune_blocks=count), View()) for count in (4, 6))
    assert one["pooled"] == other["pooled"]
    assert one["cut"] != other["cut"]


@pytest.mark.parametrize(
    "other", [{"alpha": 0.5}, {"image_size": 64}, {"scaling": "zero_to_one"}], ids=lambda other: next(iter(other))
)
def test_whatever_changes_the_numbers_is_another_entry(change: Change, other: dict[str, Any]) -> None:
    paths = {entry.path for config in (change(), change(**other)) for entry in entries(config, View()).values()}
    assert len(paths) == 4


def test_other_weights_or_images_are_another_entry(change: Change) -> None:
    loaded, dataset = pretrained.load("random", 0.35, 32, 1), cifar10.load("generated")
    first = backbone_outputs(change(), dataset, loaded).entries(View())
    for changed in (
        backbone_outputs(change(), dataset, dataclasses.replace(loaded, fingerprint="other")),
        backbone_outputs(change(), dataclasses.replace(dataset, fingerprint="other"), loaded),
    ):
        assert not set(changed.entries(View()).values()) & set(first.values())


def test_augmented_views_are_entries_by_seed_strength_and_number(change: Change) -> None:
    configs = (change(), change(seed=2), change(augmentation=2.0))
    paths = {entries(config, view)["pooled"].path for config in configs for view in views(config)}
    assert len(paths) == 6
    assert views(change(augmentation=0.0, views=5)) == [View()]


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({}, {"head": "pooled", "fine_tune": "cut"}),
        ({"head_epochs": 0}, {"fine_tune": "cut"}),
        ({"fine_tune_epochs": 0}, {"head": "pooled"}),
        ({"fine_tune_blocks": 0}, {"head": "pooled"}),
        ({"fine_tune_blocks": 17}, {"head": "pooled"}),
        ({"views": 0}, {}),
        ({"views": 0, "augmentation": 0.0}, {"head": "pooled", "fine_tune": "cut"}),
    ],
    ids=repr,
)
def test_each_phase_is_trained_from_what_serves_it(
    change: Change, changes: dict[str, Any], layers: dict[str, str]
) -> None:
    assert change(**changes).stored_layers == layers


# ---- filling


def test_features_are_those_of_keras(change: Change) -> None:
    config = change()
    rows = np.array([3, 70, 11_000])
    found = extractor(config).fill(View(), rows, lambda *_: None)
    loaded = pretrained.load("random", 0.35, 32, 1).named
    network = model.build(config, loaded)
    images = cifar10.load("generated").train_images[rows].astype(np.float32)
    for layer, name in (("pooled", "pooled"), ("cut", "block_12_add")):
        expected = keras.ops.convert_to_numpy(
            keras.Model(network.input, network.get_layer(name).output)(images, training=False)
        )
        # float16 keeps 11 bits, so a number is off by 2^-11 of itself at most.
        assert found[layer].open()[rows] == pytest.approx(
            expected, rel=2**-10, abs=1e-4 * float(np.abs(expected).max())
        )


def test_an_interrupted_filling_goes_on_where_it_stopped(change: Change) -> None:
    config, rows = change(), np.arange(2 * CHUNK + 10)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done == CHUNK and total == len(rows):
            raise Stopped

    with pytest.raises(Stopped):
        extractor(config).fill(View(), rows, progress)
    extractor(config).fill(View(), rows, progress)
    rest = CHUNK + 10
    assert seen == [(0, len(rows)), (CHUNK, len(rows)), (0, rest), (CHUNK, rest), (rest, rest)]
    seen.clear()
    extractor(config).fill(View(), rows, progress)
    assert seen == []


def test_damaged_rows_are_computed_anew(change: Change) -> None:
    rows = np.arange(20)
    found = extractor(change()).fill(View(), rows, lambda *_: None)["cut"]
    right = found.open()[:20].copy()
    with (found.path / "rows").open("r+b") as file:
        file.seek(5 * found.row_bytes)
        file.write(b"\7" * 10)
    counts: list[int] = []
    again = extractor(change()).fill(View(), rows, lambda done, total: counts.append(total))["cut"]
    assert counts[-1] == 1
    assert np.array_equal(again.open()[:20], right)


# ---- the inputs of a training


def test_epochs_walk_over_the_views(change: Change) -> None:
    found = inputs(change(views=3))
    for phase, in_a_row in (("head", 2), ("fine_tune", 1)):
        source, _ = found.sources(phase)
        first = []
        for epoch in range(6 * in_a_row):
            source.begin(epoch)
            first.append(source.take(np.arange(4)))
        walked = first[::in_a_row]
        assert all(np.array_equal(first[epoch], walked[epoch // in_a_row]) for epoch in range(6 * in_a_row))
        assert all(np.array_equal(walked[view], walked[view + 3]) for view in range(3))
        assert not np.array_equal(walked[0], walked[1])
        assert not np.array_equal(walked[1], walked[2])


def test_while_keras_is_imported_later_views_are_computed_ahead(change: Change) -> None:
    config = change(views=3, head_epochs=1, fine_tune_epochs=2)

    def stored(source: Inputs, number: int) -> int:
        view = views(config)[number]
        return len(source.train_rows) - len(source._backbone.entries(view)["cut"].missing(source.train_rows))

    progress = RunWriter(create(config)).progress
    found = Inputs(config, progress, lambda: stored(found, 1) == 0)  # until one chunk is there
    found.prepare_later_epochs()
    assert 0 < stored(found, 1) < len(found.train_rows)  # begun, and left for the training to finish
    ahead = Inputs(config, RunWriter(create(config)).progress, lambda: True)
    ahead.prepare_later_epochs()
    assert stored(ahead, 1) == len(ahead.train_rows)
    assert stored(ahead, 2) == 0, "no epoch comes to it"


def test_without_views_every_epoch_is_augmented_afresh(change: Change) -> None:
    source, validation = inputs(change(views=0)).sources("head")
    first, second, again = [], [], []
    for epoch, found in ((0, first), (1, second), (0, again)):
        source.begin(epoch)
        found.append(source.take(np.arange(4)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    validation.begin(3)
    held_out = split(cifar10.load("generated").train_labels, 1_000, 0.2, 1)[1]
    assert np.array_equal(validation.take(np.arange(4)), cifar10.load("generated").train_images[held_out[:4]])


def test_batches_hold_every_image_once_in_an_order_of_seed_and_epoch(change: Change) -> None:
    class Rows:
        def begin(self, epoch: int) -> None:
            pass

        def take(self, rows: np.ndarray) -> np.ndarray:
            return rows

    labels = np.arange(150) % 10

    def order(seed: int | None, epoch: int) -> list[int]:
        batches = Batches(Rows(), labels, 64, seed)
        batches.begin(epoch)
        assert len(batches) == 3
        rows = [batches[index] for index in range(3)]
        assert all(np.array_equal(one_hot.argmax(1), labels[row]) for row, one_hot in rows)
        return [int(number) for row, _ in rows for number in row]

    assert sorted(order(1, 0)) == list(range(150))
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(*place)) for place in ((1, 0), (1, 1), (2, 0))}) == 3
    assert order(None, 5) == list(range(150))


def test_phase_2_has_shuffles_and_augmentations_of_its_own(change: Change) -> None:
    config = change(views=0, head_epochs=3, fine_tune_epochs=2)
    found = inputs(config)
    drawn = {}
    for phase, epochs in config.epochs.items():
        source = found.sources(phase)[0]
        batches = Batches(source, np.zeros(len(found.train_rows), int), 64, 1, before=config.epochs_before(phase))
        for epoch in range(epochs):
            batches.begin(epoch)
            drawn[phase, epoch] = batches._order.tobytes(), source.take(np.arange(4)).tobytes()
    assert all(len(set(kind)) == 5 for kind in zip(*drawn.values(), strict=True))


def test_a_store_without_room_trains_end_to_end_and_says_so(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_STORE_GB", "0.001")
    found = inputs(change())
    assert "the budget is 0.0 GB" in found.end_to_end_reason
    assert [found.stored_layer(phase) for phase in ("head", "fine_tune")] == [None, None]
    assert found.sources("head")[0].take(np.arange(2)).shape == (2, 32, 32, 3)


def test_a_cache_that_cannot_be_written_trains_end_to_end_and_says_so(change: Change) -> None:
    feature_cache.store_dir().write_text("a file")
    assert "CIFAR_CACHE_DIR" in inputs(change()).end_to_end_reason


def test_a_run_finds_its_own_features_again_in_a_store_that_is_full(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = change()
    first = inputs(config)
    first.prepare()
    needed = sum(item["bytes"] for item in feature_cache.contents())
    monkeypatch.setenv("CIFAR_STORE_GB", str(needed / 1e9))
    writer = RunWriter(create(config))
    again = Inputs(config, writer.progress)
    assert again.end_to_end_reason == ""
    again.prepare()
    assert writer.rows == []  # nothing was computed


@pytest.mark.parametrize("knobs", [{}, {"augmentation": 0.0}, {"views": 4, "fine_tune_epochs": 1, "head_epochs": 3}])
def test_the_room_asked_for_is_what_the_views_that_epochs_come_to_take(change: Change, knobs: dict[str, Any]) -> None:
    config = change(**knobs)
    found = inputs(config)
    found.prepare()
    for phase in ("head", "fine_tune"):
        source, _ = found.sources(phase)
        for epoch in range(config.head_epochs if phase == "head" else config.fine_tune_epochs):
            source.begin(epoch)
    used = {View(), *views(config)}
    entries = {entry.path: entry for view in used for entry in extractor(config).entries(view).values()}.values()
    stored = sum((entry.rows - len(entry.missing(np.arange(entry.rows)))) * entry.row_bytes for entry in entries)
    assert stored == costs.store_bytes(config, costs.cached_images(config, 800, 200))
    assert stored == costs.estimate(config, 1_000, 100).store_bytes


# ---- the same training


@pytest.mark.parametrize("phase", ["head", "fine_tune"])
def test_training_from_the_store_equals_training_the_joined_network(
    change: Change, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "DTYPE", np.dtype(np.float32))  # the rounding is another matter
    config = change(augmentation=0.0, dropout=0.0, optimizer="adamw", **{f"{phase}_learning_rate": 1e-3})
    (plan,) = (each for each in phases(config) if each.name == phase)
    ended = []
    for stored in (True, False):
        found = inputs(config)
        found._layers = found._layers if stored else {}
        found.prepare()
        keras.utils.set_random_seed(1)
        network = model.build(config, found.weights.named)
        training = _PhaseTraining(found, network, model.named_weights(network), RunWriter(create(config)), None, plan)
        trained = compiled(network, config, plan, 1, is_stored=stored)
        assert (trained.input_shape[1:] == (32, 32, 3)) is not stored
        trained.run_eagerly = True  # one step is not worth compiling
        batches, _ = training._batches()
        loss = trained.train_on_batch(*batches[0])[0]
        ended.append((float(loss), model.named_weights(network), found.weights.named))
    (loss, one, start), (other_loss, other, _) = ended
    # Both compute the backbone in float32, one in LiteRT and one in TensorFlow, which add up in another order.
    assert loss == pytest.approx(other_loss, rel=1e-4)
    moved = [name for name in start if not np.array_equal(one[name], start[name])]
    assert bool(moved) is (phase == "fine_tune")
    for name in one:
        if name.endswith(("moving_mean", "moving_variance")):
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4)
            continue
        # Adam's first step is the learning rate in the gradient's direction, whatever its size. Where a gradient is
        # all but zero, rounding decides its direction; that may be so for one number in a hundred.
        assert np.abs(one[name] - other[name]).max() <= 2.1e-3
        assert (np.abs(one[name] - other[name]) > 1e-4).mean() < 0.01, name
