"""The Explore page in its states, without a browser: its shell and the section Runs."""

import json
from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest
from app_pages import APP, button, charts_of, open_explore, press_tile, sound, texts, tiles_of, went_back
from counting import counted, many_finished
from streamlit.testing.v1 import AppTest

from cifar_core import jobs, runs
from cifar_core.config import TrainConfig, suggested_name
from cifar_core.runs import Run, labels, trash, write_json

CONFIG = TrainConfig(alpha=0.35, image_size=32, weights="random", train_images=1_000, head_epochs=3, fine_tune_epochs=2)
HOSTILE = "<img src=x onerror=alert(1)> **bold** [link](https://example.org) :red[red] $x$"


def make_run(
    accuracy: float | None, wrong: int = 0, config: TrainConfig = CONFIG, name: str = "test", seconds: float = 60.0
) -> Run:
    """Make a run: finished with `wrong` mistakes on 200 test images, or stopped where there is no accuracy."""
    run = runs.create(config, name)
    result = {"validation_accuracy": accuracy, "validation_images": 1_000, "elapsed_seconds": seconds}
    state = {"state": "stopped"} if accuracy is None else {"state": "finished", "result": result}
    write_json(run.path / "status.json", state)
    known = {"phase": "head", "loss": 1.0, "accuracy": 0.5, "learning_rate": 1e-3, "images_per_second": 900.0}
    epochs = [
        {
            "kind": "epoch",
            **known,
            "epoch": n,
            "validation_accuracy": 0.5,
            "validation_loss": 1.0,
            "elapsed_seconds": 9.0 * n,
        }
        for n in (1, 2, 3)
    ]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in epochs))
    truth = np.arange(200, dtype=np.uint8) % 10
    said = np.where(np.arange(200) < wrong, (truth + 1) % 10, truth)
    probabilities = np.eye(10, dtype=np.float32)[said]
    np.savez(
        run.path / "evaluation.npz",
        validation_labels=truth,
        validation_probabilities=probabilities,
        test_labels=truth,
        test_probabilities=probabilities,
    )
    return run


def table(app: AppTest):
    """Return the table of all runs."""
    return next(frame.value for frame in app.dataframe if "validation" in frame.value)


def verdict_of(app: AppTest):
    """Return the table that weighs the selected runs."""
    return next(frame.value for frame in app.dataframe if "validation" not in frame.value)


def links(app: AppTest) -> list[str]:
    return [link.proto.query_string for link in app.get("page_link")]


# the shell


def test_without_a_run_it_says_where_to_start_one() -> None:
    app = open_explore()
    assert app.segmented_control(key="section").value == "runs"
    assert app.info
    assert "section" not in app.query_params
    assert not app.dataframe


@pytest.mark.parametrize(("asked", "section"), [("lab", "lab"), ("<b>", "runs"), ("", "runs")])
def test_the_address_says_which_section_is_open(asked: str, section: str) -> None:
    app = open_explore(section=asked)
    assert app.segmented_control(key="section").value == section
    assert app.query_params.get("section") == ("lab" if section == "lab" else None)


# the table


def test_the_best_validation_accuracy_comes_first_with_its_interval() -> None:
    for accuracy in (0.7, 0.9, None, 0.8):
        make_run(accuracy, config=replace(CONFIG, dropout=(accuracy and accuracy / 2) or 0.1))
    shown = table(open_explore())
    assert shown["validation"].tolist()[:3] == pytest.approx([90, 80, 70])
    assert shown["state"].tolist() == ["finished"] * 3 + ["stopped"]
    assert shown["interval"].tolist()[0] == "88.0% to 91.7%"
    assert [name for name in shown if name.startswith("knob_")] == ["knob_dropout"]


def test_the_filter_stands_in_the_address_and_opens_the_same_view() -> None:
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        labels.change(
            make_run(accuracy, config=replace(CONFIG, seed=number)), name=f"net {number}", starred=number != 1
        )
    make_run(None, name="other")
    app = open_explore(runs="none")
    app.text_input(key="filter").set_value("net").run()
    sound(app.toggle(key="starred").set_value(True).run())
    assert table(app)["name"].tolist() == ["★ net 2", "★ net 0"]
    again = open_explore(runs="none", filter="net", starred="true")
    assert table(again)["name"].tolist() == ["★ net 2", "★ net 0"]
    words = open_explore(runs="none", filter="stopped")
    assert table(words)["state"].tolist() == ["stopped"]


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "password", "states": "x,finished;,<b>", "reverse": "yes", "starred": "2"},
        {"axis": "../..", "smoothing": "nan", "runs": "../../etc/passwd,20260101-000000000-none"},
        {"runs": "," * 5_000, "filter": "x" * 5_000, "section": "runs\0"},
        {"sort": "alpha", "runs": "é" * 300, "states": "stopped"},
    ],
)
def test_an_address_of_anything_shows_the_page(query: dict[str, str]) -> None:
    make_run(0.9)
    app = open_explore(**query)
    assert len(app.dataframe) == 1
    assert not app.error
    assert "runs" not in app.query_params


def test_a_column_of_settings_has_one_type_and_the_format_of_its_setting() -> None:
    for number, (images, alpha) in enumerate(((5_000, 0.5), (50_000, 1.0), (2_000, 0.5))):
        make_run(0.9 - number / 10, config=replace(CONFIG, train_images=images, alpha=alpha))
    shown = table(open_explore())
    assert shown["knob_train_images"].tolist() == ["5,000 images", "all", "2,000 images"]
    assert shown["knob_alpha"].tolist() == [0.5, 1.0, 0.5]


def test_a_damaged_run_is_a_row_like_any_other() -> None:
    run = make_run(0.9)
    (run.path / "config.json").write_text("{")
    (run.path / "metrics.jsonl").write_bytes(b"\xff{")
    app = open_explore(runs=run.id)
    assert len(table(app)) == 1
    assert len(links(app)) == 1


def test_500_runs_are_on_the_page_and_drawn_again_without_being_read_again() -> None:
    many_finished(500, CONFIG)
    app = open_explore()
    with counted() as work:
        sound(app.run())
    assert work["files opened"] < 50
    assert work["folders read"] < 50
    assert work["JSON read"] < 50
    assert work["files looked at"] < 2_700  # whether they changed: five of each run
    assert len(table(app)) == 500


# the chosen runs


def test_the_runs_of_the_address_are_drawn_over_each_other() -> None:
    a, b = make_run(0.9, wrong=2), make_run(0.7, wrong=40, config=replace(CONFIG, dropout=0.1))
    app = open_explore(runs=f"{a.id},{b.id}", axis="time", smoothing="0.9")
    drawn = charts_of(app)
    assert len({trace["legendgroup"] for trace in drawn["overlay_accuracy"]["data"]}) == 2
    assert drawn["overlay_loss"]["layout"]["xaxis"]["title"]["text"] == "seconds since the start"
    assert dict(app.query_params) == {"axis": "time", "smoothing": "0.9"}, "the best runs are shown without being named"
    verdict = verdict_of(app)
    assert verdict["Dropout"].tolist() == ["0.5", "0.1"]


def test_the_verdict_weighs_each_run_against_the_fastest_by_validation_significance_and_time() -> None:
    fast = make_run(0.8, wrong=30, seconds=60.0)
    better = make_run(0.808, wrong=29, config=replace(CONFIG, alpha=1.0), seconds=360.0)
    best = make_run(0.9, wrong=2, config=replace(CONFIG, alpha=0.5), seconds=120.0)
    lucky = make_run(0.79, wrong=0, config=replace(CONFIG, alpha=0.75), seconds=90.0)
    app = open_explore(runs=",".join(run.id for run in (fast, better, best, lucky)))
    verdict = verdict_of(app)
    assert app.selectbox(key="baseline").value == fast.id
    assert verdict["Difference"].tolist() == ["", "+0.8 points", "+10.0 points", "-1.0 points"]
    assert verdict["Significant"].tolist()[1:] == ["no", "yes", "opposite on test images"]
    assert verdict["Time"].tolist() == ["", "6.0 ×", "2.0 ×", "1.5 ×"]
    app = sound(app.selectbox(key="baseline").select(best.id).run())
    assert verdict_of(app)["Difference"].tolist()[0] == "-10.0 points"


def test_runs_of_one_name_begin_with_what_tells_them_apart_where_names_are_cut() -> None:
    made = [make_run(accuracy, config=replace(CONFIG, seed=n)) for n, accuracy in enumerate((0.9, 0.8, 0.7))]
    for run in made[:2]:
        labels.change(run, name="a name longer than a column")
    app = open_explore()
    names = table(app)["name"].tolist()
    assert len({name.partition(" · ")[0] for name in names}) == 3
    assert verdict_of(app)["Run"].tolist() == names


def test_the_best_three_runs_are_selected_at_first_and_the_address_need_not_say_so() -> None:
    made = [make_run(accuracy, config=replace(CONFIG, seed=n)) for n, accuracy in enumerate((0.7, 0.9, None, 0.6, 0.8))]
    app = open_explore()
    traces = charts_of(app)["overlay_accuracy"]["data"]
    assert len({trace["legendgroup"] for trace in traces}) == 3
    assert app.selectbox(key="managed").value == made[1].id
    assert "runs" not in app.query_params
    none = open_explore(runs="none")
    assert not charts_of(none)["overlay_accuracy"]["data"]
    assert none.query_params["runs"] == "none"


def test_a_phone_shows_runs_as_cards_and_a_tap_selects_one_or_takes_it_back() -> None:
    made = [make_run(accuracy, config=replace(CONFIG, seed=n)) for n, accuracy in enumerate((0.7, 0.9, 0.6, 0.8))]

    def key() -> str:
        return next(found.key for found in app.get("bidi_component") if found.key.startswith("cards_runs"))

    app = open_explore()
    cards = tiles_of(app, key())
    assert [card["note"].split(" · ")[0] for card in cards] == [f"Validation: {n}.0%" for n in (90, 80, 70, 60)]
    assert all(card["note"].split(" · ")[1:3] == ["Time: 1.0 min", "State: finished"] for card in cards)
    assert "seed 0" in cards[2]["note"] and "Dropout" not in cards[2]["note"]
    press_tile(app, key(), 3)
    assert app.query_params["runs"] == ",".join(made[n].id for n in (1, 3, 0, 2))
    press_tile(app, key(), 0)
    assert app.query_params["runs"] == ",".join(made[n].id for n in (3, 0, 2))


def test_back_gives_the_selection_of_the_address_and_without_one_the_best() -> None:
    made = [make_run(accuracy, config=replace(CONFIG, seed=n)) for n, accuracy in enumerate((0.7, 0.9, 0.6, 0.8))]
    app = open_explore(runs=made[2].id)
    assert app.selectbox(key="managed").value == made[2].id
    app = went_back(app)
    assert app.selectbox(key="managed").value == made[1].id
    assert "runs" not in sound(app.run()).query_params
    assert went_back(app, runs=made[0].id).selectbox(key="managed").value == made[0].id


def test_trials_stay_folded_unless_asked_for_or_named() -> None:
    run, trial = make_run(0.7), make_run(0.9, name="onet3")
    runs.write_json(trial.path / runs.TRIAL_FILE, {})
    app = open_explore()
    assert len(table(app)) == 1
    assert app.selectbox(key="managed").value == run.id
    app = sound(app.toggle(key="trials").set_value(True).run())
    assert len(table(app)) == 2
    assert len(table(open_explore(runs=trial.id))) == 2


def test_the_table_holds_validation_curves_and_no_test_accuracy() -> None:
    make_run(0.9)
    shown = table(open_explore())
    assert list(shown["curve"][0]) == [0.5, 0.5, 0.5]
    assert "test" not in shown


def test_runs_of_the_address_that_are_gone_are_told_of() -> None:
    run = make_run(0.9)
    app = open_explore(runs=f"20260101-000000000-none,{run.id}")
    assert len(app.warning) == 1
    assert app.selectbox(key="managed").options == [app.selectbox(key="managed").options[0]]
    assert app.selectbox(key="managed").value == run.id


def test_an_unfinished_run_is_drawn_but_not_judged() -> None:
    a, b = make_run(0.9), make_run(None)
    app = open_explore(runs=f"{a.id},{b.id}")
    assert len({trace["legendgroup"] for trace in charts_of(app)["overlay_accuracy"]["data"]}) == 2
    assert "Significant" not in verdict_of(app)


def test_name_note_and_star_are_written() -> None:
    run = make_run(0.9)
    app = open_explore(runs=run.id)
    app.text_input(key=f"name_{run.id}").set_value("my net")
    app.text_area(key=f"note_{run.id}").set_value("of Monday")
    app.checkbox(key=f"star_{run.id}").check()
    sound(button(app, f"save_{run.id}").click().run())
    assert labels.load(run) == labels.Labels("my net", "of Monday", True)
    assert table(app)[["name", "note"]].iloc[0].tolist() == ["★ my net", "of Monday"]


def test_hostile_names_and_notes_are_text() -> None:
    a, b = make_run(0.9), make_run(0.8, wrong=3)
    for run in (a, b):
        labels.change(run, name=HOSTILE[:60], note=HOSTILE)
    app = open_explore(runs=f"{a.id},{b.id}")
    for shown in app.markdown:
        rest = shown.value.replace("**\\<", "\\<")  # the page's own bold
        assert "<img" not in rest.replace("\\<img", "")
        assert "[link]" not in rest
        assert ":red[" not in rest
    traces = [trace for drawn in charts_of(app).values() for trace in drawn["data"]]
    assert traces and all("<" not in str([trace.get("name"), trace.get("text")]) for trace in traces)
    button(app, "delete").click().run()
    assert "<img" not in texts(sound(app).markdown).replace("\\<img", "")


def test_deleting_is_undone() -> None:
    run, other = make_run(0.9), make_run(0.8)
    app = open_explore(runs=f"{run.id},{other.id}")
    sound(button(app, "delete").click().run())
    assert runs.list_runs() == [other]
    assert app.selectbox(key="managed").options == [app.selectbox(key="managed").options[0]]
    sound(button(app, "undo_runs_deleted").click().run())
    assert runs.list_runs() == [other, run]
    assert button(app, "undo_runs_deleted") is None
    assert app.query_params["runs"] == f"{other.id},{run.id}"  # chosen again


def test_runs_of_the_same_millisecond_have_titles_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "new_id", "20261130-191457662-{}".format)
    a, b = make_run(0.9, name="first"), make_run(0.9, name="second")
    assert len(set(open_explore().selectbox(key="managed").options)) == 2
    trash.move_to_trash(a)
    trash.move_to_trash(b)
    assert len(set(open_explore().selectbox(key="trash_run").options)) == 2


def test_the_trash_gives_back_and_is_emptied() -> None:
    a, b = make_run(0.9, name="first"), make_run(0.8, name="second")
    trash.move_to_trash(a)
    trash.move_to_trash(b)
    app = open_explore()
    assert app.info
    names = app.selectbox(key="trash_run").options
    assert len(set(names)) == 2 and all(suggested_name(CONFIG) in name for name in names)
    app.selectbox(key="trash_run").select(a.id).run()
    sound(button(app, "restore").click().run())
    assert runs.list_runs() == [a]
    sound(button(app, "empty").click().run())
    assert trash.contents() == [b.id], "it asks first"
    sound(button(app, "empty_sure").click().run())
    assert trash.contents() == []


def test_a_link_takes_every_setting_of_a_run_to_train(
    other_knobs: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(0.9, config=other_knobs)
    started: list[TrainConfig] = []
    monkeypatch.setattr(jobs, "start_run", lambda config, *_: started.append(config) or run)
    app = open_explore(runs=run.id)
    (query,) = (dict(parse_qsl(link)) for link in links(app) if "dropout" in link)
    app.switch_page("pages/train.py")
    app.query_params.clear()
    app.query_params.update(query)
    sound(app.run())
    assert app.query_params == query, "nothing new for Back to undo"
    sound(button(app, "start").click().run())
    assert started == [other_knobs]


@pytest.mark.parametrize("asked", ["../..", "<b>", "20260101-000000000-none"])
def test_settings_of_no_run_are_a_sentence_on_train(asked: str) -> None:
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.query_params["settings"] = asked
    sound(app.run())
    assert repr(asked) in app.error[0].value.replace("\\", "")
