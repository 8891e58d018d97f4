"""Those who watch the same run: what one of them caused to be built serves all."""

import json
import time

import pytest
from app_pages import living_worker, make_run, metrics, open_app, sound

from cifar_core.charts import training as training_charts
from cifar_core.evaluation import diagnosis

MOMENT_SECONDS = 0.55  # in which all viewers share what the first one saw


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """The names of the figures that were built, and "diagnosis" for each time the rules were asked."""
    found: list[str] = []
    for module, name in (
        (training_charts, "metric_figure"),
        (training_charts, "small_figure"),
        (diagnosis, "diagnose"),
    ):
        real = getattr(module, name)

        def counted(*args, real=real, name=name, **options):
            found.append(name if name == "diagnose" else args[1])
            return real(*args, **options)

        monkeypatch.setattr(module, name, counted)
    return found


def test_a_figure_is_built_once_for_each_state_of_the_metrics_and_shared_by_all(built):
    run = make_run("running", rows=metrics(2, 0), stage="head")
    with living_worker(run):
        viewers = [open_app(run=run.id) for _ in range(3)]
        for viewer in viewers:
            viewer.session_state["details_panel"] = True  # as a click on it does
            sound(viewer.run())
            sound(viewer.run())
        for name in ("accuracy", "loss", "learning_rate", "images_per_second", "diagnose"):
            assert built.count(name) == 1, f"{name} for 3 viewers who looked twice"


def test_a_new_step_makes_new_figures_but_no_new_diagnosis(built):
    rows = metrics(2, 0)
    run = make_run("running", rows=rows[:-1], stage="head")
    with living_worker(run):
        viewer = open_app(run=run.id)
        for row in ({**rows[-2], "step": 4, "accuracy": 0.6}, rows[-1]):
            with (run.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            before = list(built)
            time.sleep(MOMENT_SECONDS)
            sound(viewer.run())
            assert built.count("accuracy") == before.count("accuracy") + 1
            whole_epoch = row["kind"] == "epoch"
            assert built.count("diagnose") == before.count("diagnose") + whole_epoch
