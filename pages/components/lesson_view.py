"""The results of a lesson, and its runs on this machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from cifar_core.charts import lessons as lesson_charts
from cifar_core.config import KNOBS, differing_knobs
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import predictions
from cifar_core.inference import activations as core_activations
from cifar_core.inference import pictures
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.inference.decoding import open_picture
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import INSIDE, LESSONS, Lesson
from cifar_core.lessons.experiments import CONDITIONS, Outcome, Provenance
from cifar_core.lessons.layer_probe import Layers
from cifar_core.runs import LIVE_STATES, Run
from pages.components import activations, formatting, guarded, knobs, live_chart, tables, uploads

HERE, STORED = "here", "stored"
_SHOWN = 2
_SAMPLE, _BLOCK = "cat", 5  # sample photo and first block of the lesson INSIDE
Conditions = Mapping[str, Outcome]


def findings(name: str) -> tuple[Any, str]:
    """Return the results of a lesson and their origin (HERE or STORED).

    Results are outcomes by condition, Layers, or receptive fields; None if there are none.
    """
    try:
        if known := _measured_here(name):
            return known, HERE
    except CifarError as error:
        guarded.problem(error)
    return shipped(name), STORED


def _measured_here(name: str) -> Any:
    if name == INSIDE:
        return core_activations.receptive_fields(open_classifier(BUNDLED))
    if name == layer_probe.LESSON:
        return layer_probe.result()
    latest = experiments.latest_runs(name)
    finished = tuple((key, run.id) for key, run in latest.items() if run and run.state == "finished")
    return local(name, finished) if len(finished) == len(latest) else None


@st.cache_resource(max_entries=32, show_spinner="Looking inside the networks…")
def local(name: str, run_ids: tuple[tuple[str, str], ...]) -> dict[str, Outcome]:
    """Return the outcomes of finished runs on this machine; cached, since computing them takes a few seconds."""
    return {key: experiments.outcome_of(name, Run(run_id)) for key, run_id in run_ids}


@st.cache_resource(show_spinner=False)
def shipped(name: str) -> Any:
    """Return the results that ship with this version, or None."""
    saved = experiments.stored(name)
    if not saved:
        return None
    return Layers.from_dict(saved) if name == layer_probe.LESSON else experiments.outcomes(saved)


def made_by(results: Layers | Conditions | Sequence[float] | None) -> list[Provenance]:
    """Return the provenance of the results; empty for results without images."""
    if isinstance(results, Layers):
        return [results.made]
    return [condition.made for condition in results.values()] if isinstance(results, Mapping) else []


def show(lesson: Lesson, guess: int, results: Layers | Conditions, origin: str) -> None:
    """Show the answer and the two main charts, and the rest in an expander."""
    _answer(lesson, guess, results)
    made = made_by(results)
    odd = sorted({one.weights for one in made if "random" in one.weights or "bundled" in one.weights})
    if odd and not isinstance(results, Layers):
        st.warning(f"The initial weights were {formatting.plain('; '.join(odd))}.", icon=":material/shuffle:")
    figures = built(lesson.name, origin, tuple(one.date for one in made), results)
    charts(figures, lesson.figures[:_SHOWN])
    formatting.text(lesson.see)
    with st.expander("Conditions, figures and sources", icon=":material/tune:", key="conditions"):
        if origin == HERE:
            st.badge("run on this machine", icon=":material/computer:", color="green")
        else:
            st.badge("stored results", icon=":material/inventory_2:", color="gray")
        if not isinstance(results, Layers):
            columns = table(lesson.name, results)
            tables.show({name: cells for name, cells in columns.items() if len(set(cells)) > 1}, "conditions_table")
        charts(figures, lesson.figures[_SHOWN:])
        st.caption(" ".join(dict.fromkeys(formatting.plain(one.note) for one in made if one.note)))
        st.markdown("\n".join(f"- {sentence}" for sentence in dict.fromkeys(one.sentence for one in made)))
        _sources(lesson)


def look_inside(lesson: Lesson, guess: int, fields: Sequence[float]) -> None:
    """Show the answer, and the activations of a sample photo in the bundled network."""
    _answer(lesson, guess, fields)
    formatting.text(lesson.see)
    photo = open_picture(uploads.sample(_SAMPLE), _SAMPLE)
    guarded.fragment(activations.show)(open_classifier(BUNDLED), pictures.prepare(photo), {}, _BLOCK)
    label, icon = "Open *Inside* for your own photo", ":material/image_search:"
    st.page_link("pages/classify.py", label=label, icon=icon, query_params={"view": "inside"})
    _sources(lesson)


def _answer(lesson: Lesson, guess: int, results: Any) -> None:
    right, measured = lesson.answer(results)
    answer = f"**{formatting.plain(lesson.options[right])}**. {formatting.plain(measured)}"
    if guess == right:
        formatting.alert(st.success, f"Correct: {answer}", ":material/check:")
    else:
        formatting.alert(st.info, f"It is {answer}", ":material/lightbulb:")


def _sources(lesson: Lesson) -> None:
    st.markdown("Sources: " + " · ".join(f"[{formatting.plain(title)}]({url})" for title, url in lesson.sources))


def try_it(name: str) -> None:
    """Draw a link to *Train* with the settings of each condition."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Try it:", width="content")
        for condition in CONDITIONS[name].values():
            query = knobs.link(condition.config)
            st.page_link("pages/train.py", label=condition.label, icon=":material/tune:", query_params=query)


def charts(figures: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw figures of a lesson side by side."""
    if not names:
        return
    with st.grid(len(names), min_column_width=340):
        for name in names:
            live_chart.draw(figures[name], name, figures[name].layout.title.text, live_chart.NO_TOOLBAR)


@st.cache_resource(max_entries=64, show_spinner=False)
def built(name: str, origin: str, dates: tuple[str, ...], _found: Layers | Conditions) -> dict[str, Any]:
    """Return the figures of a lesson by name, cached by the `dates` of the results, shared by all sessions."""
    if isinstance(_found, Layers):
        return {"layers": lesson_charts.layers_figure(_found)}
    conditions = {condition.label: _found[key] for key, condition in CONDITIONS[name].items()}
    draw = {
        "histogram": lesson_charts.histogram_figure,
        "norms": lesson_charts.norms_figure,
        "maps": lesson_charts.maps_figure,
        "width": lesson_charts.width_figure,
    }
    return {
        figure: draw[figure](conditions) if figure in draw else lesson_charts.curves_figure(conditions, figure)
        for figure in LESSONS[name].figures
    }


def table(name: str, outcomes: Conditions) -> dict[str, list[str]]:
    """Return the columns of a table with a row for each condition: the settings that differ, and the results."""
    conditions = CONDITIONS[name].values()
    configs, results = [one.config for one in conditions], [outcomes[key] for key in CONDITIONS[name]]
    figures = [one.figures for one in results]
    return {
        "Run": [one.label for one in conditions],
        **{
            KNOBS[knob].label: [KNOBS[knob].format(getattr(config, knob)) for config in configs]
            for knob in differing_knobs(configs)
        },
        "Training (last)": [f"{one['training_accuracy']:.1%}" for one in figures],
        "Validation (best)": [f"{one['validation_accuracy']:.1%}" for one in figures],
        "Test (95%)": [_interval(one["test_accuracy"], int(one["test_images"])) for one in figures],
        "Multiply-adds": [formatting.count(one["multiply_adds"]) for one in figures],
        "Parameters": [formatting.count(one["parameters"]) for one in figures],
        "File": [f"{one['model_bytes'] / 1e6:.1f} MB" for one in figures],
        "Latency": [f"{one.internals.latency_ms:.2f} ms" for one in results],
    }


def _interval(accuracy: float, images: int) -> str:
    low, high = predictions.wilson(round(accuracy * images), images)
    return f"{accuracy:.1%} ({low:.1%} to {high:.1%})"


def runs_here(name: str) -> None:
    """Draw the button that runs the lesson here, or its progress, in an expander."""
    draw = _probe if name == layer_probe.LESSON else _runs
    icon, key = ":material/computer:", f"run_here_{name}"
    with st.expander("Run it on this machine", expanded=_is_live(name), icon=icon, key=key):
        guarded.polled(draw, lambda: _is_live(name))(name)


def _is_live(name: str) -> bool:
    """Return whether a lesson is measured here."""
    if name == layer_probe.LESSON:
        return layer_probe.job().is_running
    return any(run and run.state in LIVE_STATES for run in experiments.latest_runs(name).values())


def _probe(name: str) -> None:
    """Draw the measurement of layer_probe."""
    task = layer_probe.job()
    state = task.read()
    if state["state"] == "working":
        done, total = state.get("done") or 0, state.get("total") or 1
        st.progress(min(done / total, 1.0), f"{done} of {total} layers done")
        guarded.stop_button(task, "stop")
    else:
        stored = shipped(name)
        _go("Run", stored.seconds if stored else None, task.start)
    if state["state"] == "failed":
        guarded.problem(state["error"])


def _runs(name: str) -> None:
    """Draw the runs of a lesson."""
    latest = experiments.latest_runs(name)
    total = len(latest)
    missing = sum(run is None or run.state != "finished" for run in latest.values())
    if _is_live(name):
        st.progress((total - missing) / total, f"{total - missing} of {total} runs done")
        guarded.button("Stop", experiments.stop_runs, name, icon=":material/stop:", key="stop", busy="Stopping")
    else:
        label = f"Run {missing} of {total}" if 0 < missing < total else f"Run all {total}"
        _go(f"{label}{'' if missing else ' again'}", _expected(name), experiments.start_runs, name, not missing)
    for run in latest.values():
        error = run and run.status.get("error")
        if error:
            guarded.problem(error.get("message") or error.get("type"))


def _expected(name: str) -> float | None:
    try:
        return experiments.expected_seconds(name)
    except CifarError:  # there are no images to train on
        return None


def _go(label: str, seconds: float | None, *action: Any) -> None:
    """Draw the button that starts the lesson."""
    words = label + (f" (about {formatting.seconds(seconds)})" if seconds else "")
    is_impossible = cifar10.status()["error"] is not None
    guarded.button(words, *action, key="go", busy="Starting", icon=":material/play_arrow:", disabled=is_impossible)
