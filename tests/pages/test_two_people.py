"""Two people who have logged in: one cannot see the other's pictures, nor change what is the other's."""

import json

import numpy as np
import pytest
import streamlit as st
from app_pages import CONFIG, EXPLORE, RESULT, TRAIN, button, charts_of, living_worker, make_run, open_app, sound
from finished_sweeps import FIVE, play
from streamlit.testing.v1 import AppTest
from teach_pictures import drawn

from cifar_core import jobs, runs
from cifar_core.errors import RunError
from cifar_core.inference import pins
from cifar_core.inference.pictures import Picture
from cifar_core.inference.pins import Pin
from cifar_core.runs import Run, records, trash
from cifar_core.runs.records import NOBODY, Person
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan
from cifar_core.teach import project as projects
from cifar_core.training import sweep_worker
from pages.components import guarded, pinned

TEACH = "pages/teach.py"
ADA, BOB = Person("1", "Ada"), Person("2", "Bob")


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch):
    def log_in(person: Person) -> None:
        claims = {"is_logged_in": True, "sub": person.id, "name": person.name} if person.id else {}
        monkeypatch.setattr(st, "user", claims)

    return log_in


def owned(person: Person, state: str = "finished", **status) -> Run:
    run = make_run(state, **status)
    records.save_owner(run.path, person)
    return run


def photographed(run: Run) -> Run:
    """With a picture that is watched, as far as the run has come."""
    pin = Pin(np.full((32, 32, 3), 7, np.uint8), "my face")
    pins.save(run, [pin])
    row = {"phase": "head", "epoch": 1, "pins": {pin.key: [0.1] * 10}}
    (run.path / pins.PROBES).write_text(json.dumps(row) + "\n")
    return run


def choices(app: AppTest, key: str) -> list[str]:
    return [option for box in app.selectbox if box.key == key for option in box.options]


def test_a_project_is_listed_and_opened_by_its_owner_only(log_in) -> None:
    log_in(ADA)
    sound(button(open_app(TEACH), "teach_start").click().run())
    [name] = projects.names()
    projects.add(name, [("face", Picture("0.png", drawn("spots", 0)))])
    assert records.owner(projects.folder(name)) == ADA
    projects.create("by-command")
    for person, expected in ((ADA, [name]), (BOB, []), (NOBODY, ["by-command", name])):
        log_in(person)
        for query in ({}, {"project": name}, {"project": "by-command"}):
            app = open_app(TEACH, **query)
            assert choices(app, "project") == expected
            opened = query.get("project", name) if query.get("project") in expected else next(iter(expected), None)
            assert ("face" in [field.value for field in app.text_input]) is (opened == name)


def test_every_way_to_a_project_gives_it_an_owner(log_in) -> None:
    log_in(BOB)
    sound(button(open_app(TEACH), "teach_example").click().run())
    assert records.owner(projects.folder("example")) == BOB


def test_a_second_project_of_one_name_does_not_touch_the_first(log_in) -> None:
    for person in (ADA, BOB):
        log_in(person)
        sound(button(open_app(TEACH), "teach_start").click().run())
    assert {name: records.owner(projects.folder(name)) for name in projects.names()} == {
        "my-classes": ADA,
        "my-classes-2": BOB,
    }


def test_watched_pictures_are_shown_to_the_owner_only(log_in, small_set) -> None:
    run = photographed(owned(ADA, result=RESULT))
    for person, is_shown in ((ADA, True), (BOB, False), (NOBODY, True)):
        log_in(person)
        app = open_app(TRAIN, run=run.id)
        assert ("watch" in charts_of(app)) is is_shown
        shared = {found.proto.id for found in app.get("download_button") if "share_" in found.proto.id}
        assert any("share_animation" in id_ for id_ in shared) is is_shown
        assert not any("share_card" in id_ for id_ in shared) or is_shown


def test_nobody_begins_with_or_replaces_the_pictures_that_another_watches(log_in) -> None:
    run = photographed(owned(ADA, "running"))
    before = (run.path / pins.FILE).read_bytes()
    with living_worker(run):
        for person, expected in ((BOB, None), (ADA, run)):
            log_in(person)
            assert pinned._live_run() == expected
        log_in(BOB)
        app = open_app(TRAIN)
        assert "my face" not in [pin.name for pin in app.session_state["pins"]]
    assert (run.path / pins.FILE).read_bytes() == before


def test_another_s_run_is_neither_resumed_nor_renamed(log_in) -> None:
    run = owned(ADA, "stopped")
    for person, barred in ((BOB, True), (ADA, False), (NOBODY, False)):
        log_in(person)
        assert button(open_app(TRAIN, run=run.id), "resume").disabled is barred
        app = open_app(EXPLORE, runs=run.id)
        assert button(app, f"save_{run.id}").disabled is barred
    log_in(BOB)
    with pytest.raises(RunError, match="another person"):
        guarded.if_own(run.path, jobs.resume_run, run)


def test_runs_of_the_command_line_are_seen_by_all_and_changed_by_nobody_on_the_pages(log_in) -> None:
    run = make_run("stopped")
    log_in(ADA)
    assert guarded.is_anothers(run.path)
    assert button(open_app(TRAIN, run=run.id), "resume").disabled
    log_in(NOBODY)
    assert not guarded.is_anothers(run.path)


def test_the_trash_of_another_is_neither_listed_nor_emptied(log_in) -> None:
    mine, theirs = owned(BOB), owned(ADA)
    for run in (mine, theirs):
        trash.move_to_trash(run)
    log_in(BOB)
    app = open_app(EXPLORE)
    assert (app.selectbox(key="trash_run").value, len(choices(app, "trash_run"))) == (mine.id, 1)
    app = sound(button(app, "empty").click().run())
    sound(button(app, "empty_sure").click().run())
    assert trash.contents() == [theirs.id]


def test_a_search_is_seen_by_all_and_changed_by_its_owner_only(log_in, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(sweep_workers, "start_workers", lambda name, *_: started.append(name))
    log_in(ADA)
    play("aaa", *FIVE)
    records.save_owner(studies.folder("aaa"), BOB)
    sound(button(open_app(EXPLORE, section="search"), "search_start").click().run())
    assert records.owner(studies.folder(started[0])) == ADA
    for person, first in ((ADA, started[0]), (BOB, "aaa")):
        log_in(person)
        app = open_app(EXPLORE, section="search")
        assert app.selectbox(key="search").value == choices(app, "search")[0] == first
        assert not button(app, f"delete_{first}").disabled
    log_in(ADA)
    app = open_app(EXPLORE, section="search", sweep="aaa")
    assert button(app, "delete_aaa").disabled and button(app, "resume_aaa").disabled
    assert button(app, "search_extend") is None
    with pytest.raises(RunError, match="another person"):
        guarded.if_own(studies.folder("aaa"), sweep_workers.resume, "aaa")


def test_a_trial_belongs_to_whom_the_search_belongs_to(monkeypatch: pytest.MonkeyPatch) -> None:
    studies.create("mine", Plan(CONFIG, (space.parse_range("dropout=0:0.5"),)), Goal(2))
    records.save_owner(studies.folder("mine"), ADA)
    study = studies.open_study("mine")
    worker = sweep_worker.Worker(study, studies.folder("mine"))
    run = worker._run_of(study.ask(), CONFIG)
    worker._run_lock.close()
    assert records.owner(run.path) == ADA
    assert runs.list_runs() == [run]
