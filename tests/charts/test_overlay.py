import numpy as np
import pytest

from cifar_core.charts import overlay
from cifar_core.runs import curves


def rows(epochs: int, seconds: float, accuracy: float) -> list[dict]:
    """A run of the head, each epoch of which takes `seconds`."""
    found = []
    for epoch in range(1, epochs + 1):
        known = {"phase": "head", "epoch": epoch, "accuracy": accuracy / 2, "loss": 2.0, "learning_rate": 1e-3}
        known |= {"images_per_second": 1.0, "elapsed_seconds": epoch * seconds}
        found.append({"kind": "step", "step": 1, "steps": 1, **known})
        found.append({"kind": "epoch", "validation_accuracy": accuracy + epoch / 100, "validation_loss": 1.0, **known})
    return found


def test_lines_lie_along_epochs_or_along_the_clock() -> None:
    run = curves.curves(rows(3, 20.0, 0.5))
    assert overlay.lines(run, "accuracy", "epoch", 0).validation.x.tolist() == [1, 2, 3]
    assert overlay.lines(run, "accuracy", "time", 0).validation.x.tolist() == [20.0, 40.0, 60.0]
    assert overlay.lines(run, "accuracy", "time", 0).training.x.tolist() == [20.0, 40.0, 60.0]


def test_without_a_clock_the_epochs_serve() -> None:
    bare = [{key: value for key, value in row.items() if key != "elapsed_seconds"} for row in rows(2, 1.0, 0.5)]
    assert overlay.lines(curves.curves(bare), "loss", "time", 0).validation.x.tolist() == [1, 2]


def test_smoothing_leaves_a_constant_and_calms_a_jump_but_not_what_was_measured() -> None:
    assert overlay.smoothed(np.full(4, 0.7), 0.9) == pytest.approx(np.full(4, 0.7))
    assert overlay.smoothed(np.array([0.0, 1.0]), 0.5) == pytest.approx([0, 2 / 3])
    assert overlay.smoothed(np.array([3.0, 5.0]), 0).tolist() == [3, 5]
    found = overlay.lines(curves.curves(rows(3, 1.0, 0.5)), "accuracy", "epoch", 0.9)
    assert found.measured.y.tolist() == pytest.approx([0.51, 0.52, 0.53])
    assert np.ptp(found.validation.y) < 0.02


def test_a_name_is_text_and_every_run_has_its_own_look() -> None:
    chosen = [("<a href='javascript:alert(1)'>x</a>", curves.curves(rows(2, 1.0, 0.5)))] * 12
    figure = overlay.figure(chosen, "accuracy", "epoch", 0.5)
    assert {trace.name for trace in figure.data} == {"&lt;a href='javascript:alert(1)'&gt;x&lt;/a&gt;"}
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data if trace.mode == "lines"}) == 12
    assert sum(trace.showlegend is not False for trace in figure.data) == 12


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_runs_without_a_point_draw_an_empty_figure(metric: str) -> None:
    figure = overlay.figure([("new", curves.curves([]))], metric, "time", 0.9)
    assert figure.layout.yaxis.range is None
    assert figure.layout.xaxis.title.text == "seconds since the start"


def test_the_axis_shows_validation_where_training_began_far_off() -> None:
    low, high = overlay.figure([("a", curves.curves(rows(3, 1.0, 0.8)))], "accuracy", "epoch", 0).layout.yaxis.range
    assert 0.7 < low < 0.81
    assert 0.83 < high <= 1.005
