"""How much of a repeated grid is noise: simulated grids whose truth is known."""

import re

import numpy as np
import pytest

from cifar_core.search import findings, space
from cifar_core.search.findings import Cell, Trial
from cifar_core.search.space import Goal, Plan

GRIDS = 800


def cell(accuracies) -> Cell:
    return Cell(
        {}, tuple(Trial(n, "finished", {}, float(a), (), None, 1, 1, 1, None) for n, a in enumerate(accuracies))
    )


def found_different(cells: int, seeds: int, best: float = 0.0) -> float:
    """The share of simulated grids said to differ; `best` is added to the first cell, in standard deviations."""
    rng = np.random.default_rng([cells, seeds])
    grids = rng.normal(0.8, 0.01, (GRIDS, cells, seeds))
    grids[:, 0] += best * 0.01
    return float(np.mean([findings.noise([cell(row) for row in grid]).is_significant for grid in grids]))


@pytest.mark.parametrize(("cells", "seeds"), [(4, 2), (9, 2), (25, 2), (9, 3)])
def test_of_grids_that_are_pure_noise_five_in_a_hundred_are_said_to_differ(cells, seeds):
    assert 0.03 <= found_different(cells, seeds) <= 0.07


def test_a_cell_that_is_far_better_is_found():
    assert found_different(9, 3, best=8) > 0.95


def test_a_grid_without_repetition_says_nothing_of_noise():
    assert findings.noise([cell([0.8]), cell([0.9])]) is None
    assert findings.noise([cell([0.8, 0.9]), cell([])]) is None


def test_the_limit_is_tukeys():
    rows = [[0.80, 0.81, 0.83], [0.84, 0.85, 0.84], [0.79, 0.80, 0.82]]
    from scipy.stats import tukey_hsd

    found = findings.noise([cell(row) for row in rows])
    interval = tukey_hsd(*rows).confidence_interval(0.95)
    assert found.significant == pytest.approx((interval.high[0, 1] - interval.low[0, 1]) / 2, rel=1e-3)
    assert found.is_significant == (tukey_hsd(*rows).pvalue.min() < 0.05)


def search_of(accuracies, tiny_config) -> findings.Findings:
    """A search over width and dropout, whose trial n has the n-th accuracy."""
    plan = Plan(tiny_config, tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout=0:0.5"))))
    trials = tuple(
        Trial(n, "finished", {"alpha": (0.35, 0.5)[n % 2], "dropout": n % 7 / 20}, float(a), (), None, 1, 1, 1, None)
        for n, a in enumerate(accuracies)
    )
    return findings.Findings("x", "finished", plan, Goal(20), trials, 0)


def test_importances_need_fifteen_trials_and_find_what_decides(tiny_config):
    accuracies = [0.5 + n % 2 / 5 for n in range(15)]
    assert findings.importances(search_of(accuracies[:14], tiny_config)) == {}
    shares = findings.importances(search_of(accuracies, tiny_config))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["alpha"] > 0.9
    assert findings.importances(search_of([0.5] * 15, tiny_config)) == {}, "all alike"


def test_the_conclusion_says_no_more_than_the_trials_do(tiny_config):
    few = search_of([0.6, 0.7], tiny_config)
    assert re.search(rf"\b2 trials .*\b{findings.ENOUGH_TRIALS}\b", findings.conclusion(few, {}))
    enough = search_of([0.5 + n % 2 / 5 for n in range(15)], tiny_config)
    said = findings.conclusion(enough, {"dropout": 0.03, "alpha": 0.97})
    assert said.startswith("Width α matters most; Dropout (0 to 0.5) does not matter here.")
    assert "No setting makes a difference" in findings.conclusion(enough, {})
    assert findings.conclusion(search_of([], tiny_config), {}) == "No trial has ended yet."
