from dataclasses import replace

import numpy as np
import pytest

from cifar_core.charts import search as search_charts
from cifar_core.config import TrainConfig
from cifar_core.search import space
from cifar_core.search.findings import COSTS, Findings, Trial
from cifar_core.search.space import Goal, Plan


def trial(number: int, accuracy: float | None, state: str = "finished", **params: object) -> Trial:
    curve = ((1, accuracy), (2, accuracy)) if accuracy else ()
    return Trial(number, state, params, accuracy, curve, None, 3.0 + number, 1_000_000 * (number + 1), 0.5, None)


@pytest.fixture
def found(tiny_config: TrainConfig) -> Findings:
    plan = Plan(tiny_config, tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout=0:0.5", "l2"))))
    rng = np.random.default_rng(1)
    trials = [
        trial(
            n,
            0.5 + n / 100,
            "pruned" if n % 4 == 3 else "finished",
            alpha=(0.35, 0.5)[n % 2],
            dropout=n / 20,
            l2=float(10 ** rng.uniform(-6, -2)),
        )
        for n in range(9)
    ]
    return Findings("x", "running", plan, Goal(20), (*trials, trial(9, None, "running", alpha=0.5)), 1)


def test_the_history_has_every_ended_trial_and_the_best_so_far(found: Findings) -> None:
    figure = search_charts.history(found)
    points = {trace.name: list(trace.customdata) for trace in figure.data if trace.customdata is not None}
    assert points == {"finished": [0, 1, 2, 4, 5, 6, 8], "pruned": [3, 7]}
    assert list(figure.data[-1].y) == sorted(figure.data[-1].y)
    assert figure.layout.yaxis.title.text == "validation accuracy"


def test_the_opened_trial_is_ringed_wherever_it_is_drawn(found: Findings) -> None:
    opened = found.trials[3]
    drawn = (
        search_charts.history(found, opened),
        search_charts.slices(found, "dropout", opened),
        search_charts.front(found, "seconds", opened),
    )
    for figure in drawn:
        ringed = [
            number
            for trace in figure.data
            if trace.customdata is not None
            for number, width in zip(trace.customdata, trace.marker.line.width, strict=True)
            if width
        ]
        assert ringed == [3]


def test_a_slice_has_the_scale_of_its_knob(found: Findings) -> None:
    kinds = {knob: search_charts.slices(found, knob).layout.xaxis.type for knob in ("alpha", "dropout", "l2")}
    assert kinds == {"alpha": "category", "dropout": "linear", "l2": "log"}


def test_importances_are_bars_the_largest_on_top() -> None:
    figure = search_charts.importances({"alpha": 0.2, "dropout": 0.7, "l2": 0.1})
    assert list(figure.data[0].y) == ["L2 penalty", "Width α", "Dropout"]
    assert list(figure.data[0].x) == [0.1, 0.2, 0.7]


@pytest.mark.parametrize(("x", "y"), [("alpha", "dropout"), ("dropout", "alpha"), ("l2", "dropout")])
def test_a_pair_of_settings_is_points_with_the_accuracy_as_color(found: Findings, x: str, y: str) -> None:
    (points,) = search_charts.pair(found, x, y).data
    assert list(points.x) == [t.params[x] for t in found.ended]
    assert list(points.y) == [t.params[y] for t in found.ended]
    assert list(points.marker.color) == [t.accuracy for t in found.ended]


def test_the_curves_of_all_trials_have_the_opened_one_in_front(found: Findings) -> None:
    drawn = search_charts.trial_curves(found, found.trials[3])
    assert [line.name for line in drawn.data][-1] == "trial 4"
    assert [line.showlegend for line in drawn.data] == [False] * 8 + [True]


def test_no_trial_is_no_fault(found: Findings) -> None:
    assert len(search_charts.history(replace(found, trials=())).data) == 3


@pytest.mark.parametrize("cost", list(COSTS))
def test_the_front_is_drawn_with_its_unit(found: Findings, cost: str) -> None:
    figure = search_charts.front(found, cost)
    assert COSTS[cost][0].lower() in figure.layout.xaxis.title.text
    assert sum(len(trace.x) for trace in figure.data) == 9
    assert list(figure.data[1].y) == sorted(figure.data[1].y)


def test_the_axes_fit_one_trial_as_well_as_many(tiny_config: TrainConfig) -> None:
    plan = Plan(tiny_config, tuple(map(space.parse_range, ("dropout=0:0.5", "l2=1e-5:1e-3"))))
    one = Findings("x", "running", plan, Goal(4), (trial(0, 0.7, dropout=0.1, l2=1e-4),), 1)
    drawn = search_charts.history(one)
    assert list(drawn.layout.yaxis.range) == pytest.approx([0.69, 0.71])
    assert (list(drawn.layout.xaxis.range), drawn.layout.xaxis.dtick) == ([0.4, 1.6], 1)
    assert list(search_charts.slices(one, "dropout").layout.xaxis.range) == pytest.approx([-0.02, 0.52])
    assert list(search_charts.slices(one, "l2").layout.xaxis.range) == pytest.approx([-5.08, -2.92])
    many = Findings("x", "running", plan, Goal(4), tuple(trial(n, 0.5, dropout=0.1, l2=1e-4) for n in range(25)), 1)
    assert search_charts.history(many).layout.xaxis.dtick is None


def test_a_heat_map_fills_in_and_leaves_open_what_is_not_trained(tiny_config: TrainConfig) -> None:
    plan = Plan(tiny_config, tuple(map(space.parse_range, ("dropout=0,0.5", "alpha=0.35,0.5"))), grid=True)
    trials = (trial(0, 0.5, dropout=0.0, alpha=0.35, seed=1), trial(1, 0.7, dropout=0.0, alpha=0.35, seed=2))
    cells = Findings("x", "running", plan, Goal(4), trials, 1).cells()
    figure = search_charts.heat_map(cells, "dropout", "alpha")
    assert figure.data[0].z[0] == pytest.approx(0.6)
    assert list(figure.data[0].z).count(None) == 3
    assert "± 14.1" in figure.data[0].text[0]
    spread = search_charts.heat_map(cells, "dropout", "alpha", spread=True, opened=2)
    assert spread.data[0].z[0] == pytest.approx(100 * 0.02**0.5)
    (frame,) = spread.layout.shapes
    assert (frame.x0 < 1 < frame.x1, frame.y0 < 0 < frame.y1) == (True, True)
    cells_under_the_pointer = figure.data[1]
    assert list(cells_under_the_pointer.customdata) == [0, 1, 2, 3]
    assert list(cells_under_the_pointer.text)[1:] == ["not trained yet"] * 3
    assert cells_under_the_pointer.hoverinfo is None, "what is skipped in hovering cannot be clicked either"
