import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_core.config import KNOBS, PRESET_HELP, PRESETS, SCHEMA, Knob, TrainConfig
from cifar_core.errors import ConfigError

DEFAULTS = {  # what the description of the product says
    "dataset": "auto",
    "train_images": 50_000,
    "validation_fraction": 0.2,
    "alpha": 0.5,
    "image_size": 96,
    "weights": "auto",
    "dropout": 0.5,
    "dense_units": 128,
    "l2": 1e-4,
    "augmentation": 1.0,
    "head_epochs": 10,
    "head_batch_size": 256,
    "head_learning_rate": 1e-3,
    "fine_tune_epochs": 10,
    "fine_tune_learning_rate": 1e-4,
    "fine_tune_blocks": 4,
    "batch_norm": "inference",
    "schedule": "plateau",
    "optimizer": "adam",
    "label_smoothing": 0.0,
    "scaling": "minus_one_to_one",
}


def values(knob: Knob) -> st.SearchStrategy[Any]:
    """Every value that `knob` may have."""
    if knob.choices:
        return st.sampled_from(knob.choices)
    if knob.pattern:
        return st.sampled_from(["", "bundled", "20261129-105132883-best"])
    if isinstance(knob.default, int):
        return st.integers(int(knob.low or 0), int(knob.high or 0))
    return st.floats(knob.low, knob.high)


def configurations() -> st.SearchStrategy[dict[str, Any]]:
    # A configuration that trains nothing is not one.
    return st.fixed_dictionaries({name: values(knob) for name, knob in KNOBS.items()}).filter(
        lambda chosen: chosen["head_epochs"] or (chosen["fine_tune_epochs"] and chosen["fine_tune_blocks"])
    )


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_defaults_are_the_documented_ones(name: str, default: Any) -> None:
    assert getattr(TrainConfig(), name) == default


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
def test_every_knob_can_be_shown_and_has_a_valid_default(knob: Knob) -> None:
    assert knob.check(knob.default) == knob.default
    assert knob.help.endswith(".")
    assert knob.group
    assert knob.choices or knob.pattern or (knob.low is not None and knob.high is not None)
    assert set(knob.mistakes) <= set(knob.choices)
    assert knob.flag == "--" + knob.name.replace("_", "-")


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
def test_values_out_of_range_are_refused_with_the_knobs_name_and_range(knob: Knob) -> None:
    if knob.choices:
        bad: tuple[Any, ...] = ("nonsense",) if isinstance(knob.default, str) else (type(knob.default)(-7),)
        expected = tuple(map(str, knob.choices))
    elif knob.pattern:
        bad, expected = ("no run", "../run", "bundled\n", "9" * 100), ("bundled",)
    else:
        assert knob.low is not None
        assert knob.high is not None
        step = 1 if isinstance(knob.default, int) else 1e-6
        bad = (type(knob.default)(knob.low - step), type(knob.default)(knob.high + step))
        expected = (f"{knob.low:,}", f"{knob.high:,}")
    for value in bad:
        with pytest.raises(ConfigError) as caught:
            TrainConfig(**{knob.name: value})
        assert caught.value.field == knob.name
        assert knob.label in str(caught.value)
        assert str(value)[:50] in str(caught.value).encode().decode("unicode_escape")
        assert all(word in str(caught.value) for word in expected)


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
@pytest.mark.parametrize("value", [None, True, [1], {}, b"1", math.nan, math.inf, -math.inf, "", "1\0"], ids=repr)
def test_values_of_another_type_are_refused(knob: Knob, value: Any) -> None:
    if value == "" and knob.pattern:
        return  # no teacher
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{knob.name: value})
    assert caught.value.field == knob.name


@pytest.mark.parametrize("knob", [knob for knob in KNOBS.values() if knob.low is not None], ids=lambda knob: knob.name)
def test_bounds_belong_to_the_range(knob: Knob) -> None:
    for bound in (knob.low, knob.high):
        assert getattr(TrainConfig(**{knob.name: type(knob.default)(bound)}), knob.name) == bound


def test_whole_numbers_serve_as_numbers_and_the_other_way_round() -> None:
    config = TrainConfig(alpha=1, batch_size=32.0)  # type: ignore[arg-type]
    assert (config.alpha, type(config.alpha)) == (1.0, float)
    assert (config.batch_size, type(config.batch_size)) == (32, int)


def test_a_configuration_that_trains_nothing_is_refused() -> None:
    for nothing in ({"fine_tune_epochs": 0}, {"fine_tune_blocks": 0}):
        assert TrainConfig(**nothing)
        with pytest.raises(ConfigError, match=r"head_epochs 0 .*fine_tune_epochs and fine_tune_blocks"):
            TrainConfig(head_epochs=0, **nothing)


@given(configurations())
def test_a_configuration_survives_its_saved_form(chosen: dict[str, Any]) -> None:
    config = TrainConfig(**chosen)
    assert dataclasses.asdict(config) == chosen
    saved = json.loads(json.dumps(config.to_dict()))
    assert saved["schema"] == SCHEMA
    assert TrainConfig.from_dict(saved) == config
    assert config.differences(config) == {}


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
@given(data=st.data())
def test_every_value_can_be_typed(knob: Knob, data: st.DataObject) -> None:
    value = data.draw(values(knob))
    assert knob.parse(str(value)) == value
    assert knob.parse(knob.labels.get(value, str(value))) == value
    assert isinstance(knob.format(value), str)


@given(st.text())
def test_anything_typed_is_a_value_or_a_sentence(text: str) -> None:
    for knob in KNOBS.values():
        try:
            assert knob.check(knob.parse(text)) == knob.parse(text)
        except ConfigError as error:
            assert error.field == knob.name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from([*KNOBS, "schema"]))
def test_any_file_is_a_configuration_or_a_sentence(junk: Any, key: str) -> None:
    for saved in (junk, {**TrainConfig().to_dict(), key: junk}):
        try:
            assert isinstance(TrainConfig.from_dict(saved), TrainConfig)
        except ConfigError as error:
            assert len(str(error)) < 500


def test_unknown_missing_and_foreign_keys_are_refused() -> None:
    saved = TrainConfig().to_dict()
    with pytest.raises(ConfigError, match="'colour'"):
        TrainConfig.from_dict({**saved, "colour": 1})
    with pytest.raises(ConfigError, match="'alpha'"):
        TrainConfig.from_dict({key: value for key, value in saved.items() if key != "alpha"})
    for schema in (SCHEMA + 1, None, "1"):
        with pytest.raises(ConfigError, match="schema"):
            TrainConfig.from_dict({**saved, "schema": schema})


def test_a_file_from_before_the_heads_own_batch_size_means_one_size_for_both_phases() -> None:
    saved = TrainConfig(batch_size=32).to_dict()
    del saved["head_batch_size"]
    assert TrainConfig.from_dict(saved) == TrainConfig(batch_size=32, head_batch_size=32)


def test_differences_name_both_values() -> None:
    assert TrainConfig(dropout=0.3).differences(TrainConfig(alpha=1.0)) == {"dropout": (0.3, 0.5), "alpha": (0.5, 1.0)}


def test_presets_are_described() -> None:
    assert set(PRESETS) == set(PRESET_HELP) == {"quick", "standard", "best", "classic"}
    assert PRESETS["quick"].train_images == 5_000


def test_classic_is_the_recipe_of_the_tutorials() -> None:
    classic = PRESETS["classic"]
    recipe = {name: value for name, value in DEFAULTS.items() if name != "dataset"}
    assert {name: getattr(classic, name) for name in recipe} == recipe
