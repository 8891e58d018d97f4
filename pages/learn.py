"""Learn: guess first, then see what real runs say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from cifar_core.charts import lessons as lesson_charts
from cifar_core.config import KNOBS
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import predictions
from cifar_core.lessons import layer_probe, results
from cifar_core.lessons.catalogue import LESSONS, Lesson
from cifar_core.lessons.conditions import CONDITIONS
from cifar_core.lessons.layer_probe import Layers
from cifar_core.lessons.results import Made, Outcome
from cifar_core.runs import LIVE_STATES, Run, metrics
from pages.components import address, augmentation_preview, dataset_notice, formatting, guarded, messages, progress

POLL_SECONDS = 0.7
FIRST = "scaling"
HERE, STORED = "here", "stored"
Conditions = Mapping[str, Outcome]


def main() -> None:
    """Draw the page."""
    titles = {name: f"{lesson.number} · {lesson.title}" for name, lesson in LESSONS.items()}
    name = address.linked_choice("Lesson", "lesson", titles, FIRST)
    lesson = LESSONS[name]
    found, origin = findings(name)
    generated = any("generated" in made.data for made in made_by(found)) if found else False
    dataset_notice.show(cifar10.status(), generated, "everything here" if generated else "what you run here")
    st.subheader(lesson.title)
    st.markdown(lesson.text)
    if name != layer_probe.LESSON:
        what_is_run(name)
    guess = st.radio(
        f"**Guess first.** {messages.plain(lesson.question)}",
        range(len(lesson.options)),
        index=None,
        key=f"guess_{name}",
        format_func=lesson.options.__getitem__,
        persist_state="session",
    )
    if guess is None:
        st.caption("Choose one: then you see what was measured.")
    elif found:
        show(lesson, guess, found, origin)
    else:
        st.info("There are no results yet: run the lesson below.", icon=":material/play_arrow:")
    run_here(name)
    augmentation_preview.panel(f"strip_panel_{name}", expanded=name == "augmentation")


def findings(name: str) -> tuple[Any, str]:
    """Return what the lesson gave (outcomes by condition, or Layers; None if it was never run), and where."""
    known: Any = None
    try:
        if name == layer_probe.LESSON:
            known = layer_probe.result()
        else:
            finished = {
                key: run.id for key, run in results.latest_runs(name).items() if run and run.state == "finished"
            }
            known = local(name, tuple(finished.items())) if len(finished) == len(CONDITIONS[name]) else None
        if known:
            return known, HERE
    except CifarError as error:
        messages.problem(error)
    return shipped(name), STORED


@st.cache_resource(max_entries=32, show_spinner="Looking inside the networks…")
def local(name: str, run_ids: tuple[tuple[str, str], ...]) -> dict[str, Outcome]:
    """Return what the finished runs of this machine gave; kept, since looking inside them takes a few seconds."""
    return {key: results.outcome_of(name, Run(run_id)) for key, run_id in run_ids}


@st.cache_resource(show_spinner=False)
def shipped(name: str) -> Any:
    """Return what ships with this version, None where there is nothing."""
    saved = results.stored(name)
    if not saved:
        return None
    return Layers.from_dict(saved) if name == layer_probe.LESSON else results.outcomes(saved)


def made_by(found: Layers | Conditions) -> list[Made]:
    """Return what made the figures."""
    return [found.made] if isinstance(found, Layers) else [condition.made for condition in found.values()]


def what_is_run(name: str) -> None:
    """Say which knobs the conditions of a lesson differ in."""
    conditions = list(CONDITIONS[name].values())
    names = {knob for condition in conditions for knob in conditions[0].config.differences(condition.config)}
    lines = []
    for condition in conditions:
        values = [
            f"{KNOBS[knob].label} **{messages.plain(KNOBS[knob].say(getattr(condition.config, knob)))}**"
            for knob in KNOBS
            if knob in names
        ]
        lines.append(f"- {messages.plain(condition.label)}: {', '.join(values)}")
    config = conditions[0].config
    alike = ", ".join(
        f"{KNOBS[knob].label.lower()} {KNOBS[knob].say(getattr(config, knob))}"
        for knob in ("train_images", "alpha", "image_size", "batch_size", "seed")
        if knob not in names
    )
    with st.expander(
        f"Settings: {len(conditions)} runs that differ in {len(names)} setting{'s' if len(names) > 1 else ''}",
        icon=":material/tune:",
    ):
        st.markdown("\n".join(lines))
        st.caption(f"Alike in all: {messages.plain(alike)}, and everything else.")


def show(lesson: Lesson, guess: int, found: Layers | Conditions, origin: str) -> None:
    """Say how the guess did, and show what was measured."""
    right, measured = lesson.answer(found)
    if guess == right:
        st.success(
            f"You guessed it: **{messages.plain(lesson.options[right])}**. {messages.plain(measured)}",
            icon=":material/check:",
        )
    else:
        st.info(
            f"You guessed {messages.plain(lesson.options[guess])}; it is **{messages.plain(lesson.options[right])}**. "
            f"{messages.plain(measured)}",
            icon=":material/lightbulb:",
        )
    provenance(found, origin)
    with st.container(key="wide_lesson"):
        figures(lesson, found, origin)
    if not isinstance(found, Layers):
        st.dataframe(table(lesson.name, found), hide_index=True, key="arms")
    st.markdown(f"**What there is to see.** {lesson.see}")
    sources = " · ".join(f"[{messages.plain(title)}]({url})" for title, url in lesson.sources)
    st.caption(f"Sources: {sources}")


def provenance(found: Layers | Conditions, origin: str) -> None:
    """Say whose figures these are, and what they rest on where that is not what it should be."""
    made = made_by(found)
    with st.container(horizontal=True, vertical_alignment="center"):
        if origin == HERE:
            st.badge("run on this machine", icon=":material/computer:", color="green")
        else:
            st.badge("stored results", icon=":material/inventory_2:", color="gray")
        first = made[0]
        st.caption(
            f"{first.date[:10]}, {first.cores} cores of {messages.plain(first.processor)}, "
            f"images: {messages.plain(first.data)}"
            + ("" if origin == HERE else "; your own replace them once you have run the lesson below")
        )
    weights = sorted({one.weights for one in made})
    odd = [words for words in weights if "random" in words or "stand-in" in words or "bundled" in words]
    if odd:
        whose = "" if origin == HERE else " (“this machine” is the one that made these results)"
        st.warning(f"Mind the first weights{whose}: " + messages.plain("; ".join(odd)) + ".", icon=":material/shuffle:")
    for note in dict.fromkeys(one.note for one in made if one.note):
        st.caption(messages.plain(note))
    with st.expander("How these figures were made"):
        for sentence in dict.fromkeys(one.sentence for one in made):
            st.markdown(f"- {sentence}")


def figures(lesson: Lesson, found: Layers | Conditions, origin: str) -> None:
    """Draw the lesson's figures, two or three beside each other."""
    drawn = built(lesson.name, origin, tuple(one.date for one in made_by(found)), found)
    if "maps" in drawn:
        with st.container(key="scroll_watch"):
            st.plotly_chart(drawn["maps"], key="maps", config={"displayModeBar": False})
        st.caption("The last block's map of one drawing: root mean square over its channels, all on one scale.")
    small = [name for name in drawn if name != "maps"]
    in_a_row = 1 if isinstance(found, Layers) else 3 if len(small) == 3 else 2
    for start in range(0, len(small), in_a_row):
        for column, name in zip(st.columns(in_a_row), small[start : start + in_a_row], strict=False):
            column.plotly_chart(drawn[name], key=name, config={"displaylogo": False})


@st.cache_resource(max_entries=64, show_spinner=False)
def built(name: str, origin: str, dates: tuple[str, ...], _found: Layers | Conditions) -> dict[str, Any]:
    """Return the figures of a lesson by name; built once for what was found at those `dates`, for all people."""
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
    """Return a row for each condition."""
    rows = []
    for key, condition in CONDITIONS[name].items():
        one = conditions[key].figures
        low, high = predictions.wilson(round(one["test_accuracy"] * one["test_images"]), int(one["test_images"]))
        rows.append(
            {
                "run": condition.label,
                "training (last)": f"{one['training_accuracy']:.1%}",
                "validation (best)": f"{one['validation_accuracy']:.1%}",
                "test (95 %)": f"{one['test_accuracy']:.1%} ({low:.1%} to {high:.1%})",
                "multiply-adds": formatting.count(one["multiply_adds"]),
                "parameters": formatting.count(one["parameters"]),
                "file": f"{one['model_bytes'] / 1e6:.2f} MB",
                "one image": f"{conditions[key].internals.latency_ms:.2f} ms",
                "time": formatting.seconds(one["elapsed_seconds"]),
            }
        )
    return rows


def run_here(name: str) -> None:
    """Offer to run the lesson on this machine, and show how it goes."""
    live = is_live(name)
    st.session_state["learning"] = live
    with st.container(border=True):
        st.markdown("**Run it here and now**")
        guarded.fragment(_run_here, run_every=POLL_SECONDS if live else None)(name)


def is_live(name: str) -> bool:
    """Return whether something of the lesson is running or waiting."""
    if name == layer_probe.LESSON:
        return layer_probe.job().is_running
    return any(run and run.state in LIVE_STATES for run in results.latest_runs(name).values())


def _run_here(name: str) -> None:
    live = is_live(name)
    if st.session_state.get("learning") != live:  # it has ended or begun: show its results, poll no more, or again
        st.rerun()
    can = live or cifar10.status()["error"] is None
    if not can:
        st.caption("This needs images: as soon as they can be read, it can be run here.")
    if name == layer_probe.LESSON:
        _probe(live, can)
    else:
        _conditions(name, live, can)
    if "learn_error" in st.session_state:
        st.error(messages.plain(st.session_state.pop("learn_error")), icon=":material/error:")


def _probe(live: bool, can: bool) -> None:
    state = layer_probe.job().read()
    if live:
        done, total = state.get("done") or 0, state.get("total") or 1
        left = state.get("seconds_left")
        words = f", {formatting.seconds(left)} left" if isinstance(left, int | float) else ""
        st.progress(min(done / total, 1.0), f"Probing the layers: {done} of {total}{words}")
        st.button("Stop", icon=":material/stop:", key="stop", on_click=act, args=(layer_probe.job().ask_to_stop,))
        return
    if state["state"] == "failed":
        st.error(messages.plain(state["error"]), icon=":material/error:")
    elif state["state"] == "stopped":
        st.caption("It was stopped.")
    try:
        mine = layer_probe.result()
    except CifarError:  # `findings` shows why
        mine = None
    known = mine or shipped(layer_probe.LESSON)
    took = f" (took {formatting.seconds(known.seconds)} {'here' if mine else 'elsewhere'})" if known else ""
    label = f"Run it{' again' if mine else ''}{took}"
    st.button(
        label,
        icon=":material/play_arrow:",
        key="go",
        on_click=guarded.once,
        args=("probe", act, layer_probe.start),
        disabled=not can,
    )


def _conditions(name: str, live: bool, can: bool) -> None:
    found = results.latest_runs(name)
    begun = {key: run for key, run in found.items() if run}
    if live:
        done = sum(run.state == "finished" for run in begun.values())
        st.progress(done / len(found), f"{done} of {len(found)} runs are done")
    for key, run in begun.items():
        status = run.status
        if live or status["state"] != "finished":
            st.markdown(messages.plain(CONDITIONS[name][key].label))
            progress.line(run, status, next(reversed(metrics.sound_rows(run.metrics())), None))
            error = status.get("error")
            if isinstance(error, dict):
                st.error(messages.plain(error.get("message") or error.get("type")), icon=":material/error:")
    if live:
        st.button("Stop all", icon=":material/stop:", key="stop", on_click=act, args=(results.stop_runs, name))
        return
    missing = sum(run is None or run.state != "finished" for run in found.values())
    words = f"Run {missing} of {len(found)}" if 0 < missing < len(found) else f"Run all {len(found)}"
    try:
        time = f" (about {formatting.seconds(results.expected_seconds(name))})"
    except CifarError:  # there are no images to train on
        time = ""
    st.button(
        f"{words}{'' if missing else ' again'}{time}",
        icon=":material/play_arrow:",
        key="go",
        on_click=guarded.once,
        args=(f"lesson {name}", act, results.start_runs, name, not missing),
        disabled=not can,
        help="Ordinary runs, one after the other; they are in the list on Train, too.",
    )


def act(action: Any, *arguments: Any) -> None:
    """Do `action`, keeping what goes wrong for the page to show."""
    try:
        action(*arguments)
    except CifarError as error:
        st.session_state["learn_error"] = str(error)


guarded.page(main)
