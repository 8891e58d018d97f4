"""Explore's sections Sweep and Surface in their states, without a browser; the worker is played by the tests."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest
from app_pages import button, charts_of, open_explore, sound, texts
from filelock import FileLock
from played_sweeps import CONFIG, FIVE, grid, play
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.config import ALL_IMAGES, KNOBS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.network import pretrained
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Plan
from pages.components import live_chart

MARKUP = "<img src=x onerror=alert(1)> **bold**"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_host_answers", lambda: False)
    monkeypatch.setattr(
        cifar10,
        "samples",
        lambda *_, **__: (cifar10.np.zeros((7, 32, 32, 3), cifar10.np.uint8), cifar10.np.zeros(7, cifar10.np.uint8)),
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No worker is started: the names of sweeps that one would have been put on."""
    names: list[str] = []
    monkeypatch.setattr(sweep_workers, "work", lambda name, *_: names.append(name))
    return names


@contextlib.contextmanager
def working(name: str) -> Iterator[None]:
    """Hold the lock of a worker, as one would."""
    with FileLock(studies.folder(name) / "worker-0.lock"):
        yield


def link(app: AppTest) -> tuple[str, str] | None:
    """Return label and query of the link to a trial's run."""
    found = [element.proto for element in app.get("page_link") if element.proto.query_string.startswith("run=")]
    return (found[0].label, found[0].query_string) if found else None


def test_without_a_sweep_it_says_what_to_do_and_offers_the_usual_knobs() -> None:
    app = open_explore(section="sweep")
    assert "There is no sweep yet" in texts(app.info)
    assert app.multiselect(key="sweep_knobs").value == ["alpha", "dropout", "augmentation"]
    assert app.slider(key="sweep_range_dropout").value == (0.0, 0.8)
    assert not button(app, "sweep_start").disabled


def test_a_logarithmic_knob_gets_a_logarithmic_range() -> None:
    app = open_explore(section="sweep")
    sound(app.multiselect(key="sweep_knobs").set_value(["head_learning_rate", "l2"]).run())
    assert app.select_slider(key="sweep_range_head_learning_rate").value == (1e-5, 1e-1)
    assert app.select_slider(key="sweep_range_l2").value == (1e-6, 1e-2)


def test_without_knobs_nothing_can_be_started() -> None:
    app = open_explore(section="sweep")
    sound(app.multiselect(key="sweep_knobs").set_value([]).run())
    assert button(app, "sweep_start").disabled


def test_start_makes_the_sweep_as_chosen_and_puts_it_into_the_address(started: list[str]) -> None:
    app = open_explore(section="sweep")
    app.multiselect(key="sweep_knobs").set_value(["dropout"]).run()
    app.slider(key="sweep_range_dropout").set_value((0.1, 0.4)).run()
    app.number_input(key="sweep_trials").set_value(7).run()
    app.text_input(key="sweep_name").set_value("mine").run()
    sound(button(app, "sweep_start").click().run())
    assert started == ["mine"]
    study = studies.open_study("mine")
    assert studies.goal_of(study).trials == 7
    plan = studies.plan_of(study)
    assert [(item.knob, item.low, item.high) for item in plan.ranges] == [("dropout", 0.1, 0.4)]
    assert (plan.base.train_images, plan.base.fine_tune_epochs) == (5_000, 0)
    assert app.query_params["sweep"] == "mine"


def test_the_address_keeps_what_a_new_sweep_would_try() -> None:
    app = open_explore(section="sweep")
    usual = dict(app.query_params)
    app.selectbox(key="sweep_preset").set_value("standard").run()
    app.select_slider(key="sweep_images").set_value("1000").run()
    app.segmented_control(key="sweep_phases").set_value("both").run()
    app.multiselect(key="sweep_knobs").set_value(["alpha", "dropout", "l2"]).run()
    app.multiselect(key="sweep_range_alpha").set_value([0.35, 1.0]).run()
    app.slider(key="sweep_range_dropout").set_value((0.1, 0.4)).run()
    app.segmented_control(key="sweep_until").set_value("minutes").run()
    app = sound(app.number_input(key="sweep_minutes").set_value(7).run())
    told = {
        "sweep_preset": "standard",
        "sweep_images": "1000",
        "sweep_phases": "both",
        "sweep_vary": "alpha=0.35,1.0;dropout=0.1:0.4;l2=1e-06:0.01",
        "sweep_until": "minutes",
        "sweep_minutes": "7",
    }
    assert dict(app.query_params) == usual | told
    again = open_explore(**usual, **told)
    assert again.expander[0].proto.expanded
    assert dict(again.query_params) == usual | told
    assert again.multiselect(key="sweep_knobs").value == ["alpha", "dropout", "l2"]
    assert again.multiselect(key="sweep_range_alpha").value == [0.35, 1.0]
    assert again.slider(key="sweep_range_dropout").value == (0.1, 0.4)
    assert again.select_slider(key="sweep_images").value == "1000"
    assert again.number_input(key="sweep_minutes").value == 7


@pytest.mark.parametrize(
    "vary", ["dropout=0.4:0.1", "seed", "<b>;;=", "dropout=nan:inf", "dropout=0.1,0.2", ";" * 9999]
)
def test_an_address_of_no_ranges_gives_the_usual_ones(vary: str) -> None:
    app = open_explore(section="sweep", sweep_vary=vary, sweep_trials="-1", sweep_images="7", sweep_preset="best")
    assert app.multiselect(key="sweep_knobs").value == ["alpha", "dropout", "augmentation"]
    assert (app.number_input(key="sweep_trials").value, app.select_slider(key="sweep_images").value) == (30, "5000")
    assert set(app.query_params) == {"section"}


def test_minutes_are_a_goal_too(started: list[str]) -> None:
    app = open_explore(section="sweep")
    app.segmented_control(key="sweep_until").set_value("minutes").run()
    sound(button(app, "sweep_start").click().run())
    assert studies.goal_of(studies.open_study(started[0])).seconds == 600


@pytest.mark.parametrize("name", ["../x", "a b", MARKUP, ""])
def test_a_hostile_name_is_refused_and_shown_as_text(name: str, started: list[str]) -> None:
    app = open_explore(section="sweep")
    app.text_input(key="sweep_name").set_value(name).run()
    sound(button(app, "sweep_start").click().run())
    assert "expected a name" in texts(app.error)
    assert "<img" not in texts(app.error).replace("\\<", "")
    assert started == []
    assert studies.names() == []


@pytest.mark.parametrize("asked", ["../x", MARKUP, "nothing"])
def test_a_hostile_address_is_shown_as_text(asked: str) -> None:
    play("one", *FIVE)
    app = open_explore(section="sweep", sweep=asked, trial="<b>", x="<b>", cost="../x")
    assert "There is no sweep called" in texts(app.error)
    assert "<img" not in texts(app.error).replace("\\<", "")
    assert app.query_params["sweep"] == "one"


def test_a_finished_sweep_shows_what_it_found() -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="sweep", sweep="one")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Best accuracy"] == "80.0%"
    assert shown["Trials"] == "5"
    assert {"sweep_history", "sweep_parallel", "sweep_importances", "sweep_slice_dropout", "sweep_front"} <= set(
        charts_of(app)
    )
    assert "sweep_surface_dropout" in charts_of(app)
    assert "Trial 5**, validation accuracy 80.0%, the best so far" in texts(app.markdown)
    assert "The best **Width α** lies at the low end of its range, 0\\.35, where the knob itself ends." in texts(
        app.info
    )
    assert button(app, "stop_one") is None


def test_the_address_names_the_trial_and_the_axes() -> None:
    play("one", *FIVE, plan=Plan(CONFIG, tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout", "l2")))))
    app = open_explore(section="sweep", sweep="one", trial="2", x="l2", y="alpha", cost="seconds")
    assert "Trial 2**, validation accuracy 65.0%" in texts(app.markdown)
    assert charts_of(app)["sweep_surface_own"]["layout"]["title"]["text"] == "L2 penalty × Width α"
    assert "training time, s" in charts_of(app)["sweep_front"]["layout"]["xaxis"]["title"]["text"]


def test_a_running_sweep_can_be_stopped_and_says_how_far_it_is() -> None:
    play("one", *FIVE)
    with working("one"):
        app = open_explore(section="sweep", sweep="one")
        assert "5 of 20 trials, about 45 s left" in texts(app.markdown)
        assert not button(app, "stop_one").disabled
        studies.ask_to_stop(studies.open_study("one"), True)
        assert button(sound(app.run()), "stop_one").disabled


def test_an_interrupted_sweep_is_resumed(started: list[str]) -> None:
    play("one", *FIVE)
    app = open_explore(section="sweep", sweep="one")
    assert "nothing is lost" in texts(app.markdown)
    sound(button(app, "resume_one").click().run())
    assert started == ["one"]


def test_a_sweep_is_extended(started: list[str]) -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="sweep", sweep="one")
    sound(button(app, "sweep_extend").click().run())
    assert started == ["one"]
    assert studies.goal_of(studies.open_study("one")).trials == 15


def test_failed_trials_say_why_as_text() -> None:
    study = play("one")
    trial = study.ask()
    trial.set_user_attr("error", MARKUP)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    app = open_explore(section="sweep", sweep="one")
    assert "Trials failed" in texts(app.warning)
    assert "<img" not in texts(app.warning).replace("\\<", "")


def test_continue_on_all_images_sets_every_knob_of_train(other_knobs: TrainConfig) -> None:
    ranges = tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout")))
    study = play("one", *FIVE, goal=5, plan=Plan(other_knobs, ranges))
    app = open_explore(section="sweep", sweep="one", trial="5")
    sound(button(app, "sweep_continue_4").click().run())
    tried = runs.Run(study.trials[4].user_attrs["run"]).config
    assert (tried.alpha, tried.dropout) == (0.35, 0.1)
    arrived = {name: app.session_state[f"{name}"] for name in KNOBS}
    assert TrainConfig(**arrived) == replace(tried, train_images=ALL_IMAGES)


def test_the_best_trial_links_to_its_run_and_another_when_it_is_asked_for() -> None:
    study = play("one", *FIVE, goal=5)
    known = [trial.user_attrs["run"] for trial in study.trials]
    assert link(open_explore(section="sweep", sweep="one")) == ("Open as a run", f"run={known[4]}")
    assert link(open_explore(section="sweep", sweep="one", trial="2")) == ("Open as a run", f"run={known[1]}")


@pytest.mark.parametrize("figure", ["sweep_history", "sweep_slice_dropout", "sweep_front"])
def test_a_click_on_a_point_shows_its_trial(figure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = play("one", *FIVE, goal=5)
    app = open_explore(section="sweep", sweep="one")
    drawn = charts_of(app)[figure]["data"]
    points = next(trace for trace in drawn if trace.get("customdata"))
    shown = dict(zip(points["customdata"], points["y"], strict=True))
    clicks = [next(number for number, accuracy in shown.items() if accuracy == pytest.approx(0.65))]
    monkeypatch.setattr(live_chart, "show", lambda _, key: clicks.pop() if clicks and key == figure else None)
    app = sound(app.run())
    assert "Trial 2**, validation accuracy 65.0%" in texts(app.markdown)
    assert app.query_params["trial"] == "2"
    assert link(app)[1] == f"run={study.trials[1].user_attrs['run']}"


def test_a_trial_whose_run_was_deleted_says_so() -> None:
    study = play("one", *FIVE, goal=5)
    runs.delete(runs.Run(study.trials[4].user_attrs["run"]))
    app = open_explore(section="sweep", sweep="one")
    assert link(app) is None
    assert "Its run lies on another machine, or was deleted." in texts(app.caption)


def test_a_sweep_is_deleted_and_the_deletion_undone() -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="sweep", sweep="one", trial="2")
    sound(button(app, "delete_one").click().run())
    assert "There is no sweep yet" in texts(app.info)
    assert "Deleted: one" in texts(app.markdown)
    assert studies.names() == []
    sound(button(app, "undo_sweep").click().run())
    assert "Trial 5**, validation accuracy 80.0%" in texts(app.markdown)
    assert button(app, "undo_sweep") is None


def test_a_running_sweep_cannot_be_deleted() -> None:
    play("one", *FIVE)
    with working("one"):
        assert button(open_explore(section="sweep", sweep="one"), "delete_one") is None


def test_a_damaged_journal_is_a_sentence_and_can_be_deleted() -> None:
    play("one", *FIVE)
    (studies.folder("one") / "journal.log").write_text("garbage\n")
    app = open_explore(section="sweep", sweep="one")
    assert len(app.error) == 1
    sound(button(app, "delete_one").click().run())
    assert studies.names() == []


def test_a_sweep_that_is_not_opened_does_not_hide_the_others() -> None:
    play("one", *FIVE, goal=5)
    play("two", *FIVE, goal=5)
    (studies.folder("two") / "elsewhere").symlink_to("/")
    app = open_explore(section="sweep")
    assert app.selectbox(key="choice_sweep").options == ["one", "two"]
    assert "Trial 5**, validation accuracy 80.0%" in texts(app.markdown)
    app = sound(app.selectbox(key="choice_sweep").set_value("two").run())
    assert "Sweep two is not opened" in texts(app.error).replace("\\", "")


# Surface


def test_without_a_surface_it_says_what_to_do() -> None:
    app = open_explore(section="surface")
    assert "There is no surface yet" in texts(app.info)
    assert button(app, "grid_start").label == "Train the grid (12 trainings)"


def test_a_grid_is_started_with_the_knobs_of_the_address(started: list[str]) -> None:
    app = open_explore(section="surface", grid_x="alpha", grid_y="augmentation")
    sound(button(app, "grid_start").click().run())
    plan = studies.plan_of(studies.open_study(started[0]))
    assert plan.grid
    assert [item.knob for item in plan.ranges] == ["alpha", "augmentation"]
    assert app.query_params["grid"] == started[0]


def test_the_address_keeps_the_values_of_a_new_grid() -> None:
    app = open_explore(section="surface", grid_x="alpha", grid_x_values="0.35,1.0,7")
    assert app.multiselect(key="grid_x_values_alpha").value == [0.35, 1.0]
    sound(app.multiselect(key="grid_y_values_dropout").set_value([0.0, 0.3]).run())
    assert (app.query_params["grid_x_values"], app.query_params["grid_y_values"]) == ("0.35,1.0", "0.0,0.3")
    sound(app.selectbox(key="grid_x").set_value("dense_units").run())
    assert "grid_x_values" not in app.query_params


@pytest.mark.parametrize("change", ["same", "empty"])
def test_a_grid_that_is_none_cannot_be_started(change: str) -> None:
    app = open_explore(section="surface", grid_x="dropout")
    if change == "empty":
        sound(app.multiselect(key="grid_x_values_dropout").set_value([]).run())
    else:
        assert app.selectbox(key="grid_y").value == "dropout"
    assert button(app, "grid_start").disabled
    assert len(app.warning) >= 1


def test_the_map_fills_in_and_a_cell_opens_into_its_curves() -> None:
    grid(0.5, 0.8)
    app = open_explore(section="surface", grid="map", cell="1")
    drawn = charts_of(app)
    assert "50.0%" in str(drawn["grid_map"]["data"][0]["text"])
    assert drawn["grid_curves"]["data"][0]["name"] == "seed 1"
    assert "The chosen cell**: validation accuracy 50.0%" in texts(app.markdown)
    assert "The best cell**: validation accuracy 80.0%" in texts(open_explore(section="surface").markdown)


@pytest.mark.parametrize("cell", ["0", "99", "-1", "²", "<b>", "9" * 5000])
def test_a_hostile_cell_of_the_address_is_the_best_one(cell: str) -> None:
    grid(0.5, 0.8)
    assert "The best cell" in texts(open_explore(section="surface", grid="map", cell=cell).markdown)


def test_repeating_adds_a_seed_and_shows_mean_and_spread(started: list[str]) -> None:
    study = grid(0.5, 0.6, 0.7, 0.8)
    app = open_explore(section="surface", grid="map")
    sound(button(app, "grid_repeat").click().run())
    assert started == ["map"]
    plan = studies.plan_of(study)
    for _ in range(4):
        trial = study.ask()
        plan.config(trial)
        trial.set_user_attr("accuracy", 0.7)
        study.tell(trial, 0.7)
    app = open_explore(section="surface", grid="map", show="spread")
    assert "spread over seeds" in str(app.segmented_control(key="show").options)
    assert "standard deviation" in charts_of(app)["grid_map"]["layout"]["title"]["text"]
    assert "Between seeds, accuracy spreads by ±" in texts(app.caption)
    assert "means of 2 seeds that differ by less than about" in texts(app.caption)
