import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from filelock import FileLock

from cifar_core import runs
from cifar_core.config import KNOBS, TrainConfig
from cifar_core.errors import ConfigError, SweepError
from cifar_core.search import findings, space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan, Range
from cifar_core.untrusted import quoted

HOSTILE = ["", "..", "../x", "a/b", "A", "-a", "a" * 41, "a b", "a\n", "a\0", "é", "<b>", "$(id)", "'; drop table --"]


@pytest.fixture
def plan(tiny_config: TrainConfig) -> Plan:
    return Plan(replace(tiny_config, fine_tune_epochs=0), (Range("dropout", 0.0, 0.5), space.table_range("l2")))


@pytest.fixture
def study(plan: Plan) -> optuna.Study:
    studies.create("first", plan, Goal(20))
    return studies.open_study("first", seed=1)


@pytest.fixture
def tell(study: optuna.Study) -> Callable[..., None]:
    """Plays the worker: one trial of `params` that ends with `accuracy`, or is pruned with it."""

    def told(accuracy: float, pruned: bool = False, **params: object) -> None:
        study.enqueue_trial(params)
        trial = study.ask()
        config = studies.plan_of(study).config(trial)
        trial.set_user_attr("accuracy", accuracy)
        trial.set_user_attr("seconds", 4.0)
        trial.set_user_attr("model_bytes", 1_000 * config.dense_units)
        trial.set_user_attr("latency_ms", 10 * config.dropout)
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, accuracy)

    return told


def test_a_folder_without_links_holds_a_sweep(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    studies.create("first", plan, Goal(3))
    assert studies.names() == ["first"]


def test_the_lock_of_a_killed_worker_is_not_waited_for(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version locked the journal by a link, which stayed when its process was killed."""
    (studies.folder("first") / "journal.log.lock").symlink_to(studies.folder("first") / "journal.log")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    studies.ask_to_stop(study, True)
    assert studies.is_asked_to_stop(studies.open_study("first"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_touches_no_path(name: str, plan: Plan, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SweepError):
        studies.create(name, plan, Goal(1))
    with pytest.raises(SweepError):
        studies.open_study(name)
    with pytest.raises(SweepError):
        findings.find(name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db", "mysql://a/b", "postgresql://", "/etc/passwd", "file:///x", "http://x/secret"]
)
def test_other_storages_are_refused_and_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(studies.STORAGE_VARIABLE, url)
    with pytest.raises(SweepError) as error:
        studies.names()
    assert "secret" not in str(error.value)


def test_a_database_that_does_not_answer_is_a_sentence_without_the_password(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(studies.STORAGE_VARIABLE, "postgresql://me:secret@127.0.0.1:9/none")
    with pytest.raises(SweepError, match=studies.STORAGE_VARIABLE) as error:
        studies.create("first", plan, Goal(1))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in KNOBS if name not in space.FIXED])
def test_every_knob_has_a_range_of_its_table_which_is_logarithmic_where_it_is(name: str) -> None:
    item, knob = space.table_range(name), KNOBS[name]
    assert item.log == (knob.log and not knob.choices)
    assert bool(item.choices) == bool(knob.choices)
    assert not set(item.choices) & set(knob.mistakes)
    assert Range(name, **item.to_dict() | {"choices": tuple(item.to_dict().get("choices", ()))}) == item


@pytest.mark.parametrize("name", [*space.FIXED, "nothing", "<b>"])
def test_what_decides_the_meaning_of_accuracy_is_not_varied(name: str) -> None:
    with pytest.raises(SweepError, match=quoted(name)):
        space.table_range(name)


@pytest.mark.parametrize(
    "text", ["dropout=0.5:0.1", "dropout=0:9", "dropout=x:y", "alpha=0.4", "alpha=", "dropout=nan:1", "=1", "alpha=0:1"]
)
def test_a_range_that_is_none_is_a_sentence(text: str) -> None:
    if text == "alpha=":
        assert space.parse_range(text) == space.table_range("alpha")
        return
    with pytest.raises((SweepError, ConfigError)):
        space.parse_range(text)


def test_ranges_are_read_as_written() -> None:
    assert space.parse_range("dropout=0.1:0.33") == Range("dropout", 0.1, 0.3)  # in the knob's steps
    assert space.parse_range("dense_units=16:512") == Range("dense_units", 16, 512)
    assert space.parse_range("l2=1e-06:0.01") == Range("l2", 1e-6, 0.01)
    assert space.parse_range("alpha=0.35,0.5") == Range("alpha", choices=(0.35, 0.5))
    assert space.parse_range("schedule=cosine") == Range("schedule", choices=("cosine",))
    assert space.parse_range("dropout=0,0.25,0.5").choices == (0.0, 0.25, 0.5)
    assert space.parse_range("head-learning-rate").low == KNOBS["head_learning_rate"].low
    assert space.parse_range("l2").low > 0


def test_a_plan_is_saved_and_read_back(plan: Plan) -> None:
    assert Plan.from_dict(plan.to_dict()) == plan
    for damage in (None, {}, {"ranges": 3}, {"ranges": {"dropout": 3}, "base": plan.base.to_dict()}):
        with pytest.raises(SweepError):
            Plan.from_dict(damage)


def test_trials_stay_within_their_ranges_and_are_configurations(study: optuna.Study, plan: Plan) -> None:
    for _ in range(10):
        trial = study.ask()
        config = plan.config(trial)
        assert 0 <= config.dropout <= 0.5
        assert config.dropout == pytest.approx(round(config.dropout / 0.05) * 0.05)
        assert config.l2 <= 1e-2
        study.tell(trial, config.dropout)


def test_the_same_seed_proposes_the_same(plan: Plan) -> None:
    def proposals(name: str) -> list[dict]:
        studies.create(name, plan, Goal(3))
        study = studies.open_study(name, seed=5)
        found = []
        for _ in range(3):
            trial = study.ask()
            plan.config(trial)
            found.append(trial.params)
            study.tell(trial, 0.5)
        return found

    assert proposals("one") == proposals("two")


def test_a_name_is_taken_once_and_all_are_listed(study: optuna.Study, plan: Plan) -> None:
    with pytest.raises(SweepError, match="There is a search first already"):
        studies.create("first", plan, Goal(1))
    studies.create("another", plan, Goal(1))
    assert studies.names() == ["another", "first"]
    assert studies.free_name("first", ["first-1", "first"]) == "first-2"
    assert runs.list_runs() == []


def test_of_two_people_who_take_one_name_at_once_the_second_is_told_and_the_first_keeps_the_search(
    study: optuna.Study, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second deleted the journal of the first: both had found the name free."""
    monkeypatch.setattr(studies, "names", list)
    with pytest.raises(SweepError, match="There is a search first already"):
        studies.create("first", plan, Goal(1))
    assert studies.goal_of(studies.open_study("first")) == Goal(20)


def test_the_goal_counts_trials_or_seconds_and_is_extended(study: optuna.Study, tell: Callable[..., None]) -> None:
    study.set_user_attr("goal", {"trials": 2, "seconds": None})
    tell(0.5, dropout=0.1)
    assert not studies.is_done(study)
    tell(0.5, pruned=True, dropout=0.2)
    assert studies.is_done(study)
    assert studies.extend(study, trials=3) == Goal(5)
    assert not studies.is_done(study)
    study.set_user_attr("goal", {"trials": 100, "seconds": 8.0})
    assert studies.is_done(study)
    studies.extend(study, seconds=4)
    assert not studies.is_done(study)
    assert studies.goal_of(study).seconds == 12
    study.set_user_attr("goal", {"trials": 10_000, "seconds": 8.0})
    assert studies.extend(study, trials=3) == Goal(5)


@pytest.mark.parametrize(("trials", "seconds"), [(0, None), (-1, None), (10**6, None), (5, 0.0), (5, -1.0)])
def test_a_goal_that_is_none_is_a_sentence(trials: int, seconds: float | None) -> None:
    with pytest.raises(SweepError):
        Goal(trials, seconds)


def test_a_trial_whose_worker_is_gone_is_queued_again_and_counted_once(study: optuna.Study, run: runs.Run) -> None:
    lost, living = study.ask(), study.ask()
    config = studies.plan_of(study).config(lost)
    living.set_user_attr("run", run.id)
    with FileLock(run.path / "lock"):
        studies.requeue_dead(study)
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL", "RUNNING", "WAITING"]
    again = study.ask()
    assert again.number == 2
    assert studies.plan_of(study).config(again) == config
    assert [trial.number for trial in studies.counted(study.get_trials())] == [1, 2]


def test_findings_tell_the_best_the_edge_and_the_front(study: optuna.Study, tell: Callable[..., None]) -> None:
    empty = findings.find("first")
    assert (empty.state, empty.best, empty.ended, empty.at_edge) == ("interrupted", None, [], {})
    for accuracy, dropout in ((0.6, 0.1), (0.7, 0.2), (0.65, 0.3), (0.5, 0.4), (0.8, 0.5)):
        tell(accuracy, dropout=dropout, l2=1e-4)
    tell(0.1, pruned=True, dropout=0.0, l2=1e-4)
    found = findings.find("first")
    assert found.best is not None
    assert found.best.params == {"dropout": 0.5, "l2": 1e-4}
    assert found.at_edge == {"dropout": "high"}
    assert [trial.accuracy for trial in found.front("latency_ms")] == [0.1, 0.6, 0.7, 0.8]
    assert [trial.state for trial in found.trials].count("pruned") == 1
    assert found.spent_seconds == 24
    assert found.to_dict()["best"]["accuracy"] == 0.8


def test_a_grid_has_a_cell_for_each_combination_and_seeds_can_be_added(tiny_config: TrainConfig) -> None:
    plan = Plan(tiny_config, (space.parse_range("dropout=0,0.5"), space.parse_range("alpha=0.35,0.5")), grid=True)
    studies.create("grid", plan, Goal(4))
    study = studies.open_study("grid")
    studies.repeat(study)
    configs = []
    for number in range(8):
        trial = study.ask()
        configs.append(plan.config(trial))
        trial.set_user_attr("accuracy", 0.5 + number / 100)
        study.tell(trial, 0.5 + number / 100)
    expected = {(d, a, s) for d in (0, 0.5) for a in (0.35, 0.5) for s in (1, 2)}
    assert {(c.dropout, c.alpha, c.seed) for c in configs} == expected
    cells = findings.find("grid").cells()
    assert [len(cell.accuracies) for cell in cells] == [2, 2, 2, 2]
    assert cells[0].mean == pytest.approx(0.52)
    assert cells[0].spread == pytest.approx(0.04 / 2**0.5)
    assert findings.find("grid").state == "finished"


@pytest.fixture
def over(tiny_config: TrainConfig) -> optuna.Study:
    """A grid of two cells whose limit of time the first has used up."""
    plan = Plan(tiny_config, (space.parse_range("dropout=0.12345,0.5"),), grid=True)
    studies.create("grid", plan, Goal(2, 50.0))
    study = studies.open_study("grid")
    trial = study.ask()
    assert plan.config(trial).dropout == 0.1235
    trial.set_user_attr("accuracy", 0.5)
    trial.set_user_attr("seconds", 60.0)
    study.tell(trial, 0.5)
    return study


def test_a_grid_whose_time_is_over_is_finished_although_cells_wait(over: optuna.Study) -> None:
    assert findings.find("grid").state == "finished"
    with pytest.raises(SweepError, match="extend"):
        sweep_workers.resume("grid")


def test_values_of_many_digits_have_a_cell(over: optuna.Study) -> None:
    assert [(dict(cell.values), cell.accuracies) for cell in findings.find("grid").cells()] == [
        ({"dropout": 0.1235}, [0.5]),
        ({"dropout": 0.5}, []),
    ]


def test_a_repeated_grid_has_no_limit_of_time(over: optuna.Study) -> None:
    studies.repeat(over)
    assert studies.goal_of(over) == Goal(4)
    studies.extend(over, seconds=30)
    studies.repeat(over)
    assert studies.goal_of(over) == Goal(6)
    assert len(over.get_trials()) == 6


def test_a_grid_repeated_too_often_queues_nothing(over: optuna.Study) -> None:
    over.set_user_attr("goal", {"trials": 9_990, "seconds": None})
    with pytest.raises(SweepError, match="10,000"):
        studies.repeat(over, 20)
    assert len(over.get_trials()) == 2


def test_a_grid_of_ranges_or_with_too_many_cells_is_refused(tiny_config: TrainConfig) -> None:
    with pytest.raises(SweepError, match="grid"):
        Plan(tiny_config, (space.table_range("dropout"),), grid=True)
    units = Range("dense_units", choices=tuple(range(16, 416)))
    with pytest.raises(SweepError, match="grid"):
        Plan(tiny_config, (units, space.parse_range("alpha=0.35,0.5")), grid=True)
    epochs = ("head_epochs", "fine_tune_epochs", "early_stopping_patience")
    many = (units, *(Range(name, choices=tuple(range(1, 101))) for name in epochs))
    with pytest.raises(SweepError, match="grid"):  # 400 million cells: to list them fills the memory
        Plan(tiny_config, many, grid=True)


def test_an_ended_trial_without_its_values_is_damage(study: optuna.Study) -> None:
    study.add_trial(optuna.create_trial(value=0.9, user_attrs={"accuracy": 0.9}))
    with pytest.raises(SweepError, match="damaged"):
        findings.find("first")


def test_a_knob_cannot_be_varied_twice(tiny_config: TrainConfig) -> None:
    with pytest.raises(SweepError, match="once"):
        Plan(tiny_config, (space.table_range("dropout"), space.table_range("dropout")))


def test_a_deleted_sweep_comes_back_unless_its_name_is_taken(tiny_config: TrainConfig) -> None:
    plan = Plan(tiny_config, (Range("dropout", 0.0, 0.5),))
    studies.create("one", plan, Goal(3))
    studies.delete("one")
    assert studies.is_restorable("one")
    studies.create("one", plan, Goal(4))
    assert not studies.is_restorable("one")
    with pytest.raises(SweepError, match="There is a search one again; move"):
        studies.restore("one")
    studies.delete("one")
    studies.restore("one")
    assert studies.goal_of(studies.open_study("one")).trials == 4
