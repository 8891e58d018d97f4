import numpy as np
import pytest

from cifar_core.charts import training as training_charts
from cifar_core.runs.curves import MOST_POINTS, Columns, curves

LINES = ("accuracy", "loss", "validation_accuracy", "validation_loss", "learning_rate", "images_per_second")
CROSS_ENTROPIES = ("cross_entropy", "validation_cross_entropy")


def step(phase, epoch, number, steps, **values):
    known = {"loss": 2.0, "accuracy": 0.1, "learning_rate": 1e-3, "images_per_second": 1000.0}
    return {"kind": "step", "phase": phase, "epoch": epoch, "step": number, "steps": steps, **known, **values}


def epoch_row(phase, number, **values):
    known = {"validation_loss": 1.5, "validation_accuracy": 0.4}
    return {"kind": "epoch", "phase": phase, "epoch": number, **known, **values}


def phase_rows(phase, epochs, steps=4):
    """Rows as a worker writes them: some steps, then the epoch's own row."""
    rows = []
    for number in range(1, epochs + 1):
        rows += [step(phase, number, i, steps) for i in range(1, steps + 1)]
        rows.append(epoch_row(phase, number))
    return rows


def test_no_rows_are_empty_curves():
    found = curves([])
    assert set(found.curves) == {*LINES, *CROSS_ENTROPIES, "elapsed_seconds"}
    assert all(len(curve.x) == len(curve.y) == 0 for curve in found.curves.values())
    assert (found.boundary, found.planned) == (None, 0)


def test_progress_rows_are_no_points():
    progress = {"kind": "progress", "stage": "features", "done": 5, "total": 10, "seconds_left": None}
    assert len(curves([progress, *phase_rows("head", 1, steps=2), progress]).curves["loss"].x) == 2


def test_steps_lie_inside_their_epoch_and_validation_at_its_end():
    found = curves(phase_rows("head", 2, steps=4))
    assert found.curves["accuracy"].x.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert found.curves["validation_accuracy"].x.tolist() == [1.0, 2.0]


def test_each_curve_holds_its_own_figures():
    rows = [
        step("head", 1, 1, 1, loss=1.25, accuracy=0.5, learning_rate=0.01, images_per_second=640.0),
        epoch_row("head", 1, validation_loss=0.75, validation_accuracy=0.625),
    ]
    values = {name: curve.y.tolist() for name, curve in curves(rows).curves.items()}
    assert values == {
        "loss": [1.25],
        "accuracy": [0.5],
        "learning_rate": [0.01],
        "images_per_second": [640.0],
        "validation_loss": [0.75],
        "validation_accuracy": [0.625],
        "elapsed_seconds": [],
    }


def test_the_clock_runs_over_steps_and_epochs_of_both_phases():
    rows = [
        step("head", 1, 1, 2) | {"elapsed_seconds": 5.0},
        epoch_row("head", 1) | {"elapsed_seconds": 6.5},
        epoch_row("fine_tune", 1) | {"elapsed_seconds": 9.0},
        epoch_row("fine_tune", 2) | {"elapsed_seconds": "soon"},
    ]
    clock = curves(rows).curves["elapsed_seconds"]
    assert (clock.x.tolist(), clock.y.tolist()) == ([0.5, 1.0, 2.0], [5.0, 6.5, 9.0])


def test_fine_tuning_continues_where_the_head_ended():
    found = curves(phase_rows("head", 3) + phase_rows("fine_tune", 2))
    assert found.boundary == 3
    assert found.curves["validation_loss"].x.tolist() == [1, 2, 3, 4, 5]
    assert np.all(np.diff(found.curves["accuracy"].x) > 0)
    assert found.planned == 5


def test_the_first_step_of_fine_tuning_draws_the_boundary():
    found = curves([*phase_rows("head", 2), step("fine_tune", 1, 1, 4)])
    assert found.boundary == 2
    assert found.curves["loss"].x[-1] == 2.25


@pytest.mark.parametrize("phase", ["head", "fine_tune"])
def test_a_run_of_one_phase_starts_at_0_and_has_no_boundary(phase):
    found = curves(phase_rows(phase, 2))
    assert found.boundary is None
    assert found.curves["validation_accuracy"].x.tolist() == [1, 2]
    assert found.planned == 2


def test_the_axis_reaches_as_far_as_the_plan():
    assert curves(phase_rows("head", 1), {"head": 6, "fine_tune": 4}).planned == 10


def test_a_head_that_stopped_early_shortens_the_plan_once_fine_tuning_began():
    rows = [*phase_rows("head", 3), step("fine_tune", 1, 1, 4)]
    assert curves(rows, {"head": 10, "fine_tune": 4}).planned == 7


def test_points_are_means_of_equal_stretches_and_end_at_the_last_step():
    rows = [step("head", 1, number, 5_000, loss=float(number)) for number in range(1, 5_001)]
    curve = curves(rows).curves["loss"]
    assert MOST_POINTS - 1 <= len(curve.x) <= MOST_POINTS
    assert curve.x[-1] == 1.0
    length = 5_000 / (MOST_POINTS - 1)
    assert np.allclose(curve.y, curve.x * 5_000 - (length - 1) / 2, atol=0.6)


def test_a_point_once_drawn_stays_while_the_run_goes_on_and_when_it_has_ended():
    plan, columns = {"head": 6, "fine_tune": 4}, Columns()
    rows = phase_rows("head", 3, steps=50) + phase_rows("fine_tune", 2, steps=50)
    for number, row in enumerate(rows):
        row["loss"] = float(number)
    drawn: list[np.ndarray] = []
    for row in rows:
        columns.add([row])
        y = columns.curves(plan).curves["loss"].y
        assert y[: len(drawn) - 1].tolist() == list(drawn[:-1])
        drawn = y
    assert 50 < len(drawn) <= MOST_POINTS
    assert columns.curves(plan, ended=True).curves["loss"].y.tolist() == drawn.tolist()


def test_a_run_that_has_ended_reaches_only_as_far_as_it_came():
    columns = Columns()
    columns.add(phase_rows("head", 2))
    assert (columns.curves({"head": 6}).planned, columns.curves({"head": 6}, ended=True).planned) == (6, 2)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_ghost_is_drawn_pale_and_behind_with_its_own_validation(metric):
    run, ghost = curves(phase_rows("head", 1)), curves(phase_rows("head", 4))
    alone = training_charts.metric_figure(run, metric)
    raced = training_charts.metric_figure(run, metric, ghost)
    assert [trace.name for trace in alone.data] == ["training", "validation"]
    assert [trace.name for trace in raced.data] == ["earlier run, validation", "training", "validation"]
    assert raced.data[0].opacity < 1
    np.testing.assert_allclose(raced.data[0].x, ghost.curves[f"validation_{metric}"].x)


@pytest.mark.parametrize("name", ["accuracy", "loss", "learning_rate", "images_per_second"])
def test_the_axis_of_a_live_run_does_not_move(name):
    draw = training_charts.metric_figure if name in ("accuracy", "loss") else training_charts.small_figure
    plan = {"head": 6, "fine_tune": 4}
    ranges = {tuple(draw(curves(phase_rows("head", n), plan), name).layout.xaxis.range) for n in range(4)}
    assert len(ranges) == 1


def head_rows(epochs: int, seconds: float, accuracy: float) -> list[dict]:
    """A run of the head, each epoch of which takes `seconds`."""
    found = []
    for epoch in range(1, epochs + 1):
        known = {"phase": "head", "epoch": epoch, "accuracy": accuracy / 2, "loss": 2.0, "learning_rate": 1e-3}
        known |= {"images_per_second": 1.0, "elapsed_seconds": epoch * seconds}
        found.append({"kind": "step", "step": 1, "steps": 1, **known})
        found.append({"kind": "epoch", "validation_accuracy": accuracy + epoch / 100, "validation_loss": 1.0, **known})
    return found


def test_lines_lie_along_epochs_or_along_the_clock() -> None:
    run = curves(head_rows(3, 20.0, 0.5))
    assert training_charts.on_axis(run, run.curves["validation_accuracy"], "epoch").x.tolist() == [1, 2, 3]
    assert training_charts.on_axis(run, run.curves["validation_accuracy"], "time").x.tolist() == [20.0, 40.0, 60.0]
    assert training_charts.on_axis(run, run.curves["accuracy"], "time").x.tolist() == [20.0, 40.0, 60.0]


def test_without_a_clock_the_epochs_serve() -> None:
    bare = [{key: value for key, value in row.items() if key != "elapsed_seconds"} for row in head_rows(2, 1.0, 0.5)]
    run = curves(bare)
    assert training_charts.on_axis(run, run.curves["validation_loss"], "time").x.tolist() == [1, 2]


def test_smoothing_leaves_a_constant_and_calms_a_jump_but_not_what_was_measured() -> None:
    assert training_charts.smoothed(np.full(4, 0.7), 0.9) == pytest.approx(np.full(4, 0.7))
    assert training_charts.smoothed(np.array([0.0, 1.0]), 0.5) == pytest.approx([0, 2 / 3])
    assert training_charts.smoothed(np.array([3.0, 5.0]), 0).tolist() == [3, 5]
    run = curves(head_rows(3, 1.0, 0.5))
    _, line, dots = training_charts.overlay_figure([("run", run)], "accuracy", "epoch", 0.9).data
    assert list(dots.y) == pytest.approx([0.51, 0.52, 0.53])
    assert np.ptp(line.y) < 0.02


def test_a_name_is_text_and_every_run_has_its_own_look() -> None:
    chosen = [("<a href='javascript:alert(1)'>x</a>", curves(head_rows(2, 1.0, 0.5)))] * 12
    figure = training_charts.overlay_figure(chosen, "accuracy", "epoch", 0.5)
    assert {trace.name for trace in figure.data} == {"&lt;a href='javascript:alert(1)'&gt;x&lt;/a&gt;"}
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data if trace.mode == "lines"}) == 12
    assert sum(trace.showlegend is not False for trace in figure.data) == 12


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_runs_without_a_point_draw_an_empty_figure(metric: str) -> None:
    figure = training_charts.overlay_figure([("new", curves([]))], metric, "time", 0.9)
    assert figure.layout.yaxis.range == (0, 1)
    assert figure.layout.xaxis.title.text == "seconds since the start"


def test_the_axis_shows_validation_where_training_began_far_off() -> None:
    low, high = training_charts.overlay_figure(
        [("a", curves(head_rows(3, 1.0, 0.8)))], "accuracy", "epoch", 0
    ).layout.yaxis.range
    assert 0.7 < low < 0.81
    assert 0.83 < high <= 1.005


class TestCrossEntropy:
    """It is drawn where every row has it; a loss with penalties is never drawn under its name."""

    NEW = (step("head", 1, 1, 1, cross_entropy=1.2), epoch_row("head", 1, validation_cross_entropy=0.9))
    OLD = (step("head", 1, 1, 1), epoch_row("head", 1))

    @pytest.mark.parametrize(
        ("rows", "ghost", "title", "unit", "ends"),
        [
            (NEW, None, "Cross-entropy", "nats", (1.2, 0.9)),
            (OLD, None, "Loss", "loss (with penalties)", (2.0, 1.5)),
            (NEW, NEW, "Cross-entropy", "nats", (1.2, 0.9)),
            (NEW, OLD, "Loss", "loss (with penalties)", (2.0, 1.5)),
            ([*OLD, *NEW], None, "Loss", "loss (with penalties)", (2.0, 1.5)),
            (
                [NEW[0], epoch_row("head", 1, validation_cross_entropy=None)],
                None,
                "Loss",
                "loss (with penalties)",
                (2.0, 1.5),
            ),
        ],
        ids=["new run", "old run", "new ghost", "old ghost", "resumed old run", "without the validation's"],
    )
    def test_what_the_figure_of_the_loss_draws(self, rows, ghost, title, unit, ends):
        figure = training_charts.metric_figure(curves(rows), "loss", curves(ghost) if ghost else None)
        assert (figure.layout.title.text, figure.layout.yaxis.title.text) == (title, unit)
        assert tuple(trace.y[-1] for trace in figure.data[-2:]) == ends
        if ghost:
            assert figure.data[0].y[-1] == ends[1]

    def test_the_sentence_beside_the_figure(self):
        assert training_charts.metric_words(curves(self.NEW), "loss").startswith(
            "Cross-entropy over the epochs: training 1.2 "
        )
        assert training_charts.metric_words(curves(self.OLD), "loss").startswith("Loss over the epochs: training 2 ")

    @pytest.mark.parametrize(("others", "unit"), [([NEW], "nats"), ([NEW, OLD], "loss (with penalties)")])
    def test_runs_over_each_other_share_one_quantity(self, others, unit):
        figure = training_charts.overlay_figure([("a", curves(rows)) for rows in others], "loss", "epoch", 0)
        assert figure.layout.yaxis.title.text == unit
        assert figure.data[1].y[-1] == (0.9 if unit == "nats" else 1.5)


def test_the_linear_probe_is_a_dashed_line_of_its_accuracy_and_only_there():
    probe = {"kind": "linear_probe", "weights": "imagenet", "validation_accuracy": 0.85}
    columns = Columns()
    columns.add([*phase_rows("head", 1), probe])
    found = columns.curves()
    figure = training_charts.metric_figure(found, "accuracy")
    (line,) = [trace for trace in figure.data if trace.line.dash == "dash"]
    assert line.name == "what ImageNet already knows: 85.0%"
    assert line.y.tolist() == pytest.approx([0.85] * 2) and line.x[1] == pytest.approx(figure.layout.xaxis.range[1])
    assert "what ImageNet already knows: 85.0%" in training_charts.metric_words(found, "accuracy")
    assert {trace.line.dash for trace in training_charts.metric_figure(found, "loss").data} == {None}
    assert len(found.curves["accuracy"].x) == 4 and columns.last["kind"] == "epoch"


@pytest.mark.parametrize(
    "damage", [{"weights": "<b>"}, {"weights": []}, {"validation_accuracy": 2.0}, {"validation_accuracy": None}]
)
def test_runs_without_a_sound_linear_probe_have_no_line(damage):
    probe = {"kind": "linear_probe", "weights": "imagenet", "validation_accuracy": 0.85}
    for rows in ([], [probe | damage]):
        found = curves([*rows, *phase_rows("head", 1)])
        assert found.linear_probe is None
        assert len(training_charts.metric_figure(found, "accuracy").data) == 2


def test_dots_of_chosen_runs_are_named_and_lie_whole_on_the_chart() -> None:
    dots = [
        training_charts.Dot("b", 60, 0.9, 1),
        training_charts.Dot("other", 30, 0.8, None),
        training_charts.Dot("a", 600, 0.7, 0),
    ]
    figure = training_charts.time_figure(dots)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["a", "b"]
    low, high = figure.layout.xaxis.range
    assert low < 0 and high > 10
    assert training_charts.time_figure([]).layout.xaxis.range[1] > 0


def test_a_training_loss_that_ends_infinite_leaves_the_axis_of_the_others() -> None:
    rows = [*phase_rows("head", 2), step("head", 3, 1, 1, loss=float("inf"))]
    low, high = training_charts.overlay_figure([("a", curves(rows))], "loss", "epoch", 0).layout.yaxis.range
    assert low == 0 and 1.5 < high < 10
