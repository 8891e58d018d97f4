"""Learn: guess first, then see what real runs measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from cifar_core import glossary
from cifar_core.charts import lessons as lesson_charts
from cifar_core.charts import pictures
from cifar_core.config import KNOBS, PRESETS
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import predictions
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import LESSONS, Lesson
from cifar_core.lessons.experiments import CONDITIONS, Made, Outcome
from cifar_core.lessons.layer_probe import Layers
from cifar_core.runs import Run
from pages.components import (
    address,
    augmentation_preview,
    dataset_notice,
    formatting,
    guarded,
    knobs,
    lesson_runs,
    messages,
)

HERE, STORED = "here", "stored"
_SHOWN = 2
_CONFIG: dict[str, Any] = {"displayModeBar": False}
_TO_TOP = "<script>document.querySelector('[data-testid=stMain]').scrollTo(0, 0)</script>"
Conditions = Mapping[str, Outcome]


def main() -> None:
    """Draw the page: the lesson that the address names, else all of them."""
    guesses = progress()
    lesson = LESSONS.get(st.query_params.get("lesson", ""))
    if lesson is None:
        overview(guesses)
    else:
        guesses.setdefault(lesson.name, None)
        draw(lesson, guesses)
    if not address.is_history():
        address.link("guesses", written(guesses), "")
    opened = lesson.name if lesson else ""
    if st.session_state.get("lesson_opened") != opened:  # the browser takes it for the same page, and would not scroll
        st.session_state["lesson_opened"] = opened
        st.html(_TO_TOP, unsafe_allow_javascript=True)


def progress() -> dict[str, int | None]:
    """Return the lessons that were opened with the guess of each, None before: the session's, else the address's."""
    if "guesses" not in st.session_state:
        st.session_state["guesses"] = {}
        for word in st.query_params.get("guesses", "")[:500].split("-"):
            name, _, guess = word.partition(".")
            if name in LESSONS:
                known = [str(number) for number in range(len(LESSONS[name].options))]
                st.session_state["guesses"][name] = known.index(guess) if guess in known else None
    return st.session_state["guesses"]


def written(guesses: Mapping[str, int | None]) -> str:
    """Return the progress as the address says it: `scaling.1-freezing`."""
    return "-".join(name if guess is None else f"{name}.{guess}" for name, guess in guesses.items())


def overview(guesses: Mapping[str, int | None]) -> None:
    """Draw the progress, the symptoms, a card for each lesson, and the glossary."""
    st.title("Guess, then see what real runs measured")
    answered = [name for name in LESSONS if guesses.get(name) is not None]
    following = next((name for name in LESSONS if name not in answered), None)
    st.progress(len(answered) / len(LESSONS), f"{len(answered)} of {len(LESSONS)} lessons answered")
    if following:
        verb = "Continue" if answered else "Start"
        opens(following, f"{verb}: {LESSONS[following].title}", "continue", "play_arrow", "primary")
    st.header("What do you see?")
    with st.container(horizontal=True, gap="xsmall"):
        for lesson in LESSONS.values():
            opens(lesson.name, lesson.symptom, f"symptom_{lesson.name}", "search", "secondary")
    st.header("Lessons")
    with st.grid(4, min_column_width=150):
        for lesson in LESSONS.values():
            with st.container(border=True, key=f"card_{lesson.name}"):
                picture(lesson, "stretch")
                icon = (
                    "check_circle" if lesson.name in answered else "visibility" if lesson.name in guesses else "school"
                )
                opens(lesson.name, f"{lesson.number}. {lesson.title}", f"open_{lesson.name}", icon, "tertiary")
    with st.expander("Glossary", icon=":material/menu_book:", key="glossary"):
        st.markdown("\n".join(f"- **{term}**: {definition}" for term, definition in glossary.TERMS.items()))


def opens(name: str, label: str, key: str, icon: str, kind: Literal["primary", "secondary", "tertiary"]) -> None:
    """Draw a button that opens a lesson, all lessons if `name` is empty; the address keeps the progress."""
    if st.button(label, key=key, icon=f":material/{icon}:", type=kind, wrap=True):
        guesses = st.session_state["guesses"]
        if name:
            guesses.setdefault(name, None)  # at once: one entry of the browser's history
        query = {"lesson": name, "guesses": written(guesses)}
        st.query_params.from_dict({word: value for word, value in query.items() if value})
        st.rerun()


def picture(lesson: Lesson, width: Literal["stretch"] | int) -> None:
    """Draw the picture of a lesson."""
    svg = pictures.LESSONS[lesson.name]()
    st.image(svg, alt=pictures.alt(svg), width=width)


def draw(lesson: Lesson, guesses: dict[str, int | None]) -> None:
    """Draw a lesson: the question, and once it is answered what was measured."""
    name = lesson.name
    with st.container(horizontal=True, vertical_alignment="center"):
        opens("", "All lessons", "all_lessons", "arrow_back", "secondary")
        st.caption(f"Lesson {lesson.number} of {len(LESSONS)}")
    st.title(lesson.title)
    found, origin = findings(name)
    generated = any("generated" in made.data for made in made_by(found)) if found else False
    dataset_notice.show(cifar10.status(), generated, "everything here" if generated else "what you run here")
    with st.container(key="wide_question"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(lesson.text, help=glossary.explain(f"{lesson.text} {lesson.question}"))
        key, options = f"guess_{name}", range(len(lesson.options))
        st.session_state.setdefault(key, guesses[name])
        look: dict[str, Any] = {"format_func": lesson.options.__getitem__, "persist_state": "session"}
        guess = guesses[name] = st.radio(f"**Guess:** {lesson.question}", options, None, key=key, **look)
    with right:
        picture(lesson, 400)
    if guess is None:
        st.caption("Choose an answer to see what was measured.")
    elif found:
        show(lesson, guess, found, origin)
    else:
        st.info("There are no results yet: run the lesson below.", icon=":material/play_arrow:")
    if name == "augmentation":
        augmentation_preview.panel("strip_panel", expanded=True)
    lesson_runs.show(name, shipped(name))
    if name in CONDITIONS and guess is not None:
        try_it(name)
    following = dict(zip(LESSONS, [*LESSONS][1:], strict=False)).get(name)
    label = f"Next: {LESSONS[following].title}" if following else "All lessons"
    opens(following or "", label, "next", "arrow_forward", "primary")


def findings(name: str) -> tuple[Any, str]:
    """Return what the lesson gave (outcomes by condition, or Layers; None if it was never run), and where."""
    known: Any = None
    try:
        if name == layer_probe.LESSON:
            known = layer_probe.result()
        else:
            finished = {
                key: run.id for key, run in experiments.latest_runs(name).items() if run and run.state == "finished"
            }
            known = local(name, tuple(finished.items())) if len(finished) == len(CONDITIONS[name]) else None
        if known:
            return known, HERE
    except CifarError as error:
        messages.problem(error)
    return shipped(name), STORED


@st.cache_resource(max_entries=32, show_spinner="Looking inside the networks…")
def local(name: str, run_ids: tuple[tuple[str, str], ...]) -> dict[str, Outcome]:
    """Return what the finished runs of this machine gave; cached, since looking inside them takes a few seconds."""
    return {key: experiments.outcome_of(name, Run(run_id)) for key, run_id in run_ids}


@st.cache_resource(show_spinner=False)
def shipped(name: str) -> Any:
    """Return what ships with this version, None where there is nothing."""
    saved = experiments.stored(name)
    if not saved:
        return None
    return Layers.from_dict(saved) if name == layer_probe.LESSON else experiments.outcomes(saved)


def made_by(found: Layers | Conditions) -> list[Made]:
    """Return what made the figures."""
    return [found.made] if isinstance(found, Layers) else [condition.made for condition in found.values()]


def show(lesson: Lesson, guess: int, found: Layers | Conditions, origin: str) -> None:
    """Show the answer, the two main charts, and all else folded."""
    right, measured = lesson.answer(found)
    said = f"**{messages.plain(lesson.options[right])}**. {messages.plain(measured)}"
    if guess == right:
        st.success(f"Correct: {said}", icon=":material/check:")
    else:
        st.info(f"It is {said}", icon=":material/lightbulb:")
    made = made_by(found)
    odd = sorted({one.weights for one in made if "random" in one.weights or "bundled" in one.weights})
    if odd and not isinstance(found, Layers):
        st.warning(f"The start weights were {messages.plain('; '.join(odd))}.", icon=":material/shuffle:")
    drawn = built(lesson.name, origin, tuple(one.date for one in made), found)
    charts(drawn, lesson.figures[:_SHOWN])
    st.markdown(lesson.see, help=glossary.explain(lesson.see))
    with st.expander("Conditions, figures and sources", icon=":material/tune:", key="conditions"):
        if origin == HERE:
            st.badge("run on this machine", icon=":material/computer:", color="green")
        else:
            st.badge("stored results", icon=":material/inventory_2:", color="gray")
        if not isinstance(found, Layers):
            st.dataframe(table(lesson.name, found), hide_index=True, key="conditions_table")
        charts(drawn, lesson.figures[_SHOWN:])
        st.caption(" ".join(dict.fromkeys(messages.plain(one.note) for one in made if one.note)))
        st.markdown("\n".join(f"- {sentence}" for sentence in dict.fromkeys(one.sentence for one in made)))
        sources = " · ".join(f"[{messages.plain(title)}]({url})" for title, url in lesson.sources)
        st.markdown(f"Sources: {sources}")


def try_it(name: str) -> None:
    """Offer each condition's settings on *Train*."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Try it:", width="content")
        for condition in CONDITIONS[name].values():
            changes = condition.config.differences(PRESETS["quick"])
            query = knobs.link("quick", {knob: own for knob, (own, _) in changes.items()})
            st.page_link("pages/train.py", label=condition.label, icon=":material/tune:", query_params=query)


def charts(drawn: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Draw figures of a lesson, two beside each other."""
    if not names:
        return
    with st.container(key=f"wide_{names[0]}"):
        for column, name in zip(st.columns(len(names)), names, strict=True):
            column.plotly_chart(drawn[name], key=name, alt=drawn[name].layout.title.text, config=_CONFIG)


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
    """Return a row for each condition, with the settings that differ."""
    configs = [condition.config for condition in CONDITIONS[name].values()]
    differing = [knob for knob in KNOBS if len({getattr(config, knob) for config in configs}) > 1]
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


guarded.page(main)
