"""The results of lessons that ship with this version: really produced, complete, without pixels."""

import json
from datetime import datetime

import pytest

from cifar_core.charts import lessons as lesson_charts
from cifar_core.errors import ConfigError
from cifar_core.evaluation import diagnosis
from cifar_core.inference import activations
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import FIGURES, INSIDE, LESSONS, lesson
from cifar_core.lessons.experiments import CONDITIONS
from cifar_core.lessons.layer_probe import Layers

SHIPPED_KEYS = {"config", "curves", "boundary", "planned", "figures", "inside", "made"}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_lesson_has_results_of_exactly_its_arms(name: str) -> None:
    saved = experiments.stored(name)
    found = experiments.outcomes(saved)
    assert {key: one.config for key, one in found.items()} == {
        key: condition.config for key, condition in CONDITIONS[name].items()
    }
    for key, condition in saved["arms"].items():
        assert set(condition) == SHIPPED_KEYS, key  # so no pixels are among it
        assert len(condition["inside"]["last_map"]) in (1, 2, 3, 4)


@pytest.mark.parametrize("name", CONDITIONS)
def test_it_says_what_made_it(name: str) -> None:
    outcomes = experiments.outcomes(experiments.stored(name))
    assert outcomes.keys() == CONDITIONS[name].keys()
    for one in outcomes.values():
        made = one.made
        assert made.command == f"python -m cifar_core learn {name}"
        assert datetime.fromisoformat(made.date).year >= 2026
        assert made.processor and made.cores and made.python and made.packages["keras"]
        assert made.data == "CIFAR-10" and made.weights.startswith("ImageNet")
        assert made.seed == one.config.seed
        assert 0.1 < one.figures["test_accuracy"] < 1
        assert one.figures["test_images"] == 10_000


def test_the_probe_ships_for_both_networks() -> None:
    found = Layers.from_dict(experiments.stored(layer_probe.LESSON))
    assert found.networks[0].weights.startswith("ImageNet")
    assert found.networks[1].weights.startswith("random")
    assert found.networks[0].layers[0] == layer_probe.PIXELS and found.networks[0].features[0] == 3072
    assert found.made.data == "CIFAR-10"


def test_it_is_small() -> None:
    files = list(experiments.RESULTS.glob("*.json"))
    assert {file.stem for file in files} == set(LESSONS) - {INSIDE}
    assert all(file.stat().st_size < 100_000 for file in files)


@pytest.mark.bundled
def test_the_first_lesson_is_answered_by_the_bundled_network() -> None:
    first = LESSONS[next(iter(LESSONS))]
    assert (first.name, first.number) == (INSIDE, "1")
    fields = activations.receptive_fields(open_classifier(BUNDLED))  # at 128 px: 107 px in block 8, 139 px in block 9
    option, measured = first.answer(fields)
    assert option == 1 and "block 9" in measured
    assert fields[7] < 32 <= fields[8]


@pytest.mark.parametrize("name", [name for name in LESSONS if name != INSIDE])
def test_it_answers_the_question_and_can_be_drawn(name: str) -> None:
    one, saved = LESSONS[name], experiments.stored(name)
    found = Layers.from_dict(saved) if name == layer_probe.LESSON else experiments.outcomes(saved)
    option, measured = one.answer(found)
    assert 0 <= option < len(one.options)
    assert "%" in measured
    if name == layer_probe.LESSON:
        assert len(lesson_charts.layers_figure(found).data) == 2
    else:
        labelled = {condition.label: found[key] for key, condition in CONDITIONS[name].items()}
        losses = lesson_charts.curves_figure(labelled, "loss")
        assert [trace.name for trace in losses.data if trace.showlegend is not False] == list(labelled)
        recorded = "validation_cross_entropy" in json.dumps(saved)
        assert losses.layout.yaxis.title.text == ("nats" if recorded else "loss (with penalties)")
        assert len(lesson_charts.histogram_figure(labelled).data) == len(labelled)
        assert len(lesson_charts.norms_figure(labelled).data) == len(labelled)
        assert len(lesson_charts.maps_figure(labelled).data) == len(labelled) + 1
        assert lesson_charts.width_figure(labelled).data[1].x == tuple(
            sorted(one.figures["multiply_adds"] / 1e6 for one in found.values())
        )


def test_every_lesson_cites_and_draws() -> None:
    for name, one in LESSONS.items():
        assert one.name == name and one.sources and one.see and one.symptom.endswith("?")
        assert set(one.figures) <= set(FIGURES)
        assert all(url.startswith("https://") for _, url in one.sources)


def test_every_rule_of_the_diagnosis_has_one_lesson() -> None:
    rules = [rule for one in LESSONS.values() for rule in one.rules]
    assert sorted(rules) == sorted(rule.__name__ for rule in diagnosis.RULES)


def test_an_unknown_lesson_is_told_of() -> None:
    with pytest.raises(ConfigError, match=", ".join(LESSONS)):
        lesson("../etc")
