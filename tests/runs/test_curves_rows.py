import pytest

from cifar_core.runs import curves

STEP = {
    "kind": "step",
    "phase": "head",
    "epoch": 1,
    "step": 3,
    "steps": 13,
    "accuracy": 0.5,
    "loss": 1.2,
    "learning_rate": 1e-3,
    "images_per_second": 900.0,
    "seconds_left": 4.0,
    "elapsed_seconds": 7.5,
}
EPOCH = {
    "kind": "epoch",
    "phase": "fine_tune",
    "epoch": 2,
    "epochs": 5,
    "validation_accuracy": 0.75,
    "validation_loss": 0.9,
    "epoch_seconds": 2.0,
}
PROGRESS = {"kind": "progress", "stage": "features", "done": 0, "total": 800, "seconds_left": None}


@pytest.mark.parametrize("row", [STEP, EPOCH, PROGRESS])
def test_what_a_training_writes_is_sound(row: dict) -> None:
    assert curves.sound_rows([row]) == [row]


@pytest.mark.parametrize("value", ["x", None, [], True, -1, float("inf"), 1e300, 10**400])
@pytest.mark.parametrize("name", ["epoch", "step", "accuracy", "images_per_second"])
def test_a_number_that_no_training_writes_takes_its_row_with_it(name: str, value: object) -> None:
    assert curves.sound_rows([STEP, {**STEP, name: value}]) == [STEP]


@pytest.mark.parametrize("row", [STEP, EPOCH, PROGRESS])
def test_a_time_that_is_none_takes_its_row_with_it(row: dict) -> None:
    for value in ("soon", float("nan"), -1, 10**400):
        assert curves.sound_rows([{**row, "seconds_left": value}]) == []


def test_a_loss_may_be_no_number_as_a_training_that_breaks_down_writes_it() -> None:
    broken = [{**STEP, "loss": float("nan")}, {**EPOCH, "validation_loss": float("inf")}]
    assert curves.sound_rows(broken) == broken
    assert curves.sound_rows([{**STEP, "loss": 10**400}]) == []


def test_other_kinds_and_phases_are_left_out() -> None:
    assert curves.sound_rows([{**STEP, "kind": "song"}, {**STEP, "phase": "tail"}, {}]) == []


def test_the_newest_weight_changes_count() -> None:
    rows = [{**EPOCH, "weight_changes": [0.1] * 17}, {**EPOCH, "epoch": 3, "weight_changes": [0.2] * 17}]
    assert curves.curves(rows).weight_changes == (0.2,) * 17
    assert curves.curves([EPOCH]).weight_changes == ()


@pytest.mark.parametrize("value", ["x", [0.1] * 16, [-1] * 17, [float("nan")] * 17, [None] * 17, [10**400] * 17, 7])
def test_weight_changes_that_no_training_writes_take_their_row_with_them(value: object) -> None:
    assert curves.sound_rows([EPOCH, {**EPOCH, "weight_changes": value}]) == [EPOCH]
