"""The results of a lesson, and its runs on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from cifar_core.charts import lessons as lesson_charts
from cifar_core.config import KNOBS, differing_knobs
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import predictions
from cifar_core.inference import inside as core_inside
from cifar_core.inference import pictures
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.inference.decoding import open_picture
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import INSIDE, LESSONS, Lesson
from cifar_core.lessons.experiments import CONDITIONS, Outcome, Provenance
from cifar_core.lessons.layer_probe import Layers
from cifar_core.runs import LIVE_STATES, Run
from pages.components import formatting, guarded, inside, knobs, live_chart, tables, uploads

HERE, STORED = "here", "stored"
_SHOWN = 2
_SAMPLE, _BLOCK = "cat", 5  # sample photo and first block of the lesson INSIDE
Conditions = Mapping[str, Outcome]
_POLL_SECONDS = 0.7


def findings(name: str) -> tuple[Any, str]:
    """Return the results of a lesson and their origin (HERE or STORED).

    Results are outcomes by condition, Layers, or receptive fields; None if there are none.
    """
    known: Any = None
    try:
        if name == INSIDE:
            known = core_inside.receptive_fields(open_classifier(BUNDLED))
        elif name == layer_probe.LESSON:
            known = layer_probe.result()
        else:
            finished = {
                key: run.id for key, run in experiments.latest_runs(name).items() if run and run.state == "finished"
            }
            known = local(name, tuple(finished.items())) if len(finished) == len(CONDITIONS[name]) else None
        if known:
            return known, HERE
    except CifarError as error:
        guarded.problem(error)
    return shipped(name), STORED


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


def made_by(results: Layers | Conditions | Sequence[float]) -> list[Provenance]:
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
            rows = table(lesson.name, results)
            columns = {name: [row[name] for row in rows] for name in rows[0]}
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
    guarded.fragment(inside.show)(open_classifier(BUNDLED), pictures.prepare(photo)[0], {}, _BLOCK)
    label, icon = "Open *Inside* for your own photo", ":material/image_search:"
    st.page_link("pages/classify.py", label=label, icon=icon, query_params={"view": "inside"})
    _sources(lesson)


def _answer(lesson: Lesson, guess: int, results: Any) -> None:
    right, measured = lesson.answer(results)
    answer = f"**{formatting.plain(lesson.options[right])}**. {formatting.plain(measured)}"
    if guess == right:
        st.success(f"Correct: {answer}", icon=":material/check:")
    else:
        st.info(f"It is {answer}", icon=":material/lightbulb:")


def _sources(lesson: Lesson) -> None:
    st.markdown("Sources: " + " · ".join(f"[{formatting.plain(title)}]({url})" for title, url in lesson.sources))


def try_it(name: str) -> None:
    """Draw a link to *Train* with the settings of each condition."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Try it:", width="content")
        for condition in CONDITIONS[name].values():
            query = knobs.link(condition.config)
            st.page_link("pages/train.py", label=condition.label, icon=":material/tune:", query_params=query)


def charts(figures: Mapping[str, Any], names: tuple[str, ...]) -> None:
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
        "accuracy": lambda: lesson_charts.curves_figure(conditions, "accuracy"),
        "loss": lambda: lesson_charts.curves_figure(conditions, "loss"),
        "histogram": lambda: lesson_charts.histogram_figure(conditions),
        "norms": lambda: lesson_charts.norms_figure(conditions),
        "maps": lambda: lesson_charts.maps_figure(conditions),
        "width": lambda: lesson_charts.width_figure(conditions),
    }
    return {figure: draw[figure]() for figure in LESSONS[name].figures}


def table(name: str, conditions: Conditions) -> list[dict[str, Any]]:
    """Return a row for each condition, with the settings that differ."""
    differing = differing_knobs(condition.config for condition in CONDITIONS[name].values())
    rows = []
    for key, condition in CONDITIONS[name].items():
        one = conditions[key].figures
        low, high = predictions.wilson(round(one["test_accuracy"] * one["test_images"]), int(one["test_images"]))
        rows.append(
            {
                "Run": condition.label,
                **{KNOBS[knob].label: KNOBS[knob].format(getattr(condition.config, knob)) for knob in differing},
                "Training (last)": f"{one['training_accuracy']:.1%}",
                "Validation (best)": f"{one['validation_accuracy']:.1%}",
                "Test (95%)": f"{one['test_accuracy']:.1%} ({low:.1%} to {high:.1%})",
                "Multiply-adds": formatting.count(one["multiply_adds"]),
                "Parameters": formatting.count(one["parameters"]),
                "File": f"{one['model_bytes'] / 1e6:.1f} MB",
                "Latency": f"{conditions[key].internals.latency_ms:.2f} ms",
            }
        )
    return rows


def runs_here(name: str, shipped: Any) -> None:
    """Draw the button that runs the lesson here, or its progress, in an expander; `shipped` is its stored result."""
    live = is_live(name)
    with st.expander("Run it on this machine", expanded=live, icon=":material/computer:", key="run_here"):
        guarded.polled(_panel, live, _POLL_SECONDS)(name, shipped)


def is_live(name: str) -> bool:
    """Return whether a run or the measurement of the lesson is running or queued."""
    if name == layer_probe.LESSON:
        return layer_probe.job().is_running
    return any(run and run.state in LIVE_STATES for run in experiments.latest_runs(name).values())


def _panel(name: str, shipped: Any) -> bool:
    live = is_live(name)
    probes = name == layer_probe.LESSON
    latest = {} if probes else experiments.latest_runs(name)
    state = layer_probe.job().read() if probes else {}
    missing = sum(run is None or run.state != "finished" for run in latest.values())
    if live:
        done, total = (
            (state.get("done") or 0, state.get("total") or 1) if probes else (len(latest) - missing, len(latest))
        )
        st.progress(min(done / total, 1.0), f"{done} of {total} {'layers' if probes else 'runs'} done")
        if probes:
            guarded.stop_button(layer_probe.job(), "stop")
        else:
            guarded.button("Stop", experiments.stop_runs, name, icon=":material/stop:", key="stop", busy="Stopping")
    elif probes:
        _go("Run", getattr(shipped, "seconds", None), layer_probe.job().start)
    else:
        label = f"Run {missing} of {len(latest)}" if 0 < missing < len(latest) else f"Run all {len(latest)}"
        _go(f"{label}{'' if missing else ' again'}", _expected(name), experiments.start_runs, name, not missing)
    broken = [run.status.get("error") for run in latest.values() if run]
    errors = [error.get("message") or error.get("type") for error in broken if isinstance(error, dict)]
    errors += [state["error"]] if state.get("state") == "failed" else []
    for text in filter(None, errors):
        st.error(formatting.plain(text), icon=":material/error:")
    return live


def _expected(name: str) -> float | None:
    try:
        return experiments.expected_seconds(name)
    except CifarError:  # there are no images to train on
        return None


def _go(label: str, seconds: float | None, *action: Any) -> None:
    """Draw the button that starts the lesson."""
    words = label + (f" (about {formatting.seconds(seconds)})" if seconds else "")
    is_impossible = cifar10.status()["error"] is not None
    guarded.button(words, *action, key="go", icon=":material/play_arrow:", disabled=is_impossible)
