"""The Train page with runs: good, damaged, running, waiting, failed. The worker is played by the tests."""

import json
import re
import time

import pytest
from app_pages import (
    CLASSIFY,
    CONFIG,
    MARKUP,
    RESULT,
    TRAIN,
    button,
    charts_of,
    is_inert,
    living_worker,
    make_finished_run,
    make_run,
    metrics,
    numbers,
    open_app,
    says_synthetic,
    sound,
    texts,
)
from streamlit.testing.v1 import AppTest

from cifar_core import jobs, runs
from cifar_core.runs import write_json
from pages.components import formatting, progress, run_picker, run_view

EVALUATE = "pages/evaluate.py"


def run_choice(app):
    """Return the select box of the shown run."""
    return next(box for box in app.selectbox if box.label == "Run")


@pytest.mark.parametrize("asked", ["../../etc/passwd", "20260101-000000000-gone", MARKUP, "", "x" * 5_000])
def test_an_address_that_names_no_run_is_answered_with_a_sentence(asked):
    app = open_app(run=asked)
    assert [formatting.plain(repr(asked[:60])) in error.value for error in app.error] == [True] * bool(asked)
    assert all(is_inert(error.value) for error in app.error)
    assert not button(app, "start").disabled


def test_an_unknown_run_in_the_address_does_not_hide_the_known_ones(model):
    run = make_finished_run(model)
    app = open_app(run="20260101-000000000-gone")
    assert formatting.plain("20260101-000000000-gone") in texts(app.error)
    assert run_choice(app).value == run.id


@pytest.mark.parametrize("page", [TRAIN, CLASSIFY, EVALUATE])
def test_a_run_whose_id_names_no_day_is_shown(page, model):  # as that of an archive may be
    run = make_finished_run(model)
    run.path.rename(run.path.parent / "20269999-999999999-quick")
    assert any("20269999-999999" in option for one in open_app(page).selectbox for option in one.options)


DAMAGES = {
    "nothing at all": {},
    "no JSON": {"config.json": "{", "status.json": "{", "metrics.jsonl": "{"},
    "other JSON": {"config.json": "[]", "status.json": "[]", "metrics.jsonl": "[]\n3\nnull\n"},
    "an unknown state": {"status.json": '{"state": "asleep", "error": 7, "result": 7}'},
    "a finished run without figures": {"status.json": '{"state": "finished"}'},
    "half of the figures": {"status.json": '{"state": "finished", "result": {"test_accuracy": 0.5}}'},
    "figures of other types": {"status.json": json.dumps({"state": "finished", "result": dict.fromkeys(RESULT, "x")})},
    "a failure without words": {"status.json": '{"state": "failed", "error": {}}'},
    "rows of another version": {"metrics.jsonl": '{"kind": "step"}\n{"kind": "epoch", "phase": "head"}\n'},
    "a torn last row": {"metrics.jsonl": json.dumps(metrics(1, 0)[0]) + '\n{"kind": "st'},
    "another version's knobs": {"config.json": '{"schema": 99}'},
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_run_does_not_take_the_page_with_it(damage):
    run = runs.create(CONFIG, "damaged")
    if not DAMAGES[damage]:
        (run.path / "config.json").unlink()
    for name, content in DAMAGES[damage].items():
        (run.path / name).write_text(content)
    app = open_app(run=run.id)
    assert run_choice(app).value == run.id
    assert not button(app, "start").disabled


def test_a_folder_of_runs_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "runs").write_text("a file")
    app = open_app()
    sound(button(app, "start").click().run())
    assert len(app.error) == 1
    assert "CIFAR_RUNS_DIR" in app.error[0].value.replace("\\", "")


def test_what_a_run_says_of_itself_is_text_never_markup(model):
    failed = make_run("failed", error={"type": "X", "message": MARKUP})
    assert is_inert(open_app(run=failed.id).error[0].value)
    finished = make_finished_run(model, dataset=MARKUP, weights=MARKUP)
    caption = next(c.value for c in open_app(run=finished.id).caption if "onerror" in c.value)
    assert is_inert(caption.replace("Images:", "").replace("Initial weights:", ""))


def test_a_finished_run_shows_its_figures_with_the_interval_and_its_model(model):
    def layers() -> str:
        return "".join(found.body for found in app.get("html") if "<pre" in found.body)

    run = make_finished_run(model)
    app = open_app()
    assert re.search(r"\b80 of 100\b.* 77\.4% to 82\.4%", texts(app.markdown))  # Wilson's 95% of 800 in 1,000
    assert all(figure in texts(app.caption) for figure in ("80.0%", "1,000", "82.5%"))
    assert "75 s" in texts(app.markdown)
    assert all(button(app, key) for key in ("try_photo", "see_mistakes", "open_export"))
    assert not layers(), "a closed panel is not sent"
    app.session_state["details_panel"] = True  # as a click on it does
    sound(app.run())
    assert "block_16_project" in layers()
    assert run_choice(app).value == run.id
    assert says_synthetic(app)


def test_the_curves_hold_both_phases(model):
    make_finished_run(model)
    app = open_app()
    assert "learning_rate" not in charts_of(app), "a closed panel is not sent"
    app.session_state["details_panel"] = True  # as a click on it does
    drawn = charts_of(sound(app.run()))
    assert {"accuracy", "loss", "learning_rate", "images_per_second"} <= set(drawn)
    training, validation = drawn["accuracy"]["data"]
    assert len(numbers(training["x"])) == 4 * (3 + 2)
    assert numbers(validation["x"]) == [1, 2, 3, 4, 5]


def test_how_far_the_blocks_have_moved_is_drawn_where_it_was_recorded(model):
    run = make_finished_run(model)
    *others, last = run.metrics()
    rows = [*others, last | {"weight_changes": [0.0] * 13 + [0.1, 0.2, 0.3, 0.4]}]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = open_app()
    app.session_state["details_panel"] = True  # as a click on it does
    (bars,) = charts_of(sound(app.run()))["weight_changes"]["data"]
    assert numbers(bars["y"]) == [0.0] * 13 + [0.1, 0.2, 0.3, 0.4]


def test_an_earlier_run_can_be_raced_against(model):
    earlier = make_finished_run(model, validation_accuracy=0.5)
    make_finished_run(model)
    app = open_app()
    assert len(charts_of(app)["loss"]["data"]) == 2
    sound(app.selectbox(key="ghost").set_value(earlier.id).run())
    assert len(charts_of(app)["loss"]["data"]) == 3
    sound(run_choice(app).set_value(earlier.id).run())  # nobody races against itself
    assert len(charts_of(app)["loss"]["data"]) == 2


def test_the_address_decides_which_run_is_shown(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    assert run_choice(open_app()).value == newer.id
    app = open_app(run=older.id)
    assert run_choice(app).value == older.id
    box = run_choice(app).key
    sound(run_choice(app).set_value(newer.id).run())
    assert app.query_params["run"] == newer.id
    assert run_choice(app).key == box, "a new select box would lose the keyboard's focus"


def test_a_late_message_of_a_page_that_polls_does_not_bring_the_run_before_back(model):
    older, newer = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    app = open_app(run=older.id)
    late = app._tree.get_widget_states()
    app.query_params["run"] = newer.id  # as Start does
    sound(app.run())
    sound(app._run(late))
    assert (app.query_params["run"], run_choice(app).value) == (newer.id, newer.id)


def test_the_run_chosen_on_one_page_is_open_on_the_others(model):
    older, _ = make_finished_run(model, validation_accuracy=0.5), make_finished_run(model)
    app = open_app(EVALUATE, run=older.id)
    sound(app.switch_page(TRAIN).run())
    assert run_choice(app).value == older.id
    app.query_params.clear()
    sound(app.switch_page(CLASSIFY).run())
    assert app.selectbox(key="model").value == older.id
    app.query_params.clear()
    sound(app.switch_page(EVALUATE).run())
    assert run_choice(app).value == older.id
    assert app.query_params["run"] == older.id, "a reload shows it again"


def test_runs_that_look_alike_can_be_told_apart(model):
    chosen = [make_finished_run(model).id for _ in range(3)]
    app = open_app()
    assert len(set(run_choice(app).options)) == 3
    for run_id in chosen:
        sound(run_choice(app).set_value(run_id).run())
        assert app.query_params["run"] == run_id


def test_the_settings_of_a_run_can_be_taken_over(other_knobs, monkeypatch):
    run, started = runs.create(other_knobs), []
    write_json(run.path / "status.json", {"state": "stopped"})
    monkeypatch.setattr(jobs, "start_run", lambda config, *_: started.append(config) or run)
    app = open_app()
    sound(button(app, "clone").click().run())
    sound(button(app, "start").click().run())
    assert started == [other_knobs]


def test_a_running_run_shows_where_it_stands_and_can_be_stopped():
    run = make_run("running", rows=metrics(2, 0)[:-1], stage="head")
    with living_worker(run):
        app = open_app()
        assert f"{progress.STAGES['head']}, epoch 2" in texts(app.markdown)
        assert any(re.search(r"\d+ s left", html.proto.body) for html in app.get("html"))
        assert (button(app, "stop").disabled, button(app, "resume")) == (False, None)
        assert len(numbers(charts_of(app)["accuracy"]["data"][0]["x"])) == 8


def test_a_live_run_comes_before_newer_ones_that_ended(model):
    run = make_run("running", stage="head")
    make_finished_run(model)
    with living_worker(run):
        assert run_choice(open_app()).value == run.id


def test_stop_is_one_press_and_the_run_can_then_be_resumed():
    run = make_run("running", stage="head")
    with living_worker(run, obeys=True):
        app = open_app()
        sound(button(app, "stop").click().run())
    assert run.state == "stopped"
    assert run_picker.STATE_LOOK["stopped"][0] in texts(app.markdown)
    assert (button(app, "stop"), button(app, "resume").disabled) == (None, False)


def test_a_run_whose_process_is_gone_says_so_and_can_be_resumed():
    make_run("running", stage="head")
    app = open_app()
    assert run_picker.STATE_LOOK["lost"][0] in texts(app.markdown)
    assert button(app, "resume") is not None


def test_queued_runs_show_their_place():
    first = make_run("running", stage="head")
    second, third = make_run("queued", rows=[]), make_run("queued", rows=[])
    with living_worker(first), living_worker(second), living_worker(third):
        app = open_app(run=third.id)
        assert "2 before it" in texts(app.markdown)
        assert "1 before it" in texts(open_app(run=second.id).markdown)


def test_a_failed_run_says_why():
    make_run("failed", error={"type": "StoreError", "message": "There is no room for the features; free 2 GB."})
    app = open_app()
    assert "no room for the features" in texts(app.error)
    assert button(app, "resume") is not None


def one_poll(run_id: str, before: float) -> None:
    """A poll of the panel of a run, which was polled every `before` seconds so far."""
    import streamlit as st

    from cifar_core.runs import Run
    from pages.components import run_view

    st.session_state["polled_panel"] = before
    run_view.panel(Run(run_id))
    st.session_state["pace"] = run_view.pace(Run(run_id).state)


@pytest.mark.parametrize(("state", "before", "key"), [("running", 3.0, "stop"), ("stopped", 1.0, None)])
def test_a_press_that_meets_a_change_of_state_is_not_lost(state, before, key):
    run = make_run(state)
    with living_worker(run):
        app = sound(AppTest.from_function(one_poll, default_timeout=60, args=(run.id, before)).run())
        assert app.session_state["pace"] != before  # the page draws itself again
        keys = {one.key for one in app.button} & {"stop", "resume"}
        assert keys == ({key} if key else set())  # a press on another state's button would be lost
        if key:
            sound(button(app, key).click().run())
            assert run.state == "stopping"


@pytest.mark.parametrize(("sessions", "times"), [(1, 1), (5, 1), (6, 2), (16, 3)])
def test_sessions_poll_less_often_if_many_watch(sessions, times, monkeypatch):
    now = time.monotonic()
    watching = {f"gone {number}": now - 60 for number in range(20)} | {str(number): now for number in range(sessions)}
    monkeypatch.setattr(run_view, "_watching", watching)
    assert run_view.crowd() == times
    assert len(watching) == sessions, "the others are forgotten"


def test_a_run_that_ended_before_its_first_epoch_has_no_empty_charts():
    run = make_run("stopped", rows=[])
    app = open_app(run=run.id)
    assert not charts_of(app)
    assert button(app, "resume") and button(app, "clone")
