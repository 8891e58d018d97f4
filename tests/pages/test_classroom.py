"""Several people who have logged in: whose run is whose, whose comes first, and who trains next."""

import pytest
import streamlit as st
from app_pages import CONFIG, EXPLORE, RESULT, button, living_worker, make_run, open_app, sound

from cifar_core import jobs, runs
from cifar_core.errors import RunError
from cifar_core.runs import Run, records, trash
from cifar_core.runs.records import Person
from pages.components import guarded, run_picker, run_table

ADA, BOB = Person("1", "Ada"), Person("2", "Bob")
CLAIMS = {
    ADA: {"is_logged_in": True, "sub": "1", "name": "Ada"},
    BOB: {"is_logged_in": True, "sub": "2", "name": "Bob"},
}


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch):
    def log_in(person: Person) -> None:
        monkeypatch.setattr(st, "user", CLAIMS.get(person, {}))

    return log_in


def owned(person: Person, state: str = "finished") -> Run:
    run = make_run(state)
    records.save_owner(run.path, person)
    return run


def waiting(*people: Person) -> list[Run]:
    made = []
    for person in people:
        made.append(runs.create(CONFIG))
        records.save_owner(made[-1].path, person)
    return made


def in_queue() -> list[Run]:
    live = [run for run in runs.list_runs() if run.state == "queued"]
    return sorted(live, key=jobs.queue_position)


def test_everybody_s_first_run_trains_before_anybody_s_second() -> None:
    ada1, ada2, ada3, bob1, bob2, command1, command2 = waiting(ADA, ADA, ADA, BOB, BOB, Person(), Person())
    expected = [ada1, bob1, command1, ada2, bob2, command2, ada3]
    assert in_queue() == expected
    assert jobs.is_next(ada1)
    assert not jobs.is_next(bob1)
    assert [jobs.queue_position(run) for run in expected] == list(range(7))


def test_without_a_login_the_oldest_trains_first() -> None:
    made = waiting(*[Person()] * 4)
    assert in_queue() == made
    assert not (made[0].path / records.OWNER_FILE).exists()


def test_a_run_that_trains_is_before_all_that_wait() -> None:
    (first,) = waiting(ADA)
    running = owned(BOB, "running")
    with living_worker(running):
        assert (jobs.queue_position(running), jobs.queue_position(first)) == (0, 1)


def test_who_starts_a_run_owns_it(log_in, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "spawn_worker", lambda run: None)
    log_in(ADA)
    sound(button(open_app(), "start").click().run())
    (run,) = runs.list_runs()
    assert records.owner(run.path) == ADA


def test_another_s_run_can_be_looked_at_but_neither_stopped_nor_deleted(log_in) -> None:
    theirs = owned(BOB, "running")
    for person, barred in ((ADA, True), (BOB, False), (Person(), False)):
        log_in(person)
        assert guarded.is_anothers(theirs.path) is barred
        with living_worker(theirs):
            assert button(open_app(run=theirs.id), "stop").disabled is barred
    log_in(ADA)
    with living_worker(theirs), pytest.raises(RunError, match="another person"):
        guarded.if_own(theirs.path, jobs.stop_run, theirs)
    done = owned(BOB)
    app = open_app(EXPLORE, runs=done.id)
    assert button(app, "delete").disabled
    with pytest.raises(RunError, match="another person"):
        guarded.if_own(done.path, run_table._delete, next(row for row in run_table.listing.rows() if row.run == done))
    assert not trash.contents()


def test_own_runs_come_first(log_in) -> None:
    mine, theirs = owned(ADA), owned(BOB)
    rows = run_table.listing.rows()
    newest_first = [theirs, mine]
    for person, expected in ((ADA, [mine, theirs]), (BOB, newest_first), (Person(), newest_first)):
        log_in(person)
        assert [row.run for row in run_picker.own(rows)] == expected


def test_what_has_a_damaged_owner_is_nobody_s(log_in) -> None:
    run = owned(BOB)
    (run.path / records.OWNER_FILE).write_text('{"id": ["x"], "name": "\\u202eB')
    assert records.owner(run.path) == Person()
    log_in(ADA)
    assert guarded.is_anothers(run.path)


def test_high_scores_name_everybody_s_best_run_where_they_are_switched_on(log_in, monkeypatch) -> None:
    for person, accuracy in ((ADA, 0.7), (BOB, 0.9), (ADA, 0.8), (Person(), 0.6)):
        run = make_run("finished", result={**RESULT, "validation_accuracy": accuracy})
        records.save_owner(run.path, person)
    assert not [frame for frame in open_app(EXPLORE).dataframe if "Who" in frame.value]
    monkeypatch.setenv("CIFAR_HIGH_SCORES", "1")
    table = next(found.value for found in open_app(EXPLORE).dataframe if "Who" in found.value)
    assert table["Who"].tolist() == ["1. Bob", "2. Ada", "3."]
    assert table["Validation"].tolist() == [90.0, 80.0, 60.0]
    assert (table["Time"] == RESULT["elapsed_seconds"] / 60).all()
