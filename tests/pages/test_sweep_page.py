"""Explore's section Search in its states, without a browser; the worker is played by the tests."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest
from app_pages import button, charts_of, open_explore, press_tile, sound, texts, tiles_of, trigger
from filelock import FileLock
from finished_sweeps import FIVE, grid, play
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.config import ALL_IMAGES, KNOBS, TrainConfig
from cifar_core.data import cifar10, download
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.space import Plan
from cifar_core.untrusted import quoted
from pages.components import formatting, search_results

MARKUP = "<img src=x onerror=alert(1)> **bold**"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "answers", lambda url: False)
    monkeypatch.setattr(
        cifar10,
        "samples",
        lambda *_, **__: (cifar10.np.zeros((7, 32, 32, 3), cifar10.np.uint8), cifar10.np.zeros(7, cifar10.np.uint8)),
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No worker is started: the names of sweeps that one would have been put on."""
    names: list[str] = []
    monkeypatch.setattr(sweep_workers, "start_workers", lambda name, *_: names.append(name))
    return names


@contextlib.contextmanager
def working(name: str) -> Iterator[None]:
    """Hold the lock of a worker, as one would."""
    with FileLock(studies.folder(name) / "worker-0.lock"):
        yield


def link(app: AppTest) -> str | None:
    """Return the query of the link to a trial's run."""
    found = [element.proto.query_string for element in app.get("page_link")]
    return next((query for query in found if query.startswith("run=")), None)


def opened(app: AppTest) -> tuple[str, ...]:
    """Return number and validation accuracy of the trial that is open."""
    said = texts(app.markdown).replace("\\", "")
    return re.search(r"\*\*Trial (\d+)\*\*.*? ([\d.]+)%", said).groups()


def test_without_a_sweep_it_says_what_to_do_and_offers_the_usual_knobs() -> None:
    app = open_explore(section="search")
    assert app.info
    assert app.multiselect(key="search_vary").value == ["alpha", "dropout", "augmentation"]
    assert app.select_slider(key="search_dropout").value == (0.0, 0.8)
    assert not button(app, "search_start").disabled


def test_a_logarithmic_knob_gets_a_logarithmic_range() -> None:
    app = open_explore(section="search")
    sound(app.multiselect(key="search_vary").set_value(["head_learning_rate", "l2"]).run())
    assert app.select_slider(key="search_head_learning_rate").value == (1e-5, 1e-1)
    assert app.select_slider(key="search_l2").value == (1e-6, 1e-2)


def test_without_knobs_nothing_can_be_started() -> None:
    app = open_explore(section="search")
    sound(app.multiselect(key="search_vary").set_value([]).run())
    assert button(app, "search_start").disabled


def test_start_makes_the_sweep_as_chosen_and_puts_it_into_the_address(started: list[str]) -> None:
    app = open_explore(section="search")
    app.multiselect(key="search_vary").set_value(["dropout"]).run()
    app.select_slider(key="search_dropout").set_value((0.1, 0.4)).run()
    app.select_slider(key="search_trials").set_value(5).run()
    app.text_input(key="search_name").set_value("mine").run()
    sound(button(app, "search_start").click().run())
    assert started == ["mine"]
    study = studies.open_study("mine")
    assert studies.goal_of(study).trials == 5
    plan = studies.plan_of(study)
    assert [(item.knob, item.low, item.high) for item in plan.ranges] == [("dropout", 0.1, 0.4)]
    assert (plan.base.train_images, plan.base.fine_tune_epochs) == (5_000, 0)
    assert app.query_params["sweep"] == "mine"


def test_an_address_fills_in_the_form_and_opens_it() -> None:
    play("one", *FIVE)
    assert not open_explore(section="search").expander[-1].proto.expanded
    query = {
        "preset": "standard",
        "fine_tune": "true",
        "vary": ["Width α", "Dropout"],
        "alpha": ["0.35", "1"],
        "dropout": ["0.1", "0.4"],
        "unit": "minutes",
        "minutes": "20",
    }
    app = open_explore(section="search", **{f"search_{word}": value for word, value in query.items()})
    assert app.expander[-1].proto.expanded
    assert app.selectbox(key="search_preset").value == "standard"
    assert app.toggle(key="search_fine_tune").value
    assert app.multiselect(key="search_vary").value == ["alpha", "dropout"]
    assert app.multiselect(key="search_alpha").value == [0.35, 1.0]
    assert app.select_slider(key="search_dropout").value == (0.1, 0.4)
    assert app.select_slider(key="search_minutes").value == 20


@pytest.mark.parametrize("bad", ["<b>", "nan", "-1", "inf", "9" * 400, ",;" * 900, "\0"])
def test_an_address_of_anything_gives_the_usual_form(bad: str) -> None:
    words = ("vary", "dropout", "alpha", "trials", "images", "preset", "unit", "grid", "fine_tune")
    app = open_explore(section="search", **{f"search_{word}": bad for word in words})
    assert app.multiselect(key="search_vary").value == ["alpha", "dropout", "augmentation"]
    assert (app.select_slider(key="search_trials").value, app.select_slider(key="search_images").value) == (30, 5_000)
    assert app.select_slider(key="search_dropout").value == (0.0, 0.8)


def test_minutes_are_a_goal_too(started: list[str]) -> None:
    app = open_explore(section="search")
    app.segmented_control(key="search_unit").set_value("minutes").run()
    sound(button(app, "search_start").click().run())
    assert studies.goal_of(studies.open_study(started[0])).seconds == 600


@pytest.mark.parametrize("name", ["../x", "a b", MARKUP, ""])
def test_a_hostile_name_is_refused_and_shown_as_text(name: str, started: list[str]) -> None:
    app = open_explore(section="search")
    app.text_input(key="search_name").set_value(name).run()
    sound(button(app, "search_start").click().run())
    assert formatting.plain(quoted(name)) in texts(app.error)
    assert started == []
    assert studies.names() == []


@pytest.mark.parametrize("asked", ["../x", MARKUP, "nothing"])
def test_a_hostile_address_is_shown_as_text(asked: str) -> None:
    play("one", *FIVE)
    app = open_explore(section="search", sweep=asked, trial="<b>", x="<b>", cost="../x")
    said = texts(app.warning)
    assert formatting.plain(f"sweep={quoted(asked)}") in said and formatting.plain(f"trial={quoted('<b>')}") in said
    assert app.query_params["sweep"] == "one"


def test_a_finished_search_shows_what_it_found() -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="search", sweep="one")
    drawn = {"search_slice_alpha", "search_slice_dropout", "search_curves", "search_history", "search_front"}
    assert drawn | {"search_pair"} == set(charts_of(app))
    trials = app.dataframe[0].value
    assert trials["Trial"].tolist() == [5, 4, 3, 2, 1]
    assert trials["Validation"].tolist() == pytest.approx([80, 75, 70, 65, 60])
    assert list(trials["By epoch"][0]) == pytest.approx([0.7, 0.8])
    assert len(app.get("download_button")) == 1
    first, _, rest = findings.conclusion(findings.find("one"), {}).partition(". ")
    assert formatting.plain(first) in texts(app.header) and formatting.plain(rest) in texts(app.markdown)
    assert button(app, "stop_one") is None


def test_from_fifteen_trials_on_it_says_which_setting_matters() -> None:
    many = [(0.5 + n % 2 / 5, {"alpha": (0.35, 0.5)[n % 2], "dropout": round(n % 7 / 20, 2)}) for n in range(16)]
    play("one", *many, goal=16)
    app = open_explore(section="search", sweep="one")
    assert "search_importances" in charts_of(app)
    assert next(iter(charts_of(app))) == "search_slice_alpha", "the most important comes first"
    assert re.search(r"Width α .*Dropout", texts(app.header)), "what matters comes first"


def test_the_address_names_the_trial_and_the_cost() -> None:
    play("one", *FIVE)
    app = open_explore(section="search", sweep="one", trial="2", cost="latency_ms")
    assert opened(app) == ("2", "65.0")
    label, unit = findings.COSTS["latency_ms"]
    assert charts_of(app)["search_front"]["layout"]["xaxis"]["title"]["text"] == f"{label.lower()}, {unit}"


def test_start_says_how_long_it_takes() -> None:
    app = open_explore(section="search")
    assert re.search(r"\b30 .*\*\*\d+", texts(app.markdown))
    sound(app.segmented_control(key="search_unit").set_value("minutes").run())
    assert "10 min" in texts(app.markdown)


def test_a_running_sweep_can_be_stopped_and_says_how_far_it_is() -> None:
    play("one", *FIVE)
    with working("one"):
        app = open_explore(section="search", sweep="one")
        assert re.search(r"\b5 of 20 .* 45 s\b", texts(app.markdown))
        assert not button(app, "stop_one").disabled
        studies.ask_to_stop(studies.open_study("one"), True)
        assert button(sound(app.run()), "stop_one").disabled


def test_an_interrupted_sweep_is_resumed(started: list[str]) -> None:
    play("one", *FIVE)
    app = open_explore(section="search", sweep="one")
    assert search_results.LOOK["interrupted"][0] in texts(app.markdown)
    sound(button(app, "resume_one").click().run())
    assert started == ["one"]


def test_a_sweep_is_extended(started: list[str]) -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="search", sweep="one")
    sound(button(app, "search_extend").click().run())
    assert started == ["one"]
    assert studies.goal_of(studies.open_study("one")).trials == 15


def test_failed_trials_say_why_as_text() -> None:
    study = play("one")
    trial = study.ask()
    trial.set_user_attr("error", MARKUP)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    app = open_explore(section="search", sweep="one")
    assert formatting.plain(MARKUP) in texts(app.warning)
    assert "Every trial failed" in texts(app.header)


def test_continue_on_all_images_sets_every_knob_of_train(other_knobs: TrainConfig) -> None:
    ranges = tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout")))
    study = play("one", *FIVE, goal=5, plan=Plan(other_knobs, ranges))
    app = open_explore(section="search", sweep="one", trial="5")
    sound(button(app, "search_continue_4").click().run())
    tried = runs.Run(study.trials[4].user_attrs["run"]).config
    assert (tried.alpha, tried.dropout) == (0.35, 0.1)
    arrived = {name: app.session_state[f"{name}"] for name in KNOBS}
    assert TrainConfig(**arrived) == replace(tried, train_images=ALL_IMAGES)


def test_the_best_trial_links_to_its_run_and_another_when_it_is_asked_for() -> None:
    study = play("one", *FIVE, goal=5)
    known = [trial.user_attrs["run"] for trial in study.trials]
    assert link(open_explore(section="search", sweep="one")) == f"run={known[4]}"
    assert link(open_explore(section="search", sweep="one", trial="2")) == f"run={known[1]}"


@pytest.mark.parametrize("figure", ["search_history", "search_slice_dropout", "search_front", "search_pair"])
def test_a_click_on_a_point_shows_its_trial(figure: str) -> None:
    study = play("one", *FIVE, goal=5)
    app = open_explore(section="search", sweep="one")
    drawn = charts_of(app)[figure]["data"]
    assert any(1 in trace.get("customdata", ()) for trace in drawn)
    trigger(app, figure, "clicked", 1)
    assert opened(app) == ("2", "65.0")
    assert app.query_params["trial"] == "2"
    assert link(app) == f"run={study.trials[1].user_attrs['run']}"


def test_a_phone_shows_trials_as_cards_and_a_tap_opens_one() -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="search", sweep="one")
    cards = tiles_of(app, "cards_trials_one")
    assert cards[0]["title"] == "Trial 5" and "80.0%" in cards[0]["note"]
    press_tile(app, "cards_trials_one", 1)
    assert f"Trial {app.query_params['trial']}" == cards[1]["title"]


def test_a_trial_whose_run_was_deleted_says_so() -> None:
    study = play("one", *FIVE, goal=5)
    runs.delete(runs.Run(study.trials[4].user_attrs["run"]))
    app = open_explore(section="search", sweep="one")
    assert link(app) is None


def test_a_sweep_is_deleted_and_the_deletion_undone() -> None:
    play("one", *FIVE, goal=5)
    app = open_explore(section="search", sweep="one", trial="2")
    sound(button(app, "delete_one").click().run())
    assert studies.names() == ["one"], "it asks first"
    sound(button(app, "delete_sure").click().run())
    assert app.info
    assert studies.names() == []
    sound(button(app, "undo_search_deleted").click().run())
    assert opened(app) == ("5", "80.0")
    assert button(app, "undo_search_deleted") is None


def test_a_running_sweep_cannot_be_deleted() -> None:
    play("one", *FIVE)
    with working("one"):
        assert button(open_explore(section="search", sweep="one"), "delete_one") is None


def test_a_damaged_journal_is_a_sentence_and_can_be_deleted() -> None:
    play("one", *FIVE)
    (studies.folder("one") / "journal.log").write_text("garbage\n")
    app = open_explore(section="search", sweep="one")
    assert len(app.error) == 1
    button(app, "delete_one").click().run()
    sound(button(app, "delete_sure").click().run())
    assert studies.names() == []


def test_a_sweep_that_is_not_opened_does_not_hide_the_others() -> None:
    play("one", *FIVE, goal=5)
    play("two", *FIVE, goal=5)
    (studies.folder("two") / "elsewhere").symlink_to("/")
    app = open_explore(section="search")
    assert app.selectbox(key="search").options == ["one", "two"]
    assert opened(app) == ("5", "80.0")
    app = sound(app.selectbox(key="search").set_value("two").run())
    assert re.search(r"\btwo\b", texts(app.error))


# a grid


@pytest.mark.parametrize("section", ["sweep", "surface"])
def test_addresses_of_older_versions_open_the_section(section: str) -> None:
    play("one", *FIVE)
    grid(0.5, 0.8)
    app = open_explore(section=section, **{"sweep": "one"} if section == "sweep" else {"grid": "map"})
    assert app.segmented_control(key="section").value == "search"
    assert app.selectbox(key="search").value == ("one" if section == "sweep" else "map")


def test_a_grid_is_an_option_of_the_same_form(started: list[str]) -> None:
    app = open_explore(section="search")
    app.toggle(key="search_grid").set_value(True).run()
    assert app.multiselect(key="search_vary_grid").value == ["head_learning_rate", "dropout"]
    app.multiselect(key="search_vary_grid").set_value(["alpha", "dropout"]).run()
    sound(app.multiselect(key="search_dropout_values").set_value([0.0, 0.3]).run())
    sound(button(app, "search_start").click().run())
    study = studies.open_study(started[0])
    plan = studies.plan_of(study)
    assert plan.grid
    assert [item.choices for item in plan.ranges] == [(0.35, 0.5, 0.75), (0.0, 0.3)]
    assert studies.goal_of(study).trials == 6
    assert app.query_params["sweep"] == started[0]


@pytest.mark.parametrize("change", ["one", "empty"])
def test_a_grid_that_is_none_cannot_be_started(change: str) -> None:
    app = open_explore(section="search", search_grid="true")
    if change == "empty":
        sound(app.multiselect(key="search_dropout_values").set_value([]).run())
    else:
        sound(app.multiselect(key="search_vary_grid").set_value(["dropout"]).run())
    assert button(app, "search_start").disabled
    assert len(app.warning) >= 1


def test_the_map_fills_in_and_the_opened_trial_is_framed() -> None:
    grid(0.5, 0.8)
    app = open_explore(section="search", sweep="map", trial="1")
    drawn = charts_of(app)
    assert "50.0%" in str(drawn["grid_map"]["data"][0]["text"])
    frame = drawn["grid_map"]["layout"]["shapes"][0]
    assert (frame["x0"] < 0 < frame["x1"], frame["y0"] < 0 < frame["y1"]) == (True, True)
    assert drawn["search_curves"]["data"][-1]["name"] == "trial 1"


@pytest.mark.parametrize("trial", ["0", "99", "-1", "²", "<b>", "9" * 5000])
def test_a_hostile_trial_of_the_address_is_the_best_one(trial: str) -> None:
    grid(0.5, 0.8)
    assert opened(open_explore(section="search", sweep="map", trial=trial)) == ("2", "80.0")


def test_repeating_adds_a_seed_and_shows_mean_and_spread(started: list[str]) -> None:
    study = grid(0.5, 0.6, 0.7, 0.8)
    app = open_explore(section="search", sweep="map")
    sound(button(app, "search_repeat").click().run())
    assert started == ["map"]
    plan = studies.plan_of(study)
    for _ in range(4):
        trial = study.ask()
        plan.config(trial)
        trial.set_user_attr("accuracy", 0.7)
        study.tell(trial, 0.7)
    app = open_explore(section="search", sweep="map", show="spread")
    assert app.segmented_control(key="show").value == "spread"
    assert "standard deviation" in charts_of(app)["grid_map"]["layout"]["title"]["text"]
    assert "Tukey" in texts(app.markdown)
